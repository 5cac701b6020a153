"""What the completion offers on the lines of this session's magics."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, get_origin

from IPython.core import completer

from mixmagic.magics._shell.completer import (
    Completions,
    Line,
    Values,
    command,
    constant,
    from_parser,
)
from mixmagic.sessions import Session


def offer(shell: Any, session: Session, parser: ArgumentParser) -> None:
    """Complete `%%mixtral`, whose options are `parser`'s, and `%mixmagic`."""
    if not hasattr(completer, "context_matcher"):  # IPython 7, which Colab has
        return

    def models() -> Iterable[str]:
        rows = session.catalog.models
        aliases = [alias for row in rows for alias in row.aliases]
        return dict.fromkeys([*aliases, *(row.name for row in rows)])

    def providers() -> Iterable[str]:
        return session.catalog.providers

    def formats() -> Iterable[str]:
        from mixmagic.display.formats import FORMATS

        return FORMATS

    def programs() -> Iterable[str]:
        from mixmagic.tasks.export import programs

        return programs()

    def tasks() -> Iterable[str]:
        from mixmagic.catalog.selection import TASKS

        return TASKS

    def templates() -> Iterable[str]:
        from mixmagic.prompting.templates import templates

        return templates(session.settings.templates)

    def chats() -> Iterable[str]:
        return session.chats.names or ("chat",)

    def variables(fit: Callable[[Any], bool]) -> Values:
        def named() -> Iterable[str]:
            own = {*shell.user_ns} - {*shell.user_ns_hidden, "In", "Out"}
            shown = (name for name in own if not name.startswith("_"))
            return sorted(name for name in shown if fit(shell.user_ns[name]))

        return named

    def schema(value: Any) -> bool:
        return issubclass(type(value), (dict, type)) or get_origin(value) is not None

    def data(value: Any) -> bool:
        return type(value) is not ModuleType and not callable(value)

    values = {"model": models, "format": formats, "as": programs, "task": tasks}
    values |= {"template": templates, "chat": chats}
    values |= {"schema": variables(schema), "out": variables(data)}
    spend = ("--today", "--month", "--all", "--elsewhere", "--resolve")
    by = constant(("model", "day", "notebook", "status"))
    commands = {
        "use": command(words=models),
        "prices": command(words=models),
        "models": command("--live", "--for", words=providers),
        "spend": command(*spend, by=by),
        "budget": command("--notebook", per=constant(("session", "day", "month"))),
        "chats": Line(
            commands={
                "show": command(words=chats),
                "forget": command("--all", words=chats),
                "save": command("--force", words=chats),
            }
        ),
        "templates": command(),
        "login": command(words=providers),
        "logout": command(words=providers),
        "doctor": command(),
    }
    mixtral = from_parser(parser, values, words=constant(("fix",)))
    Completions(shell, {"mixtral": mixtral, "mixmagic": Line(commands=commands)})
