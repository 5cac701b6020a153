"""What the magics share: an argument parser whose errors are two lines and name the cure."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from mixmagic.errors import BadArguments

# Why a key is refused where a magic is typed.
SAVED = "An API key never belongs on a magic's line: the notebook is saved with it."
# Compiled at the first line that is checked: `%load_ext` stays light.
_KEY = r"""(?<![\w-]) (?:
        --?(?!max|stop)(?:[^\W_]+[-_]+)*(?:api)?  # --api-key, but not --max-token
            (?:key|token|secret|passw(?:or)?d|auth|authorization|header|bearer|credential)s?\b
        | -k\w*
        | (?:\w+[-_])?(?:api[-_]?key|access[-_]?key|key|token|secret|passw(?:or)?d)=
        | ["']?(?:x-api-key|authorization)\s*:
        | (?<!\S)(?:(?:sk|gsk|fw|hf|tgp|key)[-_][\w-]{16,}|(?=\w*\d)\w{32,})(?!\S)  # a key's look
    )"""
_OPTION = re.compile(r"--?[A-Za-z]|--(\s|$)")  # not -5 degrees, nor a list's dash
_WORD = re.compile(r"\s*((?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^\s'\"\\])+)")


class Parser(argparse.ArgumentParser):
    """The standard parser, but a wrong option fails the cell and suggests the right one."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, add_help=False, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise `BadArguments`, with the nearest option where one was mistyped."""
        import difflib

        refuse_keys(message)
        options = [name for name in self._option_string_actions if name.startswith("--")]
        wrong = re.findall(r"(?:arguments: |option )(-\S+)", message)
        near = difflib.get_close_matches(wrong[0], options, 1) if wrong else []
        meant = f"Did you mean {near[0]}? " if near else ""
        raise BadArguments(f"{self.prog}: {message}.", f"{meant}`{self.prog}?` shows the manual.")

    def leading(self, line: str) -> tuple[list[str], str]:
        """The options that a line begins with, as words, and the rest of it, untouched.

        Example:
            >>> parser.leading("-t 0 What's up?")
            (['-t', '0'], "What's up?")
        """
        import shlex

        words: list[str] = []
        rest = line.lstrip()
        while _OPTION.match(rest):
            match = _WORD.match(rest)
            if match is None:
                break
            word, rest = match[1], rest[match.end() :]
            words.append("".join(shlex.split(word)) if "=" in word else word)
            if word == "--":
                words.pop()
                return words, rest.lstrip()
            name = word.partition("=")[0]
            action = self._option_string_actions.get(name)
            takes_value = action is not None and action.nargs != 0 and "=" not in word
            if action is None:
                refuse_keys(word)
            optional = action is not None and action.nargs == "?"
            if optional and _OPTION.match(rest.lstrip()):
                takes_value = False  # as in `-c -t 0`
            if takes_value and (value := _WORD.match(rest)):
                words.extend(shlex.split(value[1]))
                rest = rest[value.end() :]
            rest = rest.lstrip()
        refuse_keys(rest, anywhere=False)
        return words, rest


def refuse_keys(text: str, *, anywhere: bool = True) -> None:
    """Refuse what looks like an API key, or like its name, without repeating it.

    Raises:
        BadArguments: Why, and how to say it instead.
    """
    looks = re.search if anywhere else re.match
    if looks(_KEY, text, re.IGNORECASE | re.VERBOSE):
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
