"""`-c`, and `%mixmagic chats`: which cell asks; conversations listed, shown, forgotten, saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.commands._parser import Parser
from mixmagic.errors import BadArguments

if TYPE_CHECKING:  # imported when a conversation is asked for: `%load_ext` stays light
    from mixmagic.display.chats import Conversation
    from mixmagic.display.table import Table
    from mixmagic.tasks.chats import Cell, Chats


def cell_id(shell: Any) -> Cell | None:
    """The cell that runs now, and its run.

    `None` where the front end does not tell: in a terminal, and under nbclient (which nbconvert
    and papermill use), where each cell runs once.
    """
    from mixmagic.tasks.chats import Cell

    get_parent = getattr(shell, "get_parent", None)
    parent = get_parent() if get_parent is not None else None
    if not isinstance(parent, dict):
        return None
    metadata, header = parent.get("metadata"), parent.get("header")
    identity = metadata.get("cellId") if isinstance(metadata, dict) else None
    run = header.get("msg_id") if isinstance(header, dict) else None
    return Cell(identity, str(run)) if isinstance(identity, str) and identity else None


def chats(kept: Chats, words: list[str]) -> Table | Conversation | str:
    """What `%mixmagic chats …` shows: a table, a conversation, or a line that says what was done.

    Raises:
        BadArguments: Words that make no sense, or a conversation that is not there.
        StoreError: A file that cannot be written.
    """
    command, *rest = words or ["list"]
    commands: dict[str, Callable[[Chats, list[str]], Table | Conversation | str]] = {
        "list": _list,
        "show": _show,
        "forget": _forget,
        "save": _save,
    }
    if command not in commands:
        raise BadArguments(
            f"%mixmagic chats has no command {command!r:.40}.",
            f"Commands are {', '.join(commands)}; `%mixmagic?` says what they do.",
        )
    return commands[command](kept, rest)


def _parsed(command: str, words: list[str], *arguments: tuple[str, dict[str, Any]]) -> Any:
    """The words of one command."""
    parser = Parser(f"%mixmagic chats {command}")
    for name, how in arguments:
        parser.add_argument(name, **how)
    return parser.parse_args(words)


def _list(kept: Chats, words: list[str]) -> Table:
    """All conversations."""
    from mixmagic.display.chats import chats_table

    _parsed("list", words)
    return chats_table(kept)


def _show(kept: Chats, words: list[str]) -> Conversation:
    """One conversation to read."""
    from mixmagic.display.chats import Conversation

    return Conversation(kept.exchanges(_parsed("show", words, ("name", {})).name))


def _forget(kept: Chats, words: list[str]) -> str:
    """Drop one conversation, or all."""
    options = _parsed(
        "forget", words, ("name", {"nargs": "?"}), ("--all", {"action": "store_true"})
    )
    if (options.name is None) != options.all:
        raise BadArguments(
            "Which conversation is to be forgotten?",
            "`%mixmagic chats forget NAME` drops one, `forget --all` drops all.",
        )
    names = kept.names if options.all else (options.name,)
    dropped = sum(kept.forget(name) for name in names)
    exchanges = "1 exchange" if dropped == 1 else f"{dropped:,} exchanges"
    return f"Forgotten: {', '.join(names) or 'nothing'} ({exchanges})."


def _save(kept: Chats, words: list[str]) -> str:
    """Write one conversation to a file."""
    from mixmagic.display.chats import save

    options = _parsed(
        "save",
        words,
        ("name", {}),
        ("file", {"nargs": "+", "metavar": "FILE"}),
        ("--force", {"action": "store_true"}),
    )
    exchanges = kept.exchanges(options.name)
    path = Path(" ".join(options.file).strip("'\""))  # a name may have blanks
    save(options.name, exchanges, path, force=options.force)
    return f"{path} has the conversation {options.name!r}, as it is now."
