"""Tables of models and of prices: at each provider, and of calls as others would price them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from mixmagic.catalog.offers import Bill, Calls, Comparison, Offer
from mixmagic.core.money import format_column
from mixmagic.core.values import Model
from mixmagic.display.spend import costs_with_total
from mixmagic.display.table import Table, rates


def models_table(models: Sequence[Model], default: Model | None, about: str = "") -> Table:
    """The models that can be named; `default` is marked, `about` is said below."""
    asked = (default.provider.name, default.id) if default else None
    notes: dict[str, list[str]] = {}
    for model in models:
        notes.setdefault(model.about, []).append(model.name)
    notes.pop("", None)
    given, taken = (
        rates([_price(model, getattr(model.price, side, None)) for model in models])
        for side in ("input", "output")
    )
    return Table(
        ["", "model", "API string", "context>", "$ in / M>", "$ out / M>", "status", "good for"],
        [
            [
                "→" if asked == (model.provider.name, model.id) else "",
                model.name,
                model.id,
                f"{model.context:,}" if model.context else "?",
                price_in,
                price_out,
                model.status,
                ", ".join(model.strengths),
            ]
            for model, price_in, price_out in zip(models, given, taken, strict=True)
        ],
        "\n".join(
            ["→ asked by default", *filter(None, [about])]
            + [f"{', '.join(names)}: {note}" for note, names in notes.items()]
        ),
    )


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
    models = [offer.model for offer in offers]
    given, taken, cached = zip(*map(_prices, models), strict=True)
    written = list(map(_cache_write, models))
    priced = any(isinstance(each, Decimal) for each in written)
    costs = format_column([offer.cost for offer in offers])
    columns = {
        "": ["→" if model == asked else "" for model in models],
        "model": [model.name for model in models],
        "$ in / M>": rates(given),
        "$ out / M>": rates(taken),
        "$ cached / M>": rates(cached),
        **({"$ cache write / M>": rates(written)} if priced else {}),
        "batch>": list(map(_batch, models)),
        "1 M in + 1 M out>": [
            "free" if offer.model.provider.free and cost == "$0" else cost
            for offer, cost in zip(offers, costs, strict=True)
        ],
        "since": list(map(_since, models)),
        "status": [model.status for model in models],
        "key": ["needed" if model.provider.key_required else "not needed" for model in models],
    }
    return Table(
        list(columns),
        list(zip(*columns.values(), strict=True)),
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
    calls = comparison.calls
    columns = [
        ("model", [*(row.name for row in calls), "total"]),
        ("tokens in>", _counts([row.prompt_tokens for row in calls])),
        ("tokens out>", _counts([row.completion_tokens for row in calls])),
        ("paid>", costs_with_total(calls)),
        *((f"{bill.provider.label}>", _asked(bill, calls)) for bill in comparison.bills),
    ]
    *rows, foot = zip(*(cells for _, cells in columns), strict=True)
    return Table(
        [head for head, _ in columns],
        rows,
        "\n".join(_notes(comparison, "".join(map("".join, [*rows, foot])))),
        foot if calls else (),
    )


def _price(model: Model, price: Decimal | None) -> Decimal | str:
    """One of a model's prices, or what there is to say in its place."""
    return "free" if model.provider.free and not price else "unknown" if price is None else price


def _prices(model: Model) -> tuple[Decimal | str, Decimal | str, Decimal | str]:
    """What a model's tokens cost: in, out and from the cache."""
    price = model.price
    if _free(model):
        return "free", "free", "free"
    if price is None:
        return "price unknown", "price unknown", ""
    return price.input, price.output, "as in" if price.cached is None else price.cached


def _cache_write(model: Model) -> Decimal | str:
    """The price of a model's tokens that go into the cache."""
    if _free(model):
        return "free"
    if model.price is None:
        return ""
    return "as in" if model.price.cache_write is None else model.price.cache_write


def _batch(model: Model) -> str:
    """The share of its prices that a model costs in batch jobs; no arithmetic, which may round."""
    if model.price is None or _free(model):
        return ""
    share = f"{model.price.batch:%}".removesuffix("%")
    return f"{share.rstrip('0').rstrip('.') if '.' in share else share}%"


def _free(model: Model) -> bool:
    """Whether nobody asks for money; a user's file may have a price for one's own machine."""
    return model.provider.free and (model.price is None or model.price.free)


def _counts(counts: Sequence[int]) -> list[str]:
    """Numbers of tokens, and their sum."""
    return [f"{count:,}" for count in [*counts, sum(counts)]]


def _asked(bill: Bill, calls: Sequence[Calls]) -> list[str]:
    """What a provider would have asked for each model's calls, and for all of them."""
    asked = [
        replace(row, cost=cost or Decimal(0), unpriced=int(cost is None), lost=0, billed_tries=0)
        for row, cost in zip(calls, bill.costs, strict=True)
    ]
    shown = costs_with_total(asked)
    if bill.provider.free:
        shown = ["free" if cost == "$0" else cost for cost in shown]
    parts = zip(bill.models, shown[:-1], strict=True)
    total = "not all served" if None in bill.models else shown[-1]
    return [*("not served" if model is None else cost for model, cost in parts), total]


def _notes(comparison: Comparison, shown: str) -> list[str]:
    """What should be known of a comparison, of which `shown` is seen above."""
    notes = ["the same tokens at today's prices" if comparison.calls else "nothing to compare"]
    if not (comparison.calls or comparison.unanswered):
        notes = ["nothing to compare: no model of this session is served by another provider"]
    if any(row.cached_tokens for row in comparison.calls):
        notes.append("cached tokens are priced as if they had come from the other's cache, too")
    for bill in comparison.bills:
        for status in sorted({m.status for m in bill.models if m} - {"available"}):
            notes.append(f"{bill.provider.label}: {status}")
    for about, rows in (
        ("served by nobody else", comparison.alone),
        ("not compared, for no tokens of an answer are known", comparison.unanswered),
    ):
        if rows:
            listed = ", ".join(f"{row.name} ({costs_with_total([row])[0]})" for row in rows)
            notes.append(f"{about}: {listed}")
    everything = "".join([shown, *notes])
    marks = {
        "≥": "some prices are not known",
        "≤": "lost calls are counted at their most, and their tokens are not known",
        "≈": "some tokens are estimated",
    }
    return [*notes, *(f"{mark}: {said}" for mark, said in marks.items() if mark in everything)]


def _since(model: Model) -> str:
    """The day from which the price holds, else the day on which it was looked at."""
    if model.price is None or _free(model):
        return ""
    if model.price.since:
        return model.price.since.isoformat()
    return f"({model.checked.isoformat()})" if model.checked else ""
