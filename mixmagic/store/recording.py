"""One recorded call, and its line in a cassette.

The line has neither keys nor headers nor URLs. Texts of several lines are lists of their lines, so
that their changes can be read in a comparison.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixmagic.calls import codec

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded call: a line of a cassette.

    Attributes:
        key: The key of its request, 32 hexadecimal digits.
        n: Its scope and its number among equal requests there, such as `9f2c41ab/0`.
        request: The request, as `calls.codec` writes it.
        answer: The answer, or `None` after an error.
        error: The error, or `None`.
        model: The model that answered, if it is not the request's: a row of a request's JSON.
        pace: Seconds since the start, and the characters received by then; empty if not streamed.
        timing: The times of the call: `elapsed`, `ttft`, `thinking`.
        recorded: `date` in UTC, and `by`, the version that recorded it.
        at: The number of its line in the file, from 1; 0 if it is in none.

    Example:
        >>> Recording.of_line(recording.line()) == recording
        True
    """

    key: str
    n: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    pace: tuple[tuple[float, int], ...] = ()
    timing: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)
    at: int = field(default=0, compare=False)

    @property
    def scope(self) -> str:
        """The part of the work that asked: a cell, a row, a column; or the whole process."""
        return self.n.rpartition("/")[0]

    @property
    def number(self) -> int:
        """Its number among equal requests in its scope, from 0."""
        return int(self.n.rpartition("/")[2])

    def line(self) -> bytes:
        """Return the line, without its end."""
        values = {
            "key": self.key,
            "n": self.n,
            "request": _with_lines(self.request),
            "model": self.model,
            "answer": self.answer and _with_lines(self.answer),
            "error": self.error and _with_lines(self.error),
            "pace": self.pace,
            "timing": self.timing,
            "recorded": self.recorded,
        }
        return codec.dumps({name: value for name, value in values.items() if value}).encode()

    @classmethod
    def of_line(cls, line: bytes, at: int = 0) -> Recording:
        """Return the recording in a line.

        Raises:
            ValueError: The line is damaged.
        """
        try:
            data = json.loads(line)
            number = data["n"].rpartition("/")[2]
            answer, error = data.get("answer"), data.get("error")
            if (answer is None) is (error is None) or not _NUMBER.fullmatch(number):
                raise ValueError("it has no answer")
            return cls(
                _typed(data["key"], str),
                data["n"],
                _with_texts(_typed(data["request"], dict)),
                None if answer is None else _with_texts(_typed(answer, dict)),
                None if error is None else _with_texts(_typed(error, dict)),
                data.get("model"),
                tuple(
                    (float(seconds), int(received)) for seconds, received in data.get("pace", ())
                ),
                _typed(data.get("timing", {}), dict),
                _typed(data.get("recorded", {}), dict),
                at,
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"it has no {error}") from None

    def equals(self, other: Recording) -> bool:
        """Return True if models, answers, usage and ends are equal, whenever they were recorded."""
        return self._essence() == other._essence()

    def _essence(self) -> object:
        """Return the parts that make a recording another one."""
        answer, error = self.answer or {}, self.error or {}
        partial, model = error.get("partial", {}), self.model or self.request.get("model", {})
        return (
            self.key,
            [model.get(name) for name in ("provider", "id")],
            [answer.get(name) for name in ("text", "others", "reasoning", "finish", "usage")],
            [error.get(name) for name in ("type", "message", "status")],
            [partial.get(name) for name in ("text", "others", "reasoning")],
        )


def _with_lines(value: Any) -> Any:
    """Return JSON of `calls.codec` with texts of several lines as lists of their lines."""
    return _mapped(value, _split)


def _with_texts(value: Any) -> Any:
    """Return JSON of `calls.codec` with lists of lines as texts."""
    return _mapped(value, _joined)


def _mapped(value: Any, change: Any) -> Any:
    """Return JSON with the texts of messages and answers changed; parameters stay."""
    mapped = dict(value)
    for name in ("text", "reasoning"):
        if name in mapped:
            mapped[name] = change(mapped[name])
    if "others" in mapped:
        mapped["others"] = [change(text) for text in mapped["others"]]
    if "partial" in mapped:
        mapped["partial"] = _mapped(mapped["partial"], change)
    if "messages" in mapped:
        mapped["messages"] = [
            {**message, "content": _content(message["content"], change)}
            for message in mapped["messages"]
        ]
    return mapped


def _content(content: Any, change: Any) -> Any:
    """Return the content of a message with its texts changed: a text, or a list of parts."""
    if isinstance(content, list) and not any(isinstance(item, str) for item in content):
        return [{**part, "text": change(part["text"])} if "text" in part else part
                for part in content]  # fmt: skip
    return change(content)


def _split(text: str) -> Any:
    return text.split("\n") if "\n" in text[:-1] else text  # a cell may end with one


def _joined(text: Any) -> Any:
    return "\n".join(text) if isinstance(text, list) else text


def _typed(value: Any, kind: type) -> Any:
    """Return a value of JSON, after a check of its type."""
    if not isinstance(value, kind):
        raise TypeError(kind.__name__)
    return value
