"""A conversation as a text to read, and as a file.

May be imported by `parts` and what stands above it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mixmagic.calls.completion import quiet
from mixmagic.core import files
from mixmagic.errors import BadArguments, StoreError
from mixmagic.tasks.chats import Exchange
from mixmagic.text.sanitize import sanitize


def markdown(exchanges: Sequence[Exchange]) -> str:
    """A conversation to read: what was said, made harmless, under a line that tells by whom."""
    parts = []
    for number, each in enumerate(exchanges, 1):
        who = " · ".join(filter(None, (each.model.name, each.mark)))
        for line, text in (("you", each.question), (who, each.answer)):
            parts += [quiet(f"{number} · {line}"), sanitize(text)]
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
