"""Show, clear or export the stored answers, or turn the answer cache on or off.

The cache has the answers to questions with a temperature of 0 or a seed, and to cells with --cache.
It stores no prompts.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, models
from mixmagic.core import files
from mixmagic.errors import BadArguments, counted

if TYPE_CHECKING:
    from mixmagic.sessions import Session
    from mixmagic.text.table import Table


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    command = args.add_commands(required=False)
    command("stats", "Show the size of the cache and what it has saved (the default)")
    command("on", "Use the cache in this session")
    command("off", "Do not use the cache in this session")
    clear = command("clear", "Delete the stored answers")
    clear.add("--model", metavar="NAME", values=models, help="only those of one model")
    export = command("export", "Write the stored answers to a file, one JSON object a line")
    export.add("file", metavar="FILE")
    export.add("--force", action="store_true", help="overwrite the file if it exists")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Run one of the subcommands."""
    match options.command:
        case "on" | "off":
            out.print(_turn(session, options.command, in_shell=out.shell is None))
        case "clear":
            of = None if options.model is None else session.catalog.serving(options.model)
            out.print(f"Deleted: {counted(session.cache.clear(of), 'answer')}.")
        case "export":
            count = _export(session, path := Path(options.file), force=options.force)
            out.print(f"Wrote {counted(count, 'answer')} to {path}.")
        case _:
            out.show(_table(session))


def _turn(session: Session, word: str, *, in_shell: bool) -> str:
    """Turn the cache on or off in this session; return a message.

    Raises:
        BadArguments: A shell has no session.
    """
    line = f"cache = {str(word == 'on').lower()}"
    file = session.settings.config_dir / "config.toml"
    if in_shell:
        raise BadArguments(
            f"A shell command has no session in which to turn the cache {word}.",
            f"For all sessions, put `{line}` into {file}.",
        )
    session.cache.on = word == "on"
    return (
        f"The answer cache is {word} in this session.\nFor all sessions, put `{line}` into {file}."
    )


def _export(session: Session, path: Path, *, force: bool) -> int:
    """Write all answers to a file, or leave it unchanged; return how many.

    Raises:
        BadArguments: The file exists, or cannot be written.
        StoreError: The cache cannot be read.
    """
    if not force and path.exists():
        raise BadArguments(f"{path} exists.", "Add --force to overwrite it.")
    lines = [json.dumps(entry) + "\n" for entry in session.cache.entries()]
    try:
        files.write(path, "".join(lines), newline="\n")
    except (OSError, ValueError) as error:
        raise BadArguments(
            f"{path} cannot be written: {files.reason(error)}.", "Name a file in another folder."
        ) from None
    return len(lines)


def _table(session: Session) -> Table:
    """Return the size of the cache and what it has saved."""
    from mixmagic.core.money import format_dollars
    from mixmagic.text.table import Table

    cache = session.cache
    found = cache.statistics()
    state = "on" if cache.on else "off"
    return Table(
        ["answers>", "MB>", "of MB>", "hits>", "saved>"],
        [
            [
                f"{found.answers:,}",
                f"{found.size / 1e6:,.1f}",
                f"{found.limit / 1e6:,.0f}",
                f"{found.hits:,}",
                format_dollars(found.saved),
            ]
        ],
        f"{state} · {cache.database.path}",
    )
