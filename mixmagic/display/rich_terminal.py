"""A renderer that typesets Markdown in a terminal, with rich.

Whole blocks are written once and stay. Only the block that is still coming is drawn again, at a
bounded rate and never higher than the screen, so that nothing is repeated in the scrollback.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
from typing import Any

from mixmagic.calls.completion import Completion
from mixmagic.core import lazy, terminal
from mixmagic.display.renderers import TerminalRenderer
from mixmagic.text.escape import plain

# Seconds between two drawings, and for each character of the block that is drawn.
_FRAME, _FRAME_OF_CHARACTER = 1 / 15, 1 / 20_000
# Narrower terminals get the text as it is.
_NARROWEST = 30
# The terminal's own colors, on its own background.
_CODE = "ansi_dark"


def usable() -> bool:
    """Return True if rich is installed, and standard output is a terminal that it can draw in."""
    columns = terminal.width()
    if columns is None or columns < _NARROWEST or terminal.is_dumb():
        return False
    if "utf" not in (getattr(sys.stdout, "encoding", None) or "").lower():
        return False  # borders and bullets
    with contextlib.suppress(ImportError, ValueError):
        return importlib.util.find_spec("rich") is not None
    return False


class RichRenderer(TerminalRenderer):
    """Writes an answer to a terminal as typeset Markdown, block by block, while it streams."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ""  # the text of the block that is still coming
        self._drawn = 0  # lines of it on the screen
        self._blocks = False  # something was written

    @property
    def interval(self) -> float:
        return _FRAME + _FRAME_OF_CHARACTER * len(self._open)

    def draw(self, text: str, progress: str) -> None:
        if not text:
            super().draw(text, progress)
            return
        self.discard("")
        self._begun = True
        self._open += plain(text)
        whole = _whole_blocks(self._open)
        self._write(self._open[:whole], self._open[whole:])
        self._open = self._open[whole:]

    def restart(self, why: str) -> None:
        self._flush()
        super().restart(why)
        self._blocks = False

    def finish(self, completion: Completion, session: str) -> None:
        self.discard("")
        self._flush()
        for number, other in enumerate(completion.others, 2):
            self._write(f"**Answer {number}:**\n\n{plain(other)}", "")
        footer = terminal.fold(completion.footer(session), terminal.width())
        gap = "\n" * self._blocks
        terminal.write(f"{gap}\x1b[2m{footer}\x1b[22m\n")

    def _flush(self) -> None:
        """Write the block that is still coming as it is."""
        self._write(self._open, "")
        self._open = ""

    def _write(self, whole: str, rest: str) -> None:
        """Write whole blocks, to stay, and below them draw the rest, to be replaced."""
        erase = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        parts = []
        if whole.strip():
            parts.append("\n" * self._blocks + _typeset(whole))
            self._blocks = True
        drawn = ""
        if rest.strip():
            drawn = "\n" * self._blocks + _typeset(rest)
            # tmux keeps a copy of a screen that is cleared from its first line on.
            height = max(shutil.get_terminal_size().lines - 3, 1)
            drawn = "\n".join(drawn.split("\n")[-height - 1 :])
        self._drawn = drawn.count("\n")
        terminal.write("".join([erase, *parts, drawn]))


def _typeset(markdown: str) -> str:
    """Return Markdown as lines for the terminal, each with its end."""
    console = lazy.load("rich.console").Console(file=sys.stdout)
    shown = lazy.load("rich.markdown").Markdown(markdown, _CODE, hyperlinks=False)
    # HTML is text, and so is an image: rich would leave both out.
    shown.parsed = _parser().parse(markdown)
    with console.capture() as capture:
        console.print(shown)
    lines = [line.rstrip() for line in capture.get().split("\n")]
    return "\n".join(lines).strip("\n") + "\n"


def _parser() -> Any:
    parser = lazy.load("markdown_it").MarkdownIt("commonmark", {"html": False})
    return parser.enable(["strikethrough", "table"]).disable("image")


def _whole_blocks(markdown: str) -> int:
    """Return the number of characters before the last block, which may still grow."""
    blocks = [token.map[0] for token in _parser().parse(markdown) if token.level == 0 and token.map]
    if len(blocks) < 2:
        return 0
    # The parser knows no other line breaks, such as U+2028.
    return sum(len(line) + 1 for line in markdown.split("\n")[: blocks[-1]])
