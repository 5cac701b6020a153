"""List models with their prices and contexts.

With `--live` the providers are asked for their own lists; these models and their prices are known
from then on.
"""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, providers
from mixmagic.errors import MixmagicError

if TYPE_CHECKING:
    from mixmagic.core.values import Model
    from mixmagic.display.table import Table
    from mixmagic.sessions import Session


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("provider", nargs="?", metavar="PROVIDER", values=providers, help="only this one's")
    args.add("--live", action="store_true", help="ask the provider, or all of them")
    args.add("--for", dest="purpose", nargs="+", metavar="PURPOSE", help="only those that are good"
        ' at something, such as "long documents", or at a task')  # fmt: skip
    args.exclude("--for", "--live")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show the catalog's models, those of one provider, or those that suit a purpose."""
    from mixmagic.display.prices import models_table

    if options.purpose:
        out.show(_suited(session, " ".join(options.purpose)))
        return
    caption = ""
    if options.live and options.provider:
        rows = session.live_models(options.provider)
    else:
        if options.live:
            listed = [_live_count(session, name) for name in session.catalog.providers]
            caption = " · ".join(listed)
        rows = list(session.catalog.models)
        if options.provider:
            provider = session.catalog.provider(options.provider)
            rows = [row for row in rows if row.provider == provider]
    out.show(models_table(rows, _default(session), caption))


def _live_count(session: Session, provider: str) -> str:
    """Ask a provider for its models; return how many it has, or why it did not say."""
    try:
        return f"{provider}: {len(session.live_models(provider))} models"
    except MixmagicError as error:
        return f"{provider}: {error.message}"


def _default(session: Session) -> Model | None:
    """Return the session's model; `None` if there is no such model, or no key for it."""
    with suppress(MixmagicError):
        return session.select().model
    return None


def _suited(session: Session, purpose: str) -> Table:
    """Return the models that suit a purpose, the best first, with the guide to models.

    Raises:
        BadArguments: No model is known to be good at it.
    """
    from mixmagic.catalog.selection import GUIDE, TASKS, suited
    from mixmagic.display.prices import models_table

    about = ["best first: by strength, by whether it is served today, and by price"]
    about += GUIDE.values()
    if purpose in TASKS:
        task = TASKS[purpose]
        about.append(f"--task {purpose}: temperature {task.temperature}, {task.model} by default")
    return models_table(suited(session.catalog, purpose), _default(session), "\n".join(about))
