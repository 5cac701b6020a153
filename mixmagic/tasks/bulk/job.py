"""A prompt over many rows: each distinct question is asked once, and paid for once.

A job can end at any moment, by a stop, a budget or a kill: the same call goes on where it ended.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from mixmagic.calls import codec
from mixmagic.calls.completion import Completion
from mixmagic.calls.pool import Pool
from mixmagic.core.cancel import Stop
from mixmagic.core.control import Background
from mixmagic.core.money import Budget
from mixmagic.core.values import Message, Request
from mixmagic.errors import (
    BudgetExceeded,
    KeyRejected,
    MissingKey,
    MixmagicError,
    ProviderError,
    Stopped,
    StoreError,
    UnknownModel,
    one_line,
    received,
)
from mixmagic.prompting.rows import RowPrompt
from mixmagic.store.jobs import Journal, State
from mixmagic.tasks.bulk.answers import Answers, AnswersInFile
from mixmagic.tasks.bulk.journaled import JournaledCalls, Setting, is_answered, key_of
from mixmagic.tasks.bulk.options import Asker, Options, Previewing
from mixmagic.tasks.bulk.progress import Errors, Progress, Rate, RowError
from mixmagic.tasks.bulk.questions import Question, Task, filled
from mixmagic.tasks.bulk.shown import error_lines, job_table
from mixmagic.tasks.bulk.status import sentence
from mixmagic.tasks.tables import Table
from mixmagic.tasks.tables.output import Output

# Rows that are read, filled in and looked up in the journal together.
_CHUNK = 64
_KEY = 16  # bytes of a question's key
# Errors that every further row would have, too.
_OF_ALL = (MissingKey, KeyRejected, UnknownModel, StoreError)
# Rows that fail one after the other, because of the server or of a budget, before a job pauses.
_IN_A_ROW = 32
_STOPPING = 2.0  # seconds in which the calls of a job that is stopped should end
_NAME = 40  # characters of a job's name, if the user gives none
_OPEN, _ANSWERED, _MISSING, _FAILED = range(4)  # states of a row


class Job:
    """A prompt over the rows of a table.

    Args:
        session: Makes the calls.
        journal: Keeps the answers.
        table: The rows.
        prompt: The prompt.
        options: Its options.

    Attributes:
        journal: Keeps the answers.
        name: Its name.
        model: The name of the model that is asked.
        number: Its number in the journal.
        length: The number of rows.
        columns: The columns of the rows.
        used: Those that the prompt uses.
        state: `running`, `done`, `paused` (it goes on when it is called again) or `stopped`.
        reason: Why it paused or stopped, in one line.

    Raises:
        BadArguments: A parameter is not valid.

    Example:
        >>> job = mixmagic.map(reviews, "Positive or negative? {{ text }}", model="local")
        >>> job.result()
    """

    def __init__(
        self, session: Asker, journal: Journal, table: Table, prompt: RowPrompt, options: Options
    ) -> None:
        self._session, self.journal, self._table = session, journal, table
        self._prompt, self._options = prompt, options
        self._form = options.form
        self._columns = self._form.columns
        probe = self._request("x")
        self.model, self._is_unlimited = probe.asked, probe.params.get("max_tokens") is None
        self.name = options.name or one_line(prompt.text, _NAME)
        scope = [self._form.scope] if self._form.scope else []
        whole = codec.dumps([key_of(probe).hex(), prompt.text, *scope])
        self.fingerprint = hashlib.blake2b(whole.encode(), digest_size=_KEY).digest()
        self.number, self.length = 0, table.length
        self.columns, self.used = table.columns, prompt.used
        self.state: State = "running"
        self.reason = ""
        self._errors: dict[int, RowError] = {}
        self._raised: BaseException | None = None
        # The state of each row, and the key of its question.
        self._states, self._keys = bytearray(), bytearray()
        self._output = None if options.out is None else Output(options.out, table, self._columns)
        # The value of each question, and True if the journal had it.
        self._values: Answers = {} if self._output is None else AnswersInFile()
        self._failed: dict[bytes, RowError] = {}
        self._waiting: dict[bytes, list[int]] = {}  # the rows of each question under way
        counts_in_file = self._output is not None and options.repeats == "ask"
        self._repeated: Answers = AnswersInFile() if counts_in_file else {}
        self._lock, self._over, self._stop = threading.RLock(), threading.Event(), Stop()
        self._tasks: Iterator[Task] = iter(())
        self._calls: JournaledCalls
        self._looks_up, self._ends = True, False
        self._reused = self._failures_in_a_row = self._refused_in_a_row = 0
        self._refusal = ""  # of the last row that a budget refused
        self._started = self._ended = 0.0
        self._rate = Rate()

    def start(self) -> None:
        """Begin to ask, in threads. The first row is asked alone: its errors are raised here.

        Raises:
            MixmagicError: No row can be asked: a key is missing, there is no such model, …
        """
        options, journal = self._options, self.journal
        self._started = time.monotonic()
        self._looks_up = not journal.is_empty
        self.number = journal.begin(
            self.fingerprint,
            name=self.name,
            model=self.model,
            prompt=self._prompt.text,
            source=self._table.described,
            options=options.recipe,
            rows=self.length,
            state="running" if options.preview is None else "preview",
        )
        self._session.jobs.add(self, journal)
        pool: Pool[Task] = Pool(self._next, self._do, self._finish, options.in_flight)
        budget, away = options.budget, options.background
        has_budget = budget is not None or bool(self._session.limits())
        setting = Setting(
            self._stop,
            self.number,
            # The same one in each run: it counts what all of them have spent.
            None if budget is None else Budget(budget, f"job-{self.fingerprint.hex()}"),
            Background(0, cell="map", stop=self._stop) if away else None,
            fresh=options.repeats == "ask",
            infers=self._is_unlimited and has_budget,
            pause=pool.pause,
        )
        self._calls = JournaledCalls(self._session.stream, journal, setting)
        self._tasks = self._read()
        while (task := self._next()) is not None:
            self._do(task)
            if task.known is None:  # everything that a call needs is imported now, in one thread
                break
        if self._raised is not None:
            self._finish()
            raise self._raised
        pool.start()

    def again(self, budget: Decimal | None = None) -> Job:
        """Return the next run of this job, which has not begun: it asks what has no answer yet.

        Args:
            budget: US dollars that the job may cost in all its runs; as before if `None`.
        """
        if self._options.preview is not None:
            return self._options.preview.whole.again(budget)
        options = replace(self._options, budget=budget or self._options.budget, background=False)
        return Job(self._session, self.journal, self._table, self._prompt, options)

    def part(self, positions: Sequence[int], preview: Previewing) -> Job:
        """Return the job over some of its rows, whose answers it need not ask for again."""
        options = replace(self._options, preview=preview, background=False, out=None)
        table = self._table.take(positions)
        return Job(self._session, self.journal, table, self._prompt, options)

    def filled(self, more: Sequence[str] = ()) -> Iterator[Question]:
        """Yield each row with its question, without asking it; the rows have `more` columns."""
        return filled(self._table, self._prompt, more, once=self._options.repeats == "once")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, for so many seconds; return True if it is.

        Raises:
            Stopped: Ctrl-C, which stops the job.
        """
        try:
            return self._over.wait(timeout)
        except KeyboardInterrupt:
            self.stop()
            self._over.wait(_STOPPING)
            raise Stopped(sentence(self.progress, self.state, self.reason)) from None

    def stop(self) -> None:
        """Stop all its calls; what was received whole is kept, and the same call goes on."""
        self._end("stopped", "")
        self._stop.set()

    def result(self, timeout: float | None = None) -> Any:
        """Return the answers, in the order and the kind of the rows; wait for them if need be.

        Args:
            timeout: Seconds to wait; no limit if `None`.

        Returns:
            For a Series or a DataFrame, a Series with the same index, or a DataFrame with a column
            for each field of the schema; for a list, a list. A row that is missing, failed or not
            asked yet has a missing value.

        Raises:
            MixmagicError: The error that ended the job.
            Stopped: Ctrl-C, which stops the job.
            TimeoutError: It is not over yet.
        """
        if not self.wait(timeout):
            raise TimeoutError("The job is not over yet.")
        if self._raised is not None:
            raise self._raised
        return self._table.result(list(self.values()), self._columns)

    def values(self, start: int = 0, end: int | None = None) -> Iterator[Any]:
        """Yield the answer of some rows, or of all: a text or a JSON value; `None` without one."""
        for position in range(start, self._table.length if end is None else end):
            key = bytes(self._keys[position * _KEY : (position + 1) * _KEY])
            is_answered = self._states[position : position + 1] == b"%c" % _ANSWERED
            yield self._values.get(key)[0] if is_answered else None

    def first(self, count: int = 5) -> list[tuple[Mapping[str, Any], Any]]:
        """Return the first rows, with the columns that the prompt uses, and their answers."""
        with suppress(MixmagicError):  # their file has changed
            rows = self._table.rows(self._prompt.used)
            return list(itertools.islice(zip(rows, self.values(), strict=False), count))
        return []

    @property
    def prompt(self) -> str:
        """Its prompt, with the expressions."""
        return self._prompt.text

    @property
    def options(self) -> Options:
        """Its options."""
        return self._options

    @property
    def fields(self) -> list[str] | None:
        """The names of the results' columns; `None` if there is one, without a schema."""
        columns = self._columns
        return [column.name for column in columns.columns] if columns.are_fields else None

    def __repr__(self) -> str:
        return str(job_table(self))

    def _repr_html_(self) -> str:
        return job_table(self)._repr_mimebundle_()["text/html"]  # IPython's name

    @property
    def errors(self) -> Errors:
        """The rows that have no answer because of an error, and those whose answer is not whole."""
        with self._lock:
            return Errors(list(self._errors.values()))

    @property
    def progress(self) -> Progress:
        """The rows that are over, the cost, and the rate."""
        with self._lock:
            states = self._states
            missing, failed = states.count(_MISSING), states.count(_FAILED)
            done = len(states) - states.count(_OPEN)
            seconds = (self._ended or time.monotonic()) - self._started
            rate = self._rate.at(seconds, done)
            return Progress(
                self._table.length,
                done,
                self._reused,
                missing,
                failed,
                self._calls.asked,
                self._calls.cost,
                done / max(seconds, 1e-9) if self._ended or not rate else rate,
                seconds,
                self._calls.limit,
                self._calls.unpriced,
                self._form.unit,
            )

    @property
    def error(self) -> BaseException | None:
        """The error that ended the job, which `result` raises; `None` if there is none."""
        return self._raised

    # Reading the rows.

    def questions(self) -> Iterator[tuple[Request, bool]]:
        """Yield each distinct question, and True if it has an answer; for a job that is not run."""
        for _, request, known in self._read():
            yield request, is_answered(self.journal, request, known, self._form)

    @property
    def missing(self) -> int:
        """Rows without a value, of those that were read."""
        return self._states.count(_MISSING)

    def _read(self) -> Iterator[Task]:
        """Yield the questions to ask; one thread at a time goes on with it."""
        chunk: list[tuple[int, Request]] = []
        for row in self._table.rows(self._prompt.used):
            position = len(self._states)
            with self._lock:
                self._keys += bytes(_KEY)
                self._states.append(_OPEN)
            if self._prompt.is_missing(row):
                self._states[position] = _MISSING
                continue
            try:
                chunk.append((position, self._request(self._prompt.fill(row).content)))
            except MixmagicError as error:
                self._fail([position], RowError.of(error))
            if len(chunk) == _CHUNK:
                yield from self._new(chunk)
                chunk = []
        yield from self._new(chunk)

    def _new(self, chunk: Sequence[tuple[int, Request]]) -> Iterator[Task]:
        """Yield the questions of some rows that no other row has."""
        keyed = [(position, self._row_key(request), request) for position, request in chunk]
        unknown = [key for _, key, _ in keyed if key not in self._values]
        known = self.journal.find(unknown) if self._looks_up and unknown else {}
        for position, key, request in keyed:
            self._keys[position * _KEY : (position + 1) * _KEY] = key
            with self._lock:
                if (answer := self._values.get(key)) is not None:
                    self._set_answered([position], key, reused=answer[1])
                    continue
                if key in self._failed:
                    self._fail([position], self._failed[key])
                    continue
                rows = self._waiting.setdefault(key, [])
                rows.append(position)
                if len(rows) > 1:
                    continue
            yield Task(key, request, known.get(key))

    def _request(self, content: Any) -> Request:
        """Return the request of one row."""
        messages = [Message("user", content)]
        request = self._session.request(messages, stream=False, **self._options.params)
        return self._form.asked(request)

    def _row_key(self, request: Request) -> bytes:
        """Return the key of a row's question, and of its number among equals if each is asked."""
        key = key_of(request)
        if self._options.repeats == "once":
            return key
        self._repeated[key] = number = (self._repeated.get(key) or 0) + 1
        if number == 1:
            return key
        return hashlib.blake2b(key + b"%d" % number, digest_size=_KEY).digest()

    # Asking: in the threads of the pool.

    def _next(self) -> Task | None:
        """Return the next question; `None` if there is none, or if none may begin."""
        task: Task | None = None
        with self._ending_at_error():
            if not self._ends:
                task = next(self._tasks, None)
        return task

    def _do(self, task: Task) -> None:
        """Ask one question; keep its answer or its error for all rows that share it."""
        with self._ending_at_error():
            try:
                answer = self._calls.answer(*task, self._form)
            except BudgetExceeded as error:  # perhaps only this row is too expensive
                self._waiting.pop(task.key)
                with self._lock:
                    self._refusal = error.message
                    self._refused_in_a_row += 1
                    if self._refused_in_a_row >= _IN_A_ROW:
                        self._end("paused", error.message)
            except Stopped:  # perhaps by an interrupt, which stops the calls alone
                self._waiting.pop(task.key)
                self.stop()
            except _OF_ALL:
                self._waiting.pop(task.key)
                raise
            except MixmagicError as error:
                self._failed_with(task, error)
            else:
                problem = RowError.in_answer(answer.completion)
                with self._lock:
                    if problem and not self._form.judges_ends:
                        self._failed[task.key] = problem
                    self._failures_in_a_row = 0
                    self._refused_in_a_row *= answer.reused
                    self._values[task.key] = answer.value, answer.reused
                    rows = self._waiting.pop(task.key)
                    self._note(rows, answer.completion)
                    self._set_answered(rows, task.key, reused=answer.reused)
            self._write_parts()

    def _failed_with(self, task: Task, error: MixmagicError) -> None:
        """Keep the error of a question; end the job if it is one too many."""
        with self._lock:
            self._failed[task.key] = problem = RowError.of(error)
            rows = self._waiting.pop(task.key)
            self._note(rows, received(error))
            self._fail(rows, problem)
            of_server = isinstance(error, ProviderError) and error.retryable
            self._failures_in_a_row = self._failures_in_a_row + 1 if of_server else 0
            if self._options.on_error == "raise":
                self._raised = self._raised or error
                self._end("stopped", error.message)
            elif self._failures_in_a_row >= _IN_A_ROW:
                self._end("paused", error.message)

    def _note(self, rows: Sequence[int], completion: object) -> None:
        if self._options.preview is not None and isinstance(completion, Completion):
            self._options.preview.answered(rows, completion)

    def _set_answered(self, rows: Sequence[int], key: bytes, *, reused: bool) -> None:
        self._reused += len(rows) * reused
        for position in rows:
            self._states[position] = _ANSWERED
            if (problem := self._failed.get(key)) is not None:  # the answer is not whole
                self._errors[position] = replace(problem, row=position)

    def _fail(self, rows: Sequence[int], problem: RowError) -> None:
        with self._lock:
            for position in rows:
                self._states[position] = _FAILED
                self._errors[position] = replace(problem, row=position)

    # Writing the rows that are over to `out`.

    def _write_parts(self) -> None:
        if self._output is not None:
            self._output.write_parts(self._are_over, self._written)

    def _are_over(self, start: int, end: int) -> bool:
        return len(self._states) >= end and self._states.find(_OPEN, start, end) < 0

    def _written(self, start: int, end: int) -> tuple[list[Any], list[str | None]]:
        """Return the answers of some rows, and the messages of their errors."""
        errors = [self._errors.get(position) for position in range(start, end)]
        return list(self.values(start, end)), [
            None if error is None else error.message for error in errors
        ]

    # The end.

    def _end(self, state: State, reason: str) -> None:
        """Begin no further row; those under way end by themselves."""
        with self._lock:
            self._ends = True
            if self.state == "running":
                self.state, self.reason = state, reason

    @contextmanager
    def _ending_at_error(self) -> Iterator[None]:
        """End the job if the block raises: that is not the error of one row."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # raised by `start` or `result`
            with self._lock:
                self._raised = self._raised or error
            self._end("stopped", str(error))
            self._stop.set()

    def _finish(self) -> None:
        """Write the results, if all rows are over; note the end of the run."""
        if self._refusal:
            self._end("paused", self._refusal)
        with self._ending_at_error():
            if self._output is not None and not self._ends:
                errors, goes_on = bool(self._errors), lambda: not self._ends
                self._output.finish(self._written, errors=errors, goes_on=goes_on)
        last: State = "done" if self._options.preview is None else "preview"
        self._end(last, "")
        state, reason = (self.state, self.reason) if last == "done" else (last, "")
        with self._lock:
            self._ended, failed = time.monotonic(), self._states.count(_FAILED)
            kinds, rows = "\n".join(error_lines(self.errors)), self.length
        try:
            self.journal.end(self.number, state, reason, rows=rows, failed=failed, errors=kinds)
        except StoreError as error:
            self._raised = self._raised or error
        self._over.set()
