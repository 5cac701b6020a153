"""Conversations: the table of them, one of them to read, and as a file."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mixmagic.calls import tokens
from mixmagic.calls.completion import muted_html
from mixmagic.core import files
from mixmagic.core.terminal import encodable
from mixmagic.display.table import Table
from mixmagic.errors import BadArguments, StoreError
from mixmagic.tasks.chats import Chats, Exchange
from mixmagic.text.escape import plain
from mixmagic.text.sanitize import sanitize


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


def markdown(exchanges: Sequence[Exchange]) -> str:
    """A conversation to read: what was said, made harmless, under a line that tells by whom."""
    parts = []
    for number, each in enumerate(exchanges, 1):
        who = " · ".join(filter(None, (each.model.name, each.mark)))
        for line, text in (("you", each.question), (who, each.answer)):
            parts += [muted_html(f"{number} · {line}"), sanitize(text)]
    return "\n\n".join(parts)


def save(name: str, exchanges: Sequence[Exchange], path: Path, *, force: bool = False) -> None:
    """Write a conversation to a file, the whole of it or nothing.

    Args:
        name: What it is called.
        exchanges: All of it.
        path: `….md` for people: what was said, made harmless as on the screen; or `….json` for
            programs: `chat` and `exchanges` with `question`, `answer`, `model`, `finish`, `at`
            (ISO 8601), to the letter.
        force: Whether a file that is there may be replaced.

    Raises:
        BadArguments: Another ending, or a file that is there.
        StoreError: It cannot be written.

    Example:
        >>> save("trip", chats.exchanges("trip"), Path("trip.md"))
    """
    writers = {".md": _as_markdown, ".json": _as_json}
    if path.suffix.lower() not in writers:
        raise BadArguments(
            f"A conversation is not saved as {path.name!r:.80}.", "Name it ….md or ….json."
        )
    try:
        path = path.expanduser()
        if path.exists() and not force:
            raise BadArguments(f"{path} is there already.", "--force replaces it.")
        files.write(path, writers[path.suffix.lower()](name, exchanges))
    except (OSError, ValueError, RuntimeError) as error:  # no such user, a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"{path} cannot be written: {reason}.", "Name a file in a folder of yours."
        ) from None


def _as_markdown(name: str, exchanges: Sequence[Exchange]) -> str:
    """The conversation as a Markdown file."""
    return f"# {name}\n\n{markdown(exchanges)}\n"


def _as_json(name: str, exchanges: Sequence[Exchange]) -> str:
    """The conversation as a JSON file."""
    rows = [
        {
            "question": each.question,
            "answer": each.answer,
            "model": each.model.name,
            "finish": each.finish,
            "at": datetime.fromtimestamp(each.at, UTC).isoformat(timespec="seconds"),
        }
        for each in exchanges
    ]
    return json.dumps({"chat": name, "exchanges": rows}, ensure_ascii=False, indent=1) + "\n"


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
