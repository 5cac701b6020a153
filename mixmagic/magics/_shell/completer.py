"""Completion in the magics' lines and in their `{{ }}`, through IPython's matchers.

Nothing of Python is looked up by jedi for it, and nothing of the user's is run: attributes are
read without properties.
"""

from __future__ import annotations

import argparse
import builtins
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mixmagic.errors import MixmagicError
from mixmagic.magics._shell.names import meaning

if TYPE_CHECKING:  # IPython 7, which Colab has, knows no matchers
    from IPython.core.completer import CompletionContext

Values = Callable[[], Iterable[str]]
# A word, whose quotes may not be closed yet where it is the last.
_WORD = re.compile(r"""(?:'[^']*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|[^\s'"])+""")
_MAGIC = re.compile(r"(?P<cell>%%)(?P<name>\w+)\s|\s*(?:[\w.]+\s*=\s*)?%(?P<line>\w+)\s")
_OPEN = re.compile(r"\{\{(?P<inside>(?:(?!\}\}).)*)$", re.DOTALL)
_NAME = re.compile(r"(?<![\w.\]\)'\"])(?P<owners>(?:[^\W\d]\w*\.)*)(?P<last>(?:[^\W\d]\w*)?)$")
_MOST = 500


class Option(NamedTuple):
    """An option of a magic.

    Attributes:
        takes: Whether a value follows it.
        values: What the value can be, where that can be listed.
        optional: Whether the value may be left out: what begins with a dash is none, then.
    """

    takes: bool = True
    values: Values | None = None
    optional: bool = False

    def awaits(self, word: str) -> bool:
        """Whether the next word is the value."""
        return not (self.optional and word.startswith("-"))


@dataclass(frozen=True)
class Line:
    """What can stand on a magic's line.

    Attributes:
        options: Its options, by all their names.
        words: What its first word can be; on a cell's first line there is none.
        commands: What can follow one of its commands, which are its first words.
        body: Whether what follows the options is a prompt, in which `{{ }}` is replaced.
    """

    options: Mapping[str, Option] = field(default_factory=dict)
    words: Values | None = None
    commands: Mapping[str, Line] = field(default_factory=dict)
    body: bool = False


def from_parser(
    parser: argparse.ArgumentParser,
    values: Mapping[str, Values],
    *,
    words: Values | None = None,
    body: bool = True,
) -> Line:
    """The line of a magic whose options a parser knows.

    Args:
        parser: The parser.
        values: What an option's value can be, by the name under which the parser keeps it.
        words: What the first word behind the options can be.
        body: Whether a prompt follows.

    Example:
        >>> from_parser(parser, {"model": lambda: ["8x7b"]}).options["-m"].takes
        True
    """
    options: dict[str, Option] = {}
    for action in parser._actions:  # noqa: SLF001  # argparse has no other list of them
        found = values.get(action.dest)
        if found is None and action.choices is not None:
            found = constant(map(str, action.choices))
        for name in action.option_strings:
            options[name] = Option(action.nargs != 0, found, action.nargs == "?")
    return Line(options, words, body=body)


def command(*flags: str, words: Values | None = None, **options: Values | None) -> Line:
    """The line of a command of `%mixmagic`.

    Args:
        *flags: Its options that take no value.
        words: What its first word can be.
        **options: Its options that take one, without their dashes, and what it can be.
    """
    named = {f"--{name}": Option(True, values) for name, values in options.items()}
    return Line({**{flag: Option(takes=False) for flag in flags}, **named}, words)


def constant(words: Iterable[str]) -> Values:
    """Values that do not change."""
    kept = tuple(words)
    return lambda: kept


class Completions:
    """Completes the magics of one shell.

    Args:
        shell: IPython's shell.
        magics: What can stand on the line of each magic, by its name.
    """

    def __init__(self, shell: Any, magics: Mapping[str, Line]) -> None:
        self._shell, self._magics = shell, magics
        from IPython.core.completer import context_matcher

        @context_matcher(identifier="mixmagic")
        def mixmagic(context: CompletionContext) -> Any:
            return self._matches(context)

        mixmagic.matcher_priority = 1000  # type: ignore[attr-defined]  # read by IPython
        self._matcher = mixmagic
        shell.Completer.custom_matchers.append(mixmagic)

    def close(self) -> None:
        """Complete no more."""
        matchers = self._shell.Completer.custom_matchers
        matchers[:] = [each for each in matchers if each is not self._matcher]

    def _matches(self, context: CompletionContext) -> Any:
        """What IPython is told: our words, and then nobody else's."""
        from IPython.core.completer import SimpleCompletion

        try:
            found = self._found(context)
        except MixmagicError:  # a settings or a catalog file: whoever asks for an answer is told
            found = None
        kind, fragment, words = found or ("", "", [])
        if kind == "value" and not words:
            # IPython lets nobody else speak only where something is offered: what is there already.
            kind, words = "text", [fragment]
        completions = [SimpleCompletion(text=word, type=kind) for word in words[:_MOST]]
        answer = {"completions": completions, "suppress": bool(words), "ordered": True}
        return answer | ({"matched_fragment": fragment} if found else {})

    def _found(self, context: CompletionContext) -> tuple[str, str, list[str]] | None:
        """The kind of what is completed, what there is of it, and all that it can become."""
        before = context.text_until_cursor
        lines = context.full_text.split("\n")
        first = next((at for at, line in enumerate(lines) if line.strip()), 0)
        if context.cursor_line > first and (magic := _MAGIC.match(f"{lines[first]}\n")):
            line = self._line(magic)
            if magic["cell"] and line is not None:
                typed = "\n".join([*lines[first + 1 : context.cursor_line], before])
                return self._inside(typed) if line.body else None
        magic = _MAGIC.match(before)
        if magic is None or (magic["cell"] and context.cursor_line != first):
            return None
        line = self._line(magic)
        if line is None:
            return None
        line = replace(line, words=None) if magic["cell"] else line
        return self._of_line(line, before[magic.end() :])

    def _line(self, magic: re.Match[str]) -> Line | None:
        """What can stand on a magic's line, by whatever name it is called."""
        if magic["name"]:
            return self._magics.get(meaning(magic["name"], "cell"))
        return self._magics.get(meaning(magic["line"])) if magic["line"] else None

    def _of_line(self, line: Line, typed: str) -> tuple[str, str, list[str]] | None:
        """A magic's line."""
        words = _WORD.findall(typed)
        fragment = words.pop() if words and typed.endswith(words[-1]) else ""
        while line.commands:
            if not words:
                return _starting("command", fragment, line.commands)
            line, words = line.commands.get(words[0], Line()), words[1:]
        awaited: Option | None = None
        first = True
        for word in words:
            if awaited is not None and awaited.awaits(word):
                awaited = None  # this is its value
            elif word.startswith("-"):
                option = line.options.get(word.partition("=")[0])
                awaited = option if option and option.takes and "=" not in word else None
            elif line.body:
                return self._inside(typed)  # the prompt has begun
            else:
                first = False
        if awaited is not None and awaited.awaits(fragment):
            return _starting("value", fragment, awaited.values() if awaited.values else ())
        if fragment.startswith("-"):
            name, equals, value = fragment.partition("=")
            values = line.options.get(name, Option()).values if equals else None
            if equals:
                return _starting("value", value, values() if values else ())
            return _starting("option", fragment, line.options)
        if line.body and "{{" in typed:
            return self._inside(typed)
        leading = list(line.words()) if line.words is not None and first else None
        if leading is not None and (fragment or not line.body):
            return _starting("command" if line.body else "value", fragment, leading)
        return _starting("option", "", [*(leading or ()), *line.options]) if not fragment else None

    def _inside(self, typed: str) -> tuple[str, str, list[str]] | None:
        """A name, or an attribute, inside `{{ }}`."""
        opened = _OPEN.search(typed)
        name = _NAME.search(opened["inside"]) if opened else None
        if name is None:
            return None
        if not name["owners"]:
            names = {*self._shell.user_ns, *(dir(builtins) if name["last"] else ())}
            hidden = {*self._shell.user_ns_hidden, "In", "Out"}
            shown = names - (hidden if not name["last"] else set())
            return _starting("variable", name["last"], _ordered(shown, name["last"]))
        first, *others = name["owners"].rstrip(".").split(".")
        if first not in self._shell.user_ns:
            return None
        owner = self._shell.user_ns[first]
        for each in others:
            owner = _attribute(owner, each)
        if owner is _UNKNOWN:
            return None
        return _starting("attribute", name["last"], _ordered(_names(owner), name["last"]))


_UNKNOWN = object()
# What is read without running any code of the user's, though it is no plain value.
_READ = (types.MemberDescriptorType, types.GetSetDescriptorType)


def _attribute(owner: Any, name: str) -> Any:
    """An attribute, where it can be had without running a property."""
    try:
        found = inspect.getattr_static(owner, name)
        if isinstance(found, _READ):
            return object.__getattribute__(owner, name)
    except (AttributeError, TypeError):
        return _UNKNOWN
    return _UNKNOWN if hasattr(type(found), "__get__") else found


def _names(owner: Any) -> list[str]:
    """The names of an object's attributes; none where it does not tell them."""
    try:
        return [each for each in dir(owner) if isinstance(each, str)]
    except Exception:  # noqa: BLE001  # somebody's own __dir__ may raise anything
        return []


def _ordered(names: Iterable[str], fragment: str) -> list[str]:
    """Names without those that begin with an underscore, unless one is typed."""
    return sorted(each for each in names if fragment.startswith("_") or not each.startswith("_"))


def _starting(kind: str, fragment: str, words: Iterable[str]) -> tuple[str, str, list[str]]:
    """Those words that begin with what there is."""
    return kind, fragment, [word for word in words if word.startswith(fragment) and word]
