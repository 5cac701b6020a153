"""Make a call and record it: what of it goes into a cassette, and in which form.

Not a layer: `layers.replay` uses it.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from mixmagic.calls import codec
from mixmagic.calls.collector import Collector, finalize
from mixmagic.calls.identity import cassette_key
from mixmagic.core.values import Delta, Model, Request, Stream
from mixmagic.errors import (
    BudgetExceeded,
    ContextTooLong,
    MissingKey,
    MissingPackage,
    MixmagicError,
    Stopped,
    StoreError,
    UnreadableRecord,
)
from mixmagic.keys.urls import base_urls, host_of
from mixmagic.store.cassette import Cassette
from mixmagic.store.recording import Recording

# Points of the recorded pace of an answer, at most.
_POINTS = 20
_URL = re.compile(r"""\bhttps?://[^\s"'<>`]+[^\s"'<>`.,:;)\]]""")
# Today's date, as people write it besides `2026-11-30`.
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d, %Y")
# An address in memory, as in `<Foo object at 0x7f3a5c0b1d90>`.
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}", re.IGNORECASE)


class Take:
    """A call that is made and recorded, however it ends.

    Args:
        cassette: The cassette.
        request: The request, as it is filed.
        n: Its scope, and its number there.
        redact: Redacts the keys in JSON.
        anew: True if an answer of the cache does not do.
        replaces: True if it replaces an earlier recording.
    """

    def __init__(
        self,
        cassette: Cassette,
        request: Request,
        n: str,
        redact: Callable[[Any], Any],
        *,
        anew: bool,
        replaces: bool,
    ) -> None:
        self._cassette, self._request, self._n = cassette, request, n
        self._redact, self._anew, self._replaces = redact, anew, replaces
        self._collector = Collector(request)
        self._pace: list[tuple[float, int]] = []

    def run(self, request: Request, inner: Stream) -> Generator[Delta, None, None]:
        """Make the call; yield its pieces, then notes on its recording."""
        collector, started = self._collector, time.monotonic()
        if self._anew and request.control.cache in ("auto", "use"):
            request = replace(request, control=replace(request.control, cache="refresh"))
        try:
            with closing(inner(request)) as pieces:
                for piece in pieces:
                    collector.add(piece)
                    if piece.text or piece.reasoning:
                        self._pace.append((time.monotonic() - started, collector.received[0]))
                    yield piece
        except MixmagicError as error:
            if _is_of_the_notebook(error):
                self._write(error=self._failure(error))
            raise
        except (KeyboardInterrupt, GeneratorExit) as stop:
            if collector.finish is not None and isinstance(stop, GeneratorExit):
                self._write(answer=codec.completion_to_json(finalize(collector)))  # it had ended
            elif collector.begun:
                self._replaces = False  # an earlier answer is worth more
                received = finalize(collector, "stopped")
                message = stop.message if isinstance(stop, Stopped) else "Stopped."
                self._write(error=self._failure(Stopped(message, received)))
            raise
        if trouble := self._write(answer=codec.completion_to_json(finalize(collector))):
            yield Delta(note=trouble)
        elif drift := drifting(message.text for message in request.messages):
            yield Delta(note=f"its recording may not be found again: the prompt has {drift}")

    def _failure(self, error: MixmagicError | Stopped) -> dict[str, Any]:
        """Return an error as JSON, with the part of the answer that was received."""
        written = codec.error_to_json(error)
        if "partial" not in written and self._collector.begun:
            partial = finalize(self._collector, "broken off")
            written["partial"] = codec.completion_to_json(partial)
        return written

    def _write(
        self, answer: dict[str, Any] | None = None, error: dict[str, Any] | None = None
    ) -> str:
        """Write the recording; return a note for the user if that is impossible."""
        timing: dict[str, Any] = {}
        model = self._collector.request.model
        hide = _Hidden(self._redact, (self._request.model, model))
        received = answer if error is None else error.pop("partial", None)
        if received is not None:
            timing = received.pop("timing", {})
            received.pop("recorded", None)
            notes = hide(received.pop("notes", []))
            received = self._redact(received) | ({"notes": notes} if notes else {})
        if error is not None:
            error = hide(error) | ({} if received is None else {"partial": received})
        asked = hide.folders(codec.request_to_json(self._request, portable=True))
        row = codec.request_to_json(replace(self._request, model=model), portable=True)["model"]
        recording = Recording(
            cassette_key(self._request),
            self._n,
            asked,
            received if error is None else None,
            error,
            row if row != asked["model"] else None,
            _thinned(self._pace) if self._request.stream else (),
            {name: round(seconds, 3) for name, seconds in timing.items()},
            {
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "by": f"mixmagic {sys.modules['mixmagic'].__version__}",
            },
        )
        try:
            self._cassette.add(recording, replace=self._replaces)
        except (StoreError, UnreadableRecord) as trouble:
            return f"not recorded: {trouble.message}"
        return ""


class _Hidden:
    """Hides keys everywhere, the user's folders in prompts, and also URLs and hosts in notes."""

    def __init__(self, redact: Callable[[Any], Any], models: tuple[Model, ...]) -> None:
        self._redact = redact
        urls = {url for model in models for url in base_urls(model.provider)}
        hosts = {host_of(url.partition("://")[2]) for url in urls}
        self._hosts = {host: "[host]" for host in hosts if host}
        folders = {str(Path.home()): "~", tempfile.gettempdir(): "[temporary]"}
        self._folders = {folder: name for folder, name in folders.items() if len(folder) > 1}

    def __call__(self, note: Any) -> Any:
        """Return notes, or an error as JSON, without what is of this machine."""
        return _changed(self.folders(note), self._without_urls)

    def folders(self, value: Any) -> Any:
        """Return JSON without keys and the user's folders."""
        return _changed(self._redact(value), self._without_folders)

    def _without_urls(self, text: str) -> str:
        text = _URL.sub("[url]", text)
        for host, name in self._hosts.items():
            text = text.replace(host, name)
        return text

    def _without_folders(self, text: str) -> str:
        for folder, name in self._folders.items():
            text = re.sub(rf"{re.escape(folder)}(?![\w-])", name, text)
        return text


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Return JSON with its texts changed."""
    if isinstance(value, dict):
        return {name: _changed(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _is_of_the_notebook(error: MixmagicError) -> bool:
    """Return True if an error belongs to the notebook, and not to this machine or its network."""
    if isinstance(error, (ContextTooLong, BudgetExceeded)):
        return True
    if isinstance(error, (MissingKey, MissingPackage, StoreError)):
        return False
    return error.sent or error.transmitted or error.status is not None


def _thinned(pace: list[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    """Return at most twenty points of a pace, the last one included."""
    step = -(-len(pace) // _POINTS) or 1
    kept = pace[::-1][::step][::-1]
    return tuple((round(seconds, 3), received) for seconds, received in kept)


def drifting(texts: Iterable[str]) -> str:
    """Return what will be different in these texts on another day or machine; empty if nothing.

    Example:
        >>> drifting(["Explain <Foo object at 0x7f3a5c0b1d90>."])
        'a memory address (0x7f3a5c0b1d90)'
    """
    today = date.today()  # noqa: DTZ011  # as the user's code writes it
    days = [today.isoformat(), *(today.strftime(form) for form in _DAYS)]
    folders = {"a temporary folder": tempfile.gettempdir(), "your home folder": str(Path.home())}
    for text in texts:
        if address := ADDRESS.search(text):
            return f"a memory address ({address[0]})"
        if day := next((day for day in days if day in text), None):
            return f"today's date ({day})"
        for name, folder in folders.items():
            if len(folder) > 1 and folder in text:
                return f"{name} ({folder})"
    return ""
