"""Conversations: a table of all, one as Markdown, and one as a file."""

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
from mixmagic.errors import BadArguments, StoreError
from mixmagic.tasks.chats import Chats, Exchange
from mixmagic.text.escape import plain
from mixmagic.text.sanitize import sanitize
from mixmagic.text.table import Table


def chats_table(chats: Chats) -> Table:
    """Return the table of a session's conversations, the last used first.

    Returns:
        A row for each: exchanges, tokens of all texts (≈ if estimated) as counted by the models
        that answered, and the local time of the last exchange.

    Example:
        >>> chats_table(session.chats)
    """
    rows = [(name, chats.exchanges(name)) for name in chats.names]
    rows.sort(key=lambda row: -max(exchange.at for exchange in row[1]))
    caption = "%mixmagic chats show NAME · forget NAME or --all · save NAME FILE"
    if not rows:
        caption = "No conversation: `%%mixtral -c NAME` begins one."
    return Table(
        ["conversation", "exchanges>", "tokens>", "last used"],
        [
            [
                name,
                f"{len(exchanges):,}",
                _tokens(exchanges),
                _local_time(max(exchange.at for exchange in exchanges)),
            ]
            for name, exchanges in rows
        ],
        caption,
    )


class Conversation:
    """A conversation: Markdown in a notebook, text elsewhere.

    Example:
        >>> Conversation(session.chats.exchanges("trip"))
    """

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._exchanges = tuple(exchanges)

    def __str__(self) -> str:
        parts = []
        for number, exchange in enumerate(self._exchanges, 1):
            mark = f" ({exchange.mark})" if exchange.mark else ""
            parts += [
                f"{number} · you: {exchange.asked.strip()}",
                f"{number} · {exchange.model.name}{mark}: {exchange.answer.strip()}",
            ]
        return encodable(plain("\n\n".join(parts)))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/markdown": markdown(self._exchanges), "text/plain": str(self)}


def markdown(exchanges: Sequence[Exchange]) -> str:
    """Return a conversation as safe Markdown: each text below a line with its author."""
    parts = []
    for number, exchange in enumerate(exchanges, 1):
        model = " · ".join(filter(None, (exchange.model.name, exchange.mark)))
        for author, text in (("you", exchange.asked), (model, exchange.answer)):
            parts += [muted_html(f"{number} · {author}"), sanitize(text)]
    return "\n\n".join(parts)


def save(name: str, exchanges: Sequence[Exchange], path: Path, *, force: bool = False) -> None:
    """Write a conversation to a file, atomically.

    Args:
        name: Its name.
        exchanges: All exchanges.
        path: `….md` for people: safe Markdown, as on the screen; or `….json` for programs: `chat`
            and `exchanges` with `question`, `answer`, `model`, `finish` and `at` (ISO 8601).
        force: True to replace an existing file.

    Raises:
        BadArguments: The name has another ending, or the file exists.
        StoreError: The file cannot be written.

    Example:
        >>> save("trip", chats.exchanges("trip"), Path("trip.md"))
    """
    writers = {".md": _as_markdown, ".json": _as_json}
    if path.suffix.lower() not in writers:
        raise BadArguments(
            f"A conversation cannot be saved as {path.name!r:.80}.", "Name the file ….md or ….json."
        )
    try:
        path = path.expanduser()
        if path.exists() and not force:
            raise BadArguments(f"{path} already exists.", "Use --force to replace it.")
        files.write(path, writers[path.suffix.lower()](name, exchanges))
    except (OSError, ValueError, RuntimeError) as error:  # no such user, a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"{path} cannot be written: {reason}.", "Choose a folder that you can write to."
        ) from None


def _as_markdown(name: str, exchanges: Sequence[Exchange]) -> str:
    """Return a conversation as a Markdown file."""
    return f"# {name}\n\n{markdown(exchanges)}\n"


def _as_json(name: str, exchanges: Sequence[Exchange]) -> str:
    """Return a conversation as a JSON file."""
    rows = [
        {
            "question": exchange.asked,
            "answer": exchange.answer,
            "model": exchange.model.name,
            "finish": exchange.finish,
            "at": datetime.fromtimestamp(exchange.at, UTC).isoformat(timespec="seconds"),
        }
        for exchange in exchanges
    ]
    return json.dumps({"chat": name, "exchanges": rows}, ensure_ascii=False, indent=1) + "\n"


def _tokens(exchanges: Sequence[Exchange]) -> str:
    """Return the tokens of all texts; ≈ if one of the counts is an estimate."""
    counts = [
        tokens.count_text(text, exchange.model)
        for exchange in exchanges
        for text in (exchange.asked, exchange.answer)
    ]
    about = "" if all(count.exact for count in counts) else "≈ "
    return f"{about}{sum(count.tokens for count in counts):,}"


def _local_time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
