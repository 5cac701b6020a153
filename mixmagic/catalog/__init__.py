"""Which models exist, at which provider, at what price: TOML files, the package's and the user's.

May be imported by `layers` and everything above them. A new provider is one more file.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mixmagic.catalog import parse, price_sources
from mixmagic.catalog.parse import FREE
from mixmagic.core import files
from mixmagic.core.servers import is_own_server
from mixmagic.core.values import CAPABILITIES, Model, Provider
from mixmagic.errors import BadArguments, UnknownModel, did_you_mean

__all__ = ["FREE", "Catalog", "priced"]

_Key = tuple[str, str]  # a provider's name and an API string
_NOT_IN_FILES = "not in the catalog"  # the source of what is known of a model: nothing


class Catalog:
    """The models that can be named.

    A file holds one provider and its models. A user's file with the same `name` overrides the
    package's, field by field and row by row; the user's rows are searched first.

    A model without a price here gets that of the package genai-prices, if it is installed and
    knows one. A price of a file or of the provider itself is never replaced.

    Args:
        user_dir: The folder of the user's own files; it need not exist.

    Attributes:
        own_aliases: The user's names of models, in lower case; can be changed. A name that is both
            in a file and here is refused: neither hides the other.

    Raises:
        BadArguments: A file is not a valid catalog file.

    Example:
        >>> Catalog().resolve("8x22b").id
        'mistralai/Mixtral-8x22B-Instruct-v0.1'
    """

    def __init__(self, user_dir: Path | None = None) -> None:
        self._providers: dict[str, Provider] = {}
        self._models: dict[_Key, Model] = {}
        self._renamed: set[_Key] = set()  # rows whose aliases come from a user's file
        self._published: set[_Key] = set()  # rows that no user's file describes
        self._live_contexts: set[_Key] = set()  # rows with the context of the provider's list
        for path in sorted(Path(__file__).parent.glob("*.toml")):
            self._add(path)
        for path in sorted(user_dir.glob("*.toml")) if user_dir else []:
            self._add(path, f"your own {path.name}")
        self.own_aliases: Mapping[str, str] = {}
        self._version = object()  # of the rows
        self._latest_index = _Index(self._version, self._models, self._providers)

    def _add(self, path: Path, source: str = "") -> None:
        """Read one file into the catalog.

        Args:
            path: The file.
            source: Where its prices come from, if they do not say so themselves.
        """
        try:
            table = files.toml(files.read(path))
            rows = table.pop("models", [])
            name = table["name"]
            known = self._providers.get(name)
            provider = parse.provider(table, known)
            # Rows that are known already belong to the provider as it is now.
            for key, model in list(self._models.items()):
                if known is None or model.provider is not known:
                    continue
                published = key in self._published
                if published and provider.any_server and provider.base_url != known.base_url:
                    del self._models[key]  # of another server
                    continue
                self._models[key] = _moved(model, provider)
                if published and provider.free and not known.free:
                    self._models[key] = replace(self._models[key], price=None)
            self._providers[name] = provider
            for row in rows:
                key = (name, row["id"])
                model = parse.model(row, provider, self._models.pop(key, None), source)
                if source and "aliases" in row:
                    self._renamed.add(key)
                if source:
                    self._published.discard(key)
                else:
                    self._published.add(key)
                # The newest first: a user's alias overrides the package's.
                self._models = (
                    {key: model, **self._models} if known else {**self._models, key: model}
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else files.reason(error)
            raise BadArguments(
                f"The catalog file {path} is invalid: {reason}.",
                "Compare it with the files in mixmagic/catalog (UTF-8), or move it away.",
            ) from None

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The providers by name."""
        return self._providers

    def provider(self, name: str) -> Provider:
        """Return a provider.

        Raises:
            BadArguments: There is no such provider.
        """
        if name not in self._providers:
            raise BadArguments(
                f"There is no provider {name!r}.", f"Providers are {', '.join(self._providers)}."
            )
        return self._providers[name]

    @property
    def models(self) -> tuple[Model, ...]:
        """All rows, by provider; Together AI's come first."""
        return tuple(priced(self._as_served(row)) for row in self._index.rows)

    def rows_of(self, provider: Provider) -> tuple[Model, ...]:
        """Return a provider's rows, as its file has them: without prices of other sources."""
        rows = (row for row in self._index.rows if row.provider.name == provider.name)
        return tuple(map(self._as_served, rows))

    def resolve(self, name: str) -> Model:
        """Return the row that a name means: the first one, if several providers serve it.

        Args:
            name: An alias (`8x7b`), an API string, or either after a provider's name
                (`fireworks:8x7b`). After a provider's name, every API string is accepted, and
                without it those of a known form (`gpt-…`).

        Raises:
            UnknownModel: No row has this name; the hint gives the closest ones.
        """
        wanted, index = name.strip(), self._index
        model, target = index.all.find(wanted), self.own_alias(wanted)
        if target is not None:
            return self._of_alias(wanted, target, model)
        if model:
            return priced(self._as_served(model))
        head, _, tail = wanted.partition(":")
        provider = self._providers.get(head.lower())
        if provider is not None and tail:
            return self._at(provider, tail)
        if (provider := self._of_family(wanted)) is not None:
            return self._at(provider, wanted)
        raise UnknownModel(
            f"No model is called {wanted!r:.80}." if wanted else "No model is named.",
            f"{self._meant(wanted)}`%mixmagic models` lists all; PROVIDER:API-STRING always works.",
        )

    def _at(self, provider: Provider, name: str) -> Model:
        """Return a provider's model by a name of its own."""
        name = name.removeprefix(provider.list_prefix) or name
        known = self._index.of_provider[provider.name].find(name)
        return priced(self._as_served(known or Model(name, provider, source=_NOT_IN_FILES)))

    def short_name(self, full: str) -> str:
        """Return the shortest name of `provider:API-string`; itself if it is not in the catalog.

        Example:
            >>> Catalog().short_name("together:mistralai/Mixtral-8x7B-Instruct-v0.1")
            'together:8x7b'
        """
        provider, _, model = full.partition(":")
        names = self._index.of_provider.get(provider)
        known = names and names.find(model)
        return known.name if known else full

    def declared(self, name: str) -> Model | None:
        """Return the row that a name means in the catalog's files; `None` if there is none."""
        return self._index.all.find(name.strip())

    def own_alias(self, name: str) -> str | None:
        """Return the model that one of the user's aliases names; `None` if there is no such alias.

        Example:
            >>> catalog = Catalog()
            >>> catalog.own_aliases = {"fast": "fireworks:8x7b"}
            >>> catalog.own_alias("fast")
            'fireworks:8x7b'
        """
        return self.own_aliases.get(name.strip().lower()) if self.own_aliases else None

    def _of_alias(self, alias: str, target: str, hidden: Model | None) -> Model:
        """Return the model of one of the user's aliases, which names no other alias."""
        if hidden is not None:
            raise UnknownModel(
                f"{alias!r} is both your alias for {target} and a name of {hidden.name}.",
                f"Write {hidden.name} or {target}, or remove it: `%mixmagic alias {alias} off`.",
            )
        if self.own_alias(target) is None:
            with contextlib.suppress(UnknownModel):
                return self.resolve(target)
        raise UnknownModel(
            f"Your alias {alias!r} means {target!r}, which is not a model.",
            f"Set it anew: `%mixmagic alias {alias} MODEL`.",
        )

    def _as_served(self, row: Model) -> Model:
        """Return a row; only its names if the environment names a server of another kind."""
        provider = row.provider
        if not (provider.any_server and (provider.name, row.id) in self._published):
            return row
        if not is_own_server(provider):
            return row
        return Model(row.id, provider, row.aliases, source=_NOT_IN_FILES)

    def names_provider(self, name: str) -> bool:
        """Return True if a name says which provider's model it is: `together:8x7b`, `local`."""
        meant = (self.own_alias(name) or name).strip().lower()
        head, colon, tail = meant.partition(":")
        return head in self._providers and (bool(tail) if colon else True)

    def _of_family(self, name: str) -> Provider | None:
        """Return the provider whose models have names of this form, as OpenAI's have `gpt-…`."""
        for provider in self._providers.values():
            lower = name.lower().removeprefix(provider.list_prefix)
            for family in provider.families:
                rest = lower.removeprefix(family)
                if rest != lower and (family.endswith("-") or rest[:1] in ("", "-")):
                    return provider if rest or not family.endswith("-") else None
        return None

    def _meant(self, name: str) -> str:
        """Return the start of a hint for an unknown name: the names that it may stand for."""
        if name.lower().endswith(".gguf"):
            file = re.sub("^(?:hf|huggingface)[:/]", "hf/", name, flags=re.IGNORECASE)
            on_hub = file.count("/") == 2 and not file.startswith(("/", ".", "~"))
            return f"Did you mean -m local:{'hf/' * on_hub}{file}? "
        rows, (vendor, _, model) = self._index.rows, name.partition("/")
        if (provider := self._providers.get(name.lower().strip(": "))) is not None:
            such = [
                f", such as {row.name}"
                for row in rows
                if row.provider is provider and row.status == "available"
            ]
            return f"Add a model: -m {provider.name}:MODEL{''.join(such[:1])}. "
        names = sorted({n for row in rows for n in (row.name, row.id, *row.aliases)})
        names += self.own_aliases
        words = re.split("[^a-z0-9.]+", name.lower()) if re.match(r"[\w .-]+$", name) else []
        if alias := next((each for each in words[1:] if each in self._index.all.aliases), None):
            return f"Did you mean {alias}? "  # of mixtral-8x7b, or Mixtral 8x7B Instruct
        near = did_you_mean(name, names, 2, 0.9)
        if vendor and model and not near:  # OpenRouter's form, unless it is a provider's name
            theirs = self._called(vendor.lower())
            routed = not theirs or any(p.vendor == vendor.lower() for p in theirs)
            meant = [f"openrouter:{name}"] * routed + [f"{p.name}:{model}" for p in theirs]
            return f"Did you mean {' or '.join(f'-m {each}' for each in meant)}? "
        head, colon, _ = name.partition(":")
        if colon and not near and not did_you_mean(head, self._providers, 1, 0.8):  # Ollama's form
            return f"Did you mean -m ollama:{name}? "
        family = re.match("[a-z]{3,}", name.lower())
        known = [(row.aliases or (row.id,))[0] for row in rows]
        known = [each for each in known if family and each.startswith(family[0])]
        return near or did_you_mean(name, known or names, 2, 0.3 if known else 0.5)

    def serving(self, name: str) -> tuple[Model, ...]:
        """Return every row that a name means: several if providers share the alias.

        Returns:
            One row for each provider, in the order of the catalog; `resolve` returns the first.
            The others are not `priced`: that may take a while.

        Raises:
            UnknownModel: As for `resolve`.

        Example:
            >>> [model.name for model in Catalog().serving("disco")]
            ['together:disco']
        """
        first, alias = self.resolve(name), (self.own_alias(name) or name).strip().lower()
        if self.names_provider(alias):
            return (first,)
        rows = {first.provider.name: first}
        # If a user's file gives the alias to another row, the package's rows do not count.
        users_alone = (first.provider.name, first.id) in self._renamed
        for model in map(self._as_served, self._index.all.aliased(alias)):
            if not users_alone or (model.provider.name, model.id) in self._renamed:
                rows.setdefault(model.provider.name, model)
        return tuple(rows.values())

    def merge(self, provider: Provider, entries: Iterable[Mapping[str, Any]]) -> list[Model]:
        """Return the provider's own `/models` list as rows, completed from the catalog.

        The catalog knows them from now on. A price of its files is kept; one that only the
        provider gives is added.
        """
        known = {row.id: row for row in self._models.copy().values() if row.provider is provider}
        merged: dict[_Key, Model] = {}
        for entry in entries:
            model_id = entry.get("id")
            if not isinstance(model_id, str) or not model_id:
                continue
            key = (provider.name, model_id)
            row = known.get(model_id) or Model(model_id, provider, source=price_sources.LIVE)
            context = entry.get("context_length")
            open_to_live = row.context is None or key in self._live_contexts
            if type(context) is int and context > 0 and open_to_live:
                self._live_contexts.add(key)
                row = replace(row, context=context)
            row = replace(row, status="available")
            if row.images is None and isinstance(entry.get("images"), bool):
                row = replace(row, images=entry["images"])
            if row.price is None or row.price.source == price_sources.LIVE:
                price = price_sources.live_price(provider, entry)
                row = replace(row, price=price, checked=None if price else row.checked)
            merged[key] = known[model_id] = row
        self._models.update(merged)  # in one step: other threads may be merging, too
        self._version = object()
        return list(map(priced, merged.values()))

    @property
    def _index(self) -> _Index:
        """The index of the rows as they are now."""
        index, version = self._latest_index, self._version
        if index.version is not version:
            index = self._latest_index = _Index(version, self._models.copy(), self._providers)
        return index

    def _called(self, name: str) -> list[Provider]:
        """Return the providers of which this may be the part of a name before a `/`."""
        return [
            provider
            for provider in self._providers.values()
            if name in (provider.name, provider.vendor, provider.list_prefix.rstrip("/"))
        ]


class _Index:
    """The rows of a catalog, by name.

    Attributes:
        version: The version of the rows.
        rows: The rows, in the order in which a shared alias is looked for.
        all: Their names.
        of_provider: The names of each provider's rows.
    """

    def __init__(
        self, version: object, models: Mapping[_Key, Model], providers: Mapping[str, Provider]
    ) -> None:
        self.version = version
        of_provider: dict[str, list[Model]] = {
            name: [] for name in sorted(providers, key=lambda name: (providers[name].rank, name))
        }
        for (name, _), model in models.items():
            of_provider[name].append(model)
        self.rows = [model for rows in of_provider.values() for model in rows]
        self.all = _Names(self.rows)
        self.of_provider = {name: _Names(rows) for name, rows in of_provider.items()}


class _Names:
    """Rows by API string, by alias and by full name; of several with one name, the first."""

    def __init__(self, rows: Iterable[Model]) -> None:
        self._by_id: dict[str, Model] = {}
        self._by_name: dict[str, Model] = {}
        self._by_alias: dict[str, list[Model]] = {}
        for row in rows:
            self._by_id.setdefault(row.id, row)
            for name in (row.name, row.id, *row.aliases):
                self._by_name.setdefault(name.lower(), row)
            for alias in row.aliases:
                self._by_alias.setdefault(alias.lower(), []).append(row)

    def find(self, name: str) -> Model | None:
        """Return the row with this API string, else that with this name in any case.

        An API string in other letters is the same one: it must not escape its row's price.
        """
        return self._by_id.get(name) or self._by_name.get(name.lower())

    @property
    def aliases(self) -> Collection[str]:
        """All aliases, in lower case."""
        return self._by_alias.keys()

    def aliased(self, alias: str) -> list[Model]:
        """Return the rows with this alias, in lower case."""
        return self._by_alias.get(alias, [])


def _moved(model: Model, provider: Provider) -> Model:
    """Return a row that belongs to its provider as a later file describes it."""
    changes: dict[str, Any] = {"provider": provider}
    for name in CAPABILITIES:
        if getattr(model, name) == getattr(model.provider, name):
            changes[name] = None  # the provider's again
    return replace(model, **changes)


def priced(model: Model) -> Model:
    """Return the model with a price and a context, if they are declared or can be found."""
    free = model.provider.free and not model.price
    if model.context is not None and model.price:
        return model
    context, price = price_sources.package_facts(model)
    changes: dict[str, Any] = {"price": FREE} if free else {}
    if model.context is None and context is not None:
        changes["context"] = context
    if not model.price and not free and price is not None:
        changes |= {"price": price, "checked": None}  # this price was not checked
    return replace(model, **changes) if changes else model
