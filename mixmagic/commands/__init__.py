"""The commands, one file each: `%mixmagic NAME` in a notebook, `mixmagic NAME` in a shell.

Imports `display`, `sessions` and the packages below them; `magics` and `cli` may import it. No
IPython: the shell stays light. To add a command, add a module `NAME.py` with a docstring (its first
line is the command's summary), `parser(prog)` and `run(session, options, out)`; if it makes sense
in one of the two places alone, `ONLY_IN = "notebook"` or `"shell"`. All else derives from these.
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from mixmagic.errors import BadArguments, did_you_mean

if TYPE_CHECKING:  # imported when a command runs: `%load_ext` stays light
    from mixmagic.commands._parser import Parser
    from mixmagic.sessions import Session

Place = Literal["notebook", "shell"]
_PROGS = {"notebook": "%mixmagic", "shell": "mixmagic"}


class Out(Protocol):
    """The place that a command's results are shown in.

    Attributes:
        shell: IPython's shell; `None` in the system's shell, where a session ends at once.
        live: True if what is shown can be replaced later.
    """

    shell: Any
    live: bool

    def show(self, value: object) -> None:
        """Display a value, such as a table."""

    def replace(self, value: object) -> None:
        """Display a value in place of the last one that was shown, if `live`."""

    def print(self, text: str) -> None:
        """Write a line of text."""


class Command(Protocol):
    """A module of this package."""

    __doc__: str

    def parser(self, prog: str) -> Parser:
        """Return the parser of the command's options, which calls itself `prog`."""

    def run(self, session: Session, options: Namespace, out: Out) -> int | None:
        """Run the command; return its exit status, 0 if `None`."""


def names() -> list[str]:
    """Return the names of all commands, without importing them."""
    from pkgutil import iter_modules

    return sorted(found.name for found in iter_modules(__path__) if found.name[0] != "_")


def load(name: str) -> Command:
    """Import a command's module."""
    return cast("Command", importlib.import_module(f"{__name__}.{name}"))


def available(place: Place) -> dict[str, Command]:
    """Return the commands that make sense in a notebook, or in a shell, by name."""
    loaded = {name: load(name) for name in names()}
    return {name: it for name, it in loaded.items() if getattr(it, "ONLY_IN", place) == place}


def summary(command: Command) -> str:
    """Return the first line of a command's docstring."""
    return command.__doc__.partition("\n")[0]


def overview(place: Place) -> str:
    """Return the commands of a place, one line each."""
    prog = _PROGS[place]
    commands = available(place)
    width = max(map(len, commands))
    lines = [f"  {prog} {name:{width}}  {summary(it)}" for name, it in commands.items()]
    return "\n".join(["Commands:", *lines, f"`{prog} NAME -h` shows a command's options."])


def parser(name: str, place: Place) -> Parser:
    """Return the parser of a command."""
    return load(name).parser(f"{_PROGS[place]} {name}")


def parse(words: list[str], place: Place) -> Callable[[Session, Out], int | None]:
    """Return the command that some words call, ready to run.

    Args:
        words: A command's name, its options and arguments; without any, the overview is meant.
        place: Where they are typed.

    Raises:
        BadArguments: There is no such command here, or it does not take these options.
        HelpAsked: Help is asked for; the exception's text is that help.
    """
    from mixmagic.commands._parser import HelpAsked

    name, *rest = words or [""]
    if name in ("", "-h", "--help"):
        raise HelpAsked(overview(place))
    if name not in names() or getattr(load(name), "ONLY_IN", place) != place:
        other: Place = "shell" if place == "notebook" else "notebook"
        hint = f"`{_PROGS[place]}` lists all commands."
        if name in available(other):
            hint = f"`{_PROGS[other]} {name}` is for a {other}. {hint}"
        else:
            hint = f"{did_you_mean(name, available(place))}{hint}"
        raise BadArguments(f"{_PROGS[place]} has no command {name!r:.40}.", hint)
    return partial(_run, load(name), parser(name, place).parse_args(rest))


def _run(command: Command, options: Namespace, session: Session, out: Out) -> int | None:
    return command.run(session, options, out)
