"""What the completion offers on the lines of this session's magics."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from mixmagic.magics._completion import Completions, Line, command, constant, from_parser
from mixmagic.sessions import Session


def offer(shell: Any, session: Session, parser: ArgumentParser) -> None:
    """Complete `%%mixtral`, whose options are `parser`'s, and `%mixmagic`."""

    def models() -> Iterable[str]:
        return [model.name for model in session.catalog.models]

    def providers() -> Iterable[str]:
        return session.catalog.providers

    def formats() -> Iterable[str]:
        from mixmagic.display.formats import FORMATS

        return FORMATS

    def programs() -> Iterable[str]:
        from mixmagic.tasks.programs import PROGRAMS

        return PROGRAMS

    def tasks() -> Iterable[str]:
        from mixmagic.tasks.choosing import TASKS

        return TASKS

    def templates() -> Iterable[str]:
        from mixmagic.tasks.templates import templates

        return templates(session.settings.config_dir / "templates")

    def chats() -> Iterable[str]:
        return session.chats.names

    values = {"model": models, "format": formats, "as": programs, "task": tasks}
    values |= {"template": templates, "chat": chats}
    spend = ("--today", "--month", "--all", "--elsewhere", "--resolve")
    by = constant(("model", "day", "notebook", "status"))
    commands = {
        "use": command(words=models),
        "prices": command(words=models),
        "models": command("--live", "--for", words=providers),
        "spend": command(*spend, by=by),
        "budget": command("--notebook", per=constant(("session", "day", "month"))),
        "chats": command(words=constant(("show", "forget", "save"))),
        "templates": command(),
        "login": command(words=providers),
        "logout": command(words=providers),
        "doctor": command(),
    }
    Completions(
        shell, {"mixtral": from_parser(parser, values), "mixmagic": Line(commands=commands)}
    )
