"""Tab completion in the lines of the magics and in their `{{ }}`, from the magics' parsers.

It starts no jedi and runs none of the user's code: attributes are read without properties.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core import completer

from mixmagic.magics._shell.calling import meaning

if TYPE_CHECKING:  # IPython 7, which Colab has, knows no matchers
    from IPython.core.completer import CompletionContext

    from mixmagic.commands._parser import Argument, Parser
    from mixmagic.magics._shell.hooks import Hooks
    from mixmagic.magics._shell.model_magics import ModelMagics
    from mixmagic.sessions import Session

# Compiled when they are used: `%load_ext` stays light.
# The quotes of the last word may not be closed yet.
_WORD = r"""(?:'[^']*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|[^\s'"])+"""
_MAGIC = r"(?P<cell>%%)(?P<name>\w+)\s|\s*(?:[\w.]+\s*=\s*)?%(?P<line>\w+)\s"
_OPEN = r"(?s)\{\{(?P<inside>(?:(?!\}\}).)*)$"
_NAME = r"(?<![\w.\]\)'\"])(?P<owners>(?:[^\W\d]\w*\.)*)(?P<last>(?:[^\W\d]\w*)?)$"
_EACH = r"\s--each[\s=]\s*([^\W\d]\w*)"
_MOST = 500


class _Offer(NamedTuple):
    """Texts that can replace a fragment before the cursor.

    Attributes:
        kind: Their type, as front ends show it.
        fragment: The last part of the text before the cursor.
        texts: The texts; each begins with the fragment.
    """

    kind: str
    fragment: str
    texts: list[str]

    @classmethod
    def of(cls, kind: str, fragment: str, texts: Iterable[str]) -> _Offer:
        """Offer the texts that begin with a fragment."""
        return cls(kind, fragment, [text for text in texts if text and text.startswith(fragment)])


def add_completer(hooks: Hooks, session: Session, asking: Mapping[str, ModelMagics]) -> None:
    """Complete the lines of `%mixmagic` and of the magics that ask a model."""
    if hasattr(completer, "context_matcher"):
        magics = _TabCompletion(hooks.shell, session, asking)

        @completer.context_matcher(identifier="mixmagic")
        def mixmagic(context: CompletionContext) -> Any:
            return magics.matches(context)

        mixmagic.matcher_priority = 1000  # type: ignore[attr-defined]  # read by IPython
        hooks.append(hooks.shell.Completer.custom_matchers, mixmagic)


class _TabCompletion:
    """Completes the magics of one shell."""

    def __init__(self, shell: Any, session: Session, asking: Mapping[str, ModelMagics]) -> None:
        self._shell, self._session, self._asking = shell, session, asking

    def matches(self, context: CompletionContext) -> Any:
        """Return our completions in IPython's form; they suppress those of others."""
        from mixmagic.errors import MixmagicError

        try:
            offer = self._offer(context)
        except MixmagicError:  # in a settings or a catalog file: a call will show it
            offer = None
        kind, fragment, texts = offer or _Offer("", "", [])
        if kind == "value" and not texts:
            # IPython suppresses others only if something is offered: the fragment itself.
            kind, texts = "text", [fragment]
        completions = [completer.SimpleCompletion(text, type=kind) for text in texts[:_MOST]]
        answer = {"completions": completions, "suppress": bool(texts), "ordered": True}
        return answer | ({"matched_fragment": fragment} if offer else {})

    def _offer(self, context: CompletionContext) -> _Offer | None:
        before = context.text_until_cursor
        lines = context.full_text.split("\n")
        first = next((at for at, line in enumerate(lines) if line.strip()), 0)
        magic = re.match(_MAGIC, f"{lines[first]}\n") if context.cursor_line > first else None
        if magic and magic["cell"] and meaning(magic["name"], "cell") in self._asking:
            body = [*lines[first + 1 : context.cursor_line], before]
            return self._in_braces("\n".join(body), self._columns(lines[first]))
        magic = re.match(_MAGIC, before)
        if magic is None or (magic["cell"] and context.cursor_line != first):
            return None
        kind = "cell" if magic["cell"] else "line"
        name = meaning(magic["name"] or magic["line"], kind)
        typed = before[magic.end() :]
        if name in self._asking:
            return self._of_asking(self._asking[name], typed, is_cell=kind == "cell")
        return self._of_command(typed) if (name, kind) == ("mixmagic", "line") else None

    def _of_command(self, typed: str) -> _Offer | None:
        """Complete the line of `%mixmagic`."""
        from mixmagic import commands

        words, fragment = _words_and_fragment(typed)
        known = commands.available("notebook")
        if not words:
            return _Offer.of("command", fragment, known)
        name, *words = words
        if name not in known:
            return None
        parser = commands.parser(name, "notebook")
        while parser.commands:
            if not words:
                return _Offer.of("command", fragment, parser.commands)
            name, *words = words
            if name not in parser.commands:
                return None
            parser = parser.commands[name]
        return self._of_arguments(parser, parser.positionals, words, fragment)

    def _of_arguments(
        self, parser: Parser, positionals: Sequence[Argument], words: list[str], fragment: str
    ) -> _Offer | None:
        """Complete an option, its value, or the next of some positional arguments."""
        awaited, count = _awaited_option(parser, words)
        if (offer := self._of_option(parser, awaited, fragment)) is not None:
            return offer
        positionals = positionals[count:]
        values = self._values(positionals[0]) if positionals else None
        if values is not None:
            return _Offer.of(
                "value", fragment, values if fragment else [*values, *_visible_options(parser)]
            )
        return None if fragment else _Offer.of("option", "", _visible_options(parser))

    def _of_asking(self, magic: ModelMagics, typed: str, *, is_cell: bool) -> _Offer | None:
        """Complete the line of a magic that asks a model."""
        words, fragment = _words_and_fragment(typed)
        parser = magic.parser()
        if parser.positionals:
            positionals = () if is_cell else parser.positionals
            return self._of_arguments(parser, positionals, words, fragment)
        awaited, count = _awaited_option(parser, words)
        if count:  # the prompt has begun
            return self._in_braces(typed, self._columns(f" {typed}"))
        if (offer := self._of_option(parser, awaited, fragment)) is not None:
            return offer
        if "{{" in typed:
            return self._in_braces(typed, self._columns(f" {typed}"))
        first = () if is_cell else magic.words
        if fragment:
            return _Offer.of("command", fragment, first) if first else None
        return _Offer.of("option", "", [*first, *_visible_options(parser)])

    def _of_option(self, parser: Parser, awaited: Argument | None, fragment: str) -> _Offer | None:
        """Complete an option's name or value."""
        if awaited is not None and not (awaited.value_is_optional and fragment.startswith("-")):
            return _Offer.of("value", fragment, self._values(awaited) or ())
        if not fragment.startswith("-"):
            return None
        name, equals, value = fragment.partition("=")
        if not equals:
            return _Offer.of("option", fragment, parser.options)
        option = parser.options.get(name)
        return _Offer.of("value", value, (self._values(option) if option else None) or ())

    def _values(self, argument: Argument) -> list[str] | None:
        """Return the values that an argument can have, if they can be listed."""
        if argument.values is None:
            return None
        return list(argument.values(self._session, self._visible_variables()))

    def _visible_variables(self) -> dict[str, Any]:
        """Return the user's variables, without private ones and IPython's."""
        hidden = {*self._shell.user_ns_hidden, "In", "Out"}
        own = self._shell.user_ns.items()
        return {name: value for name, value in own if name not in hidden and name[:1] != "_"}

    def _columns(self, line: str) -> list[str]:
        """Return the names of the columns of the rows that a line names by `--each`."""
        from mixmagic.magics._shell.each import columns

        named = re.search(_EACH, line)
        return columns(self._shell.user_ns.get(named[1])) if named else []

    def _in_braces(self, typed: str, columns: Iterable[str] = ()) -> _Offer | None:
        """Complete a name, or an attribute, inside `{{ }}`; the columns of rows go first."""
        import builtins

        opened = re.search(_OPEN, typed)
        name = re.search(_NAME, opened["inside"]) if opened else None
        if name is None:
            return None
        if not name["owners"]:
            # JupyterLab sorts by name: Python's names would come between the notebook's own.
            visible = dict.fromkeys([*columns, *sorted(self._visible_variables())])
            own = _Offer.of("variable", name["last"], visible)
            if own.texts or not name["last"]:
                return own
            known = {*self._shell.user_ns, *dir(builtins), "error"}
            return _Offer.of("variable", name["last"], _sorted(known, name["last"]))
        first, *others = name["owners"].rstrip(".").split(".")
        if first not in self._shell.user_ns:
            return None
        owner = self._shell.user_ns[first]
        for attribute in others:
            owner = _attribute(owner, attribute)
        if owner is _UNKNOWN:
            return None
        return _Offer.of("attribute", name["last"], _sorted(_attribute_names(owner), name["last"]))


def _words_and_fragment(typed: str) -> tuple[list[str], str]:
    """Split what has been typed into complete words, and the one at the cursor."""
    words = re.findall(_WORD, typed)
    fragment = words.pop() if words and typed.endswith(words[-1]) else ""
    return words, fragment


def _visible_options(parser: Parser) -> list[str]:
    """Return the options that are offered before any letter is typed: all but help."""
    return [name for name in parser.options if name not in ("-h", "--help")]


def _awaited_option(parser: Parser, words: list[str]) -> tuple[Argument | None, int]:
    """Return the option that awaits its value, if any, and the number of other words."""
    awaited: Argument | None = None
    count = 0
    for word in words:
        if awaited is not None and not (awaited.value_is_optional and word.startswith("-")):
            awaited = None  # this is its value
        elif word.startswith("-"):
            option = parser.options.get(word.partition("=")[0])
            awaited = option if option and option.takes_value and "=" not in word else None
        else:
            count += 1
    return awaited, count


_UNKNOWN = object()


def _attribute(owner: Any, name: str) -> Any:
    """Return an attribute, if that takes no property."""
    import inspect
    import types

    try:
        attribute = inspect.getattr_static(owner, name)
        if isinstance(attribute, (types.MemberDescriptorType, types.GetSetDescriptorType)):
            return object.__getattribute__(owner, name)  # which runs none of the user's code
    except (AttributeError, TypeError):
        return _UNKNOWN
    return _UNKNOWN if hasattr(type(attribute), "__get__") else attribute


def _attribute_names(owner: Any) -> list[str]:
    """Return the names of an object's attributes; none if it fails to list them."""
    try:
        return [name for name in dir(owner) if isinstance(name, str)]
    except Exception:  # noqa: BLE001  # a user's __dir__ may raise anything
        return []


def _sorted(names: Iterable[str], fragment: str) -> list[str]:
    """Sort names, without those that begin with an underscore unless one is typed."""
    return sorted(name for name in names if fragment[:1] == "_" or name[:1] != "_")
