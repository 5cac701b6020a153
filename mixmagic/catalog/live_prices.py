"""What a provider's own `/models` says of prices. For `catalog` alone."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from mixmagic.catalog.parse import DEAREST
from mixmagic.core.money import Price
from mixmagic.core.values import Provider

SOURCE = "the provider's /models"


def price(provider: Provider, entry: Mapping[str, Any]) -> Price | None:
    """The price that an entry gives, where the provider's dialect says how; `None` where none."""
    where = provider.dialect.live_price
    if provider.free or not where:
        return None
    given, taken = (_dollars(entry, where, name) for name in ("input", "output"))
    if given is None or taken is None:
        return None
    if not given and not taken and not where.get("free"):
        return None  # sold by the hour
    if _dollars(entry, where, "request"):
        return None  # and something for every call
    # Of the cache, 0 says that there is no such price: nobody gives those tokens away.
    cached, written = (_dollars(entry, where, name) or None for name in ("cached", "cache_write"))
    return Price(given, taken, cached=cached, cache_write=written, source=SOURCE)


def _dollars(entry: Mapping[str, Any], where: Mapping[str, Any], name: str) -> Decimal | None:
    """One of its prices, in dollars for a million tokens; `None` where it gives none."""
    if name not in where:
        return None
    value: Any = entry
    try:
        for part in where[name].split("."):
            value = value[part]
        # Providers send binary floats: 0.6000000000000001 means 0.60.
        per_million = round(Decimal(str(value)) * (1_000_000 // int(where["per"])), 6)
    except (KeyError, TypeError, ValueError, InvalidOperation):
        return None
    # Routers send -1 for "it depends": not a price.
    known = per_million.is_finite() and 0 <= per_million <= DEAREST
    return per_million.normalize() if known else None
