"""Compare the providers' prices for a model."""

from __future__ import annotations

from argparse import Namespace

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, models
from mixmagic.errors import MixmagicError
from mixmagic.sessions import Session

# Compared if only one provider serves the model in use, such as `local`.
_COMPARED = "8x7b"


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("model", nargs="?", metavar="MODEL", values=models, help="default: the model in use,"
        " or 8x7b if only one provider serves that")  # fmt: skip
    args.add("--sources", action="store_true", help="show since when prices are valid, and where"
        " they were found")  # fmt: skip
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show the prices of a model at every provider that serves it."""
    from mixmagic.catalog.offers import offers
    from mixmagic.display.prices import prices_table

    name = options.model or session.model
    found = offers(session.catalog, name)
    if options.model is None and len(found) < 2:
        name = _COMPARED
        found = offers(session.catalog, name)
    used, why = None, ""
    try:
        used = session.answering(name).model
    except MixmagicError as error:
        why = error.message
    out.show(prices_table(found, used, session.available, sources=options.sources, about=why))
