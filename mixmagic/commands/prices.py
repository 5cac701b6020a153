"""Compare the providers' prices for a model."""

from __future__ import annotations

from argparse import Namespace

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, models
from mixmagic.sessions import Session


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("model", nargs="?", metavar="MODEL", values=models, help="default: the model in use")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show the prices of a model at every provider that serves it."""
    from mixmagic.catalog.offers import offers
    from mixmagic.display.prices import prices_table

    name = options.model or session.model
    out.show(prices_table(offers(session.catalog, name), session.select(name).model))
