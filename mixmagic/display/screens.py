"""Where an answer is shown: a notebook's cell that can change, one that cannot, a terminal."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from IPython.display import DisplayHandle, clear_output, display

from mixmagic.completion import Completion, quiet
from mixmagic.display import segments
from mixmagic.display.formats import FORMATS, Format, signed
from mixmagic.display.segments import Bundle
from mixmagic.tasks.doctor import Check
from mixmagic.text.escape import plain

# At most 20 updates a second.
_FRAME = 1 / 20


class Screen(Protocol):
    """A place for one answer."""

    @property
    def interval(self) -> float:
        """Seconds to leave between two calls of `draw`."""

    def draw(self, text: str, progress: str) -> None:
        """Append `text` to the answer; show `progress` where there is no answer yet."""

    def again(self, why: str) -> None:
        """Another answer begins, which takes the place of what came; say `why`."""

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
        form: How the answer is shown.
    """

    def __init__(self, *, owns_cell: bool, form: Format) -> None:
        self._owns_cell = owns_cell
        self._form = form
        self._length = 0
        self._segments = form.segments and form.segments()
        self._handle: DisplayHandle | None = None
        self._displays = 0

    @property
    def interval(self) -> float:
        # A longer segment costs more to send and to lay out: it is drawn less often.
        length = self._segments.length if self._segments else 0
        return _FRAME * (1 + 2 * length / segments.LONGEST)

    def draw(self, text: str, progress: str) -> None:
        if not text:
            if progress and not self._length:
                self._show_progress(progress)
            return
        self._length += len(text)
        if self._segments is None:
            self._show_progress(f"{self._length:,} characters …")
            return
        for number, segment in enumerate(self._segments.feed(text)):
            if number:
                self._handle = None
            self._show(segment)

    def again(self, why: str) -> None:
        self._length = 0
        self._segments = self._form.segments and self._form.segments()
        self._show_progress(why)

    def finish(self, completion: Completion, session: str) -> None:
        after = 0
        if self._displays > 1 and self._owns_cell:
            clear_output(wait=True)
            self._handle = None
        elif self._displays > 1 and completion.others:
            self._handle, after = None, 1  # the first answer stays where it is
        elif self._displays > 1 and self._segments:
            last = self._segments.last | {"text/plain": plain(completion.text)}
            self._show(signed(last, completion.footer(session)))
            return
        self._show(self._form.whole(completion, session, tabs=True, after=after))

    def abandon(self) -> None:
        if self._handle is not None and self._owns_cell:
            clear_output()
        elif self._handle is not None:
            self._show({"text/plain": ""})

    def _show_progress(self, progress: str) -> None:
        """Show what is going on while there is nothing else to show."""
        line = plain(progress)
        self._show({"text/markdown": quiet(line)})

    def _show(self, bundle: Bundle) -> None:
        """Put `bundle` into the open display, or into a new one."""
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
            self._displays += 1
        else:
            self._handle.update(bundle, raw=True)


class Once:
    """A cell that is saved as it is first shown: one output, when the answer is whole."""

    interval = 1.0

    def __init__(self, form: Format) -> None:
        self._form = form

    def draw(self, text: str, progress: str) -> None:
        pass

    def again(self, why: str) -> None:
        pass

    def finish(self, completion: Completion, session: str) -> None:
        display(self._form.whole(completion, session), raw=True)

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
            print(plain(text), end="", flush=True)
        elif progress and not self._begun and sys.stdout.isatty():
            self._clear()
            print(plain(progress), end="", flush=True)
            self._progress = True

    def again(self, why: str) -> None:
        self.abandon()
        print("\n\n" * self._begun + plain(why), end="\n\n", flush=True)
        self._begun = False

    def finish(self, completion: Completion, session: str) -> None:
        self.abandon()
        for number, other in enumerate(completion.others, 2):
            print(f"\n\nAnswer {number}:\n{plain(other)}", end="")
        print("\n\n" * self._begun + completion.footer(session), flush=True)

    def abandon(self) -> None:
        if self._progress:
            self._clear()

    def _clear(self) -> None:
        """Take the progress away."""
        print("\r\x1b[K", end="")
        self._progress = False


def screen(
    shell: Any, *, live: bool | None, owns_cell: bool, form: Format = FORMATS["markdown"]
) -> Screen:
    """The screen for this front end.

    Args:
        shell: IPython's shell.
        live: The user's word, or `None` to find out.
        owns_cell: Whether all of the cell's output is this answer.
        form: How the answer is shown where more than text can be.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return Terminal()
    if live is None:
        # nbclient, nbconvert, nbval and papermill run cells without a person to answer input().
        live = bool(getattr(kernel, "_allow_stdin", True))
    return Notebook(owns_cell=owns_cell, form=form) if live else Once(form)


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
