"""Replay the recorded calls of a cassette, or record calls that are made.

Above `resolve`: a replayed call looks at no key, loads no model, reserves no money, and costs none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, get_args

from mixmagic.calls import codec
from mixmagic.calls.collector import Collector, finalize
from mixmagic.calls.completion import Completion
from mixmagic.calls.identity import cassette_key
from mixmagic.calls.playback import deltas
from mixmagic.calls.scopes import Scopes
from mixmagic.catalog import Catalog
from mixmagic.core import lazy
from mixmagic.core.files import typed
from mixmagic.core.values import Delta, Layer, Model, Request, Stream
from mixmagic.errors import (
    CassetteMiss,
    MissingKey,
    Stopped,
    UnknownModel,
    UnreadableRecord,
    received,
)
from mixmagic.layers.take import Take
from mixmagic.store.cassette import Cassette
from mixmagic.store.nearest import differences, likeness, shortlist
from mixmagic.store.recording import Recording

# `none` replays alone; `once` also records a request that has no recording; `new` also records
# repeats past the recorded ones; `all` makes every call, and replaces its recording.
Mode = Literal["none", "once", "new", "all"]
MODES: tuple[Mode, ...] = get_args(Mode)

_REPEAT = "this repeat was not recorded: the last recorded answer"


@dataclass(slots=True, eq=False)
class Tape:
    """The cassette that a session uses.

    Attributes:
        cassette: The file.
        mode: How it is used.
        scopes: Numbers equal requests.
        paced: True to replay streams as slowly as they were recorded.
        notebook: The notebook's file name, for hints; empty if unknown.
        file: The cassette's name as a line of the notebook has it; if empty, its file name.
        claims: By key, the recorded scope of each scope of this session.
        opened: The keys that had no recording before this session.
    """

    cassette: Cassette
    mode: Mode
    scopes: Scopes
    paced: bool = False
    notebook: str = ""
    file: str = ""
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
            else:
                yield from _answered(tape, request, inner, catalog, redact)

        return stream

    return layer


def _answered(
    tape: Tape,
    request: Request,
    inner: Stream,
    catalog: Catalog,
    redact: Callable[[Any], Any],
) -> Generator[Delta, None, None]:
    """Replay a call, or make and record it."""
    filed = as_filed(request)
    key = cassette_key(filed)
    control = request.control
    scope, number = tape.scopes.count(key, control.tag, control.scope)
    try:
        found, repeat = tape.find(key, scope, number)
    except UnreadableRecord as damage:
        if tape.mode != "all":
            message = f"{damage.message.rstrip('.')}, and it may answer this request."
            raise CassetteMiss(message, damage.hint) from None
        found, repeat = None, False
    if tape.records(key, found, repeat=repeat):
        tape.begin(key, scope, found)
        anew, again = tape.mode in ("new", "all"), found is not None and not repeat
        replaces = tape.mode == "all" or again
        n = f"{scope}/{number}"
        take = Take(tape.cassette, filed, n, redact, anew=anew, replaces=replaces)
        try:
            yield from take.run(request, inner)
        except MissingKey as error:
            if tape.mode == "all" or not len(tape.cassette):
                raise
            raise miss(tape, filed, redact, f"To record it: {error.hint}") from None
    elif found is None:
        raise miss(tape, filed, redact)
    else:
        if repeat:
            yield Delta(note=_REPEAT, origin="cassette")
        try:
            yield from _replayed(found, request, catalog, paced=tape.paced)
        except UnreadableRecord as damage:
            message = f"{damage.message} (line {found.at} of {tape.cassette.name})"
            raise CassetteMiss(message, damage.hint) from None


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
    partial = received(error)
    if isinstance(partial, Completion):
        collector = Collector(answered)
        with closing(deltas(partial, "cassette", recorded, pace)) as pieces:
            for piece in pieces:
                collector.add(piece._replace(finish=None))
                yield piece._replace(finish=None)
        answer = finalize(collector, partial.finish)
        if isinstance(error, Stopped):
            error.completion = answer
        else:
            error.partial = answer
    if isinstance(error, Stopped):
        request.control.stop.set()  # the call ends as if it were stopped now
    raise error


def miss(
    tape: Tape, request: Request, redact: Callable[[Any], Any], hint: str = ""
) -> CassetteMiss:
    """Return the error for a request that is not recorded: the nearest one, and what differs.

    Args:
        tape: The cassette in use.
        request: The request, as it is filed.
        redact: Redacts the keys in JSON.
        hint: How to record it, if not by `mixmagic record`.
    """
    cassette, hint = tape.cassette, hint or _how_to_record(tape)
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
        message += f"; {_line_numbers(damaged)} damaged"
    return CassetteMiss(f"{message}.", hint)


def _line_numbers(numbers: list[int]) -> str:
    """Return the numbers of lines, for people: `line 7 is`, `lines 7, 9 are`."""
    shown = ", ".join(map(str, numbers[:5])) + " …" * (len(numbers) > 5)
    return f"line {shown} is" if len(numbers) == 1 else f"lines {shown} are"


def _how_to_record(tape: Tape) -> str:
    notebook, file = tape.notebook or "NOTEBOOK.ipynb", tape.file or tape.cassette.name
    return (
        f"Record it: `mixmagic record {typed(notebook)}`, or here once:"
        f" `%mixmagic cassette {typed(file)} --mode once`."
    )
