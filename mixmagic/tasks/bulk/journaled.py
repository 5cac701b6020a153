"""The questions of a job: answered from its journal, or asked, and journaled before they are paid.

May import `store.jobs`, `structured` and the packages below them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from mixmagic.calls import codec, identity
from mixmagic.calls.collector import Collector
from mixmagic.calls.completion import Completion
from mixmagic.calls.running import outcome
from mixmagic.core.cancel import Stop
from mixmagic.core.control import Background, Control
from mixmagic.core.money import Budget, exact_sum
from mixmagic.core.values import Request, Stream
from mixmagic.errors import AnswerUnusable, Stopped, UnreadableRecord
from mixmagic.store.jobs import Journal
from mixmagic.tasks.bulk.forms import Form

# Answers that the limit of the others is inferred from, and its least; and the limit until then.
_FIRST, _LEAST, _UNTIL_THEN = 50, 64, 1024
_NOT_WHOLE = ("stopped", "broken off")


@dataclass(frozen=True, slots=True)
class Setting:
    """The settings that the calls of a job have in common, besides their parameters.

    Attributes:
        stop: Ends all of them.
        job: The job's number in the journal.
        budget: The job's own budget, of all its runs together.
        background: The job as a background cell, which no interrupt stops.
        fresh: True if no answer may come from the cache.
        infers: True if the limit of the answers is inferred from the first ones: budgets reserve
            less for a call with a limit.
        pause: Context manager around the wait before a retry.
    """

    stop: Stop
    job: int
    budget: Budget | None
    background: Background | None
    fresh: bool
    infers: bool
    pause: Callable[[], AbstractContextManager[None]]


class Answer(NamedTuple):
    """The answer to a question.

    Attributes:
        completion: The answer; of several attempts, all of them.
        value: Its value as JSON.
        reused: True if the journal had it, and nothing was asked.
    """

    completion: Completion
    value: Any
    reused: bool


class JournaledCalls:
    """Asks the questions of a job. Any thread may use it.

    Args:
        stream: The function that makes a call.
        journal: Keeps the answers.
        setting: Their common settings.

    Attributes:
        asked: Calls that were answered.
        cost: US dollars that the calls have cost, as far as that is known.
        unpriced: Calls whose price is not known.
        limit: The `max_tokens` inferred from the first answers; `None` if there is none.

    Example:
        >>> calls = JournaledCalls(session.stream, session.journal, setting)
        >>> calls.answer(key_of(request), request, None, TextForm()).value
        'positive'
    """

    def __init__(self, stream: Stream, journal: Journal, setting: Setting) -> None:
        self._stream, self._journal, self._setting = stream, journal, setting
        self._lock = threading.Lock()
        self._lengths: list[int] = []
        self.asked, self.unpriced, self.cost = 0, 0, Decimal(0)
        self.limit: int | None = None

    def answer(self, key: bytes, request: Request, known: Any, form: Form) -> Answer:
        """Return the answer to a question.

        If those in the journal have no value of this form, the question is asked again.

        Args:
            key: The question's key in the journal.
            request: The question, in its form.
            known: The JSON of its answer in the journal; `None` if there is none.
            form: The form of the answer.

        Raises:
            AnswerUnusable: The answer has no value of this form.
            MixmagicError: The call failed.
            Stopped: The job is stopped.
        """
        was_asked = False

        def ask(asked: Request, *, again: bool = False) -> Completion:
            nonlocal was_asked
            own = key if asked is request else key_of(asked)
            if known is not None and not again:
                found = known if asked is request else self._journal.find([own]).get(own)
                if (completion := _completion(found, asked)) is not None:
                    return completion
            was_asked = True
            return self._ask(own, asked, again=again)

        try:
            completion, value = form.value(ask, request)
        except AnswerUnusable:
            if was_asked:
                raise
            completion, value = form.value(partial(ask, again=True), request)
        return Answer(completion, value, reused=not was_asked)

    def _ask(self, key: bytes, request: Request, *, again: bool) -> Completion:
        """Ask a question and journal its answer; take the answer of a process that is asking it.

        An answer that the inferred limit has cut is asked for without it.
        """
        with self._journal.asking(key, self._setting.stop):
            if again:
                if request.control.cache != "off":
                    request.control.cache = "refresh"
            elif completion := _completion(self._journal.find([key]).get(key), request):
                return completion
            completion = self._call(key, request, limited=self._setting.infers)
            if completion.finish == "length" and self._setting.infers:
                completion = self._call(key, request, limited=False)
            return completion

    def _call(self, key: bytes, request: Request, *, limited: bool) -> Completion:
        """Ask a question and journal its answer."""
        answered: list[Completion] = []

        def keep(completion: Completion) -> None:
            answered.append(completion)
            if completion.finish not in _NOT_WHOLE:
                self._journal.put(self._setting.job, key, completion)

        self._set_control(request.control, keep)
        if limited:
            limit = self.limit or _UNTIL_THEN
            request = replace(request, params={**request.params, "max_tokens": limit})
        collector = Collector(request)
        try:
            with closing(self._stream(request)) as deltas:
                for delta in deltas:
                    if not answered:
                        collector.add(delta)
        except KeyboardInterrupt as stop:
            raise stop if isinstance(stop, Stopped) else Stopped() from None
        finally:
            self._add_cost(answered)
        if not answered:  # by the cache, or by a cassette
            keep(outcome(collector, None, stopped=False))
        with self._lock:
            self.asked += 1
            self._infer(answered[-1])
        return answered[-1]

    def _set_control(self, control: Control, keep: Callable[[Completion], None]) -> None:
        """Set the control of a call; its request was made for this call."""
        setting = self._setting
        control.stop, control.pause, control.on_end = setting.stop, setting.pause, keep
        control.job, control.tag, control.whole = str(setting.job), "map", True
        control.budget, control.background = setting.budget, setting.background
        if setting.fresh:
            control.cache = "off"

    def _add_cost(self, answered: list[Completion]) -> None:
        if answered:
            with self._lock:
                if (cost := answered[-1].cost) is None:
                    self.unpriced += 1
                else:
                    self.cost = exact_sum([self.cost, cost])

    def _infer(self, completion: Completion) -> None:
        """Infer the limit of the other answers from the first ones: less needs to be reserved."""
        if self.limit is None and self._setting.infers:
            self._lengths.append(completion.usage.completion_tokens)
            if len(self._lengths) == _FIRST:
                longest = sorted(self._lengths)[math.ceil(0.99 * _FIRST) - 1]
                self.limit = max(2 * longest, _LEAST)


class _Unknown(Exception):
    """The journal has no answer to a question."""


def is_answered(journal: Journal, request: Request, known: Any, form: Form) -> bool:
    """Return True if nothing needs to be asked for the value of a question.

    Args:
        journal: The answers.
        request: The question, in its form.
        known: The JSON of its answer in the journal; `None` if there is none.
        form: The form of the answer.

    Example:
        >>> is_answered(journal, request, None, TextForm())
        False
    """

    def ask(asked: Request) -> Completion:
        own = key_of(asked)
        found = known if asked is request else journal.find([own]).get(own)
        if (completion := _completion(found, asked)) is None:
            raise _Unknown
        return completion

    with suppress(AnswerUnusable, _Unknown):
        form.value(ask, request)
        return True
    return False


def _completion(found: Any, request: Request) -> Completion | None:
    """Return an answer of the journal; `None` if it is not there, or cannot be read."""
    with suppress(UnreadableRecord):
        return None if found is None else codec.completion_from_json(found, request)
    return None


def key_of(request: Request) -> bytes:
    """Return the key of a question in the journal: the same in each job and on each machine.

    Example:
        >>> len(key_of(session.request("Hi", model="8x7b")))
        16
    """
    return bytes.fromhex(identity.cassette_key(request))
