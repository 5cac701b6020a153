"""The commands, one file each: `%mixmagic NAME` in a notebook, `mixmagic NAME` in a shell.

Imports `display`, `sessions` and the packages below them; `magics` and `cli` may import it. No
IPython: the shell stays light. To add a command, add a module `NAME.py` with a docstring (its first
line is the command's summary), `parser(prog)` and `run(session, options, out)`, and if it is for
one of the two places only, `ONLY_IN = "notebook"` or `"shell"`. The magic, the shell's command,
help, the overview and tab completion derive from these.
"""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from mixmagic.errors import BadArguments, MixmagicError, did_you_mean

if TYPE_CHECKING:  # imported when a command runs: `%load_ext` stays light
    from mixmagic.commands._parser import Parser
    from mixmagic.sessions import Session

Place = Literal["notebook", "shell"]
_PROGS = {"notebook": "%mixmagic", "shell": "mixmagic"}


class Out(Protocol):
    """Output of a command.

    Attributes:
        shell: IPython's shell; `None` in the system's shell, whose sessions are one command long.
        live: True if a value that is shown can be replaced later.
    """

    shell: Any
    live: bool

    def show(self, value: object) -> None:
        """Display a value, such as a table."""

    def replace(self, value: object) -> None:
        """Display a value in place of the last one; only if `live`."""

    def print(self, text: str) -> None:
        """Write lines of text, wrapped between words."""

    def write(self, text: str) -> None:
        """Write lines as they are, such as a path, a file's content or an answer."""


class Command(Protocol):
    """A module of this package."""

    __doc__: str

    def parser(self, prog: str) -> Parser:
        """Return the parser of the command's arguments; `prog` is its name in messages."""

    def run(self, session: Session, options: Namespace, out: Out) -> int | None:
        """Run the command; return its exit status, 0 if `None`."""


def names() -> list[str]:
    """Return the names of all commands, without importing them."""
    from pkgutil import iter_modules

    return sorted(module.name for module in iter_modules(__path__) if module.name[0] != "_")


def load(name: str) -> Command:
    """Import a command's module."""
    return cast("Command", importlib.import_module(f"{__name__}.{name}"))


def available(place: Place) -> dict[str, Command]:
    """Return the commands of a notebook, or of a shell, by name."""
    return {name: load(name) for name in names() if _is_for(load(name), place)}


def _is_for(command: Command, place: Place) -> bool:
    return bool(getattr(command, "ONLY_IN", place) == place)


def summary(command: Command) -> str:
    """Return the first line of a command's docstring."""
    return command.__doc__.partition("\n")[0]


def overview(place: Place) -> str:
    """Return the commands of a place, one line each."""
    prog = _PROGS[place]
    commands = available(place)
    width = max(len(name) for name in commands)  # `map` is the name of a command here
    lines = [f"  {prog} {name:{width}}  {summary(commands[name])}" for name in commands]
    return "\n".join(["Commands:", *lines, f"`{prog} NAME -h` shows a command's options."])


def parser(name: str, place: Place) -> Parser:
    """Return the parser of a command's arguments."""
    return load(name).parser(f"{_PROGS[place]} {name}")


def parse(words: list[str], place: Place) -> Callable[[Session, Out], int | None]:
    """Parse a command line; return a function that runs the command.

    Args:
        words: A command's name and its arguments; if empty, settings and commands are shown.
        place: A notebook or a shell.

    Raises:
        BadArguments: There is no such command here, or it does not take these options.
        HelpAsked: The words ask for help; the exception's text is the help.
    """
    from mixmagic.commands._parser import HelpAsked

    if not words:
        return partial(_show_overview, place)
    name, *rest = words
    if name in ("-h", "--help"):
        raise HelpAsked(overview(place))
    if name not in names() or not _is_for(load(name), place):
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


def _show_overview(place: Place, session: Session, out: Out) -> None:
    from mixmagic.commands import _settings

    try:
        lines = _settings.lines(session, in_shell=place == "shell")
    except MixmagicError as error:  # in a file, which is named
        lines = [error.message, error.hint]
    title = f"Settings (`{_PROGS[place]} set -h`):"
    out.print("\n".join([title, *(f"  {line}" for line in lines), "", overview(place)]))
