"""Replay the recorded calls of a cassette, or record calls that are made.

Above `resolve`: a replayed call looks at no key, loads no model, reserves no money, and costs none.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

from mixmagic.calls import codec
from mixmagic.calls.collector import Collector, finalize
from mixmagic.calls.completion import Completion
from mixmagic.calls.identity import cassette_key
from mixmagic.calls.playback import deltas
from mixmagic.calls.scopes import Scopes
from mixmagic.catalog import Catalog
from mixmagic.core import lazy
from mixmagic.core.values import Delta, Layer, Model, Request, Stream
from mixmagic.errors import (
    BudgetExceeded,
    CassetteMiss,
    ContextTooLong,
    MissingKey,
    MissingPackage,
    MixmagicError,
    Stopped,
    StoreError,
    UnknownModel,
    UnreadableRecord,
)
from mixmagic.keys.urls import base_urls, host_of
from mixmagic.store.cassette import Cassette, Recording
from mixmagic.store.nearest import differences, likeness, shortlist

# `none` replays alone; `once` also records a request that has no recording; `new` also records
# repeats past the recorded ones; `all` makes every call, and replaces its recording.
Mode = Literal["none", "once", "new", "all"]
MODES: tuple[Mode, ...] = get_args(Mode)

# Points of the recorded pace of an answer, at most.
_POINTS = 20
_REPEAT = "this repeat was not recorded: the last recorded answer"
_URL = re.compile(r"""\bhttps?://[^\s"'<>`]+[^\s"'<>`.,:;)\]]""")
# Today's date, as people write it besides `2026-11-30`.
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d, %Y")
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class Tape:
    """The cassette that a session uses.

    Attributes:
        cassette: The file.
        mode: How it is used.
        scopes: Numbers equal requests.
        paced: True to replay streams as slowly as they were recorded.
        notebook: The notebook's file name, for hints; empty if unknown.
        claims: By key, the recorded scope of each scope of this session.
        opened: The keys that had no recording before this session.
    """

    cassette: Cassette
    mode: Mode
    scopes: Scopes
    paced: bool = False
    notebook: str = ""
    claims: dict[str, dict[str, str]] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)

    def find(self, key: str, scope: str, number: int) -> tuple[Recording | None, bool]:
        """Return the recording to replay, if any; and True if it is one of a past repeat.

        Raises:
            UnreadableRecord: A line of the key is damaged.
            StoreError: The cassette cannot be read.
        """
        scopes: dict[str, dict[int, Recording]] = {}
        for recording in self.cassette.find(key):
            scopes.setdefault(recording.scope, {}).setdefault(recording.number, recording)
        if not scopes:
            return None, False
        with lazy.lock:
            claims = self.claims.setdefault(key, {})
            claimed = claims.get(scope) or (scope if scope in scopes else None)
            if claimed not in scopes:  # the cell has changed: the first scope that no other has
                claimed = next((name for name in scopes if name not in claims.values()), None)
            if claimed is None:
                last = list(scopes.values())[-1]
                return last[max(last)], True
            claims[scope] = claimed
        numbers = scopes[claimed]
        if number in numbers:
            return numbers[number], False
        return numbers[max(numbers)], True

    def records(self, key: str, found: Recording | None, *, repeat: bool) -> bool:
        """Return True if a request is asked and recorded, and not replayed."""
        if self.mode in ("none", "all"):
            return self.mode == "all"
        if found is None:
            # It may be in a line that cannot be read: it was paid for.
            return not self.cassette.damaged
        # Of a request that this session recorded first, repeats are recorded, too; and a call that
        # failed is made again.
        is_open = key in self.opened and (repeat or found.error is not None)
        return is_open or (repeat and self.mode == "new")

    def begin(self, key: str, scope: str, found: Recording | None) -> None:
        """Note that a request is recorded now."""
        with lazy.lock:
            self.claims.setdefault(key, {})[scope] = scope
            if found is None:
                self.opened.add(key)


def replay(
    current: Callable[[], Tape | None], catalog: Catalog, redact: Callable[[Any], Any]
) -> Layer:
    """Replay recorded calls while a cassette is in use; record others if its mode allows that.

    Args:
        current: Returns the cassette in use, or `None`.
        catalog: The models that can be named.
        redact: Redacts the keys in JSON that is recorded or shown.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            tape = current()
            if tape is None:
                yield from inner(request)
                return
            asked = as_filed(request)
            key = cassette_key(asked)
            scope, number = tape.scopes.count(key, request.control.tag)
            try:
                found, repeat = tape.find(key, scope, number)
            except UnreadableRecord as damage:
                if tape.mode != "all":
                    raise _missing(tape, damage.message, damage.hint) from None
                found, repeat = None, False
            if tape.records(key, found, repeat=repeat):
                tape.begin(key, scope, found)
                again = tape.mode == "all" or (found is not None and not repeat)
                take = _Take(tape, asked, f"{scope}/{number}", redact, replaces=again)
                yield from take.run(request, inner)
            elif found is None:
                raise miss(tape, asked, redact)
            else:
                if repeat:
                    yield Delta(note=_REPEAT, origin="cassette")
                try:
                    yield from _replayed(found, request, catalog, paced=tape.paced)
                except UnreadableRecord as damage:
                    line = f"line {found.at} of {tape.cassette.name}"
                    raise CassetteMiss(f"{damage.message} ({line})", damage.hint) from None

        return stream

    return layer


def as_filed(request: Request) -> Request:
    """Return a request as a cassette files it.

    If the notebook names no model, neither does the cassette: the default may be another one later.
    """
    by = request.control.chosen_by
    return replace(request, asked=f"({by})") if by else request


def model_of(recording: Recording, catalog: Catalog) -> Model:
    """Return the model that answered, with the price and the context of then.

    It is made of the record if the catalog has it no more.
    """
    data = {**recording.request, "messages": [], "params": {}}
    if recording.model is not None:
        data["model"] = recording.model
    recorded = codec.request_from_json(data).model
    try:
        known = catalog.resolve(f"{recorded.provider.name}:{recorded.id}")
    except UnknownModel:
        return recorded
    return replace(known, price=recorded.price, context=recorded.context)


def asked_model(tape: Tape, name: str, catalog: Catalog) -> Model | None:
    """Return the model of a recorded request with this name; `None` if there is none."""
    for recording in tape.cassette.recordings():
        if recording.request.get("asked") == name:
            return model_of(replace(recording, model=None), catalog)
    return None


def recorded_at(recording: Recording) -> datetime | None:
    """Return the time when a call was recorded, in UTC; `None` if unknown."""
    try:
        moment = datetime.fromisoformat(str(recording.recorded.get("date", "")))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _replayed(
    recording: Recording, request: Request, catalog: Catalog, *, paced: bool
) -> Generator[Delta, None, None]:
    """Yield the pieces of a recorded answer; raise the error of a call that failed."""
    answered = replace(request, model=model_of(recording, catalog))
    recorded, timing = recorded_at(recording), {"timing": recording.timing}
    pace = recording.pace if paced else None
    if recording.answer is not None:
        answer = codec.completion_from_json({**recording.answer, **timing}, answered)
        yield from deltas(answer, "cassette", recorded, pace)
        if request.control.on_end is not None:
            free = replace(answer, cost=Decimal(0), billed_tries=0, origin="cassette")
            request.control.on_end(replace(free, recorded=recorded))
        return
    failed = {**(recording.error or {})}
    if "partial" in failed:
        failed["partial"] = {**failed["partial"], **timing}
    error = codec.error_from_json(failed, answered)
    partial = error.completion if isinstance(error, Stopped) else error.partial
    if isinstance(partial, Completion):
        collector = Collector(answered)
        with closing(deltas(partial, "cassette", recorded, pace)) as pieces:
            for piece in pieces:
                collector.add(piece._replace(finish=None))
                yield piece._replace(finish=None)
        received = finalize(collector, partial.finish)
        if isinstance(error, Stopped):
            error.completion = received
        else:
            error.partial = received
    if isinstance(error, Stopped):
        request.control.stop.set()  # the call ends as if it were stopped now
    raise error


class _Take:
    """A call that is made and recorded, however it ends.

    Args:
        tape: The cassette in use.
        request: The request, as it is filed.
        n: Its scope, and its number there.
        redact: Redacts the keys in JSON.
        replaces: True if it replaces an earlier recording.
    """

    def __init__(
        self,
        tape: Tape,
        request: Request,
        n: str,
        redact: Callable[[Any], Any],
        *,
        replaces: bool,
    ) -> None:
        self._tape, self._request, self._n = tape, request, n
        self._redact, self._replaces = redact, replaces
        self._collector = Collector(request)
        self._pace: list[tuple[float, int]] = []

    def run(self, request: Request, inner: Stream) -> Generator[Delta, None, None]:
        """Make the call; yield its pieces, then notes on its recording."""
        collector, started = self._collector, time.monotonic()
        if self._tape.mode in ("new", "all") and request.control.cache in ("auto", "use"):
            # An answer of the cache would not be a new one.
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
            if collector.begun:
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
        asked = codec.request_to_json(self._request, portable=True)
        row = codec.request_to_json(replace(self._request, model=model), portable=True)["model"]
        recording = Recording(
            cassette_key(self._request),
            self._n,
            self._redact(asked),
            received if error is None else None,
            error,
            row if row != asked["model"] else None,
            _thinned(self._pace) if self._request.stream else (),
            {name: round(seconds, 3) for name, seconds in timing.items()},
            {
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "by": f"mixmagic {importlib.metadata.version('mixmagic')}",
            },
        )
        try:
            self._tape.cassette.add(recording, replace=self._replaces)
        except (StoreError, UnreadableRecord) as trouble:
            return f"not recorded: {trouble.message}"
        return ""


class _Hidden:
    """Redacts keys, URLs, hosts and the user's folders in notes and errors: a cassette has none."""

    def __init__(self, redact: Callable[[Any], Any], models: tuple[Model, ...]) -> None:
        self._redact = redact
        urls = {url for model in models for url in base_urls(model.provider)}
        hosts = {host_of(url.partition("://")[2]) for url in urls}
        folders = {str(Path.home()), tempfile.gettempdir()}
        self._plain = {host: "[host]" for host in hosts if host}
        self._plain |= {folder: "[folder]" for folder in folders if len(folder) > 1}

    def __call__(self, value: Any) -> Any:
        return self._changed(self._redact(value))

    def _changed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._changed(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._changed(item) for item in value]
        if isinstance(value, str):
            value = _URL.sub("[url]", value)
            for text, shown in self._plain.items():
                value = value.replace(text, shown)
        return value


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
        if address := _ADDRESS.search(text):
            return f"a memory address ({address[0]})"
        if day := next((day for day in days if day in text), None):
            return f"today's date ({day})"
        for name, folder in folders.items():
            if len(folder) > 1 and folder in text:
                return f"{name} ({folder})"
    return ""


def miss(tape: Tape, request: Request, redact: Callable[[Any], Any]) -> CassetteMiss:
    """Return the error for a request that is not recorded: the nearest one, and what differs.

    Args:
        tape: The cassette in use.
        request: The request, as it is filed.
        redact: Redacts the keys in JSON.
    """
    cassette, hint = tape.cassette, _how_to_record(tape)
    if not cassette.exists:
        return CassetteMiss(f"There is no cassette {cassette.name}.", hint)
    asked = redact(codec.request_to_json(request, portable=True))
    lines = cassette.lines()
    message = f"This request is not in {cassette.name} ({len(lines):,} recorded)"
    near: list[Recording] = []
    for index in shortlist(asked, lines):
        with contextlib.suppress(ValueError):
            near.append(Recording.of_line(lines[index]))
    if near:
        nearest = max(near, key=lambda recording: likeness(asked, recording.request))
        message += f"; the nearest differs in {differences(asked, nearest.request)}"
    if damaged := cassette.damaged:
        message += f"; {_lines(damaged)} damaged"
    return CassetteMiss(f"{message}.", hint)


def _missing(tape: Tape, message: str, hint: str) -> CassetteMiss:
    return CassetteMiss(f"{message.rstrip('.')}, and it may answer this request.", hint)


def _lines(numbers: list[int]) -> str:
    """Return the numbers of lines, for people: `line 7 is`, `lines 7, 9 are`."""
    shown = ", ".join(map(str, numbers[:5])) + " …" * (len(numbers) > 5)
    return f"line {shown} is" if len(numbers) == 1 else f"lines {shown} are"


def _how_to_record(tape: Tape) -> str:
    notebook = tape.notebook or "NOTEBOOK.ipynb"
    return (
        f"Record it: `mixmagic record {notebook}`, or here once:"
        f" `%mixmagic cassette {tape.cassette.name} --mode once`."
    )
