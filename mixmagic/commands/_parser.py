"""The argument parser of magics and commands: two-line errors, any dashes, values to complete."""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from mixmagic.errors import BadArguments, did_you_mean

if TYPE_CHECKING:
    from mixmagic.sessions import Session

# A hook that lists an argument's values, given the session and the notebook's variables.
Values = Callable[["Session", Mapping[str, Any]], Iterable[str]]

SAVED = "Never type an API key here: the notebook, or the shell's history, is saved with it."
_FLAG = r"""--?(?!max|stop)(?:[^\W_]+[-_]+)*(?:api)?  # --api-key, but not --max-token
            (?:key|token|secret|passw(?:or)?d|auth|authorization|header|bearer|credential)s?\b
        | -k\w*"""
_NAME = r"""(?:(?:\w+[-_])?(?:api[-_]?key|access[-_]?key|key|token|secret|passw(?:or)?d)=
        | ["']?(?:x-api-key|authorization)\s*:)"""
_LOOK = r"(?:sk|gsk|fw|hf|tgp|key)[-_][\w-]{16,}(?!\S)"
_LONG = r"(?=\w*\d)\w{32,}"
_KEY = rf"(?<![\w-])(?:{_FLAG} | {_NAME} | (?<!\S)(?:{_LOOK} | {_LONG}(?!\S)))"
# The beginning of a prompt that is a key, or names one. In a prompt, `key=value` is a phrase, and
# a long word that others follow is a checksum.
_GIVEN = rf"""{_FLAG} | {_NAME}\s*(?:bearer\s+)?(?=\S*\d)\S{{8,}}
        | (?=[\w-]*\d){_LOOK} | {_LONG}\s*$"""
_FLAGS = re.IGNORECASE | re.VERBOSE
# Hyphens and quotes as other keyboards, phones and editors write them.
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_CURLY = r"\u201c[^\u201d]*\u201d|\u201e[^\u201c\u201d]*[\u201c\u201d]|\u2018[^\u2019]*\u2019"
_OPTION = re.compile(rf"[-{_DASHES}]{{1,2}}[A-Za-z]|--(\s|$)")  # not -5 degrees, nor a list's dash
_WORD = re.compile(rf"\s*((?:{_CURLY}|'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^\s'\"\\])+)")


class HelpAsked(Exception):
    """The option `-h` was given; the exception's text is the help."""


class _Help(argparse.Action):
    """Raises `HelpAsked` with the parser's help."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        raise HelpAsked(parser.format_help().rstrip())


class Argument(NamedTuple):
    """An option or a positional argument.

    Attributes:
        action: The argument in argparse.
        values: The hook that lists its values for tab completion; `None` if there are too many.
    """

    action: argparse.Action
    values: Values | None

    @property
    def takes_value(self) -> bool:
        """True if a value follows the option."""
        return self.action.nargs != 0

    @property
    def value_is_optional(self) -> bool:
        """True if the option may stand without its value."""
        return self.action.nargs == "?"


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are two lines, with the option that was probably meant.

    Arguments are added by `add`, so that tab completion can list them.

    Args:
        prog: The command, as it is typed.
        about: The text between usage and options.
        usage: The usage line, if argparse's own would not do.
        groups: Titles under which the help lists arguments, in order.

    Attributes:
        options: The options, by each of their names.
        positionals: The other arguments, in order.
        commands: The parsers of the subcommands, by name.
    """

    def __init__(
        self, prog: str, about: str = "", usage: str | None = None, groups: Iterable[str] = ()
    ) -> None:
        super().__init__(
            prog,
            usage,
            about,
            add_help=False,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.options: dict[str, Argument] = {}
        self.positionals: list[Argument] = []
        self.commands: dict[str, Parser] = {}
        self._excluded: list[tuple[str, str]] = []
        self._groups = {title: self.add_argument_group(title) for title in groups}
        self.add(
            *("-h", "--help"),
            action=_Help,
            nargs=0,
            default=argparse.SUPPRESS,
            help="show this help",
        )

    def add(
        self, *names: str, to: Any = None, values: Values | None = None, **settings: Any
    ) -> None:
        """Add an argument.

        Args:
            *names: Its name, or names, as for `add_argument`.
            to: The title of its group, or a group that excludes others.
            values: Lists the argument's values for tab completion; not needed for `choices`.
            **settings: As for `add_argument`.
        """
        group = self._groups.get(to, to) or self
        action = group.add_argument(*names, **settings)
        if values is None and action.choices is not None:
            values = constant(*map(str, action.choices))
        argument = Argument(action, values)
        self.options.update(dict.fromkeys(action.option_strings, argument))
        if not action.option_strings:
            self.positionals.append(argument)

    def add_exclusive(self, title: str) -> Any:
        """Return a part of the group with a title, for options that exclude each other."""
        return self._groups[title].add_mutually_exclusive_group()

    def add_commands(self, *, required: bool) -> Callable[[str, str], Parser]:
        """Allow subcommands; return a function that adds one by its name and summary."""
        added = self.add_subparsers(
            prog=self.prog, dest="command", metavar="COMMAND", required=required
        )

        def add(name: str, summary: str) -> Parser:
            prog = f"{self.prog} {name}"
            parser = added.add_parser(name, prog=prog, help=summary, about=f"{summary}.")
            self.commands[name] = parser
            return parser

        return add

    def exclude(self, option: str, *others: str) -> None:
        """Refuse an option beside any of some others."""
        self._excluded += [(option, other) for other in others]

    def error(self, message: str) -> NoReturn:
        """Raise `BadArguments`, with the nearest option if one was mistyped."""
        refuse_keys(message)
        options = [name for name in self.options if name.startswith("--")]
        suggestion = ""
        if wrong := re.search(r"(?:arguments: |option )(-[^\s=]+)", message):
            suggestion = did_you_mean(wrong[1], options)
            if longer := sorted(name for name in options if name.startswith(wrong[1])):
                suggestion = f"Did you mean {' or '.join(longer)}? "
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            suggestion = did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        prog = self.prog.replace("%%", "%")  # IPython refuses a cell magic without a cell
        hint = f"{suggestion}`{prog} -h` shows the options."
        raise BadArguments(f"{self.prog}: {message}.", hint)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, but accept all dashes, and refuse what `exclude` excludes."""
        words = [self._plain(word) if word[:1] in _DASHES else word for word in args or ()]
        if self.positionals and not self.commands and "--" not in words:
            # argparse takes no positional arguments after an option that stands between them.
            flags = {name for name, option in self.options.items() if not option.takes_value}
            words.sort(key=lambda word: word not in flags)
        options, rest = super().parse_known_args(words, namespace)
        for pair in self._excluded:
            if all(self._is_given(options, name) for name in pair):
                self.error(f"{' and '.join(pair)} exclude each other")
        return options, rest

    def _is_given(self, options: argparse.Namespace, name: str) -> bool:
        action = self.options[name].action
        value = getattr(options, action.dest)
        if action.nargs == 0 and action.const is not None:  # others may share its place
            return bool(value == action.const)
        return bool(value != self.get_default(action.dest))

    def _plain(self, word: str) -> str:
        """Return an option with hyphens in place of other dashes; other words unchanged.

        Raises:
            BadArguments: The word is almost an option, or an API key.
        """
        name, equals, value = word.partition("=")
        if not any(dash in name for dash in _DASHES):
            return word
        letters = re.sub(f"[{_DASHES}]", "-", name).lstrip("-")
        for plain in (f"--{letters}", f"-{letters}"):
            if plain in self.options:
                return plain + equals + value
        refuse_keys(f"--{letters}{equals}{value}")
        import difflib

        if name[0] == "-" or difflib.get_close_matches(f"--{letters}", self.options, 1, 0.8):
            self.error(f"unrecognized arguments: --{letters}")
        return word

    def leading(self, line: str) -> tuple[list[str], str]:
        """Split a line into its leading options, as words, and the untouched rest.

        Example:
            >>> parser.leading("-t 0 What's up?")
            (['-t', '0'], "What's up?")
            >>> parser.leading('--stop "---" Hi')
            (['--stop=---'], 'Hi')
        """
        words: list[str] = []
        rest = line.lstrip()
        while _OPTION.match(rest):
            match = _WORD.match(rest)
            if match is None:
                break
            word = self._plain(match[1])
            if word[0] != "-":
                break  # a prompt that begins with a dash
            rest = rest[match.end() :]
            words.append(_unquoted(word) if "=" in word else word)
            if word == "--":
                words.pop()
                return words, rest.lstrip()
            name = word.partition("=")[0]
            option = self.options.get(name)
            if option is None:
                refuse_keys(word)
            takes_value = option is not None and option.takes_value and "=" not in word
            if option is not None and option.value_is_optional:
                following = rest.lstrip()
                if _OPTION.match(following) or following.startswith("{{"):  # as in `-c -t 0`
                    takes_value = False
            if takes_value and (value := _WORD.match(rest)):
                given = _unquoted(value[1])
                if given == "--":  # argparse drops it before Python 3.13
                    self.error(f"argument {name}: its value cannot be --")
                if given.startswith(("-", *_DASHES)) and not _OPTION.match(value[1]):
                    words[-1] += f"={given}"  # argparse would take it as an option
                else:
                    words.append(given)
                rest = rest[value.end() :]
            rest = rest.lstrip()
        refuse_keys(rest, anywhere=False)
        return words, rest


def split(line: str) -> list[str]:
    """Split a line into words as a shell does; a quotation mark that is not closed is a letter.

    Example:
        >>> split('models --for "long documents"')
        ['models', '--for', 'long documents']
    """
    words = []
    rest = line.lstrip()
    while rest:
        match = _WORD.match(rest)
        if match is None or not (match.end() == len(rest) or rest[match.end()].isspace()):
            word, *_ = rest.split(maxsplit=1)
            words.append(word)
            rest = rest[len(word) :].lstrip()
        else:
            words.append(_unquoted(match[1]))
            rest = rest[match.end() :].lstrip()
    return words


def add_parameters(parser: Parser, to: str | None = None) -> None:
    """Add the options for the model and the parameters of a call to a group of a parser."""
    number, whole = checked(float, "a number"), checked(int, "a whole number")
    add = functools.partial(parser.add, to=to)
    add("-m", "--model", metavar="NAME", values=models, help="8x7b, 8x22b, disco, local,"
        " PROVIDER:NAME, … (`%%mixmagic models` lists them)")  # fmt: skip
    add("-t", "--temperature", type=number, metavar="T", help="randomness, from 0 (always the"
        " likeliest word) to 2")  # fmt: skip
    add("--max-tokens", type=whole, metavar="N", help="end the answer after N tokens")
    add("--top-p", type=number, metavar="P", help="sample from the likeliest words that together"
        " have probability P")  # fmt: skip
    add("--seed", type=whole, metavar="N", help="make sampling reproducible, if the model supports"
        " it")  # fmt: skip
    add("--stop", action="append", type=unescaped, metavar="TEXT", help="end the answer before"
        " TEXT, in which \\n is a line break and \\t a tab; may be repeated")  # fmt: skip


def _unquoted(word: str) -> str:
    """Return a word as a shell reads it, but keep backslashes before letters."""
    import shlex

    word = re.sub(_CURLY, lambda quoted: shlex.quote(quoted[0][1:-1]), word)
    if not re.search("[\"']", word):
        word = re.sub(r"\\(?=[\w\\])", r"\\\\", word)
    return "".join(shlex.split(word))


def refuse_keys(text: str, *, anywhere: bool = True) -> None:
    """Refuse text that looks like an API key, or names one, without repeating it.

    Args:
        text: A line that was typed.
        anywhere: True to search the whole text, also for a key's name; False to look for a key at
            the beginning only, as of a prompt, which may contain any text.

    Raises:
        BadArguments: The text looks like a key.
    """
    key = re.search(_KEY, text, _FLAGS) if anywhere else re.match(_GIVEN, text, _FLAGS)
    if key:
        raise BadArguments(
            SAVED, "Delete it; `%mixmagic login PROVIDER` asks for a key and stores it safely."
        )


def checked(convert: Callable[[str], Any], takes: str) -> Callable[[str], Any]:
    """Return an argparse type whose error says what the option takes."""

    def convert_or_refuse(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"takes {takes}, not {text!r}") from None

    return convert_or_refuse


def unescaped(written: str) -> str:
    r"""Return a text in which `\n`, `\t` and `\\` are replaced."""
    signs = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda sign: signs[sign[1]], written)


def constant(*values: str) -> Values:
    """Return a hook for values that are always the same."""
    return lambda session, variables: values


def models(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    """Return the names of all models, the user's aliases first, the local files last."""
    rows, own = session.catalog.models, session.catalog.own_aliases
    aliases = [alias for row in rows for alias in row.aliases]
    here = downloaded(session, variables)
    return dict.fromkeys([*own, *aliases, *(row.name for row in rows), *here])


def downloaded(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    """Return the names of the models of Hugging Face that are on this machine."""
    from mixmagic.backends.local import hub

    return [f"local:{each.file.name}" for each in hub.on_disk()]


def providers(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    """Return the names of all providers."""
    return session.catalog.providers


def conversations(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    """Return the names of the session's conversations."""
    return session.chats.names
