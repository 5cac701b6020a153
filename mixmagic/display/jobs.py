"""The progress of a job over many rows, while it runs: in a notebook and in a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from mixmagic.calls.completion import muted_html
from mixmagic.core import terminal
from mixmagic.display.background import updater
from mixmagic.display.renderers import captured, is_watched, starts_in_console
from mixmagic.errors import Stopped
from mixmagic.tasks.bulk.shown import error_lines
from mixmagic.tasks.bulk.status import sentence, status_line
from mixmagic.text.escape import as_text, plain

if TYPE_CHECKING:
    from mixmagic.display.bundles import Bundle
    from mixmagic.tasks.bulk.job import Job
    from mixmagic.tasks.bulk.preview import Preview

# Seconds between two updates.
_EVERY = 0.2
# Seconds that the calls of a stopped job may take to close their connections.
_GRACE = 0.08


class View(Protocol):
    """Shows the progress of a job."""

    def draw(self, job: Job) -> None:
        """Show its progress now."""

    def finish(self, job: Job) -> None:
        """Show how it ended."""


def run(job: Job, *, preview: int | None = None, wait: bool = True) -> Job | Preview:
    """Start a job, or a preview of it, and show the progress.

    Args:
        job: The job, which has not begun.
        preview: Rows of a preview; `None` for all rows.
        wait: False to return at once.

    Raises:
        BadArguments: The number of rows is not valid, or no row has a value.
        Stopped: Ctrl-C; what was received whole is kept, and the same call goes on.
        MixmagicError: No row can be asked, or an error ended the job.
    """
    if preview is None:
        return follow(job) if wait else start(job)
    from mixmagic.tasks.bulk.preview import Preview

    previewed = Preview(job, preview)
    follow(previewed.job)
    previewed.end()
    return previewed


def follow(job: Job) -> Job:
    """Start a job, show its progress until it is over, and return it.

    Raises:
        Stopped: Ctrl-C; what was received whole is kept, and the same call goes on.
        MixmagicError: No row can be asked, or the job ended with this error.
    """
    view = _view()
    try:
        job.start()
        while not job.wait(_EVERY):
            view.draw(job)
    except KeyboardInterrupt:
        job.stop()
        job.wait(_GRACE)
        if not job.number:  # it has not begun
            raise
    except BaseException:
        job.stop()
        raise
    _finish(view, job)
    if job.error is not None and not isinstance(job.error, KeyboardInterrupt):
        raise job.error
    if job.state == "stopped":
        raise Stopped(_sentence(job))
    return job


def start(job: Job) -> Job:
    """Start a job and return it; its progress is shown in the output of this cell meanwhile.

    Raises:
        MixmagicError: No row can be asked.
    """
    view = _view(background=True)
    job.start()
    view.draw(job)  # now: in the output of this cell
    threading.Thread(target=_watch, args=(view, job), name="mixmagic-progress", daemon=True).start()
    return job


def _watch(view: View, job: Job) -> None:
    while not job.wait(_EVERY):
        view.draw(job)
    view.finish(job)


def _finish(view: View, job: Job) -> None:
    """Show how a job ended; a second Ctrl-C loses only that."""
    with contextlib.suppress(KeyboardInterrupt):
        view.finish(job)


def _sentence(job: Job) -> str:
    return sentence(job.progress, job.state, job.reason)


def _view(*, background: bool = False) -> View:
    """Return the view for the front end of this process."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        quiet = background or not _shows(sys.stderr) or not _in_main_thread()
        return _Silent() if quiet else _Terminal()
    if not _in_main_thread():
        return _Silent()
    if is_watched(kernel) and not starts_in_console() and not captured(shell):
        return _Notebook(shell)
    return _Silent() if background else _AtTheEnd()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _shows(stream: Any) -> bool:
    """Return True if a stream is a terminal that can write a line anew."""
    try:
        return bool(stream.isatty()) and not terminal.is_dumb()
    except (AttributeError, ValueError):  # replaced, or closed
        return False


class _Silent:
    """Shows nothing."""

    def draw(self, job: Job) -> None:
        pass

    def finish(self, job: Job) -> None:
        pass


class _Notebook:
    """Updates one output, from any thread; it is made with the first update.

    Args:
        shell: IPython's shell, in a kernel.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._update: Callable[[Bundle], None] | None = None

    def draw(self, job: Job) -> None:
        self._show(progress_bundle(job))

    def finish(self, job: Job) -> None:
        self._show(progress_bundle(job))

    def _show(self, bundle: Bundle) -> None:
        if self._update is None:
            self._update = updater(self._shell, bundle)
        else:
            self._update(bundle)


class _AtTheEnd:
    """Adds one output at the end, for front ends without updates."""

    def draw(self, job: Job) -> None:
        pass

    def finish(self, job: Job) -> None:
        from IPython.display import display

        display(progress_bundle(job), raw=True)


class _Terminal:
    """Writes one line of standard error anew."""

    def __init__(self) -> None:
        self._is_drawn = False

    def draw(self, job: Job) -> None:
        progress = job.progress
        bar = "" if progress.rows is None else f"{_percent(progress.done, progress.rows)} · "
        line = f"{bar}{status_line(progress, job.state, job.reason)}"
        columns = _columns()
        self._write("\r" + (line if len(line) < columns else line[: columns - 2] + "…") + "\x1b[K")
        self._is_drawn = True

    def finish(self, job: Job) -> None:
        if job.state == "stopped":  # an error follows, which says the same
            self._write("\r\x1b[K" * self._is_drawn)
        else:
            lines = "\n".join([plain(_sentence(job)), *_errors(job)])
            self._write("\r\x1b[K" * self._is_drawn + terminal.fold(lines, _columns()) + "\n")

    def _write(self, text: str) -> None:
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        text = text.encode(encoding, terminal.ERRORS).decode(encoding)
        print(text, end="", file=sys.stderr, flush=True)


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _percent(done: int, rows: int) -> str:
    return f"{100 * done // rows if rows else 100}%"


def progress_bundle(job: Job) -> Bundle:
    """Return the progress of a job: a bar while it runs, and a line."""
    progress, state = job.progress, job.state
    first, *others = plain(_sentence(job)), *_errors(job)
    bar = ""
    if state == "running":
        share = "" if not progress.rows else f' value="{progress.done}" max="{progress.rows}"'
        bar = (
            f'<progress{share} aria-label="rows" style="width: 12em; vertical-align: middle; '
            'accent-color: var(--jp-brand-color1, currentColor)"></progress> '
        )
    status = "" if state == "running" else ' role="status"'
    html = (
        f'<div{status} style="font-variant-numeric: tabular-nums">'
        f"{bar}{as_text(first, starts_line=False)}</div>"
    )
    html += "".join(map(muted_html, others))
    return {"text/html": html, "text/plain": "\n".join([first, *others])}


def _errors(job: Job) -> list[str]:
    """Return the kinds of errors of a job that has ended, a line each; a preview has its own."""
    if job.state in ("running", "preview"):
        return []
    return list(map(plain, error_lines(job.errors)))
