"""Show an answer in the output of its own cell while other cells run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from IPython.display import display

from mixmagic.calls.background import error_lines
from mixmagic.calls.completion import Completion, muted_html
from mixmagic.display.bundles import Bundle, error_bundle, thoughts_bundle
from mixmagic.display.formats import Format
from mixmagic.display.renderers import SegmentsRenderer
from mixmagic.errors import Stopped
from mixmagic.text.escape import plain


class BackgroundRenderer(SegmentsRenderer):
    """Updates one output, from any thread: no other output of a notebook is touched.

    All of the answer is sent each time. Make it in the cell, on the main thread.

    Args:
        shell: IPython's shell, in a kernel.
        form: The format of the answer.
        progress: The message until there is an answer.
    """

    def __init__(self, shell: Any, form: Format, progress: str) -> None:
        super().__init__(form)
        self._update = updater(shell, _progress_bundle(progress))

    def _begin(self) -> None:
        super()._begin()
        self._answer: Bundle = {}
        self._thoughts: list[Bundle] = []
        self._stop_is_shown = False
        self._closed: list[Bundle] = []

    def thought(self, completion: Completion) -> None:
        self._thoughts = [thoughts_bundle(completion, ("text/markdown", "text/html", "text/plain"))]
        if not self._length:
            self._show(self._thoughts[0])

    def restart(self, why: str) -> None:
        self._begin()
        self._show_progress(why)

    def finish(self, completion: Completion, session: str) -> None:
        self._stop_is_shown = completion.finish == "stopped"
        self._show(self._form.whole(completion, session, tabs=True, with_thoughts=True))

    def discard(self, what: str) -> None:
        self._show_progress(what)

    def fail(self, error: BaseException) -> None:
        """Show an exception below the answer so far: the cell itself has ended long ago.

        The footer of an answer that was stopped says so already.
        """
        if isinstance(error, Stopped) and self._stop_is_shown:
            return
        bundles = [self._answer, error_bundle(error_lines(error))]
        self._update(_joined(list(filter(None, bundles))))

    def _show_segments(self, bundles: list[Bundle]) -> None:
        self._closed += bundles[:-1]
        self._show(_joined([*self._thoughts, *self._closed, bundles[-1]]))

    def _show_progress(self, progress: str) -> None:
        self._update(_progress_bundle(progress))

    def _show(self, answer: Bundle) -> None:
        self._answer = answer
        self._update(answer)


def _progress_bundle(progress: str) -> Bundle:
    return {"text/markdown": muted_html(plain(progress)), "text/plain": plain(progress)}


def _joined(bundles: Sequence[Bundle]) -> Bundle:
    """Return the bundles one below the other, in the MIME types that all of them have."""
    common = [mime for mime in bundles[0] if all(mime in bundle for bundle in bundles)]
    return {mime: "\n\n".join(bundle[mime] for bundle in bundles) for mime in common}


def updater(shell: Any, first: Bundle) -> Callable[[Bundle], None]:
    """Display an output; return a function that updates it, whatever cell runs meanwhile.

    The update belongs to the cell that runs now: `%%capture` or an output widget in another cell
    does not get it. IPython's own `update_display` would belong to the cell that runs then.
    """
    publisher = shell.display_pub
    parent, transient = dict(publisher.parent_header), {"display_id": uuid.uuid4().hex}
    display(first, raw=True, display_id=transient["display_id"])

    def update(bundle: Bundle) -> None:
        publisher.session.send(
            publisher.pub_socket,
            "update_display_data",
            {"data": bundle, "metadata": {}, "transient": transient},
            parent=parent,
            ident=publisher.topic,
        )

    return update
