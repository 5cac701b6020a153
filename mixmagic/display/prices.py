"""Tables of prices: a model at every provider that serves it, and calls as others price them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from mixmagic.completion import dollars
from mixmagic.display.report import Table
from mixmagic.tasks.prices import Bill, Calls, Comparison, Offer
from mixmagic.values import Model


def prices_table(offers: Sequence[Offer], asked: Model) -> Table:
    """What a model costs at each provider that serves it, the cheapest first.

    Args:
        offers: What `tasks.prices.offers` found, in US dollars.
        asked: The row that the name meant; it is marked.

    Returns:
        A row for each offer. A price that is not known is called so, and is never 0.

    Example:
        >>> prices_table(offers(catalog, "8x7b"), catalog.resolve("8x7b"))
    """
    sources: dict[str, list[str]] = {}
    for model in (offer.model for offer in offers):
        if model.price and model.price.source:
            sources.setdefault(model.price.source, []).append(model.name)
    about = (
        "→ what is asked by this name · the cheapest first, whether or not it is served today ·"
        " (day): when a price of unknown start was looked at"
    )
    columns = ["", "model", "$ in / M>", "$ out / M>", "$ cached / M>", "batch>"]
    return Table(
        [*columns, "1 M in + 1 M out>", "since", "status", "key"],
        [
            [
                "→" if offer.model == asked else "",
                offer.model.name,
                *_rates(offer.model),
                _cost(offer.cost, free=offer.model.provider.free),
                _since(offer.model),
                offer.model.status,
                "needed" if offer.model.provider.key_required else "not needed",
            ]
            for offer in offers
        ],
        "\n".join([about, *(f"{', '.join(names)}: {said}" for said, names in sources.items())]),
    )


def elsewhere_table(comparison: Comparison) -> Table:
    """What the same tokens would have cost at each provider that serves the same models.

    Args:
        comparison: What `tasks.prices.elsewhere` found, in US dollars.

    Returns:
        A row for each model, with what was paid, and a column for each provider.

    Example:
        >>> elsewhere_table(elsewhere(catalog, rows))
    """
    calls, bills = comparison.calls, comparison.bills
    rows = [
        [
            row.name,
            f"{row.prompt_tokens:,}",
            f"{row.completion_tokens:,}",
            _paid([row]),
            *(_part(bill, place) for bill in bills),
        ]
        for place, row in enumerate(calls)
    ]
    given = sum(row.prompt_tokens for row in calls)
    taken = sum(row.completion_tokens for row in calls)
    foot = ["total", f"{given:,}", f"{taken:,}", _paid(calls), *map(_total, bills)]
    return Table(
        ["model", "tokens in>", "tokens out>", "paid>", *(f"{b.provider.label}>" for b in bills)],
        rows,
        "\n".join(
            _notes(comparison, bounded=any("≥" in cell for row in [*rows, foot] for cell in row))
        ),
        foot if calls else (),
    )


def _rates(model: Model) -> tuple[str, str, str, str]:
    """A model's prices: in, out, from the cache, and the share of them in batch jobs."""
    price = model.price
    if model.provider.free:
        return "free", "free", "free", ""
    if price is None:
        return "price unknown", "price unknown", "", ""
    cached = "as in" if price.cached is None else _rate(price.cached)
    return _rate(price.input), _rate(price.output), cached, f"{(100 * price.batch).normalize():f}%"


def _rate(value: Decimal) -> str:
    """Dollars per million tokens: all digits, and two at the least."""
    digits = len(f"{value.normalize():f}".partition(".")[2])
    return f"{value:.{max(2, digits)}f}"


def _since(model: Model) -> str:
    """The day from which the price holds, else the day on which it was looked at."""
    if model.price is None or model.provider.free:
        return ""
    if model.price.since:
        return model.price.since.isoformat()
    return f"({model.checked.isoformat()})" if model.checked else ""


def _cost(cost: Decimal | None, *, free: bool) -> str:
    """A cost, at somebody who may be free."""
    return "free" if free and cost is not None else dollars(cost)


def _paid(rows: Sequence[Calls]) -> str:
    """What calls have cost; a lower bound where the price of some was not known."""
    cost = sum((row.cost for row in rows), Decimal(0))
    if not any(row.unpriced for row in rows):
        return dollars(cost)
    return f"≥ {dollars(cost)}" if cost else dollars(None)


def _part(bill: Bill, place: int) -> str:
    """What one model's calls would have cost at a provider."""
    if bill.models[place] is None:
        return "not served"
    return _cost(bill.costs[place], free=bill.provider.free)


def _total(bill: Bill) -> str:
    """What all calls would have cost at a provider."""
    if None in bill.models:
        return "not all served"
    known = [cost for cost in bill.costs if cost is not None]
    if bill.cost is None and any(known):
        return f"≥ {dollars(sum(known, Decimal(0)))}"
    return _cost(bill.cost, free=bill.provider.free)


def _notes(comparison: Comparison, *, bounded: bool) -> list[str]:
    """What should be known of a comparison; `bounded` where some sums are lower bounds."""
    if comparison.calls:
        notes = ["the same tokens at today's prices"]
    else:
        notes = ["nothing to compare: no model of this session is served by another provider"]
    if bounded:
        notes.append("≥: some prices are not known")
    if any(row.cached_tokens for row in comparison.calls):
        notes.append("cached tokens are priced as if they had come from the other's cache, too")
    for bill in comparison.bills:
        for status in sorted({m.status for m in bill.models if m} - {"available"}):
            notes.append(f"{bill.provider.label}: {status}")
    if comparison.alone:
        listed = ", ".join(f"{row.name} ({_paid([row])})" for row in comparison.alone)
        notes.append(f"served by nobody else: {listed}")
    return notes
