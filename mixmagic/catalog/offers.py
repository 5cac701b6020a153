"""What a model costs at each provider that serves it, and what calls would have cost there.

Pure functions over the catalog. May be imported by `sessions` and what stands above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage, exact_sum
from mixmagic.core.values import Model, Provider
from mixmagic.errors import UnknownModel

_MILLION = Usage(1_000_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model at one provider.

    Attributes:
        model: The catalog's row: who serves it, whether it needs a key (`provider.key_required`),
            its status, and its price with cached and batch, `since` and `source`.
        cost: US dollars for a million tokens in and a million out; `None` where no price is known.
    """

    model: Model
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Calls:
    """What the calls of one model have used and cost.

    Attributes:
        provider: Who was asked, by name.
        model: The API string.
        prompt_tokens: Tokens in.
        cached_tokens: Those of them that the provider had in its cache.
        completion_tokens: Tokens out.
        cost: US dollars of the calls whose price was known; lost ones at their most.
        unpriced: Calls whose price was not known.
        lost: Calls of which nobody knows what they have used and cost.
        estimated: Calls whose tokens we counted, not the provider.
        billed_tries: Tries of which nobody has seen the end, and that the provider may bill.
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
        """The tokens as one call's."""
        return Usage(self.prompt_tokens, self.completion_tokens, self.cached_tokens)


@dataclass(frozen=True, slots=True)
class Bill:
    """What one provider would have asked for the same calls.

    Attributes:
        provider: Who.
        models: Its row for each model that was called; `None` where it has none.
        costs: US dollars for each; `None` where it has no such model, or no price is known.
    """

    provider: Provider
    models: tuple[Model | None, ...]
    costs: tuple[Decimal | None, ...]

    @property
    def cost(self) -> Decimal | None:
        """US dollars in all; `None` where any part is not known, for the rest says nothing."""
        known = [cost for cost in self.costs if cost is not None]
        return exact_sum(known) if len(known) == len(self.costs) else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same calls at other providers.

    Attributes:
        calls: What was called, and is served by more than one provider.
        alone: What was called, and is served by nobody else: it is compared with nothing.
        bills: What each provider would have asked for `calls`, the cheapest first; those that
            cannot say last.
        unanswered: What was called, and has no tokens of an answer that anybody counted, as where
            all calls were lost: there is nothing to compare.
    """

    calls: tuple[Calls, ...]
    alone: tuple[Calls, ...]
    bills: tuple[Bill, ...]
    unanswered: tuple[Calls, ...] = ()


def offers(catalog: Catalog, name: str) -> list[Offer]:
    """Who serves a model, and for how much.

    Two rows are the same model where they share a name: an alias such as `8x7b`, or an API
    string, in any letters. What a user's file gives the alias counts as that model, too.

    Args:
        catalog: The models that can be named.
        name: A model of any provider, as for `Catalog.resolve`.

    Returns:
        The cheapest first, by a million tokens in and a million out, whatever their status; those
        of unknown price last.

    Raises:
        UnknownModel: No row has this name.

    Example:
        >>> [offer.model.name for offer in offers(Catalog(), "disco")]
        ['together:disco']
    """
    asked = catalog.resolve(name)
    found = [
        Offer(model, model.price.cost(_MILLION) if model.price else None)
        for model in _same(asked, catalog.models)
    ]
    return sorted(found, key=lambda offer: (offer.cost is None, offer.cost or 0))


def elsewhere(catalog: Catalog, rows: Iterable[Calls]) -> Comparison:
    """What the same tokens would have cost at each provider that serves the same models.

    The same model counts the same tokens everywhere. Those that came from one provider's cache
    are priced as if they had come from the other's, at its price for them where one is known.
    Prices are today's, not those of the day of a call.

    Args:
        catalog: The models that can be named, with their prices.
        rows: What was called, a row for each model.

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
    bills = [_bill(provider, calls, places) for provider in providers.values()]
    return Comparison(
        tuple(calls),
        tuple(row for row, found in served if len(_providers(found)) < 2),
        tuple(sorted(bills, key=lambda bill: (bill.cost is None, bill.cost or 0))),
        tuple(row for row in listed if not row.completion_tokens),
    )


def _same(asked: Model, models: Iterable[Model]) -> list[Model]:
    """The rows of the same model, and the model itself where it is in none of them."""
    names = _names(asked)
    rows = [model for model in models if names & _names(model)]
    return rows if asked in rows else [asked, *rows]


def _names(model: Model) -> set[str]:
    """What a model is called, apart from its provider."""
    return {name.lower() for name in (model.id, *model.aliases)}


def _providers(models: Iterable[Model]) -> dict[str, Provider]:
    """Who serves the models, by name."""
    return {model.provider.name: model.provider for model in models}


def _served(catalog: Catalog, row: Calls) -> list[Model]:
    """The rows of what was called: its own first, then the cheapest; none where it is gone."""
    try:
        asked, found = catalog.resolve(row.name), offers(catalog, row.name)
    except UnknownModel:
        return []
    return sorted((offer.model for offer in found), key=lambda model: model != asked)


def _bill(provider: Provider, calls: Sequence[Calls], places: Sequence[list[Model]]) -> Bill:
    """What `provider` would have asked, at the first row in each of `places` that is its own."""
    models = [
        next((model for model in found if model.provider.name == provider.name), None)
        for found in places
    ]
    costs = [
        model.price.cost(row.usage) if model and model.price else None
        for row, model in zip(calls, models, strict=True)
    ]
    return Bill(provider, tuple(models), tuple(costs))
