"""Past prompts and answers of a session, in this process's memory only."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from mixmagic.core import lazy
from mixmagic.errors import BadArguments

# Calls, and characters of their texts, that are kept at most.
_MOST_CALLS, _MOST_CHARACTERS = 500, 4_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A past call.

    Attributes:
        number: Its number in the session, from 1.
        prompt: The last message that was sent, without system prompts and earlier messages.
        answer: The text that was received.
        model: The name of the model that answered.
        finish: Reason why the answer ended: `stop`, `length`, …; empty if it was not whole.
        at: Time in seconds since 1970.
    """

    number: int
    prompt: str
    answer: str
    model: str
    finish: str
    at: float


class History:
    """The last calls of a session; older ones are forgotten. Thread-safe.

    Args:
        redact: Returns a text without the keys in it.

    Example:
        >>> session.history.find("median")[-1].answer
        'The middle value …'
        >>> session.history[1].prompt
        'What is a median?'
    """

    def __init__(self, redact: Callable[[Any], Any]) -> None:
        self._redact = redact
        self._entries: deque[Entry] = deque()
        self._count = self._size = 0

    def add(self, prompt: str, answer: str, model: str, finish: str) -> None:
        """Keep a call."""
        with lazy.lock:  # so that no fork happens in between
            self._count += 1
            entry = Entry(self._count, prompt, answer, model, finish, time.time())
            self._entries.append(entry)
            self._size += _size(entry)
            while len(self._entries) > _MOST_CALLS or self._size > _MOST_CHARACTERS:
                self._size -= _size(self._entries.popleft())

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.find())

    def __getitem__(self, number: int) -> Entry:
        """Return a call by its number; negative numbers count from the last one.

        Raises:
            BadArguments: There is no such call, or it is forgotten.
        """
        entries = list(self._entries)
        wanted = number if number >= 0 else self._count + 1 + number
        for entry in entries:
            if entry.number == wanted:
                return self._redacted(entry)
        kept = f"{entries[0].number} to {entries[-1].number}" if entries else "none yet"
        raise BadArguments(f"There is no call {number} in this session.", f"Calls are {kept}.")

    def find(self, text: str = "") -> list[Entry]:
        """Return the calls whose prompt or answer has a text, in any case, the oldest first."""
        entries, wanted = map(self._redacted, list(self._entries)), text.casefold()
        return [
            entry
            for entry in entries
            if wanted in entry.prompt.casefold() or wanted in entry.answer.casefold()
        ]

    def _redacted(self, entry: Entry) -> Entry:
        prompt, answer = self._redact([entry.prompt, entry.answer])
        return replace(entry, prompt=prompt, answer=answer)


def _size(entry: Entry) -> int:
    return len(entry.prompt) + len(entry.answer)
