"""The `mixmagic` command of the shell."""

from __future__ import annotations

import io
import os
import re
import sys

import mixmagic
from mixmagic import commands
from mixmagic.commands._parser import HelpAsked
from mixmagic.core import terminal
from mixmagic.errors import MixmagicError, Stopped


class _Terminal:
    """Shows a command's results as text."""

    shell = None
    live = False

    def show(self, value: object) -> None:
        print(_typed(str(value)))

    def replace(self, value: object) -> None:
        """Do nothing: a terminal keeps what it shows."""

    def print(self, text: str) -> None:
        print(terminal.wrapped(_typed(text)))

    def write(self, text: str) -> None:
        print(text)


def main(words: list[str] | None = None) -> int:
    """Run a command; return its exit status.

    0: success; 1: failure; 2: unknown command or option; 130: Ctrl-C; 141: the reader of the
    output has gone, as `head` does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors=terminal.ERRORS)
    try:
        status = _run_command(sys.argv[1:] if words is None else words)
        print(end="", flush=True)
    except KeyboardInterrupt as stop:
        message = stop.message if isinstance(stop, Stopped) else "Stopped."
        print(f"\n{_typed(message)}", file=sys.stderr)
        return 130
    except OSError as error:
        if not _is_closed_pipe(error):
            raise
        # The rest is written nowhere, so that the interpreter's own flush is silent, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _run_command(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        print(mixmagic.__version__)
        return 0
    wrong = 2
    try:
        run = commands.parse(words, "shell")
        wrong = 1
        session = mixmagic.session()
        if words:  # the overview is shown also if a file of settings is damaged
            _ = session.settings  # they may have changed, if this is not the first command
        return run(session, _Terminal()) or 0
    except HelpAsked as help_asked:
        _Terminal().print(str(help_asked))
        return 0
    except MixmagicError as error:
        print(_typed("\n".join(error._render_traceback_())), file=sys.stderr)
        return wrong


def _typed(text: str) -> str:
    """Return a text that names commands as they are typed in a shell.

    Example:
        >>> _typed("`%mixmagic models` lists all.")
        '`mixmagic models` lists all.'
    """
    if "`%mixmagic " not in text:
        return text
    names = "|".join(commands.available("shell"))
    return re.sub(rf"`%mixmagic(?=\s+(?:{names})\b)", "`mixmagic", text)


def _is_closed_pipe(error: OSError) -> bool:
    """Return True if the reader of standard output has gone: on Windows that is EINVAL."""
    import errno

    windows = os.name == "nt" and error.errno == errno.EINVAL and not sys.stdout.isatty()
    return isinstance(error, BrokenPipeError) or windows
