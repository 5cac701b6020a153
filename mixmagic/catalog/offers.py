"""Prices of a model at each provider that serves it, and the cost of the same calls there.

Pure functions over the catalog. May be imported by `sessions` and the packages above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mixmagic.catalog import Catalog
from mixmagic.catalog.selection import million_cost
from mixmagic.core.money import Usage, exact_sum
from mixmagic.core.values import Model, Provider
from mixmagic.errors import UnknownModel


@dataclass(frozen=True, slots=True)
class Offer:
    """A model at one provider.

    Attributes:
        model: The catalog row, with its provider, status and price.
        cost: US dollars for a million tokens in and a million out; `None` if no price is known.
    """

    model: Model
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Calls:
    """Usage and cost of the calls to one model.

    Attributes:
        provider: The name of the provider.
        model: The API string.
        prompt_tokens: Tokens in.
        cached_tokens: Those of them that came from the provider's cache.
        completion_tokens: Tokens out.
        cost: US dollars of the calls with a known price; lost ones at their worst case.
        unpriced: Calls without a known price.
        lost: Calls with unknown usage and cost.
        estimated: Calls whose tokens we counted, not the provider.
        billed_tries: Failed tries that the provider may bill.
    """

    provider: str
    model: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost: Decimal
    unpriced: int = 0
    lost: int = 0
    estimated: int = 0
    billed_tries: int = 0

    @property
    def name(self) -> str:
        """The model's full name, `provider:API-string`."""
        return f"{self.provider}:{self.model}"

    @property
    def usage(self) -> Usage:
        """The tokens of all calls together."""
        return Usage(self.prompt_tokens, self.completion_tokens, self.cached_tokens)


@dataclass(frozen=True, slots=True)
class Bill:
    """Cost of the same calls at one provider.

    Attributes:
        provider: The provider.
        models: Its row for each model that was called; `None` if it has none.
        costs: US dollars for each; `None` if it has no such model, or no price is known.
    """

    provider: Provider
    models: tuple[Model | None, ...]
    costs: tuple[Decimal | None, ...]

    @property
    def cost(self) -> Decimal | None:
        """US dollars in total; `None` if any part is unknown, since the rest means nothing."""
        known = [cost for cost in self.costs if cost is not None]
        return exact_sum(known) if len(known) == len(self.costs) else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same calls at other providers.

    Attributes:
        calls: Calls to models that several providers serve.
        alone: Calls to models that nobody else serves: there is nothing to compare.
        bills: The cost of `calls` at each provider, the cheapest first, unknown ones last.
        unanswered: Calls without counted tokens of an answer, such as lost ones: there is nothing
            to compare.
    """

    calls: tuple[Calls, ...]
    alone: tuple[Calls, ...]
    bills: tuple[Bill, ...]
    unanswered: tuple[Calls, ...] = ()


@dataclass(frozen=True, slots=True)
class AsIf:
    """The tokens of past calls at another model's price.

    Attributes:
        model: The other model.
        calls: The calls, by the model that answered.
        costs: US dollars for each; `None` if no price is known.
        exact: For each, true if the other model counts the same tokens.
    """

    model: Model
    calls: tuple[Calls, ...]
    costs: tuple[Decimal | None, ...]
    exact: tuple[bool, ...]


def as_if(catalog: Catalog, rows: Iterable[Calls], model: Model) -> AsIf:
    """Return the cost that the same tokens would have had at another model, at today's price.

    The tokens are the same only if both models have the same tokenizer; else they are an estimate.

    Example:
        >>> calls = Calls("together", "m", 1_000_000, 0, 1_000_000, Decimal("1.20"))
        >>> as_if(Catalog(), [calls], Catalog().resolve("together:8x22b")).costs
        (Decimal('2.400000000'),)
    """
    calls = tuple(rows)
    price = model.price
    costs = tuple(None if price is None else price.short.cost(row.usage) for row in calls)
    exact = tuple(_same_tokens(catalog.resolve(row.name), model) for row in calls)
    return AsIf(model, calls, costs, exact)


def _same_tokens(one: Model, other: Model) -> bool:
    """Return True if two models count the same tokens."""
    same_tokenizer = bool(one.tokenizer) and one.tokenizer == other.tokenizer
    return same_tokenizer or bool(_model_names(one) & _model_names(other))


def offers(catalog: Catalog, name: str) -> list[Offer]:
    """Return who serves a model, and at what price.

    Two rows are the same model if they share a name: an alias such as `8x7b`, or an API string, in
    any case. A row to which a user's file gives the alias counts as that model, too.

    Args:
        catalog: The models that can be named.
        name: A model of any provider, as for `Catalog.resolve`.

    Returns:
        The cheapest first, by a million tokens in and a million out, in any status; unknown prices
        come last.

    Raises:
        UnknownModel: No row has this name.

    Example:
        >>> [offer.model.name for offer in offers(Catalog(), "disco")]
        ['together:disco']
    """
    asked = catalog.resolve(name)
    found = [Offer(model, million_cost(model)) for model in _same(asked, catalog.models)]
    return sorted(found, key=lambda offer: (offer.cost is None, offer.cost or 0))


def elsewhere(catalog: Catalog, rows: Iterable[Calls]) -> Comparison:
    """Return the cost of the same tokens at each provider that serves the same models.

    The same model has the same tokens everywhere. Cached tokens are priced as if they were in the
    other provider's cache, at its price for them if it is known. Prices are today's, not those of
    the day of a call.

    Returns:
        The bills, in US dollars.

    Example:
        >>> calls = Calls("together", DISCO, 1_000_000, 0, 1_000_000, Decimal("1.20"))
        >>> elsewhere(Catalog(), [calls]).alone == (calls,)
        True
    """
    listed = list(rows)
    served = [(row, _served(catalog, row)) for row in listed if row.completion_tokens]
    shared = [(row, found) for row, found in served if len(_providers(found)) > 1]
    calls, places = [row for row, _ in shared], [found for _, found in shared]
    providers = _providers(model for found in places for model in found)
    bills = [_provider_bill(provider, calls, places) for provider in providers.values()]
    return Comparison(
        tuple(calls),
        tuple(row for row, found in served if len(_providers(found)) < 2),
        tuple(sorted(bills, key=lambda bill: (bill.cost is None, bill.cost or 0))),
        tuple(row for row in listed if not row.completion_tokens),
    )


def _same(asked: Model, models: Iterable[Model]) -> list[Model]:
    """Return the rows of the same model, and the model itself if it is not among them."""
    names = _model_names(asked)
    rows = [model for model in models if names & _model_names(model)]
    return rows if asked in rows else [asked, *rows]


def _model_names(model: Model) -> set[str]:
    """Return the names of a model, without its provider."""
    return {name.lower() for name in (model.id, *model.aliases)}


def _providers(models: Iterable[Model]) -> dict[str, Provider]:
    """Return the providers of the models, by name."""
    return {model.provider.name: model.provider for model in models}


def _served(catalog: Catalog, row: Calls) -> list[Model]:
    """Return the rows of a called model: its own first, then the cheapest; none if it is gone."""
    try:
        asked, found = catalog.resolve(row.name), offers(catalog, row.name)
    except UnknownModel:
        return []
    return sorted((offer.model for offer in found), key=lambda model: model != asked)


def _provider_bill(
    provider: Provider, calls: Sequence[Calls], places: Sequence[list[Model]]
) -> Bill:
    """Return the bill of a provider, at its first row for each model."""
    models = [
        next((model for model in found if model.provider.name == provider.name), None)
        for found in places
    ]
    costs = [
        model.price.short.cost(row.usage) if model and model.price else None
        for row, model in zip(calls, models, strict=True)
    ]
    return Bill(provider, tuple(models), tuple(costs))
