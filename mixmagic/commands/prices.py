"""`%mixmagic prices` and `%mixmagic spend --elsewhere`: what others ask for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixmagic.commands._parser import Parser

if TYPE_CHECKING:  # imported when a table is asked for: `%load_ext` stays light
    from mixmagic.display.table import Table
    from mixmagic.sessions import Session


def prices(session: Session, words: list[str]) -> Table:
    """What a model costs at each provider that serves it; the session's model where none is named.

    Raises:
        BadArguments: A word too many.
        UnknownModel: No row has this name.
    """
    from mixmagic.catalog.offers import offers
    from mixmagic.display.prices import prices_table

    parser = Parser("%mixmagic prices")
    parser.add_argument("model", nargs="?")
    name = parser.parse_args(words).model or session.model
    return prices_table(offers(session.catalog, name), session.select(name).model)


def elsewhere(session: Session) -> Table:
    """What this session's tokens would have cost at each provider that serves the same models.

    Raises:
        StoreError: The ledger cannot be read.
    """
    from mixmagic.catalog.offers import Calls, elsewhere
    from mixmagic.display.prices import elsewhere_table

    rows = []
    for spent in session.ledger.spent():
        provider, _, model = spent.name.partition(":")
        rows.append(
            Calls(
                provider,
                model,
                spent.prompt_tokens,
                spent.cached_tokens,
                spent.completion_tokens,
                spent.cost,
                spent.unpriced,
                spent.lost,
                spent.estimated,
                spent.billed_tries,
            )
        )
    return elsewhere_table(elsewhere(session.catalog, rows))
