"""The settings of a session as lines of text: each with its value, and where that comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mixmagic.core.settings import DEFAULTS, Settings

if TYPE_CHECKING:
    from mixmagic.sessions import Session

_LONGEST = 60


def lines(session: Session, name: str | None = None, *, in_shell: bool) -> list[str]:
    """Return the settings of a session, aligned; or a single one.

    Args:
        session: The session.
        name: A default's name, or `budget`; all if `None`, with those settings that are not at
            their own defaults.
        in_shell: True if there is no session but that of a command.

    Example:
        >>> lines(session, "temperature", in_shell=False)
        ['temperature: 0.2 (config.toml)']
    """
    rows = [*_defaults(session), *_budgets(session, in_shell=in_shell)]
    if name is not None:
        wanted = name.replace("_", "-")
        chosen = (row for row in rows if row[0].partition(" ")[0] == wanted)
        return [
            f"{title}: {value}" + (source and f" ({source})") for title, value, source in chosen
        ]
    rows += _others(session.settings)
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{row[0]:{first}}  {row[1]:{second}}  {row[2]}".rstrip() for row in rows]


def text_of(value: Any) -> str:
    """Return a value in one short line."""
    if isinstance(value, list):
        return ", ".join(map(repr, value))
    text = " ".join(str(value).split()) if value != "" else '""'
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _defaults(session: Session) -> Iterator[tuple[str, str, str]]:
    """Yield title, value and origin of what calls take by default."""
    values = {**session.defaults(), "model": session.model}
    for name in DEFAULTS:
        title = name.replace("_", "-")
        if name in values:
            yield title, text_of(values[name]), session.origin(name)
        else:
            yield title, "not set", ""


def _budgets(session: Session, *, in_shell: bool) -> Iterator[tuple[str, str, str]]:
    """Yield title, value and origin of the limits on spending."""
    from mixmagic.core.money import format_dollars

    sources = session.settings.sources
    shown = [limit for limit in session.limits() if not (in_shell and limit.per == "session")]
    if not any(limit.per == "session" for limit in shown):
        yield "budget", "not set", ""
    for limit in shown:
        title = "budget" if limit.per == "session" else f"budget per {limit.per}"
        of_settings = limit.raised_by.startswith("budget_")
        origin = sources.get(f"budget_{limit.per}", "") if of_settings else "%mixmagic budget"
        yield title, format_dollars(limit.dollars), origin


def _others(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield title, value and origin of the other settings that are set."""
    shown = {*DEFAULTS, "budget_session", "budget_day", "budget_month"}
    for each in fields(Settings):
        if each.name in settings.sources and each.name not in shown:
            value = getattr(settings, each.name)
            text = ", ".join(value) if isinstance(value, dict) else text_of(value)
            yield each.name, text, settings.sources[each.name]
