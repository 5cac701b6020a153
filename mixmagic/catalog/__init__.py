"""Which models exist, at which provider, for how much: TOML files, the package's and the user's.

May import `settings`, `values` and what stands below them.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from mixmagic.errors import BadArguments, UnknownModel
from mixmagic.values import Dialect, Model, Price, Provider

# What TOML must hold for a field of this type: a wrong one would only be found far from here.
_TYPES = {"str": str, "bool": bool, "int | None": int, "int": int}

FREE = Price(Decimal(0), Decimal(0))
# Dollars for a million tokens: what costs more is a mistake, and too much for the ledger.
_DEAREST = Decimal(1_000_000)


class Catalog:
    """The models that can be named.

    A file holds one provider and its models. A user's file with the same `name` overrides
    the package's, field by field and row by row; the user's rows are searched first.

    Args:
        user_dir: The folder of the user's own files; it need not exist.

    Raises:
        BadArguments: A file that makes no sense.

    Example:
        >>> Catalog().resolve("8x22b").id
        'mistralai/Mixtral-8x22B-Instruct-v0.1'
    """

    def __init__(self, user_dir: Path | None = None) -> None:
        own = sorted(Path(__file__).parent.glob("*.toml"))
        users = sorted(user_dir.glob("*.toml")) if user_dir else []
        self._providers: dict[str, Provider] = {}
        self._models: dict[tuple[str, str], Model] = {}
        for path in [*own, *users]:
            self._add(path)
        # In the order in which a bare alias is looked for.
        self._ranked = sorted(self._providers, key=lambda name: (name != "together", name))

    def _add(self, path: Path) -> None:
        """Read one file into the catalog."""
        try:
            table = tomllib.loads(path.read_text("utf-8"))
            rows = table.pop("models", [])
            name = table["name"]
            known = self._providers.get(name)
            provider = _provider(table, known)
            # What is known already keeps its rows, under the provider as it is now.
            for key, model in self._models.items():
                if model.provider is known and known is not None:
                    self._models[key] = replace(model, provider=provider)
            self._providers[name] = provider
            for row in rows:
                key = (name, row["id"])
                model = _model(row, provider, self._models.pop(key, None))
                # The newest first: a user's alias outranks the package's.
                self._models = (
                    {key: model, **self._models} if known else {**self._models, key: model}
                )
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            InvalidOperation,
        ) as error:
            reason = f"{error!r}" if isinstance(error, KeyError) else f"{error}"
            raise BadArguments(
                f"The catalog file {path} makes no sense: {reason}.",
                "Compare it with the files in mixmagic/catalog, or move it away.",
            ) from None

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers by name."""
        return self._providers

    @property
    def models(self) -> tuple[Model, ...]:
        """All rows, by provider, Together AI's first."""
        order = {name: place for place, name in enumerate(self._ranked)}
        return tuple(sorted(self._models.values(), key=lambda model: order[model.provider.name]))

    def resolve(self, name: str) -> Model:
        """The row that `name` means.

        Args:
            name: An alias (`8x7b`), an API string, or either behind a provider's name
                (`fireworks:8x7b`). Behind a provider's name, every API string is accepted.

        Raises:
            UnknownModel: No row has this name; the hint gives the nearest ones.
        """
        wanted = name.strip()
        if model := _find(self.models, wanted):
            return model
        head, _, tail = wanted.partition(":")
        provider = self._providers.get(head.lower())
        if provider is not None and tail:
            rows = [model for model in self.models if model.provider is provider]
            # Not in the catalog: free where the provider is, else of unknown price.
            return _find(rows, tail) or Model(
                tail, provider, price=FREE if provider.free else None, source="not in the catalog"
            )
        names = {n for model in self.models for n in (model.name, model.id, *model.aliases)}
        near = difflib.get_close_matches(wanted.lower(), sorted(names), 2, 0.5)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UnknownModel(
            f"No model is called {wanted!r}." if wanted else "No model is named.",
            f"{meant}`%mixmagic models` lists all; PROVIDER:API-STRING always works.",
        )

    def merge(self, provider: Provider, entries: Iterable[Mapping[str, Any]]) -> list[Model]:
        """The provider's own `/models` list as rows: what the catalog knows, completed.

        A price of the catalog's is kept; a price that only the provider gives is taken over.
        """
        known = {model.id: model for model in self._models.values() if model.provider is provider}
        rows = []
        for entry in entries:
            identity = entry.get("id")
            if not isinstance(identity, str) or not identity:
                continue
            row = known.get(identity) or Model(identity, provider, source="the provider's /models")
            context = entry.get("context_length")
            rows.append(
                replace(
                    row,
                    status="available",
                    context=row.context or (context if type(context) is int else None),
                    price=row.price or (FREE if provider.free else _live_price(provider, entry)),
                )
            )
            self._models[provider.name, identity] = rows[-1]
        return rows


def _find(models: Iterable[Model], name: str) -> Model | None:
    """The first row with this API string, else the first with this alias or full name."""
    lowered, by_alias = name.lower(), None
    for model in models:
        if model.id == name:
            return model
        if by_alias is None and lowered in (model.name.lower(), *map(str.lower, model.aliases)):
            by_alias = model
    return by_alias


def _fields(cls: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """The table's fields, refused where `cls` has none of that name."""
    known = {field.name: _TYPES.get(str(field.type)) for field in dataclasses.fields(cls)}
    if extra := sorted(table.keys() - known.keys()):
        raise ValueError(f"{cls.__name__.lower()} has no field {extra[0]!r}")
    for name, value in table.items():
        wanted = known[name]
        if wanted is not None and type(value) is not wanted:
            raise TypeError(f"{name} cannot be {value!r}")
    return dict(table)


def _provider(table: Mapping[str, Any], known: Provider | None) -> Provider:
    """A provider from a file's head, over what is known of it."""
    values = _fields(Provider, table)
    if "dialect" in values:
        values["dialect"] = Dialect(**_fields(Dialect, values["dialect"]))
    if values.get("max_in_flight", 1) < 1:
        raise ValueError("max_in_flight is at least 1")
    return replace(known, **values) if known else Provider(**{"label": values["name"], **values})


def _model(row: Mapping[str, Any], provider: Provider, known: Model | None) -> Model:
    """A model from a file's row, over what is known of it."""
    values = dict(row)
    if "price" in values:
        price = {name: Decimal(str(value)) for name, value in values["price"].items()}
        if not all(value.is_finite() and 0 <= value <= _DEAREST for value in price.values()):
            raise ValueError(f"a price cannot be {values['price']}")
        values["price"] = Price(**price)
    elif provider.free:
        values["price"] = FREE
    for name in ("aliases", "languages", "strengths"):
        if name in values:
            texts = values[name]
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise TypeError(f"{name} is a list of texts, not {values[name]!r}")
            values[name] = tuple(values[name])
    for name in ("total_params", "active_params"):
        if name in values:
            values[name] = float(values[name])
    if not isinstance(values.get("checked", date.min), date):
        raise TypeError(f"checked is a date, not {values['checked']!r}")
    values = _fields(Model, values) | {"provider": provider}
    return replace(known, **values) if known else Model(**values)


def _live_price(provider: Provider, entry: Mapping[str, Any]) -> Price | None:
    """The price that a `/models` entry gives, where the provider's dialect says how."""
    where = provider.dialect.live_price
    if not where:
        return None

    def dollars(path: str) -> Decimal:
        value: Any = entry
        for part in path.split("."):
            value = value[part]
        # Providers send binary floats: 0.6000000000000001 means 0.60.
        per_million = Decimal(str(value)) * (1_000_000 // int(where["per"]))
        return round(per_million, 6).normalize() if per_million.is_finite() else Decimal(-1)

    try:
        price = Price(dollars(where["input"]), dollars(where["output"]))
    except (KeyError, TypeError, InvalidOperation):
        return None
    if not price.input and not price.output and not where.get("free"):
        return None  # sold by the hour
    # Routers send -1 for "it depends": not a price.
    return price if all(0 <= each <= _DEAREST for each in (price.input, price.output)) else None
