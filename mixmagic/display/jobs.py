"""The progress of a job over many rows, while it runs: in a notebook and in a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
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

    def finish(self, job: Job, lines: Sequence[str]) -> None:
        """Show how it ended, in these lines: none if an error says all."""


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


def follow(job: Job, *, errors: bool = True, ending: Callable[[], Bundle] | None = None) -> Job:
    """Start a job, show its progress until it is over, and return it.

    Args:
        job: The job, which has not begun.
        errors: False if the caller shows the kinds of its errors.
        ending: Returns what is shown in place of the progress at the end, unless an error is
            raised.

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
    if ending is not None and job.error is None and job.state != "stopped":
        _end(view, job, ending)
        return job
    _finish(view, job, errors=errors)
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
    view.finish(job, [_sentence(job), *_kinds(job)])


def _finish(view: View, job: Job, *, errors: bool) -> None:
    """Show how a job ended, but for what is raised; a second Ctrl-C loses only that."""
    lines = _kinds(job) if errors else []
    if job.error is not None:
        lines.insert(0, sentence(job.progress, job.state))  # the error is the reason
    elif job.state != "stopped":
        lines.insert(0, _sentence(job))
    with contextlib.suppress(KeyboardInterrupt):
        view.finish(job, lines)


def _end(view: View, job: Job, ending: Callable[[], Bundle]) -> None:
    """Show something else in place of the progress."""
    from IPython.display import display

    try:
        bundle = ending()
    except BaseException:
        view.finish(job, [])
        raise
    if isinstance(view, _Notebook):
        view.show(bundle)
    else:
        view.finish(job, [])
        display(bundle, raw=True)


def _sentence(job: Job) -> str:
    return sentence(job.progress, job.state, job.reason)


def _kinds(job: Job) -> list[str]:
    """Return the kinds of errors of a job, a line each; a preview shows them itself."""
    return [] if job.state == "preview" else error_lines(job.errors)


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

    def finish(self, job: Job, lines: Sequence[str]) -> None:
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
        self.show(progress_bundle(job, [_sentence(job)]))

    def finish(self, job: Job, lines: Sequence[str]) -> None:
        if lines or self._update is not None:
            self.show(progress_bundle(job, lines))

    def show(self, bundle: Bundle) -> None:
        """Show this in place of what is shown."""
        if self._update is None:
            self._update = updater(self._shell, bundle)
        else:
            self._update(bundle)


class _AtTheEnd:
    """Adds one output at the end, for front ends without updates."""

    def draw(self, job: Job) -> None:
        pass

    def finish(self, job: Job, lines: Sequence[str]) -> None:
        from IPython.display import display

        if lines:
            display(progress_bundle(job, lines), raw=True)


class _Terminal:
    """Writes one line of standard error anew."""

    def __init__(self) -> None:
        self._is_drawn = False

    def draw(self, job: Job) -> None:
        progress = job.progress
        share = f"{_percent(progress.done, progress.rows)} · "
        line = f"{share}{status_line(progress, job.state, job.reason)}"
        columns = _columns()
        self._write("\r" + (line if len(line) < columns else line[: columns - 2] + "…") + "\x1b[K")
        self._is_drawn = True

    def finish(self, job: Job, lines: Sequence[str]) -> None:
        text = "".join(f"{terminal.fold(plain(line), _columns())}\n" for line in lines)
        self._write("\r\x1b[K" * self._is_drawn + text)

    def _write(self, text: str) -> None:
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        text = text.encode(encoding, terminal.ERRORS).decode(encoding)
        print(text, end="", file=sys.stderr, flush=True)


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _percent(done: int, rows: int) -> str:
    return f"{100 * done // rows if rows else 100}%"


def progress_bundle(job: Job, lines: Sequence[str]) -> Bundle:
    """Return the progress of a job: a bar unless its rows are over, and lines.

    Example:
        >>> progress_bundle(job, ["100 rows in 2.0 s"])["text/plain"]
        '100 rows in 2.0 s'
    """
    progress, is_running = job.progress, job.state == "running"
    first, *others = [*map(plain, lines)] or [""]
    bar = ""
    if is_running or not lines:
        share = "" if not progress.rows else f' value="{progress.done}" max="{progress.rows}"'
        bar = (
            f'<progress{share} aria-label="rows" style="width: 12em; vertical-align: middle; '
            'accent-color: var(--jp-brand-color1, currentColor)"></progress> '
        )
    status = "" if is_running else ' role="status"'
    html = (
        f'<div{status} style="font-variant-numeric: tabular-nums">'
        f"{bar}{as_text(first, starts_line=False)}</div>"
    )
    html += "".join(map(muted_html, others))
    return {"text/html": html, "text/plain": "\n".join([first, *others])}
