"""What the magics share: an argument parser whose errors are two lines and name the cure."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from mixmagic.errors import BadArguments, did_you_mean

# Why a key is refused where a magic is typed.
SAVED = "An API key never belongs on a magic's line: the notebook is saved with it."
# Compiled at the first line that is checked: `%load_ext` stays light.
_FLAG = r"""--?(?!max|stop)(?:[^\W_]+[-_]+)*(?:api)?  # --api-key, but not --max-token
            (?:key|token|secret|passw(?:or)?d|auth|authorization|header|bearer|credential)s?\b
        | -k\w*"""
_NAME = r"""(?:(?:\w+[-_])?(?:api[-_]?key|access[-_]?key|key|token|secret|passw(?:or)?d)=
        | ["']?(?:x-api-key|authorization)\s*:)"""
_LOOK = r"(?:sk|gsk|fw|hf|tgp|key)[-_][\w-]{16,}(?!\S)"
_LONG = r"(?=\w*\d)\w{32,}"
_KEY = rf"(?<![\w-])(?:{_FLAG} | {_NAME} | (?<!\S)(?:{_LOOK} | {_LONG}(?!\S)))"
# How a prompt begins that is a key, or gives one by its name: there, `key=value` is a phrase, and
# a long word that others follow is a checksum.
_GIVEN = rf"""{_FLAG} | {_NAME}\s*(?:bearer\s+)?(?=\S*\d)\S{{8,}}
        | (?=[\w-]*\d){_LOOK} | {_LONG}\s*$"""
_FLAGS = re.IGNORECASE | re.VERBOSE
# What other keyboards, phones and editors make of hyphens, and of quotes.
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_CURLY = r"\u201c[^\u201d]*\u201d|\u201e[^\u201c\u201d]*[\u201c\u201d]|\u2018[^\u2019]*\u2019"
_OPTION = re.compile(rf"[-{_DASHES}]{{1,2}}[A-Za-z]|--(\s|$)")  # not -5 degrees, nor a list's dash
_WORD = re.compile(rf"\s*((?:{_CURLY}|'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^\s'\"\\])+)")


class Parser(argparse.ArgumentParser):
    """The standard parser, but a wrong option fails the cell and suggests the right one."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, add_help=False, allow_abbrev=False, **options)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """What argparse makes of an option's value; before Python 3.13 it drops `--`."""
        if arg_strings == ["--"] and action.nargs in (None, "?"):
            return self._get_value(action, "--")  # type: ignore[attr-defined]
        return super()._get_values(action, arg_strings)  # type: ignore[misc]

    def error(self, message: str) -> NoReturn:
        """Raise `BadArguments`, with the nearest option where one was mistyped."""
        refuse_keys(message)
        options = [name for name in self._option_string_actions if name.startswith("--")]
        meant = ""
        if wrong := re.search(r"(?:arguments: |option )(-[^\s=]+)", message):
            longer = sorted(name for name in options if name.startswith(wrong[1]))
            near = did_you_mean(wrong[1], options)
            meant = f"Did you mean {' or '.join(longer)}? " if longer else near
        magic = self.prog.split()[0]  # IPython knows no manual of a magic's commands
        raise BadArguments(f"{self.prog}: {message}.", f"{meant}`{magic}?` shows the manual.")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, whatever dashes the options are written with."""
        words = [self._plain(word) if word[:1] in _DASHES else word for word in args or ()]
        return super().parse_known_args(words, namespace)

    def _plain(self, word: str) -> str:
        """Return an option with hyphens in the place of other dashes; other words as they are.

        Raises:
            BadArguments: What is almost an option, or an API key.
        """
        name, equals, value = word.partition("=")
        if not any(dash in name for dash in _DASHES):
            return word
        letters = re.sub(f"[{_DASHES}]", "-", name).lstrip("-")
        options = self._option_string_actions
        for plain in (f"--{letters}", f"-{letters}"):
            if plain in options:
                return plain + equals + value
        refuse_keys(f"--{letters}{equals}{value}")
        import difflib

        if name[0] == "-" or difflib.get_close_matches(f"--{letters}", options, 1, 0.8):
            self.error(f"unrecognized arguments: --{letters}")
        return word

    def leading(self, line: str) -> tuple[list[str], str]:
        """The options that a line begins with, as words, and the rest of it, untouched.

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
            action = self._option_string_actions.get(name)
            takes_value = action is not None and action.nargs != 0 and "=" not in word
            if action is None:
                refuse_keys(word)
            optional = action is not None and action.nargs == "?"
            if optional and (_OPTION.match(rest.lstrip()) or rest.lstrip().startswith("{{")):
                takes_value = False  # as in `-c -t 0`
            if takes_value and (value := _WORD.match(rest)):
                given = _unquoted(value[1])
                if given.startswith(("-", *_DASHES)) and not _OPTION.match(value[1]):
                    words[-1] += f"={given}"  # argparse would take it for an option
                else:
                    words.append(given)
                rest = rest[value.end() :]
            rest = rest.lstrip()
        refuse_keys(rest, anywhere=False)
        return words, rest


def _unquoted(word: str) -> str:
    """A word as a shell reads it, but outside quotes, too, a backslash before a letter stays."""
    import shlex

    word = re.sub(_CURLY, lambda quoted: shlex.quote(quoted[0][1:-1]), word)
    if not re.search("[\"']", word):
        word = re.sub(r"\\(?=[\w\\])", r"\\\\", word)
    return "".join(shlex.split(word))


def refuse_keys(text: str, *, anywhere: bool = True) -> None:
    """Refuse what looks like an API key, or like its name, without repeating it.

    Args:
        text: What is on the line.
        anywhere: Whether a name alone is refused, too, and in every place; or only a key at the
            beginning, as of a prompt, which is the user's own text.

    Raises:
        BadArguments: Why, and how to say it instead.
    """
    found = re.search(_KEY, text, _FLAGS) if anywhere else re.match(_GIVEN, text, _FLAGS)
    if found:
        raise BadArguments(
            SAVED, "Delete it there; `%mixmagic login PROVIDER` asks for it, and keeps it."
        )


def checked(convert: Callable[[str], Any], takes: str) -> Callable[[str], Any]:
    """An argparse type that says what it takes."""

    def convert_or_refuse(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"takes {takes}, not {text!r}") from None

    return convert_or_refuse
