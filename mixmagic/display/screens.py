"""Where an answer is shown: a notebook's cell that can change, one that cannot, a terminal."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import Any, Protocol

from IPython.display import DisplayHandle, clear_output, display

from mixmagic import fences
from mixmagic.completion import Completion
from mixmagic.tasks.doctor import Check

# At most 20 updates a second.
_FRAME = 1 / 20
# Characters that one display may hold while it changes.
_SEGMENT = 6 * 1024
# What a terminal would obey instead of showing.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


class Screen(Protocol):
    """A place for one answer."""

    @property
    def interval(self) -> float:
        """Seconds to leave between two calls of `draw`."""

    def draw(self, text: str, progress: str) -> None:
        """Append `text` to the answer; show `progress` where there is no answer yet."""

    def finish(self, completion: Completion, session: str) -> None:
        """Show the whole answer and its footer; `session` is what the session has cost."""

    def abandon(self) -> None:
        """There is no answer: leave nothing half-shown."""


class Notebook:
    """A cell whose outputs can change: the answer grows in segments of bounded size.

    Only the last segment is sent again, so that the bytes are linear in the answer's length.

    Args:
        owns_cell: Whether all of the cell's output is this answer; only then may the segments
            be cleared away for one output at the end.
    """

    def __init__(self, *, owns_cell: bool) -> None:
        self._owns_cell = owns_cell
        self._tail = ""
        self._handle: DisplayHandle | None = None
        self._segments = 0
        self._begun = False

    @property
    def interval(self) -> float:
        # A longer tail costs more to send and to lay out: it is drawn less often.
        return _FRAME * (1 + 2 * len(self._tail) / _SEGMENT)

    def draw(self, text: str, progress: str) -> None:
        if not text:
            if progress and not self._begun:
                self._show({"text/markdown": f"*{progress}*", "text/plain": progress})
            return
        self._begun = True
        self._tail += text
        while len(self._tail) > _SEGMENT:
            closed, self._tail = fences.split(self._tail, _SEGMENT)
            if not closed:
                break
            self._show(_plain(closed))
            self._handle = None
        if self._tail:
            self._show(_plain(self._tail))

    def finish(self, completion: Completion, session: str) -> None:
        if self._segments > 1 and self._owns_cell:
            clear_output(wait=True)
            display(completion.bundle(session), raw=True)
        elif self._segments > 1:
            self._show(replace(completion, text=self._tail).bundle(session))
        else:
            self._show(completion.bundle(session))

    def abandon(self) -> None:
        if self._handle is not None and self._owns_cell:
            clear_output()
        elif self._handle is not None:
            self._show({"text/plain": ""})

    def _show(self, bundle: dict[str, str]) -> None:
        """Put `bundle` into the open display, or into a new one."""
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
            self._segments += 1
        else:
            self._handle.update(bundle, raw=True)


class Once:
    """A cell that is saved as it is first shown: one output, when the answer is whole."""

    interval = 1.0

    def draw(self, text: str, progress: str) -> None:
        pass

    def finish(self, completion: Completion, session: str) -> None:
        display(completion.bundle(session), raw=True)

    def abandon(self) -> None:
        pass


class Terminal:
    """A terminal: text as it comes, without what the terminal would obey."""

    interval = _FRAME

    def __init__(self) -> None:
        self._progress = self._begun = False

    def draw(self, text: str, progress: str) -> None:
        if text:
            if self._progress:
                self._clear()
            self._begun = True
            print(_CONTROL.sub("", text), end="", flush=True)
        elif progress and not self._begun and sys.stdout.isatty():
            self._clear()
            print(_CONTROL.sub("", progress), end="", flush=True)
            self._progress = True

    def finish(self, completion: Completion, session: str) -> None:
        self.abandon()
        print("\n\n" * self._begun + completion.footer(session), flush=True)

    def abandon(self) -> None:
        if self._progress:
            self._clear()

    def _clear(self) -> None:
        """Take the progress away."""
        print("\r\x1b[K", end="")
        self._progress = False


def screen(shell: Any, *, live: bool | None, owns_cell: bool) -> Screen:
    """The screen for this front end.

    Args:
        shell: IPython's shell.
        live: The user's word, or `None` to find out.
        owns_cell: Whether all of the cell's output is this answer.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return Terminal()
    if live is None:
        # nbclient, nbconvert, nbval and papermill run cells without a person to answer input().
        live = bool(getattr(kernel, "_allow_stdin", True))
    return Notebook(owns_cell=owns_cell) if live else Once()


def front_end(shell: Any) -> Check:
    """Whether the front end shows answers as they come."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return Check("front end", True, "a terminal: answers stream")
    if isinstance(screen(shell, live=None, owns_cell=True), Notebook):
        return Check("front end", True, "a live notebook: answers stream into the cell")
    return Check(
        "front end", None, "nobody is watching (nbclient, papermill, …): answers are shown once"
    )


def _plain(markdown: str) -> dict[str, str]:
    """A piece of Markdown as a bundle."""
    return {"text/markdown": fences.literal_dollars(markdown), "text/plain": markdown}
