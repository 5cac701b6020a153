"""Conversations that cells continue by name, in this process's memory only."""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mixmagic.calls.completion import Completion
from mixmagic.calls.tokens import RESERVE
from mixmagic.core import lazy
from mixmagic.core.values import Message, Model, Part
from mixmagic.errors import BadArguments, did_you_mean

_NAME = re.compile(r"\w[\w.-]{0,59}")
# Bytes of images in a conversation: Gemini takes requests of 20 MB, and Base64 adds a third.
_IMAGE_BYTES = 12_000_000
# Finish reasons of whole answers.
_WHOLE = ("stop", "tool_calls")


class Cell(NamedTuple):
    """A cell of a notebook while it runs.

    Attributes:
        id: Constant over its runs.
        run: Of this run: a cell may send several requests, for example in a loop.
    """

    id: str
    run: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer.

    Attributes:
        question: The prompt as sent, text or parts, without system prompts, which belong to a call.
        answer: The text received.
        model: The model that answered.
        finish: Why the answer ended: `stop`, `length`, `stopped` (by the user), `broken off`, …
        at: Time in seconds since 1970.
        cell: The cell; `None` if the front end does not tell.
    """

    question: str | tuple[Part, ...]
    answer: str
    model: Model
    finish: str
    at: float
    cell: Cell | None = None

    @property
    def messages(self) -> tuple[Message, Message]:
        """The two messages."""
        return Message("user", self.question), Message("assistant", self.answer)

    @property
    def asked(self) -> str:
        """The question for people, with `[image 640×480]` in place of each image."""
        return self.messages[0].described

    @property
    def mark(self) -> str:
        """A note for an incomplete answer; empty for a whole one."""
        if self.finish == "length":
            return "cut off at its token limit"
        return "" if self.finish in _WHOLE else self.finish


class Chats:
    """The conversations of one session, by name. Thread-safe; a forked child has its own copy.

    Example:
        >>> chats = Chats()
        >>> chats.add("trip", None, "Where to?", session.ask("Where to?")).finish
        'stop'
        >>> [each.question for each in chats.before("trip")]
        ['Where to?']
    """

    def __init__(self) -> None:
        self._chats: dict[str, tuple[Exchange, ...]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all conversations, the oldest first."""
        return tuple(self._chats)

    def exchanges(self, name: str) -> tuple[Exchange, ...]:
        """Return all exchanges of a conversation, in the order of their cells' first runs.

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
        """Return the exchanges that a cell continues: all, for a cell new in the conversation.

        A cell that runs again continues the exchanges before it, without those of its own earlier
        run and of later cells. A conversation begins empty.

        Args:
            name: The conversation.
            cell: The cell; `None` if unknown.

        Raises:
            BadArguments: The name is not valid.
        """
        exchanges = self._chats.get(_valid(name), ())
        start, end = _span_of(exchanges, cell)
        if start < end and cell is not None and exchanges[start].cell == cell:
            return exchanges[:end]  # with its own ones of the same run
        return exchanges[:start]

    def before_exchange(self, name: str, exchange: Exchange) -> tuple[Exchange, ...]:
        """Return the exchanges before one of a conversation; all if it is no longer in it."""
        exchanges = self._chats.get(name, ())
        return exchanges[: _index(exchanges, exchange)]

    def add(
        self,
        name: str,
        cell: Cell | None,
        question: str | tuple[Part, ...],
        answer: Completion,
        *,
        instead_of: Exchange | None = None,
    ) -> Exchange | None:
        """Add an exchange at the end, or in place of those of an earlier run of the same cell.

        The exchanges of later cells stay after it. An incomplete answer is added with a mark. An
        answer without text is not added, and does not replace anything. Images are kept up to
        12 MB in a conversation: of older ones, it keeps a note of their sizes.

        Args:
            name: The conversation.
            cell: The cell; `None` adds at the end.
            question: The prompt as sent, text or parts, without system prompts.
            answer: The answer.
            instead_of: The exchange to replace, if it is still there.

        Returns:
            The exchange; `None` if it was not added.

        Raises:
            BadArguments: The name is not valid.
        """
        _valid(name)
        if not answer.text.strip():
            return None
        new = Exchange(question, answer.text, answer.model, answer.finish, time.time(), cell)
        with lazy.lock:  # so that no fork happens in between
            exchanges = self._chats.get(name, ())
            at = len(exchanges) if instead_of is None else _index(exchanges, instead_of)
            start, end, kept = at, at + 1, list[Exchange]()
            if at == len(exchanges):
                start, end = _span_of(exchanges, cell)
                kept = [each for each in exchanges[start:end] if each.cell == cell]
            changed = _bounded((*exchanges[:start], *kept, new, *exchanges[end:]))
            self._chats = {**self._chats, name: changed}
        return new

    def forget(self, name: str) -> int:
        """Remove a conversation and return the number of its exchanges.

        Raises:
            BadArguments: There is no such conversation.
        """
        with lazy.lock:
            removed = self.exchanges(name)
            self._chats = {key: value for key, value in self._chats.items() if key != name}
        return len(removed)


def trim(
    exchanges: Sequence[Exchange],
    call: Sequence[Message],
    limit: int | None,
    count: Callable[[Sequence[Message]], int],
) -> tuple[tuple[Message, ...], int]:
    """Return the messages of a conversation without its oldest exchanges, as few as necessary.

    If not even the call's own messages fit, all exchanges are left out; the call is refused later.

    Args:
        exchanges: The exchanges that the call continues, the oldest first.
        call: The call's own messages: system prompts, which stay first, then the question.
        limit: Tokens of the prompt: see `prompt_limit`; `None` for no limit.
        count: Counts the tokens of a prompt.

    Returns:
        The messages to send, and the number of exchanges left out.

    Example:
        >>> trim(chats.before("trip"), [Message("user", "And then?")], 31_744, count)
    """
    system = [message for message in call if message.role == "system"]
    own = [message for message in call if message.role != "system"]

    def without(dropped: int) -> tuple[Message, ...]:
        earlier = (m for exchange in exchanges[dropped:] for m in exchange.messages)
        return (*system, *earlier, *own)

    if limit is None:
        return without(0), 0
    # Counting is slow, so bisect: fewer exchanges have fewer tokens.
    dropped = bisect_left(
        range(len(exchanges)), True, key=lambda dropped: count(without(dropped)) <= limit
    )
    return without(dropped), dropped


def prompt_limit(model: Model, max_tokens: int | None) -> int | None:
    """Return the tokens that a prompt may have: the context without the answer.

    It reserves little for the answer, since an exchange left out is lost. For values of `{{ }}`,
    `interpolate.values_limit` reserves more.

    Args:
        model: The model.
        max_tokens: Tokens of the answer; `None` for `RESERVE` or a quarter of the context.

    Returns:
        Tokens; `None` if the context is unknown.
    """
    if model.context is None:
        return None
    answer = min(RESERVE, model.context // 4) if max_tokens is None else max_tokens
    return max(model.context - answer, 0)


def trim_note(dropped: int) -> str:
    """Return the footer's note about exchanges left out by `trim`; empty for 0."""
    if not dropped:
        return ""
    oldest = "oldest exchange" if dropped == 1 else f"{dropped:,} oldest exchanges"
    return f"without the {oldest}, to fit the context"


def _bounded(exchanges: tuple[Exchange, ...]) -> tuple[Exchange, ...]:
    """Return exchanges with no more than `_IMAGE_BYTES` of images, of which the newest stay."""
    kept, total = [], 0
    for exchange in reversed(exchanges):
        size = sum(len(image.data) for image in exchange.messages[0].images)
        total += size
        fits = not size or total <= _IMAGE_BYTES
        kept.append(exchange if fits else replace(exchange, question=exchange.asked))
    return tuple(reversed(kept))


def _valid(name: str) -> str:
    """Return the name of a conversation; raise `BadArguments` if it is not valid."""
    if not _NAME.fullmatch(name):
        raise BadArguments(
            f"A conversation cannot be called {name!r:.80}.",
            "Use one word of at most 60 letters, digits, `_`, `-` and `.`.",
        )
    return name


def _span_of(exchanges: Sequence[Exchange], cell: Cell | None) -> tuple[int, int]:
    """Return start and end of a cell's exchanges; an empty span at the end if it has none."""
    own = [
        index
        for index, exchange in enumerate(exchanges)
        if cell and exchange.cell and exchange.cell.id == cell.id
    ]
    return (own[0], own[-1] + 1) if own else (len(exchanges), len(exchanges))


def _index(exchanges: Sequence[Exchange], exchange: Exchange) -> int:
    """Return the index of an exchange, the same object; their number if it is not among them."""
    return next((at for at, each in enumerate(exchanges) if each is exchange), len(exchanges))
