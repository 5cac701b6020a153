"""List, show, forget or save the conversations of `%%mixtral -c NAME`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, conversations
from mixmagic.errors import BadArguments, counted
from mixmagic.sessions import Session

ONLY_IN = "notebook"


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    command = args.add_commands(required=False)
    command("list", "List all conversations (the default)")
    show = command("show", "Show a conversation")
    show.add("name", metavar="NAME", values=conversations)
    forget = command("forget", "Forget a conversation, or all")
    forget.add("name", nargs="?", metavar="NAME", values=conversations)
    forget.add("--all", action="store_true", help="forget all conversations")
    save = command("save", "Save a conversation to a Markdown or JSON file")
    save.add("name", metavar="NAME", values=conversations)
    save.add("file", metavar="FILE")
    save.add("--force", action="store_true", help="overwrite the file if it exists")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Run one of the subcommands."""
    chats = session.chats
    match options.command:
        case "show":
            from mixmagic.display.chats import Conversation

            out.show(Conversation(chats.exchanges(options.name)))
        case "forget":
            if (options.name is None) != options.all:
                raise BadArguments(
                    "The conversation to forget is missing, or not clear.",
                    "Write `chats forget NAME`, or `chats forget --all`.",
                )
            names = chats.names if options.all else (options.name,)
            count = sum(chats.forget(name) for name in names)
            size = counted(count, "exchange")
            out.print(f"Forgotten: {', '.join(names) or 'nothing'} ({size}).")
        case "save":
            from mixmagic.display.chats import save

            exchanges = chats.exchanges(options.name)
            save(options.name, exchanges, path := Path(options.file), force=options.force)
            out.print(f"Saved conversation {options.name!r} to {path}.")
        case _:
            from mixmagic.display.chats import chats_table

            out.show(chats_table(chats))
