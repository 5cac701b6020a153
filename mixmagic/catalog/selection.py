"""From a name to a model: the cheapest provider with a key; and the Mixtral that suits a task.

May be imported by `layers` and everything above them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mixmagic.catalog import Catalog, priced
from mixmagic.core.money import Usage
from mixmagic.core.servers import is_own_server, needs_key
from mixmagic.core.values import Model, Provider
from mixmagic.errors import BadArguments, MissingKey, MixmagicError, UnknownModel, did_you_mean

SMALL, LARGE = "8x7b", "8x22b"
# The names of the two, and the work that each is for, in one sentence.
GUIDE: Mapping[str, str] = {
    SMALL: "8x7b: for chat, code, translation and low cost",
    LARGE: "8x22b: for long documents and complex reasoning",
}
# Names of a list, and of a hint besides `local`, at most.
_MOST_NAMES, _MOST_HINTED = 4, 2
_DASHED = re.compile(r"(?<=[^\d]\d)-(?=\d{1,2}(?:$|-))")
_STATUSES = {"available": 0, "dedicated": 1, "retired": 2}
_MILLION = Usage(1_000_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class TaskPreset:
    """Defaults for a kind of work, for `--task`.

    Attributes:
        name: The name after `--task`.
        temperature: The sampling temperature, unless the call sets one.
        model: The Mixtral that does it well, unless the user has chosen a model.
        strengths: The strengths that it needs, in the words of the catalog's rows.
    """

    name: str
    temperature: float
    model: str
    strengths: tuple[str, ...]


TASKS: Mapping[str, TaskPreset] = {
    preset.name: preset
    for preset in (
        TaskPreset("chat", 0.7, SMALL, ("chat",)),
        TaskPreset("code", 0.2, SMALL, ("code",)),
        TaskPreset("analysis", 0.5, LARGE, ("complex reasoning",)),
        TaskPreset("creative", 0.8, SMALL, ("chat", "low cost")),
        TaskPreset("translate", 0.3, SMALL, ("translation",)),
        TaskPreset("summarize", 0.3, SMALL, ("long documents", "low cost")),
    )
}


@dataclass(frozen=True, slots=True)
class Selection:
    """The model that a name means.

    Attributes:
        model: The catalog row.
        reason: Why this one, for the footer; empty if there was no alternative.
    """

    model: Model
    reason: str = ""


def task_preset(name: str) -> TaskPreset:
    """Return a task preset by its name.

    Raises:
        BadArguments: There is no such task.

    Example:
        >>> task_preset("code").temperature
        0.2
    """
    if name in TASKS:
        return TASKS[name]
    raise BadArguments(
        f"There is no task {name!r:.40}.",
        f"{did_you_mean(name, TASKS)}Tasks are {', '.join(TASKS)}.",
    )


def name_for_task(task: str, tokens: int, catalog: Catalog) -> tuple[str, str]:
    """Return the name of the Mixtral for a task, and the reason.

    It depends on no key: `select` finds the provider.

    Args:
        task: A task's name, as for `--task`.
        tokens: Prompt and answer together: what the smaller one's context cannot hold goes to the
            larger one.
        catalog: The models that can be named.

    Raises:
        BadArguments: There is no such task.

    Example:
        >>> name_for_task("code", 900, Catalog())
        ('8x7b', '8x7b chosen for code')
    """
    preset = task_preset(task)
    name, purpose = preset.model, preset.name
    context = catalog.resolve(SMALL).context
    if name == SMALL and context is not None and tokens > context:
        name = LARGE
        purpose = f"{tokens:,} tokens, answer included ({SMALL} takes {context:,})"
    return name, f"{name} chosen for {purpose}"


def select(
    name: str,
    catalog: Catalog,
    is_available: Callable[[Provider], bool],
    fits: Callable[[Model], bool] = lambda _: True,
) -> Selection:
    """Return the row that a name means: at the cheapest provider with a key, if several serve it.

    Only a bare alias such as `8x7b` can have several rows (see `Catalog.serving`). Of those that
    are served today, servers of unknown price that the environment names in place of a provider's
    come first, then providers with a key, then servers that need none. If none of them is set up,
    it is the catalog's first row, which may not answer: see `refusal`.

    Args:
        name: A model, as for `Catalog.resolve`.
        catalog: The models that can be named.
        is_available: Returns True for a provider that is set up; called only if there are
            alternatives.
        fits: Returns False for a model whose context is too short for the call.

    Raises:
        UnknownModel: No row has this name.

    Example:
        >>> select("8x7b", Catalog(), lambda provider: provider.name == "openrouter").model.name
        'openrouter:8x7b'
    """
    rows = catalog.serving(name)
    for keyed in (True, False) if len(rows) > 1 else ():
        usable = [
            priced(row)
            for row in rows
            if is_served(row) and row.provider.key_required == keyed and is_available(row.provider)
        ]
        # Who names a server in place of a provider's own means it, if its price is not known.
        own = [row for row in usable if row.price is None and is_own_server(row.provider)]
        usable = own if keyed and own else usable
        if usable:
            return _cheapest(usable, fits)
    return Selection(rows[0])


def is_served(model: Model) -> bool:
    """Return True if a model can answer: its provider serves it, or a server of the user's may."""
    return model.status == "available" or (
        model.status == "dedicated" and is_own_server(model.provider)
    )


def refusal(
    name: str,
    model: Model,
    catalog: Catalog,
    is_available: Callable[[Provider], bool],
    *,
    by: str = "",
) -> MixmagicError | None:
    """Return the error of a call whose name nobody can answer now; `None` if somebody can.

    A name with a provider is used as it is: its user may have a dedicated endpoint.

    Args:
        name: The name that the call asks for.
        model: The row that `select` has returned for it.
        catalog: The models that can be named.
        is_available: Returns True for a provider that is set up.
        by: As `Control.chosen_by`.
    """
    rows = () if catalog.names_provider(name) else catalog.serving(name)
    if not rows or (is_served(model) and (len(rows) == 1 or is_available(model.provider))):
        return None
    asked = name.strip() + ", the default model," * (by == "default")
    served = [row.provider for row in rows if is_served(row)]
    *others, local = usable(catalog, is_available)
    now = "Use " + " or ".join(f"-m {each}" for each in [*others[:_MOST_HINTED], local])
    keyed = [provider for provider in served if needs_key(provider)]
    if not keyed:
        own = f"-m {model.provider.name}:ENDPOINT is an endpoint of your own"
        return UnknownModel(f"{asked} is served by nobody at present.", f"{now}; {own}.")
    labels = " or ".join(provider.label for provider in keyed)
    first, *further = (provider.key_env for provider in keyed)
    unset = f"{first} is not set{''.join(f', nor is {name}' for name in further)}"
    for_all = " (`%mixmagic use MODEL` for all cells)" if len(others) < _MOST_HINTED else ""
    return MissingKey(
        f"{asked} is served at present by {labels}, and {unset}.",
        f"{now}{for_all}, or set {first} (from {keyed[0].key_url or keyed[0].label}).",
    )


def usable(catalog: Catalog, is_available: Callable[[Provider], bool]) -> list[str]:
    """Return names of models that can be used now: one for each key that is set, and `local`.

    Example:
        >>> usable(Catalog(), lambda provider: provider.name == "groq")
        ['groq:gpt-oss-20b', 'local']
    """
    names = []
    for provider in sorted(catalog.providers.values(), key=lambda each: (each.rank, each.name)):
        if provider.backend == "local" or not is_available(provider):
            continue
        rows = catalog.rows_of(provider)
        known = not (provider.free or (provider.any_server and is_own_server(provider)))
        row = next(filter(is_served, rows), None) if known else None
        names.append(row.name if row else f"{provider.name}:MODEL")
    return [*names[:_MOST_NAMES], "local"]


def served_today(catalog: Catalog) -> str:
    """Return who serves the models that this package is named after, in one line.

    Example:
        >>> served_today(Catalog()).partition(";")[0]
        'at present 8x7b and 8x22b are served by OpenRouter, by Ollama on your machine'
    """
    by_server: dict[str, list[str]] = {}
    for alias in (SMALL, LARGE, "disco"):
        rows = [row for row in catalog.serving(alias) if is_served(row)]
        labels = [row.provider.label + " on your machine" * row.provider.free for row in rows]
        hosted = sorted(labels, key=lambda label: label.endswith("machine"))
        by_server.setdefault(", ".join(f"by {label}" for label in hosted), []).append(alias)
    parts = [
        f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} served {by or 'by nobody'}"
        for by, names in by_server.items()
    ]
    return f"at present {'; '.join(parts)}"


def elsewhere(model: Model, catalog: Catalog, is_available: Callable[[Provider], bool]) -> str:
    """Return the name of a model at a router whose key is set; empty if there is none.

    Example:
        >>> gpt = Catalog().resolve("openai:gpt-9")
        >>> elsewhere(gpt, Catalog(), lambda provider: provider.name == "openrouter")
        'openrouter:openai/gpt-9'
    """
    router, vendor = catalog.providers.get("openrouter"), model.provider.vendor
    if router is None or not vendor or not is_available(router):
        return ""
    # Its names have dots in versions: claude-haiku-4.5.
    return f"{router.name}:{vendor}/{_DASHED.sub('.', model.id)}"


def suited(catalog: Catalog, wanted: str) -> list[Model]:
    """Return the models with a strength, or with those that a task needs, the best first.

    Args:
        catalog: The models that can be named.
        wanted: A strength, such as `long documents`, or a task's name.

    Returns:
        Models with more of the strengths first; of equals, those that are served today, then the
        cheapest.

    Raises:
        BadArguments: There is no such strength or task.

    Example:
        >>> suited(Catalog(), "complex reasoning")[0].aliases
        ('8x22b',)
    """
    models = catalog.models
    known = {strength.lower(): strength for row in models for strength in row.strengths}
    name = wanted.strip().lower()
    if name in TASKS:
        needed = set(TASKS[name].strengths)
    elif name in known:
        needed = {known[name]}
    else:
        raise BadArguments(
            f"No model is known to be good for {wanted!r:.60}.",
            f"{did_you_mean(name, [*known.values(), *TASKS], likeness=0.5)}"
            f"Strengths are {', '.join(sorted(known.values()))}; tasks are {', '.join(TASKS)}.",
        )
    rows = [row for row in models if needed & set(row.strengths)]
    return sorted(rows, key=lambda row: (-len(needed & set(row.strengths)), *_rank(row)))


def sighted(catalog: Catalog, is_available: Callable[[Provider], bool]) -> list[Model]:
    """Return the models that are known to see images, at providers that are set up.

    Returns:
        Models that are served today first, then the cheapest. A server that needs no key counts
        only if no provider with a key has one: it may not be running.
    """
    rows = [row for row in catalog.models if row.images and is_available(row.provider)]
    keyed = [row for row in rows if row.provider.key_required]
    return sorted(map(priced, keyed or rows), key=_rank)


def million_cost(model: Model) -> Decimal | None:
    """Return US dollars for a million tokens in and a million out; `None` if no price is known."""
    return model.price.short.cost(_MILLION) if model.price else None


def _cheapest(usable: Sequence[Model], fits: Callable[[Model], bool]) -> Selection:
    """Return the cheapest row that fits, the first of equals; unknown prices come last."""
    model = min(usable, key=lambda row: (not fits(row), *_rank(row)[1:]))
    rivals = [row for row in usable if row.price and fits(row)]
    compared = model.price is not None and len(rivals) > 1
    return Selection(
        model, f"the cheapest of {len(rivals)} providers with a key" if compared else ""
    )


def _rank(model: Model) -> tuple[int, bool, Decimal]:
    """Return a sort key: models served today first, then by price; unknown prices come last."""
    cost = million_cost(model)
    return _STATUSES.get(model.status, 0), cost is None, cost or Decimal(0)
