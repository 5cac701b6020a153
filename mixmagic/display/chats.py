"""Conversations: the table of them, and one of them to read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mixmagic.calls import tokens
from mixmagic.core.terminal import encodable
from mixmagic.display.report import Table
from mixmagic.tasks.chats import Chats, Exchange
from mixmagic.tasks.transcripts import markdown
from mixmagic.text.escape import plain


def chats_table(chats: Chats) -> Table:
    """The conversations of a session, the one that was used last first.

    Returns:
        A row for each: its exchanges, its texts' tokens as the models that answered count them
        (≈ where that is an estimate), and when something was added last, in local time.

    Example:
        >>> chats_table(session.chats)
    """
    kept = [(name, chats.exchanges(name)) for name in chats.names]
    kept.sort(key=lambda chat: -max(each.at for each in chat[1]))
    said = "%mixmagic chats show NAME · forget NAME or --all · save NAME FILE"
    if not kept:
        said = "No conversation: `%%mixtral -c NAME` begins one."
    return Table(
        ["conversation", "exchanges>", "tokens>", "last used"],
        [
            [
                name,
                f"{len(exchanges):,}",
                _tokens(exchanges),
                _day(max(each.at for each in exchanges)),
            ]
            for name, exchanges in kept
        ],
        said,
    )


class Conversation:
    """A conversation that shows itself: as Markdown in a notebook, as text elsewhere.

    Args:
        exchanges: All of it.

    Example:
        >>> Conversation(session.chats.exchanges("trip"))
    """

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._exchanges = tuple(exchanges)

    def __str__(self) -> str:
        parts = []
        for number, each in enumerate(self._exchanges, 1):
            mark = f" ({each.mark})" if each.mark else ""
            parts += [
                f"{number} · you: {each.question.strip()}",
                f"{number} · {each.model.name}{mark}: {each.answer.strip()}",
            ]
        return encodable(plain("\n\n".join(parts)))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/markdown": markdown(self._exchanges), "text/plain": str(self)}


def _tokens(exchanges: Sequence[Exchange]) -> str:
    """The tokens of all texts together."""
    counts = [
        tokens.count_text(text, each.model)
        for each in exchanges
        for text in (each.question, each.answer)
    ]
    about = "" if all(count.exact for count in counts) else "≈ "
    return f"{about}{sum(count.tokens for count in counts):,}"


def _day(at: float) -> str:
    """A moment, in local time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
