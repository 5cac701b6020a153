"""Which models exist, at which provider, for how much: TOML files, the package's and the user's.

May import `settings`, `values` and what stands below them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mixmagic.catalog import genai_prices, live_prices, parse
from mixmagic.catalog.parse import FREE
from mixmagic.core import files
from mixmagic.core.values import Model, Provider
from mixmagic.errors import BadArguments, UnknownModel, did_you_mean

__all__ = ["FREE", "Catalog", "priced"]


class Catalog:
    """The models that can be named.

    A file holds one provider and its models. A user's file with the same `name` overrides
    the package's, field by field and row by row; the user's rows are searched first.

    A model without a price here gets that of the package genai-prices, where it is installed and
    knows one; a price that stands here, or that a provider told, is never replaced.

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
        self._renamed: set[tuple[str, str]] = set()  # rows that a user's file gives its aliases
        self._told: set[tuple[str, str]] = set()  # rows whose context a provider has told
        for path in own:
            self._add(path)
        for path in users:
            self._add(path, f"your own {path.name}")
        # In the order in which a bare alias is looked for.
        self._ranked = sorted(self._providers, key=lambda name: (name != "together", name))

    def _add(self, path: Path, source: str = "") -> None:
        """Read one file into the catalog; `source` is where its prices come from."""
        try:
            table = files.toml(files.read(path))
            listed = table.pop("models", [])
            name = table["name"]
            known = self._providers.get(name)
            provider = parse.provider(table, known)
            # What is known already keeps its rows, under the provider as it is now.
            for key, model in self._models.items():
                if model.provider is known and known is not None:
                    self._models[key] = replace(model, provider=provider)
            self._providers[name] = provider
            for row in listed:
                key = (name, row["id"])
                model = parse.model(row, provider, self._models.pop(key, None), source)
                if source and "aliases" in row:
                    self._renamed.add(key)
                # The newest first: a user's alias outranks the package's.
                self._models = (
                    {key: model, **self._models} if known else {**self._models, key: model}
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else files.reason(error)
            raise BadArguments(
                f"The catalog file {path} makes no sense: {reason}.",
                "Compare it with the files in mixmagic/catalog (UTF-8), or move it away.",
            ) from None

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers by name."""
        return self._providers

    @property
    def models(self) -> tuple[Model, ...]:
        """All rows, by provider, Together AI's first."""
        return tuple(map(priced, self._rows()))

    def resolve(self, name: str) -> Model:
        """The row that `name` means.

        Args:
            name: An alias (`8x7b`), an API string, or either behind a provider's name
                (`fireworks:8x7b`). Behind a provider's name, every API string is accepted.

        Raises:
            UnknownModel: No row has this name; the hint gives the nearest ones.
        """
        wanted = name.strip()
        if model := _find(self._rows(), wanted):
            return priced(model)
        head, _, tail = wanted.partition(":")
        provider = self._providers.get(head.lower())
        if provider is not None and tail:
            known = _find((row for row in self._rows() if row.provider is provider), tail)
            return priced(known or Model(tail, provider, source="not in the catalog"))
        names = {n for model in self._rows() for n in (model.name, model.id, *model.aliases)}
        meant = did_you_mean(wanted, sorted(names), 2, 0.5)
        raise UnknownModel(
            f"No model is called {wanted!r}." if wanted else "No model is named.",
            f"{meant}`%mixmagic models` lists all; PROVIDER:API-STRING always works.",
        )

    def named(self, name: str) -> tuple[Model, ...]:
        """Every row that `name` means: several where a bare alias is several providers'.

        Args:
            name: As for `resolve`.

        Returns:
            One row of each provider, in the order of the catalog; `resolve` gives the first. The
            others have the prices that stand here: `priced` looks further, which may take a while.

        Raises:
            UnknownModel: As for `resolve`.

        Example:
            >>> [model.name for model in Catalog().named("disco")]
            ['together:disco']
        """
        first, alias = self.resolve(name), name.strip().lower()
        rows = {first.provider.name: first}
        if alias not in (first.id.lower(), first.name.lower()):
            # Where a user's file gives the alias to another row, the package's rows do not count.
            every = (first.provider.name, first.id) not in self._renamed
            for model in self._rows():
                own = (model.provider.name, model.id) in self._renamed
                if (every or own) and alias in map(str.lower, model.aliases):
                    rows.setdefault(model.provider.name, model)
        return tuple(rows.values())

    def merge(self, provider: Provider, entries: Iterable[Mapping[str, Any]]) -> list[Model]:
        """The provider's own `/models` list as rows: what the catalog knows, completed.

        A price of the catalog's files is kept; one that only the provider gives is taken over.
        """
        every = list(self._models.values())  # another thread may add to them
        known = {model.id: model for model in every if model.provider is provider}
        listed = []
        for entry in entries:
            identity = entry.get("id")
            if not isinstance(identity, str) or not identity:
                continue
            row = known.get(identity) or Model(identity, provider, source=live_prices.SOURCE)
            context = entry.get("context_length")
            key = (provider.name, identity)
            if type(context) is int and context > 0 and (row.context is None or key in self._told):
                self._told.add(key)
                row = replace(row, context=context)
            row = replace(row, status="available")
            if row.price is None or row.price.source == live_prices.SOURCE:
                price = live_prices.price(provider, entry)
                row = replace(row, price=price, checked=None if price else row.checked)
            self._models[key] = row
            listed.append(priced(row))
        return listed

    def _rows(self) -> list[Model]:
        """All rows in the order in which a bare alias is looked for, priced as they stand here."""
        order = {name: place for place, name in enumerate(self._ranked)}
        return sorted(self._models.values(), key=lambda model: order[model.provider.name])


def priced(model: Model) -> Model:
    """The model with a price and a context, where they are declared, or known to others."""
    if model.context is None and (context := genai_prices.context(model)):
        model = replace(model, context=context)
    if model.price:
        return model
    if model.provider.free:
        return replace(model, price=FREE)
    price = genai_prices.price(model)
    # Nobody here has looked at that one.
    return replace(model, price=price, checked=None) if price else model


def _find(models: Iterable[Model], name: str) -> Model | None:
    """The first row with this API string, else the first with this alias or full name.

    An API string in other letters is the same one: it must not escape its row's price.
    """
    lowered, by_alias = name.lower(), None
    for model in models:
        if model.id == name:
            return model
        if by_alias is None and lowered in map(str.lower, (model.name, model.id, *model.aliases)):
            by_alias = model
    return by_alias
