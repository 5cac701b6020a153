"""Renderers of an answer: in a live notebook, as a single output, and in a terminal."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from pathlib import Path
from typing import Any, Protocol

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.display import DisplayHandle, display

from mixmagic.calls.completion import Completion, muted_html
from mixmagic.core import lazy, terminal
from mixmagic.display import segments
from mixmagic.display.bundles import Bundle, thoughts_bundle, with_footer
from mixmagic.display.formats import FORMATS, Format
from mixmagic.errors import counted
from mixmagic.text.escape import plain

# At most 20 updates a second.
_FRAME = 1 / 20
# Programs that start kernels but do not show updates of outputs.
_CONSOLES = ("jupyter-console", "jupyter-qtconsole", "qtconsole", "jupyter-run")


class Renderer(Protocol):
    """Shows one answer."""

    @property
    def interval(self) -> float:
        """Seconds to leave between two calls of `draw`."""

    def draw(self, text: str, progress: str) -> None:
        """Append `text` to the answer; show `progress` if there is no answer yet."""

    def thought(self, completion: Completion) -> None:
        """Show the model's thoughts: before its answer begins, and again at the end."""

    def restart(self, why: str) -> None:
        """Replace what is shown by another answer; show the reason `why` meanwhile."""

    def finish(self, completion: Completion, session: str) -> None:
        """Show the whole answer and its footer with the session total."""

    def discard(self, what: str) -> None:
        """Replace the progress message by `what`, since there is no answer."""


class SegmentsRenderer:
    """The base of the renderers that show an answer, while it grows, in segments.

    Args:
        form: The format of the answer.
    """

    def __init__(self, form: Format) -> None:
        self._form = form
        self._begin()

    def _begin(self) -> None:
        """Forget the answer so far."""
        self._length = 0
        self._segments = self._form.segments and self._form.segments()

    @property
    def interval(self) -> float:
        # More text takes longer to send and to lay out: it is drawn less often.
        return _FRAME * (1 + 2 * self._redrawn / segments.LONGEST)

    @property
    def _redrawn(self) -> int:
        """Characters that each update sends."""
        return self._length

    def draw(self, text: str, progress: str) -> None:
        if not text:
            if progress and not self._length:
                self._show_progress(progress)
            return
        self._length += len(text)
        if self._segments is None:
            self._show_progress(f"{counted(self._length, 'character')} …")
        elif bundles := self._segments.feed(text):
            self._show_segments(bundles)

    def _show_progress(self, progress: str) -> None:
        """Show a progress message."""
        raise NotImplementedError

    def _show_segments(self, bundles: list[Bundle]) -> None:
        """Show the last segment as it is now, and new ones after it."""
        raise NotImplementedError


class NotebookRenderer(SegmentsRenderer):
    """Updates the outputs of a cell: the answer grows in segments of bounded size.

    Nothing is cleared or moved at the end: a person may already be reading, and the cell may have
    other outputs.
    """

    def __init__(self, form: Format) -> None:
        super().__init__(form)
        self._handle: DisplayHandle | None = None
        self._shown: list[DisplayHandle] = []  # of this answer
        self._thoughts: DisplayHandle | None = None

    @property
    def _redrawn(self) -> int:
        return self._segments.length if self._segments else 0

    def thought(self, completion: Completion) -> None:
        bundle = thoughts_bundle(completion, ("text/markdown", "text/plain"))
        if self._thoughts is None:
            self._show(bundle)
            self._thoughts, self._handle = self._handle, None
            self._shown.clear()
        else:
            self._thoughts.update(bundle, raw=True)

    def restart(self, why: str) -> None:
        self._begin()
        self._gather()
        self._show_progress(why)

    def finish(self, completion: Completion, session: str) -> None:
        text = completion.text
        if self._segments and len(text) < self._length:  # some text turned out to be thoughts
            self._gather()
        elif self._segments and len(text) > self._length:  # stopped before all of it was drawn
            self.draw(text[self._length :], "")
        if self._segments is None or len(self._shown) < 2:
            with_thoughts = self._thoughts is None
            self._show(
                self._form.whole(completion, session, tabs=True, with_thoughts=with_thoughts)
            )
        elif completion.others:
            self._show(self._segments.last())
            self._handle = None  # the first answer stays in its output
            self._show(self._form.whole(completion, session, tabs=True, after=1))
        else:
            self._show(with_footer(self._segments.last(), self._form.footer(completion, session)))

    def discard(self, what: str) -> None:
        if self._handle is not None:
            self._show({"text/markdown": muted_html(plain(what)), "text/plain": plain(what)})

    def _gather(self) -> None:
        """Empty all outputs of this answer but the first."""
        for handle in self._shown[1:]:
            handle.update({"text/plain": ""}, raw=True)
        del self._shown[1:]
        self._handle = self._shown[0] if self._shown else None

    def _show_segments(self, bundles: list[Bundle]) -> None:
        for number, segment in enumerate(bundles):
            if number:
                self._handle = None
            self._show(segment)

    def _show_progress(self, progress: str) -> None:
        self._show({"text/markdown": muted_html(plain(progress))})

    def _show(self, bundle: Bundle) -> None:
        """Update the current output with `bundle`, or add one."""
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
            self._shown.append(self._handle)
        else:
            self._handle.update(bundle, raw=True)


class SingleOutputRenderer:
    """Shows one output when the answer is whole, for front ends without updates."""

    interval = 1.0

    def __init__(self, form: Format) -> None:
        self._form = form

    def draw(self, text: str, progress: str) -> None:
        pass

    def thought(self, completion: Completion) -> None:
        pass

    def restart(self, why: str) -> None:
        pass

    def finish(self, completion: Completion, session: str) -> None:
        display(self._form.whole(completion, session, with_thoughts=True), raw=True)

    def discard(self, what: str) -> None:
        pass


class TerminalRenderer:
    """Writes the text to a terminal while it streams, without control sequences."""

    def __init__(self) -> None:
        self._progress = self._begun = False

    @property
    def interval(self) -> float:
        return _FRAME

    def draw(self, text: str, progress: str) -> None:
        if text:
            if self._progress:
                self._clear()
            self._begun = True
            terminal.write(plain(text))
        elif progress and not self._begun and terminal.width() and not terminal.is_dumb():
            self._clear()
            terminal.write(plain(progress))
            self._progress = True

    def thought(self, completion: Completion) -> None:
        self.discard("")
        if not self._begun:
            terminal.write(f"({completion.thought}.)\n\n")

    def restart(self, why: str) -> None:
        self.discard("")
        terminal.write("\n\n" * self._begun + plain(why) + "\n\n")
        self._begun = False

    def finish(self, completion: Completion, session: str) -> None:
        self.discard("")
        for number, other in enumerate(completion.others, 2):
            terminal.write(f"\n\nAnswer {number}:\n{plain(other)}")
        footer = terminal.fold(completion.footer(session), terminal.width())
        terminal.write("\n\n" * self._begun + footer + "\n")

    def discard(self, what: str) -> None:
        if self._progress:
            self._clear()

    def _clear(self) -> None:
        """Erase the progress message."""
        print("\r\x1b[K", end="")
        self._progress = False


def renderer(
    shell: Any, *, live: bool | None = None, form: Format = FORMATS["markdown"]
) -> Renderer:
    """Return the renderer for the front end of a shell.

    Args:
        shell: IPython's shell.
        live: The user's setting; `None` to detect it. If false, a terminal gets the text as it is.
        form: The format, for front ends that show more than text.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        if live is not False and form in (FORMATS["markdown"], FORMATS["code"]):
            from mixmagic.display import rich_terminal

            if rich_terminal.usable():
                return rich_terminal.RichRenderer()
        return TerminalRenderer()
    if live is None:
        live = is_watched(kernel) and not starts_in_console()
    return NotebookRenderer(form) if live and not captured(shell) else SingleOutputRenderer(form)


def updates_are_seen(shell: Any, view: Renderer) -> bool:
    """Return True if a person sees what happens to an output after its cell has ended."""
    return isinstance(view, NotebookRenderer) and is_watched(shell.kernel)


def is_watched(kernel: Any) -> bool:
    """Return False under nbclient, nbconvert, nbval and papermill: they do not allow input()."""
    return bool(getattr(kernel, "_allow_stdin", True))


def captured(shell: Any) -> bool:
    """Return True if outputs go to a place that no update reaches.

    That is `%%capture` and the like, a widget's callback, and an Output widget (also the one of
    `interact`).
    """
    parent = dict(shell.parent_header)
    in_cell = parent.get("msg_type", "execute_request") == "execute_request"
    if not in_cell or isinstance(shell.display_pub, CapturingDisplayPublisher):
        return True
    widgets = sys.modules.get("ipywidgets")
    if widgets is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the only list of all widgets
        instances = list(dict(widgets.Widget.widgets or {}).values())
    outputs = (widget for widget in instances if isinstance(widget, widgets.Output))
    return any(output.msg_id and output.msg_id == parent.get("msg_id") for output in outputs)


@functools.cache
def starts_in_console() -> bool:
    """Return True if one of Jupyter's consoles started this kernel: they show no updates."""
    psutil = lazy.load("psutil")
    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return False
    names = (Path(word).stem.replace("_", "-").removesuffix("-script") for word in words[:3])
    return any(name in _CONSOLES for name in names)
