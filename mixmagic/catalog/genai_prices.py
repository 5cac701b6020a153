"""Prices that our files lack, from the optional package genai-prices. For `catalog` alone.

Its prices are those of its release, read from its own files; nothing is fetched.
"""

from __future__ import annotations

import functools
import os
import urllib.parse
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from mixmagic.catalog.parse import DEAREST
from mixmagic.core import lazy
from mixmagic.core.money import Price
from mixmagic.core.sealed import sealed
from mixmagic.core.values import Model, Provider

if TYPE_CHECKING:  # imported at the first price that our files lack
    from genai_prices.types import PriceCalculation, TieredPrices


def price(model: Model) -> Price | None:
    """Return the price of a model that has none in the catalog.

    If a price depends on a prompt's length, it is the highest one, because a budget must hold: a
    short prompt may cost less. Batch jobs are priced in full.

    Args:
        model: A model of any provider.

    Returns:
        US dollars per million tokens, with the package's version as their source. `None` if the
        package is not installed or does not know the model, if the provider's file names no
        `genai_prices`, and if the provider's URL leads to another server.

    Example:
        >>> price(Model("gpt-4o", Catalog().providers["openai"])).source
        'genai-prices 0.2.3'
    """
    if not _applies(model.provider):
        return None
    try:
        return _price(model.provider.genai_prices, model.id, datetime.now(UTC).date())
    except ImportError:
        return None


def context(model: Model) -> int | None:
    """Return the context of a model for which the catalog has none.

    Args:
        model: A model of any provider.

    Returns:
        Tokens that prompt and answer may have together. `None` as for `price`.

    Example:
        >>> context(Model("gpt-4o", Catalog().providers["openai"]))
        128000
    """
    if not _applies(model.provider):
        return None
    try:
        entry = _entry(model.provider.genai_prices, model.id, datetime.now(UTC).date())
    except ImportError:
        return None
    tokens = None if entry is None else entry.model.context_window
    return tokens if type(tokens) is int and tokens > 0 else None


def _applies(provider: Provider) -> bool:
    """Return True if the package's prices are those of the server that is called.

    Not matched by the package's own URL patterns: it does not know api.together.ai.
    """
    if not provider.genai_prices:
        return False
    with sealed():
        url = os.environ.get(provider.url_env, "").strip() if provider.url_env else ""
    return not url or _host(url) in (_host(provider.base_url), *provider.hosts)


@functools.lru_cache(64)
def _host(url: str) -> str:
    """Return the host of a URL with or without a scheme, or an empty text."""
    try:
        return urllib.parse.urlsplit(f"//{url.partition('://')[2] or url}").hostname or ""
    except ValueError:
        return ""


@functools.lru_cache(4096)
def _price(provider: str, model: str, day: date) -> Price | None:
    """Return the price of a model on a day, by the package's names."""
    genai_prices = lazy.load("genai_prices")
    entry = _entry(provider, model, day)
    if entry is None:
        return None
    listed = entry.model_price
    prompt, answer = _highest(listed.input_mtok), _highest(listed.output_mtok)
    if prompt is None or answer is None or not 0 < max(prompt, answer) <= DEAREST:
        return None  # not sold by the token, or a hole in the list: neither is free
    dated = entry.model.prices if isinstance(entry.model.prices, list) else []
    starts = [
        getattr(period.constraint, "start_date", None)
        for period in dated
        if period.prices is listed
    ]
    tiered = any(hasattr(price, "tiers") for price in (listed.input_mtok, listed.output_mtok))
    return Price(
        prompt,
        answer,
        cached=_highest(listed.cache_read_mtok),
        cache_write=_highest(listed.cache_write_mtok),
        since=starts[0] if starts else None,
        source=f"genai-prices {genai_prices.__version__}{', its highest tier' * tiered}",
    )


@functools.lru_cache(4096)
def _entry(provider: str, model: str, day: date) -> PriceCalculation | None:
    """Return the package's entry for a model on a day; `None` if it has none."""
    genai_prices = lazy.load("genai_prices")
    try:
        entry: PriceCalculation = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=0, output_tokens=0),
            model,
            provider_id=provider,
            genai_request_timestamp=datetime(day.year, day.month, day.day, tzinfo=UTC),
        )
    except LookupError:
        return None
    return entry


def _highest(listed: Decimal | TieredPrices | None) -> Decimal | None:
    """Return the highest tier of a price that has tiers, else the price."""
    if listed is None or isinstance(listed, Decimal):
        return listed
    return max([listed.base, *(tier.price for tier in listed.tiers)])
