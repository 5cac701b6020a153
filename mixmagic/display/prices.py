"""Tables of models, of a model's prices, and of calls at other providers' prices."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from mixmagic.catalog.offers import AsIf, Bill, Calls, Comparison, Offer
from mixmagic.core.money import exact_sum, format_column
from mixmagic.core.servers import needs_key
from mixmagic.core.values import Model, Provider
from mixmagic.display.records import csv_text
from mixmagic.display.spend import costs_with_total
from mixmagic.errors import counted
from mixmagic.text.table import Table, rates


def models_table(models: Sequence[Model], default: Model | None, about: str = "") -> Table:
    """Return the table of models; `default` is marked, `about` stands below."""
    marked = (default.provider.name, default.id) if default else None
    notes: dict[str, list[str]] = {}
    for model in models:
        notes.setdefault(model.about, []).append(model.name)
    notes.pop("", None)
    input_rates, output_rates = rates(
        *(
            [_price_cell(model, getattr(model.price, side, None)) for model in models]
            for side in ("input", "output")
        )
    )
    return Table(
        ["", "model", "API string?", "context>", "$ in / M>", "$ out / M>", "status", "good for?"],
        [
            [
                "→" if marked == (model.provider.name, model.id) else "",
                model.name,
                model.id,
                f"{model.context:,}" if model.context else "?",
                price_in,
                price_out,
                model.status,
                ", ".join(model.strengths),
            ]
            for model, price_in, price_out in zip(models, input_rates, output_rates, strict=True)
        ],
        "\n".join(
            ["→ used by default"] * any(marked == (m.provider.name, m.id) for m in models)
            + [about] * bool(about)
            + [f"{', '.join(names)}: {note}" for note, names in notes.items()]
        ),
    )


def prices_table(
    offers: Sequence[Offer],
    asked: Model | None,
    has_key: Callable[[Provider], bool] = lambda provider: False,
    *,
    sources: bool = False,
    about: str = "",
) -> Table:
    """Return the table of a model's prices at each provider, cheapest first; `asked` is marked.

    Args:
        offers: The model at each provider.
        asked: The model that a call would use; `None` if none can answer.
        has_key: Returns True if a provider's API key is set.
        sources: True to show since when each price is valid, and where it was found.
        about: A line below the table.

    Returns:
        A row for each offer. An unknown price is called unknown; it is never 0.

    Example:
        >>> prices_table(offers(catalog, "8x7b"), catalog.resolve("8x7b"), session.available)
    """
    models = [offer.model for offer in offers]
    prices = [model.price for model in models]
    inputs, outputs, cached, written = rates(
        *zip(*map(_prices, models), strict=True),
        [_other(model, "cached") for model in models],
        [_other(model, "cache_write") for model in models],
    )
    costs = format_column([offer.cost for offer in offers])
    columns = {
        "": ["→" if model == asked else "" for model in models],
        "model": [model.name for model in models],
        "$ in / M>": inputs,
        "$ out / M>": outputs,
        "1 M in + 1 M out?>": [
            "free" if offer.model.provider.free and cost == "$0" else cost
            for offer, cost in zip(offers, costs, strict=True)
        ],
    }
    if any(price and price.cached is not None for price in prices):
        columns["cached in>"] = cached
    if any(price and price.cache_write is not None for price in prices):
        columns["cache write>"] = written
    if any(price and price.batch != 1 for price in prices):
        columns["batch jobs?>"] = list(map(_batch, models))
    if sources:
        columns["since"] = list(map(_since, models))
    columns["status"] = [model.status for model in models]
    columns["key"] = [_key(model.provider, has_key) for model in models]
    notes = ["→ used for this name"] * any(columns[""])
    notes += ["US dollars for a million tokens", "cheapest first, also if not served today"]
    lines = [*filter(None, [about]), " · ".join(notes), *(_source_lines(models) if sources else ())]
    return Table(list(columns), list(zip(*columns.values(), strict=True)), "\n".join(lines))


def elsewhere_table(comparison: Comparison, short_name: Callable[[str], str]) -> Table:
    """Return the table of the cost that the same tokens would have at other providers.

    Returns:
        A row for each model with the cost paid, and a column for each provider.

    Example:
        >>> elsewhere_table(elsewhere(catalog, rows), catalog.short_name)
    """
    calls = comparison.calls
    columns = [
        ("model", [*(short_name(row.name) for row in calls), "total"]),
        ("tokens in?>", _counts([row.prompt_tokens for row in calls])),
        ("tokens out?>", _counts([row.completion_tokens for row in calls])),
        ("paid>", costs_with_total(calls)),
        *((f"{bill.provider.label}>", _costs_at(bill, calls)) for bill in comparison.bills),
    ]
    *rows, foot = zip(*(cells for _, cells in columns), strict=True)
    return Table(
        [head for head, _ in columns],
        rows,
        "\n".join(_comparison_notes(comparison, short_name, "".join(map("".join, [*rows, foot])))),
        foot if calls else (),
    )


class AsIfReport:
    """The cost that the same tokens would have had at another model: a table, or a CSV file.

    Args:
        result: The cost.
        about: The period, in words.
        short_name: Returns the short name of `provider:API-string`.

    Example:
        >>> AsIfReport(as_if(catalog, rows, model), "this session", catalog.short_name)
    """

    def __init__(self, result: AsIf, about: str, short_name: Callable[[str], str]) -> None:
        self._result, self._about, self._short_name = result, about, short_name

    def __len__(self) -> int:
        return len(self._result.calls)

    @property
    def table(self) -> Table:
        """A row for each model that answered, with the cost paid, and the total."""
        result, calls = self._result, self._result.calls
        if not calls:
            return Table([], [], f"No calls: {self._about}.")
        repriced = [
            replace(
                row,
                cost=cost or Decimal(0),
                unpriced=int(cost is None),
                lost=0,
                billed_tries=0,
                estimated=int(bool(row.estimated) or not exact),
            )
            for row, cost, exact in zip(calls, result.costs, result.exact, strict=True)
        ]
        costs = costs_with_total(repriced)
        if result.model.free:
            costs = ["free"] * len(costs)
        columns = [
            ("model", [*(self._short_name(row.name) for row in calls), "total"]),
            ("tokens in>", _counts([row.prompt_tokens for row in calls])),
            ("tokens out>", _counts([row.completion_tokens for row in calls])),
            ("paid>", costs_with_total(calls)),
            (f"as if {result.model.name}>", costs),
        ]
        *rows, foot = zip(*(cells for _, cells in columns), strict=True)
        notes = [f"{self._about} · the same tokens at today's price of {result.model.name}"]
        notes += self._notes("".join(map("".join, [*rows, foot])))
        return Table([head for head, _ in columns], rows, "\n".join(notes), foot)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return comma-separated values with a header; write them to a file, if one is given.

        `cost` is empty if it is not known. `exact` is true if both models count tokens in the same
        way, and the provider counted them.

        Raises:
            StoreError: The file cannot be written; an earlier one stays as it was.
        """
        result = self._result
        columns = ["model", "prompt_tokens", "cached_tokens", "completion_tokens", "cost"]
        return csv_text(
            [*columns, "as_if", "as_if_cost", "exact"],
            [
                [
                    *(self._short_name(row.name), row.prompt_tokens, row.cached_tokens),
                    *(row.completion_tokens, paid, result.model.name, cost),
                    str(exact and not row.estimated).lower(),
                ]
                for row, cost, exact in zip(result.calls, result.costs, result.exact, strict=True)
                for paid in [None if row.unpriced and not row.cost else row.cost]
            ],
            path,
        )

    def _notes(self, cells: str) -> Iterator[str]:
        """Yield notes on what makes the costs uncertain."""
        calls, exact = self._result.calls, self._result.exact
        if self._result.model.free:
            exact = (True,) * len(calls)
        if others := [row for row, same in zip(calls, exact, strict=True) if not same]:
            names = ", ".join(self._short_name(row.name) for row in others)
            yield (
                f"≈: {self._result.model.name} has another tokenizer than {names}, or it is not"
                " known: the same text has other tokens, so this is an estimate"
            )
        if any(row.estimated for row in calls):
            yield "≈: some tokens are estimated: their provider did not count them"
        if lost := sum(row.lost for row in calls):
            yield f"{counted(lost, 'lost call')} left out: the tokens are not known"
        if any(row.unpriced for row in calls):
            yield "paid: without calls whose price is not known"
        if "≤" in cells:
            yield "≤: lost calls and tries that may have been billed, at their worst case"


def _price_cell(model: Model, price: Decimal | None) -> Decimal | str:
    """Return one of a model's prices, or `free` or `unknown`."""
    return "free" if model.provider.free and not price else "unknown" if price is None else price


def _prices(model: Model) -> tuple[Decimal | str, Decimal | str]:
    """Return a model's prices: input and output."""
    price = model.price
    if model.free:
        return "free", "free"
    return ("price unknown",) * 2 if price is None else (price.input, price.output)


def _other(model: Model, name: str) -> Decimal | str:
    """Return the price of tokens read from a cache, or written into it: that of input, if none."""
    if model.price is None or model.free:
        return ""
    own: Decimal | None = getattr(model.price, name)
    return model.price.input if own is None else own


def _key(provider: Provider, has_key: Callable[[Provider], bool]) -> str:
    """Return if a provider's API key is set."""
    if not needs_key(provider):
        return "not needed"
    return "set" if has_key(provider) else "not set"


def _source_lines(models: Sequence[Model]) -> list[str]:
    """Return where prices were found, and what their days mean."""
    sources: dict[str, list[str]] = {}
    for model in models:
        if model.price and model.price.source:
            sources.setdefault(model.price.source, []).append(model.name)
    lines = [f"{', '.join(names)}: {source}" for source, names in sources.items()]
    if any(_since(model).startswith("(") for model in models):
        lines.insert(0, "since (day): the day of the last check; the price may be older")
    return lines


def _batch(model: Model) -> str:
    """Return the discount of batch jobs in percent."""
    if model.price is None or model.free or model.price.batch == 1:
        return ""
    share = f"{exact_sum([model.price.batch, Decimal(-1)]):+%}".removesuffix("%")
    return f"{share.rstrip('0').rstrip('.') if '.' in share else share}%"


def _counts(counts: Sequence[int]) -> list[str]:
    """Format numbers of tokens, and their sum."""
    return [f"{count:,}" for count in [*counts, sum(counts)]]


def _costs_at(bill: Bill, calls: Sequence[Calls]) -> list[str]:
    """Return a provider's cost of each model's calls, and of all of them."""
    repriced = [
        replace(row, cost=cost or Decimal(0), unpriced=int(cost is None), lost=0, billed_tries=0)
        for row, cost in zip(calls, bill.costs, strict=True)
    ]
    costs = costs_with_total(repriced)
    if bill.provider.free:
        costs = ["free" if cost == "$0" else cost for cost in costs]
    parts = zip(bill.models, costs[:-1], strict=True)
    total = costs[-1]
    if None in bill.costs:
        total = "not all served" if None in bill.models else "price unknown"
    return [*("not served" if model is None else cost for model, cost in parts), total]


def _comparison_notes(
    comparison: Comparison, short_name: Callable[[str], str], cells: str
) -> list[str]:
    """Return the notes for a comparison; `cells` is all text of the table."""
    notes = ["the same tokens at today's prices" if comparison.calls else "Nothing to compare."]
    if not (comparison.calls or comparison.unanswered):
        notes = ["Nothing to compare: no other provider serves these models."]
    if any(row.cached_tokens for row in comparison.calls):
        notes.append("cached tokens are priced as cached by the other provider, too")
    for bill in comparison.bills:
        for status in sorted({m.status for m in bill.models if m} - {"available"}):
            notes.append(f"{bill.provider.label}: {status}")
    for about, rows in (
        ("served by no other provider", comparison.alone),
        ("not compared, because their answers' tokens are unknown", comparison.unanswered),
    ):
        if rows:
            listed = ", ".join(
                f"{short_name(row.name)} ({costs_with_total([row])[0]})" for row in rows
            )
            notes.append(f"{about}: {listed}")
    if any(row.unpriced for row in comparison.calls):
        notes.append("paid: without calls whose price is not known")
    everything = "".join([cells, *notes])
    marks = {
        "≤": "lost calls are counted at their worst case; their tokens are unknown",
        "≈": "some tokens are estimated",
    }
    return [
        *notes,
        *(f"{mark}: {meaning}" for mark, meaning in marks.items() if mark in everything),
    ]


def _since(model: Model) -> str:
    """Return the day from which the price is valid, or in parentheses the day of its last check."""
    if model.price is None or model.free:
        return ""
    if model.price.since:
        return model.price.since.isoformat()
    return f"({model.checked.isoformat()})" if model.checked else ""
