"""Prices that our files lack, from the optional package genai-prices. For `catalog` alone.

Its prices are those of its release, read from its own files: nothing is fetched.
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

if TYPE_CHECKING:  # imported when a price is looked for, not before
    from genai_prices.types import PriceCalculation, TieredPrices

# Our provider's name to the package's, and the hosts that ask for these prices. Not matched by
# URL: the package does not know api.together.ai.
_KNOWN = {
    "fireworks": ("fireworks", ("api.fireworks.ai",)),
    "mistral": ("mistral", ("api.mistral.ai",)),
    "openai": ("openai", ("api.openai.com",)),
    "openrouter": ("openrouter", ("openrouter.ai",)),
    "together": ("together", ("api.together.ai", "api.together.xyz")),
}


def price(model: Model) -> Price | None:
    """What genai-prices knows of a model that has no price in the catalog.

    Where a price depends on a prompt's length, it is the dearest one, because a budget must hold:
    a short prompt may cost less. Batch jobs are priced in full.

    Args:
        model: A model of any provider.

    Returns:
        US dollars per million tokens, with the package's version as their source. `None` where
        the package is not installed or does not know the model, and where the provider's URL
        leads to somebody else, as to a server of one's own.

    Example:
        >>> price(Model("gpt-4o", Catalog().providers["openai"])).source
        'genai-prices 0.2.3'
    """
    identity, hosts = _KNOWN.get(model.provider.name, ("", ()))
    if _host(model.provider) not in hosts:
        return None
    try:
        return _look_up(identity, model.id, datetime.now(UTC).date())
    except ImportError:
        return None


def context(model: Model) -> int | None:
    """What genai-prices knows of the context of a model for which the catalog has none.

    Args:
        model: A model of any provider.

    Returns:
        Tokens that prompt and answer may have together. `None` as for `price`.

    Example:
        >>> context(Model("gpt-4o", Catalog().providers["openai"]))
        128000
    """
    identity, hosts = _KNOWN.get(model.provider.name, ("", ()))
    if _host(model.provider) not in hosts:
        return None
    try:
        found = _found(identity, model.id, datetime.now(UTC).date())
    except ImportError:
        return None
    tokens = None if found is None else found.model.context_window
    return tokens if type(tokens) is int and tokens > 0 else None


def _host(provider: Provider) -> str:
    """The host that is asked: the environment's, else the catalog's; nothing where it is none."""
    with sealed():
        url = os.environ.get(provider.url_env, "").strip() if provider.url_env else ""
    url = url or provider.base_url
    try:
        return urllib.parse.urlsplit(f"//{url.partition('://')[2] or url}").hostname or ""
    except ValueError:
        return ""


@functools.lru_cache(4096)
def _look_up(provider: str, model: str, day: date) -> Price | None:
    """The price of a model on a day, under the package's names."""
    with lazy.lock:  # its modules are imported
        import genai_prices
    found = _found(provider, model, day)
    if found is None:
        return None
    listed = found.model_price
    given, taken = _dearest(listed.input_mtok), _dearest(listed.output_mtok)
    if given is None or taken is None or not 0 < max(given, taken) <= DEAREST:
        return None  # not sold by the token, or a hole in the list: neither is free
    dated = found.model.prices if isinstance(found.model.prices, list) else []
    starts = [
        getattr(each.constraint, "start_date", None) for each in dated if each.prices is listed
    ]
    tiered = any(hasattr(each, "tiers") for each in (listed.input_mtok, listed.output_mtok))
    return Price(
        given,
        taken,
        cached=_dearest(listed.cache_read_mtok),
        cache_write=_dearest(listed.cache_write_mtok),
        since=starts[0] if starts else None,
        source=f"genai-prices {genai_prices.__version__}{', its dearest tier' * tiered}",
    )


@functools.lru_cache(4096)
def _found(provider: str, model: str, day: date) -> PriceCalculation | None:
    """What the package has of a model on a day; `None` where it does not know it."""
    with lazy.lock:  # its modules are imported
        import genai_prices
    try:
        return genai_prices.calc_price(
            genai_prices.Usage(input_tokens=0, output_tokens=0),
            model,
            provider_id=provider,
            genai_request_timestamp=datetime(day.year, day.month, day.day, tzinfo=UTC),
        )
    except LookupError:
        return None


def _dearest(listed: Decimal | TieredPrices | None) -> Decimal | None:
    """The dearest tier of a price, where it has tiers."""
    if listed is None or isinstance(listed, Decimal):
        return listed
    return max([listed.base, *(tier.price for tier in listed.tiers)])
