"""List the models that can answer, with their prices and contexts.

With `--live` the providers are asked for their own lists; these models and their prices are known
from then on.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, providers
from mixmagic.errors import MixmagicError, counted

if TYPE_CHECKING:
    from mixmagic.core.values import Model
    from mixmagic.sessions import Session
    from mixmagic.text.table import Table


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("provider", nargs="*", metavar="PROVIDER", values=providers, help="only theirs")
    args.add("--all", action="store_true", help="also those that nobody serves at present")
    args.add("--live", action="store_true", help="ask the providers, or all of them")
    args.add("--for", dest="purpose", nargs="+", metavar="PURPOSE", help="only those that are good"
        ' at something, such as "long documents", or at a task')  # fmt: skip
    args.exclude("--for", "--live")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show the catalog's models, those of some providers, or those that suit a purpose."""
    from mixmagic.catalog.selection import is_served
    from mixmagic.display.prices import models_table

    if options.purpose:
        out.show(_suited(session, " ".join(options.purpose), everything=options.all))
        return
    names = options.provider or list(session.catalog.providers)
    named = [session.catalog.provider(name) for name in names]
    about = []
    if options.live and len(options.provider) == 1:
        rows: Sequence[Model] = session.live_models(options.provider[0])
    else:
        if options.live:
            about.append(" · ".join(_live_count(session, name) for name in names))
        rows = [row for row in session.catalog.models if row.provider in named]
    if not options.provider:
        rows = sorted(rows, key=lambda row: not _is_set_up(session, row))
        about += _about(session)
    else:
        about += [f"{each.label}: {each.note}" for each in named if each.note]
    shown = [row for row in rows if options.all or is_served(row)]
    if hidden := len(rows) - len(shown):
        about.append(f"{hidden} more, not served at present: --all")
    out.show(models_table(shown, _default(session), "\n".join(about)))


def _about(session: Session) -> list[str]:
    """Return who serves Mixtral today, and the models that can be used now."""
    from mixmagic.catalog.selection import served_today, usable

    providers = session.catalog.providers.values()
    own = [f"-m {each.name}:NAME" for each in providers if each.is_users]
    return [
        "first those that need no more setup, then by provider",
        f"servers of your own: {', '.join(own)}; `%mixmagic models ollama --live` lists NAMEs",
        served_today(session.catalog),
        f"usable now: {', '.join(usable(session.catalog, session.available))}",
    ]


def _is_set_up(session: Session, model: Model) -> bool:
    """Return True if a model needs no server, or its provider's API key is set."""
    provider = model.provider
    return provider.backend == "local" or (provider.key_required and session.available(provider))


def _live_count(session: Session, provider: str) -> str:
    """Ask a provider for its models; return how many it has, or why it did not say."""
    try:
        return f"{provider}: {counted(len(session.live_models(provider)), 'model')}"
    except MixmagicError as error:
        return f"{provider}: {error.message}"


def _default(session: Session) -> Model | None:
    """Return the session's model; `None` if there is no such model, or it cannot answer."""
    with suppress(MixmagicError):
        return session.answering().model
    return None


def _suited(session: Session, purpose: str, *, everything: bool) -> Table:
    """Return the models that suit a purpose, the best first, with the guide to models.

    Raises:
        BadArguments: No model is known to be good at it.
    """
    from mixmagic.catalog.selection import GUIDE, TASKS, is_served, suited
    from mixmagic.display.prices import models_table

    about = ["best first: by strength, by whether it is served today, and by price"]
    about += GUIDE.values()
    if purpose in TASKS:
        task = TASKS[purpose]
        about.append(f"--task {purpose}: temperature {task.temperature}, {task.model} by default")
    rows = [row for row in suited(session.catalog, purpose) if everything or is_served(row)]
    return models_table(rows, _default(session), "\n".join(about))
