"""A preview of a job: some of its rows, what all of them cost, and what has changed since the last.

Its answers are in the journal, so that the whole job does not ask for them again.
"""

from __future__ import annotations

import hashlib
import math
import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from mixmagic.calls.completion import Completion
from mixmagic.calls.tokens import estimate, estimate_prompt
from mixmagic.core.values import Message
from mixmagic.errors import BadArguments
from mixmagic.store.jobs import PreviewRecord
from mixmagic.tasks.bulk.estimate import Interval, Lengths
from mixmagic.tasks.bulk.job import Job
from mixmagic.tasks.bulk.preview_shown import preview_html, preview_text
from mixmagic.tasks.bulk.progress import Errors, RowError

Change = Literal["new", "changed", "unchanged"]

_MOST = 1000  # rows of a preview
# The width of an interval that is good enough, as a share of the estimate.
_CLOSE = 0.1
_HASH = 12  # bytes of a row's hash


class PreviewRow(NamedTuple):
    """A row of a preview.

    Attributes:
        position: Its position in the table, from 0.
        row: The columns that the prompt uses.
        value: Its answer; `None` without one.
        before: Its answer to the last other prompt that was previewed.
        change: `new` if there is none, `changed` or `unchanged`.
    """

    position: int
    row: Mapping[str, Any]
    value: Any
    before: Any
    change: Change


class Preview:
    """Some rows of a job, of all lengths, and what all rows cost.

    The rows are those of the last preview of this table, whatever the prompt was then.

    Args:
        whole: The job over all rows; it does not begin.
        count: The number of rows.

    Attributes:
        whole: The job over all rows.
        job: The job over these rows.
        questions: The different questions of all rows.
        errors: The rows of this preview that failed, and the rows of the whole table whose prompt
            cannot be filled in.
        last: The prompt of the last preview of these rows, if it was another one.

    Raises:
        BadArguments: The number of rows is not valid, or there is nothing to ask.

    Example:
        >>> preview = Preview(job, 20)
        >>> follow(preview.job)
        >>> preview.end()
        >>> preview.cost
        Interval(likely=1.23, low=1.15, high=1.31)
    """

    def __init__(self, whole: Job, count: int) -> None:
        if type(count) is not int or not 0 < count <= _MOST:
            raise BadArguments(
                f"preview cannot be {count!r:.40}.", f"It is a number of rows, from 1 to {_MOST:,}."
            )
        self.whole = whole
        self._records = [
            each for each in whole.journal.previews() if set(each.columns) <= set(whole.columns)
        ]
        self._unfilled: list[RowError] = []
        lengths, self._positions, known = self._read()
        if not lengths:
            raise BadArguments(
                "There is nothing to preview: no row has a value.",
                "Its columns are those in {{ }} in the prompt.",
            )
        self._lengths, self.questions = Lengths(lengths), len(lengths)
        self._sample = self._lengths.sample(count, known)
        self._chosen = [self._positions[each] for each in self._sample]
        self.job = whole.part(self._chosen, self)
        self._completions: dict[int, Completion] = {}
        self._lock = threading.Lock()
        self.rows: list[PreviewRow] = []
        self.last = ""

    def answered(self, rows: Sequence[int], completion: Completion) -> None:
        """Note the completion of some of its rows, also of one that is not usable."""
        with self._lock:
            self._completions.update(dict.fromkeys(rows, completion))

    def end(self) -> None:
        """Compare the answers with those of the last preview, and keep them."""
        rows = [each.row for each in self.job.filled(self._remembered)]
        last = next((each for each in self._records if self._is_last(each, rows)), None)
        self.last = "" if last is None else last.prompt
        used = self.whole.used
        answers: dict[str, Any] = {}
        self.rows = []
        for position, row, value in zip(self._chosen, rows, self.job.values(), strict=True):
            hashed = "" if last is None else row_hash(row, last.columns)
            before = None if last is None else last.answers.get(hashed)
            is_new = last is None or hashed not in last.answers
            change: Change = "new" if is_new else "unchanged" if before == value else "changed"
            shown = {name: row[name] for name in used}
            self.rows.append(PreviewRow(position, shown, value, before, change))
            if value is not None:
                answers[row_hash(row, used)] = value
        if answers:
            record = PreviewRecord(self.job.number, self.whole.prompt, used, answers)
            self.whole.journal.keep_preview(record)

    @property
    def errors(self) -> Errors:
        """The rows of this preview that failed, and all rows that cannot be filled in."""
        failed = [replace(error, row=self._chosen[error.row]) for error in self.job.errors]
        return Errors([*failed, *self._unfilled])

    @property
    def cost(self) -> Interval | None:
        """US dollars of all rows, with an interval that holds it 95 % of the time.

        `None` if a price is not known, or if no row has an answer.
        """
        costs = {}
        for row, completion in self._completions.items():
            if (price := completion.request.model.price) is None:
                return None
            costs[row] = float(price.cost(completion.usage))
        return self._estimated(costs)

    @property
    def tokens(self) -> Interval | None:
        """Tokens of all prompts and answers; `None` if no row has an answer."""
        return self._estimated(
            {
                row: each.usage.prompt_tokens + each.usage.completion_tokens
                for row, each in self._completions.items()
            }
        )

    @property
    def enough(self) -> int | None:
        """The rows of a preview whose interval would be within 10 %; `None` if this one is."""
        cost = self.cost
        if cost is None or not cost.likely or math.isinf(cost.high):
            return None
        width = (cost.high - cost.likely) / cost.likely
        if width <= _CLOSE:
            return None
        rows = math.ceil(len(self._sample) * (width / _CLOSE) ** 2 / 10) * 10
        return min(rows, self.questions, _MOST)

    @property
    def spent(self) -> Decimal:
        """US dollars that this preview has cost."""
        return self.job.progress.cost

    @property
    def length(self) -> int:
        """The rows in all."""
        return self.whole.length

    @property
    def is_whole(self) -> bool:
        """True if each question was asked."""
        return len(self._completions) >= self.questions

    def result(self, timeout: float | None = None) -> Any:
        """Return the answers of these rows, in the kind of the table: see `Job.result`."""
        return self.job.result(timeout)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[PreviewRow]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return preview_text(self)

    def _repr_html_(self) -> str:
        return preview_html(self)

    def _is_last(self, record: PreviewRecord, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Return True for another preview: answers of this kind, to most of its rows or these."""
        if record.job == self.job.number:
            return False
        values = list(map(record.answers.get, (row_hash(row, record.columns) for row in rows)))
        known = [value for value in values if value is not None]
        alike = all(isinstance(value, Mapping) is bool(self.job.fields) for value in known)
        return alike and 2 * len(known) > min(len(rows), len(record.answers))

    @property
    def _remembered(self) -> list[str]:
        """The columns of the last previews."""
        return list(dict.fromkeys(name for each in self._records for name in each.columns))

    def _read(self) -> tuple[array[int], array[int], list[int]]:
        """Return lengths and positions of the questions, and those of an earlier preview."""
        lengths, positions = array("Q"), array("Q")
        kept: list[dict[str, int]] = [{} for _ in self._records]
        known: dict[tuple[str, ...], dict[str, list[int]]] = {}  # numbers of records, by hash
        for number, record in enumerate(self._records):
            by_hash = known.setdefault(record.columns, {})
            for hashed in record.answers:
                by_hash.setdefault(hashed, []).append(number)
        for position, question in enumerate(self.whole.filled(self._remembered)):
            if question.error is not None:
                self._unfilled.append(replace(question.error, row=position))
            if question.content is None or question.repeated:
                continue
            for columns, by_hash in known.items():
                hashed = row_hash(question.row, columns)
                for number in by_hash.get(hashed, ()):
                    kept[number].setdefault(hashed, len(lengths))
            lengths.append(_length(question.content))
            positions.append(position)
        newest = (rows for number, rows in enumerate(kept) if self._are_most(number, len(rows)))
        return lengths, positions, list(next(newest, {}).values())

    def _are_most(self, number: int, found: int) -> bool:
        """Return True if so many rows are most of those of an earlier preview."""
        return 2 * found > len(self._records[number].answers)

    def _estimated(self, costs: Mapping[int, float]) -> Interval | None:
        """Return the sum over all questions, given the costs of some rows of this preview."""
        if not costs:
            return None
        rows = sorted(costs)
        return self._lengths.estimate(
            [self._sample[row] for row in rows], [costs[row] for row in rows]
        )


def row_hash(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return a hash of some columns of a row.

    Example:
        >>> len(row_hash({"text": "Great!"}, ["text"]))
        24
    """
    values = repr([row[name] for name in columns])
    return hashlib.blake2b(values.encode("utf-8", "replace"), digest_size=_HASH).hexdigest()


def _length(content: Any) -> int:
    """Return an estimate of the tokens of a question."""
    if isinstance(content, str):
        return estimate(content)
    return estimate_prompt([Message("user", content)])
