"""Questions and answers that show a model what is wanted: from a variable to messages."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mixmagic.core.values import Message
from mixmagic.errors import BadArguments, counted

# Names of the two columns, or keys, in this order.
_NAMES = (
    ("question", "answer"),
    ("input", "output"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "response"),
    ("instruction", "output"),
    ("user", "assistant"),
    ("source", "target"),
    ("text", "label"),
    ("q", "a"),
)
_TAKES = (
    "Give a list of pairs, as in [(question, answer), …], of dicts, or a DataFrame with two columns"
    " or with columns question and answer."
)
# Examples of one call, at most.
_MOST = 1_000


def pairs(value: Any, name: str = "the value") -> list[tuple[str, str]]:
    """Return the questions and answers of a list, a dict or a DataFrame.

    Args:
        value: A list of pairs or dicts, a dict from questions to answers, or a DataFrame of pandas
            or polars. Dicts and DataFrames have two entries, or some named as in `question`,
            `answer`; `input`, `output`; `prompt`, `completion`.
        name: The variable's name, for messages.

    Raises:
        BadArguments: It is none of these, or a question or an answer is missing.

    Example:
        >>> pairs([{"input": "2 + 2", "output": 4}])
        [('2 + 2', '4')]
    """
    columns = getattr(value, "columns", None)
    if columns is not None and hasattr(value, "shape"):
        question, answer = _keys(list(columns), name)
        rows = list(zip(value[question], value[answer], strict=True))
    elif isinstance(value, Mapping):
        rows = list(value.items())
        if named := _named(list(value)):
            row = value[named[0]], value[named[1]]
            rows = list(zip(*row, strict=True)) if _are_columns(row) else [row]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        rows = [_pair(each, f"{name}[{number}]") for number, each in enumerate(value)]
    else:
        kind = type(value).__name__
        raise BadArguments(f"{name} cannot be examples: its type is {kind}.", _TAKES)
    if not rows:
        raise BadArguments(f"{name} is empty: it has no examples.", _TAKES)
    return [
        (_text(question, "question", name, number), _text(answer, "answer", name, number))
        for number, (question, answer) in enumerate(rows)
    ]


def messages(
    examples: Sequence[Sequence[str]],
    limit: int | None,
    count: Callable[[Sequence[Message]], int],
) -> tuple[tuple[Message, ...], str]:
    """Return the turns of as many examples as fit, the first ones, and a note for the footer.

    Args:
        examples: The questions and answers.
        limit: Tokens that they may take; `None` for no limit.
        count: Counts the tokens of messages.

    Raises:
        BadArguments: Not even the first one fits.

    Example:
        >>> messages([("2 + 2", "4")], None, count)[1]
        '1 example'
    """
    turns = [
        turn
        for question, answer in examples[:_MOST]
        for turn in (Message("user", question), Message("assistant", answer))
    ]
    fitting = len(turns) // 2
    if limit is not None:
        numbers = range(1, fitting + 1)
        fitting = bisect_right(numbers, limit, key=lambda number: count(turns[: 2 * number]))
    if not fitting:
        raise BadArguments(
            "Not even the first example fits into the model's context.",
            "Shorten it, lower --max-tokens, or choose a model with a longer context.",
        )
    note = counted(fitting, "example")
    if fitting < len(examples):
        note = f"the first {fitting:,} of {len(examples):,} examples, as many as fit"
    return tuple(turns[: 2 * fitting]), note


def _are_columns(row: tuple[Any, Any]) -> bool:
    """Return True for two lists of the same length: columns, as of `frame.to_dict("list")`."""
    return all(isinstance(each, list | tuple) for each in row) and len(row[0]) == len(row[1])


def _pair(item: Any, name: str) -> tuple[Any, Any]:
    """Return the two parts of an example."""
    if isinstance(item, Mapping):
        question, answer = _keys(list(item), name)
        return item[question], item[answer]
    if isinstance(item, str | bytes) or not hasattr(item, "__len__") or len(item) != 2:
        raise BadArguments(f"{name} is {item!r:.60}, not a question and its answer.", _TAKES)
    question, answer = item
    return question, answer


def _keys(keys: list[Any], name: str) -> tuple[Any, Any]:
    """Return the keys of question and answer: by their names, or the only two."""
    if (named := _named(keys)) is not None:
        return named
    if len(set(keys)) == len(keys) == 2:
        return keys[0], keys[1]
    listed = ", ".join(f"{key}" for key in keys[:8]) + " …" * (len(keys) > 8)
    raise BadArguments(
        f"{name} has {counted(len(keys), 'column')} ({listed}): which are question and answer?",
        f"Choose two, as in {name}[['text', 'label']], or name them question and answer.",
    )


def _named(keys: list[Any]) -> tuple[Any, Any] | None:
    """Return the two keys with names that are known, if each is there once."""
    known = {str(key).strip().lower(): key for key in keys}
    for question, answer in _NAMES:
        if question in known and answer in known and len(known) == len(keys):
            return known[question], known[answer]
    return None


def _text(value: Any, kind: str, name: str, number: int) -> str:
    """Return a question or an answer as text: data as JSON."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict | list):
        text = json.dumps(value, ensure_ascii=False, default=str)
    elif _is_missing(value):
        text = ""
    else:
        text = str(value)
    if not text.strip():
        raise BadArguments(
            f"{name}[{number}] has no {kind}.", "Leave it out, or fill it in: nothing was sent."
        )
    return text


def _is_missing(value: Any) -> bool:
    """Return True for `None`, and for what pandas takes for missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value  # noqa: PLR0124  # NaN
