"""Prices that our files lack: from a provider's `/models` list, or from the package genai-prices.

The optional package's prices are those of its release, read from its own files; nothing is fetched.
For `catalog` alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from mixmagic.catalog.parse import DEAREST
from mixmagic.core import lazy
from mixmagic.core.money import Price
from mixmagic.core.servers import is_own_server
from mixmagic.core.values import Model, Provider

if TYPE_CHECKING:  # imported at the first price that our files lack
    from genai_prices.types import ModelPrice, PriceCalculation, TieredPrices


LIVE = "the provider's /models"  # the source of a live price


def live_price(provider: Provider, entry: Mapping[str, Any]) -> Price | None:
    """Return the price in an entry, if the provider's dialect names its place."""
    paths = provider.dialect.live_price
    if provider.free or not paths:
        return None
    prompt, answer = (_dollars(entry, paths, name) for name in ("input", "output"))
    if prompt is None or answer is None:
        return None
    if not prompt and not answer and not paths.get("free"):
        return None  # sold by the hour
    if _dollars(entry, paths, "request"):
        return None  # each call costs something besides its tokens
    # A 0 means that there is no price for the cache: nobody gives those tokens away.
    cached, written = (_dollars(entry, paths, name) or None for name in ("cached", "cache_write"))
    return Price(prompt, answer, cached=cached, cache_write=written, source=LIVE)


def _dollars(entry: Mapping[str, Any], paths: Mapping[str, Any], name: str) -> Decimal | None:
    """Return one price of an entry, in dollars per million tokens; `None` if it has none."""
    if name not in paths:
        return None
    value: Any = entry
    try:
        for part in paths[name].split("."):
            value = value[part]
        # Providers send binary floats: 0.6000000000000001 means 0.60.
        per_million = round(Decimal(str(value)) * (1_000_000 // int(paths["per"])), 6)
    except (KeyError, TypeError, ValueError, InvalidOperation):
        return None
    # Routers send -1 for "it depends": not a price.
    known = per_million.is_finite() and 0 <= per_million <= DEAREST
    return per_million.normalize() if known else None


def package_facts(model: Model) -> tuple[int | None, Price | None]:
    """Return the context and the price of a model, for what the catalog lacks.

    If a price depends on a prompt's length in several steps, longer prompts have the highest one,
    because a budget must hold. Batch jobs are priced in full.

    Returns:
        Tokens that prompt and answer may have together, and US dollars per million tokens with the
        package's version as their source. `None` for what is not known: if the package is not
        installed or does not know the model, if the provider's file names no `genai_prices`, and
        if the provider's URL leads to another server.

    Example:
        >>> package_facts(Model("gpt-4o", Catalog().providers["openai"]))[0]
        128000
    """
    if not _applies(model.provider):
        return None, None
    try:
        return _dated_facts(model.provider.genai_prices, model.id, datetime.now(UTC).date())
    except ImportError:
        return None, None


def _applies(provider: Provider) -> bool:
    """Return True if the package's prices are those of the server that is called.

    Not matched by the package's own URL patterns: it does not know api.together.ai.
    """
    return bool(provider.genai_prices) and not is_own_server(provider)


@functools.lru_cache(4096)
def _dated_facts(provider: str, model: str, day: date) -> tuple[int | None, Price | None]:
    """Return the context and the price of a model on a day, by the package's names."""
    genai_prices = lazy.load("genai_prices")

    def at(hour: int) -> PriceCalculation:
        found: PriceCalculation = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=0, output_tokens=0),
            model,
            provider_id=provider,
            genai_request_timestamp=datetime(day.year, day.month, day.day, hour, tzinfo=UTC),
        )
        return found

    try:
        entry = at(0)
    except LookupError:
        return None, None
    periods = entry.model.prices if isinstance(entry.model.prices, list) else []
    if any(hasattr(period.constraint, "start_time") for period in periods):
        # A budget must hold at any hour.
        entry = max(
            map(at, range(24)), key=lambda each: _highest(each.model_price.output_mtok) or 0
        )
    context = entry.model.context_window
    known = type(context) is int and context > 0
    return context if known else None, _package_price(
        entry, f"genai-prices {genai_prices.__version__}"
    )


def _package_price(entry: PriceCalculation, source: str) -> Price | None:
    """Return the price of the package's entry; `None` if it is not sold by the token."""
    listed = entry.model_price
    prompt, answer = _lowest(listed.input_mtok), _lowest(listed.output_mtok)
    most = max(_highest(listed.input_mtok) or 0, _highest(listed.output_mtok) or 0)
    if prompt is None or answer is None or not 0 < max(prompt, answer) <= most <= DEAREST:
        return None  # sold in another way, or a hole in the list: neither is free
    dated = entry.model.prices if isinstance(entry.model.prices, list) else []
    starts = [
        getattr(period.constraint, "start_date", None)
        for period in dated
        if period.prices is listed
    ]
    parts = (listed.input_mtok, listed.output_mtok, listed.cache_read_mtok, listed.cache_write_mtok)
    steps = [tier.start for part in parts for tier in getattr(part, "tiers", ())]
    return Price(
        prompt,
        answer,
        cached=_lowest(listed.cache_read_mtok),
        cache_write=_lowest(listed.cache_write_mtok),
        since=starts[0] if starts else None,
        source=source,
        above=min(steps, default=None),
        long=_long_price(listed, source) if steps else None,
    )


def _long_price(listed: ModelPrice, source: str) -> Price:
    """Return the highest tier of a price: a budget must hold."""
    prompt, answer = _highest(listed.input_mtok), _highest(listed.output_mtok)
    return Price(
        prompt or Decimal(0),
        answer or Decimal(0),
        cached=_highest(listed.cache_read_mtok),
        cache_write=_highest(listed.cache_write_mtok),
        source=source,
    )


def _lowest(listed: Decimal | TieredPrices | None) -> Decimal | None:
    """Return the price of short prompts."""
    return listed if listed is None or isinstance(listed, Decimal) else listed.base


def _highest(listed: Decimal | TieredPrices | None) -> Decimal | None:
    """Return the highest tier of a price that has tiers, else the price."""
    if listed is None or isinstance(listed, Decimal):
        return listed
    return max([listed.base, *(tier.price for tier in listed.tiers)])
