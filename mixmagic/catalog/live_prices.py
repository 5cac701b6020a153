"""Prices in a provider's own `/models` list. For `catalog` alone."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from mixmagic.catalog.parse import DEAREST
from mixmagic.core.money import Price
from mixmagic.core.values import Provider

SOURCE = "the provider's /models"


def price(provider: Provider, entry: Mapping[str, Any]) -> Price | None:
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
    return Price(prompt, answer, cached=cached, cache_write=written, source=SOURCE)


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
