"""Read and check the tables of a catalog file. For `catalog` alone."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from mixmagic.core.money import Price
from mixmagic.core.params import is_number
from mixmagic.core.values import Dialect, Model, Provider

# The TOML type for each field type: a wrong one would only be noticed far from here.
_TYPES = {
    "str": str,
    "bool": bool,
    "bool | None": bool,
    "str | None": str,
    "int | None": int,
    "int": int,
    "date | None": date,
    "Mapping[str, str]": dict,
    "Mapping[str, Any]": dict,
    "tuple[str, ...]": list,
}

FREE = Price(Decimal(0), Decimal(0), source="free by declaration")
# Dollars per million tokens: a higher price is a mistake, and too much for the ledger.
DEAREST = Decimal(1_000_000)
# RFC 9110: characters of a header's name and of its value; and headers that HTTP itself sets.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_RESERVED = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
    "host", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
# Parameters that limit an answer, and so its cost.
_LIMITS = ("max_tokens", "max_completion_tokens")


def provider(table: Mapping[str, Any], known: Provider | None) -> Provider:
    """Return a provider from the head of a file; what is not there is taken from `known`."""
    values = _fields(Provider, table)
    if "dialect" in values:
        dialect = _fields(Dialect, values["dialect"])
        json.dumps(dialect, allow_nan=False)  # it is sent as JSON: no dates, no infinities
        _check_parameters(dialect)
        values["dialect"] = Dialect(**dialect)
    if known is not None and "base_url" in values:  # another server, with prices of its own
        values.setdefault("genai_prices", "")
    if values.get("max_in_flight", 1) < 1:
        raise ValueError("max_in_flight is at least 1")
    if "headers" in values:
        _check_headers(values["headers"])
        if known is None and "key_env" not in values:
            values.setdefault("key_required", False)  # the headers carry the key
    for name in ("key_header", "list_key_header"):
        if values.get(name):
            _check_headers({values[name]: "key"})
    return replace(known, **values) if known else Provider(**{"label": values["name"], **values})


def model(row: Mapping[str, Any], served_by: Provider, known: Model | None, source: str) -> Model:
    """Return a model from a row of a file; what is not there is taken from `known`.

    Args:
        row: The row's table.
        served_by: Its provider.
        known: The same model as an earlier file has it, if any.
        source: The source of a price that does not name its own.
    """
    values = _fields(Model, row)
    for name in ("context", "answer"):
        if values.get(name, 1) < 1:
            values[name] = None  # not a number of tokens: unknown
    if "price" in values:
        values["price"] = _price(values["price"], source)
        # The day on which the old price was checked does not apply to the new one.
        values.setdefault("checked", None)
    elif served_by.free:
        values["price"] = FREE
    _check_parameters(values)
    json.dumps(values.get("formats", {}), allow_nan=False)  # it is sent as JSON, too
    for name in ("total_params", "active_params"):
        if name in values:
            values[name] = float(values[name])
    values["provider"] = served_by
    return replace(known, **values) if known else Model(**values)


def _check_headers(headers: Mapping[str, Any]) -> None:
    """Check that a request can have these headers.

    Raises:
        ValueError: It cannot.
    """
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _RESERVED:
            raise ValueError(f"{name!r} cannot be set as a header")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            # It may hold a key: it is not quoted.
            raise ValueError(f"the header {name} needs a text of visible ASCII characters")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header is named twice")


def _check_parameters(values: Mapping[str, Any]) -> None:
    """Check that a dialect leaves an answer its limit.

    Raises:
        TypeError: A parameter is not renamed to a name, or its highest value is not a number.
        ValueError: A limit is left out.
    """
    for name, theirs in values.get("rename", {}).items():
        if not isinstance(theirs, str) or not theirs:
            raise TypeError(f"{name} cannot be renamed to {theirs!r}")
    for name, limit in values.get("most", {}).items():
        if not is_number(limit):
            raise TypeError(f"the highest value of {name} cannot be {limit!r}")
    for name in _LIMITS:
        if name in values.get("refuses", ()):
            raise ValueError(f"{name} limits what a call can cost: rename it, do not refuse it")


def _price(table: Any, source: str) -> Price:
    """Return the price in a row's table; nothing is taken from an earlier price."""
    if not isinstance(table, dict):
        raise TypeError(f"a price is a table, not {table!r}")
    values = {"source": source, **_fields(Price, table)}
    for name in ("input", "output"):
        if name not in values:
            raise ValueError(f"a price needs an {name}: {table}")
    for name in values.keys() - {"since", "source", "above", "long"}:
        values[name] = _price_number(name, values[name])
    if values.get("batch", 0) > 1:
        raise ValueError(f"batch is a factor from 0 to 1, not {table['batch']}")
    if ("long" in values) != ("above" in values) or values.get("above", 1) < 1:
        raise ValueError("a price for long prompts has both: above (tokens) and long (a price)")
    if "long" in values:
        values["long"] = _price(values["long"], values["source"])
    return Price(**values)


def _price_number(name: str, value: Any) -> Decimal:
    """Return a number that can be a price."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not (number.is_finite() and 0 <= number <= DEAREST):
        raise ValueError(f"the {name} of a price cannot be {value!r}")
    return number


def _fields(cls: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table's fields, checked against those of `cls`."""
    known = {field.name: _TYPES.get(str(field.type)) for field in dataclasses.fields(cls)}
    if extra := sorted(table.keys() - known.keys()):
        raise ValueError(f"{cls.__name__.lower()} has no field {extra[0]!r}")
    for name, value in table.items():
        wanted = known[name]
        if wanted is not None and type(value) is not wanted:
            raise TypeError(f"{name} cannot be {value!r}")
        if wanted is list and not all(isinstance(text, str) for text in value):
            raise TypeError(f"{name} is a list of texts, not {value!r}")
    return {name: tuple(v) if known[name] is list else v for name, v in table.items()}
