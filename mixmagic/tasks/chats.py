"""Conversations that cells continue by name: in this process's memory alone.

May be imported by `parts` and what stands above it.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mixmagic.calls.completion import Completion
from mixmagic.calls.tokens import RESERVE
from mixmagic.core import lazy
from mixmagic.core.values import Message, Model
from mixmagic.errors import BadArguments, did_you_mean

_NAME = re.compile(r"\w[\w.-]{0,59}")
# How an answer ended, where nothing is to be said about it.
_WHOLE = ("stop", "tool_calls")


class Cell(NamedTuple):
    """A cell of a notebook while it runs.

    Attributes:
        id: The same at each of its runs.
        run: This run: a cell may ask more than once, in a loop for example.
    """

    id: str
    run: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer.

    Attributes:
        question: As it was sent, without system texts: those belong to a call.
        answer: What came of the answer.
        model: Who answered.
        finish: How the answer ended: `stop`, `length`, `stopped` (by the user), `broken off`, …
        at: When, in seconds since 1970.
        cell: Whose it is; `None` where the front end does not tell.
    """

    question: str
    answer: str
    model: Model
    finish: str
    at: float
    cell: Cell | None = None

    @property
    def messages(self) -> tuple[Message, Message]:
        """The two turns."""
        return Message("user", self.question), Message("assistant", self.answer)

    @property
    def mark(self) -> str:
        """What should be known of how the answer ended; empty where it is whole."""
        if self.finish == "length":
            return "cut off at its token limit"
        return "" if self.finish in _WHOLE else self.finish


class Chats:
    """The conversations of one session, by name. They may be used from any thread.

    A forked child has its own copy. Nothing is written to a file but by
    `display.chats.save`.

    Example:
        >>> chats = Chats()
        >>> chats.add("trip", None, "Where to?", session.ask("Where to?"))
        True
        >>> [each.question for each in chats.before("trip")]
        ['Where to?']
    """

    def __init__(self) -> None:
        self._chats: dict[str, tuple[Exchange, ...]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The conversations, the one that was begun first first."""
        return tuple(self._chats)

    def exchanges(self, name: str) -> tuple[Exchange, ...]:
        """All of a conversation, in the order of its cells' first runs.

        Raises:
            BadArguments: There is no such conversation.
        """
        chats = self._chats
        if name in chats:
            return chats[name]
        listed = f"They are {', '.join(chats)}." if chats else "`%%mixtral -c NAME` begins one."
        raise BadArguments(
            f"There is no conversation {name!r:.80}.", f"{did_you_mean(name, chats)}{listed}"
        )

    def before(self, name: str, cell: Cell | None = None) -> tuple[Exchange, ...]:
        """What a cell continues: everything, for a cell that is new in the conversation.

        A cell that is run again continues what stood before it then: neither its own exchange
        of that time nor what later cells have added. A conversation begins empty.

        Args:
            name: The conversation.
            cell: Who asks; `None` where that is not known.

        Raises:
            BadArguments: No conversation can have this name.
        """
        kept = self._chats.get(_checked(name), ())
        start, end = _own(kept, cell)
        if start < end and cell is not None and kept[start].cell == cell:
            return kept[:end]  # its own ones of this same run
        return kept[:start]

    def add(self, name: str, cell: Cell | None, question: str, answer: Completion) -> bool:
        """Keep an exchange: in the place of what the same cell added in an earlier run, or last.

        Nothing else is changed: what later cells have asked stays behind it. An answer that was
        stopped or broke off is kept, marked, where it has any text; else what the cell added in
        an earlier run stays, too.

        Args:
            name: The conversation.
            cell: Who asked; `None` adds at the end.
            question: The prompt as it was sent, without system texts.
            answer: What came of it.

        Returns:
            Whether it is kept.

        Raises:
            BadArguments: No conversation can have this name.
        """
        _checked(name)
        if not answer.text.strip():
            return False
        made = Exchange(question, answer.text, answer.model, answer.finish, time.time(), cell)
        with lazy.lock:  # a child never finds it half done
            kept = self._chats.get(name, ())
            start, end = _own(kept, cell)
            now = tuple(each for each in kept[start:end] if each.cell == cell)
            self._chats = {**self._chats, name: (*kept[:start], *now, made, *kept[end:])}
        return True

    def forget(self, name: str) -> int:
        """Drop a conversation, and return how many exchanges it had.

        Raises:
            BadArguments: There is no such conversation.
        """
        with lazy.lock:
            dropped = self.exchanges(name)
            self._chats = {key: kept for key, kept in self._chats.items() if key != name}
        return len(dropped)


def trimmed(
    exchanges: Sequence[Exchange],
    call: Sequence[Message],
    room: int | None,
    count: Callable[[Sequence[Message]], int],
) -> tuple[tuple[Message, ...], int]:
    """A conversation that fits: its oldest exchanges are left out, whole ones, as few as can be.

    Where not even the call by itself fits, all are left out: it is refused when it is sent.

    Args:
        exchanges: What the call continues, the oldest first.
        call: The call's own messages: system texts, which stay first, then the question.
        room: Tokens that the prompt may have: see `room_for`; `None` is no limit.
        count: The tokens of a prompt.

    Returns:
        The messages to send, and how many exchanges are left out.

    Example:
        >>> trimmed(chats.before("trip"), [Message("user", "And then?")], 31_744, count)
    """
    system = [message for message in call if message.role == "system"]
    asked = [message for message in call if message.role != "system"]

    def without(dropped: int) -> tuple[Message, ...]:
        turns = (turn for each in exchanges[dropped:] for turn in each.messages)
        return (*system, *turns, *asked)

    if room is None:
        return without(0), 0
    # Fewer exchanges are fewer tokens: a long conversation is counted a few times, not many.
    dropped = bisect_left(
        range(len(exchanges)), True, key=lambda dropped: count(without(dropped)) <= room
    )
    return without(dropped), dropped


def room_for(model: Model, max_tokens: int | None) -> int | None:
    """The tokens that a prompt may have: the context without the answer; `None` where unknown.

    The most that there can be: what an exchange said is lost where it is left out. Values of
    `{{ }}` are cut to less: see `prompts.room_for`.

    Args:
        model: Who is asked.
        max_tokens: Tokens of the answer; where `None`, `RESERVE` or a quarter of the context.
    """
    if model.context is None:
        return None
    answer = min(RESERVE, model.context // 4) if max_tokens is None else max_tokens
    return max(model.context - answer, 0)


def left_out(dropped: int) -> str:
    """What the line below an answer says of `trimmed`; empty where nothing was left out."""
    if not dropped:
        return ""
    oldest = "oldest exchange" if dropped == 1 else f"{dropped:,} oldest exchanges"
    return f"without the {oldest}: its context has no room"


def _checked(name: str) -> str:
    """The name, where a conversation can have it."""
    if not _NAME.fullmatch(name):
        raise BadArguments(
            f"A conversation cannot be called {name!r:.80}.",
            "Its name is one word of letters, digits, `_`, `-` and `.`, 60 at the most.",
        )
    return name


def _own(kept: Sequence[Exchange], cell: Cell | None) -> tuple[int, int]:
    """From where to where the cell's exchanges stand; two ends where it has none."""
    places = [
        place for place, each in enumerate(kept) if cell and each.cell and each.cell.id == cell.id
    ]
    return (places[0], places[-1] + 1) if places else (len(kept), len(kept))
