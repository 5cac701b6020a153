"""Whom to ask: the cheapest provider with a key, and for a task the Mixtral that does it well.

May be imported by `parts` and what stands above it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import SequenceMatcher

from mixmagic.catalog import Catalog, priced
from mixmagic.core.money import Usage
from mixmagic.core.values import Model, Provider
from mixmagic.errors import BadArguments, did_you_mean

SMALL, LARGE = "8x7b", "8x22b"
# The guide to the two: the name, what it is for, in one sentence.
GUIDE: Mapping[str, str] = {
    SMALL: "8x7b: for chat, code, translation and low cost",
    LARGE: "8x22b: for long documents and complex reasoning",
}
# How alike two words must be to be one: in letters, with the same beginning (`coding`, `code`) …
_ALIKE = 0.6
# … or with any (`resoning`; but not `flying` and `trying`).
_SLIP = 0.85
_STATUSES = {"available": 0, "dedicated": 1, "retired": 2}
_MILLION = Usage(1_000_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of work.

    Attributes:
        name: As for `--task`.
        temperature: How freely the model draws its words, where the call does not say.
        model: Which of the Mixtrals does it, where the call does not say.
        strengths: What it asks of a model, as the catalog's rows call it.
    """

    name: str
    temperature: float
    model: str
    strengths: tuple[str, ...]


TASKS: Mapping[str, Task] = {
    each.name: each
    for each in (
        Task("chat", 0.7, SMALL, ("chat",)),
        Task("code", 0.2, SMALL, ("code",)),
        Task("analysis", 0.5, LARGE, ("complex reasoning",)),
        Task("creative", 0.8, SMALL, ("chat", "low cost")),
        Task("translate", 0.3, SMALL, ("translation",)),
        Task("summarize", 0.3, SMALL, ("long documents", "low cost")),
    )
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that was chosen.

    Attributes:
        model: Whom to ask.
        reason: Why, in a few words for the line below the answer; empty where nobody else could be.
    """

    model: Model
    reason: str


def task(name: str) -> Task:
    """A task by its name.

    Raises:
        BadArguments: There is no such task.

    Example:
        >>> task("code").temperature
        0.2
    """
    if name in TASKS:
        return TASKS[name]
    raise BadArguments(
        f"There is no task {name!r:.40}.",
        f"{did_you_mean(name, TASKS)}Tasks are {', '.join(TASKS)}.",
    )


def named(name: str, catalog: Catalog, has_key: Callable[[Provider], bool]) -> Choice:
    """The model that a name means: at the cheapest provider with a key, where several serve it.

    Only a bare alias (`8x7b`) is several providers' (see `Catalog.named`), and of these only those
    that serve it today are asked; one's own machine, which needs no key, where no key is there at
    all. Where nobody is set up, it is the catalog's first.

    Args:
        name: A model, as for `Catalog.resolve`.
        catalog: The models that can be named.
        has_key: Whether a provider is set up; not asked where there is no choice.

    Raises:
        UnknownModel: No row has this name.

    Example:
        >>> named("8x7b", Catalog(), lambda provider: provider.name == "fireworks").model.name
        'fireworks:8x7b'
    """
    rows = catalog.named(name)
    served = [row for row in rows if row.status == "available"] if len(rows) > 1 else []
    usable = _keyed([priced(row) for row in served if has_key(row.provider)])
    if usable and not usable[0].provider.key_required and has_key(rows[0].provider):
        usable = []
    return _cheapest(usable) if usable else Choice(rows[0], "")


def choose(
    name: str,
    tokens: int,
    catalog: Catalog,
    has_key: Callable[[Provider], bool],
    own: Model,
) -> Choice:
    """The model for a task, where the call names none.

    The guide says which of the Mixtrals; a prompt that does not fit into the smaller one's
    context with its answer goes to the larger one. Of those who serve it, the cheapest whose key
    is there is asked. A retired row never is. One on an endpoint of one's own (`dedicated`) is,
    behind all others, where the session's own model is such a one of the same provider: else
    nothing says that there is an endpoint. Where nobody can be asked, it is the session's own.

    Args:
        name: A task, as for `--task`.
        tokens: The prompt and the answer together.
        catalog: The models that can be named.
        has_key: Whether a provider is set up.
        own: The session's own model.

    Raises:
        BadArguments: There is no such task.

    Example:
        >>> choose("code", 900, Catalog(), lambda provider: True, own).model.name
        'fireworks:8x7b'
    """
    wanted = task(name)
    family, why = wanted.model, wanted.name
    context = catalog.resolve(SMALL).context
    if family == SMALL and context is not None and tokens > context:
        family, why = LARGE, f"{tokens:,} tokens, answer included ({SMALL} takes {context:,})"
    served = [row for row in catalog.named(family) if _served(row, own) and has_key(row.provider)]
    usable = _keyed([priced(row) for row in served])
    if not usable:
        return Choice(
            own,
            f"the session's model: no provider with a key serves {family}, the choice for {why}",
        )
    choice = _cheapest(usable, tokens)
    said = f"{family} chosen for {why}"
    return Choice(choice.model, ", ".join(filter(None, (said, choice.reason))))


def suited(catalog: Catalog, wanted: str) -> list[Model]:
    """The models whose strengths are what is wanted, the best first.

    Args:
        catalog: The models that can be named.
        wanted: Some words, such as `long documents`; the name of a task stands for what it asks.

    Returns:
        By how much of it their strengths cover; among equals those that are served today first,
        and of these the cheapest.

    Raises:
        BadArguments: No strength is like that.

    Example:
        >>> suited(Catalog(), "complex reasoning")[0].aliases
        ('8x22b',)
    """
    words = _words(wanted)
    for named in [name for name in words if name in TASKS]:
        words += [word for strength in TASKS[named].strengths for word in _words(strength)]
    found = []
    for model in catalog.models:
        strengths = [_words(strength) for strength in model.strengths]
        covered = _within(words, [word for strength in strengths for word in strength])
        if max(covered, *(_within(strength, words) for strength in strengths), 0.0) >= _ALIKE:
            found.append((-covered, _rank(model), model))
    if not found:
        known = sorted({strength for model in catalog.models for strength in model.strengths})
        raise BadArguments(
            f"No model is known to be good for {wanted!r:.60}.",
            f"Strengths are {', '.join(known)}; tasks are {', '.join(TASKS)}.",
        )
    return [model for *_, model in sorted(found, key=lambda match: match[:2])]


def _keyed(usable: list[Model]) -> list[Model]:
    """The rows whose providers ask for a key; all of them where none does.

    Whether a server on one's own machine runs and has the model is not known beforehand.
    """
    return [row for row in usable if row.provider.key_required] or usable


def _cheapest(usable: Sequence[Model], tokens: int = 0) -> Choice:
    """The best of some rows for so many tokens, the first of equals, and among how many it is."""
    chosen = min(usable, key=lambda model: (not _fits(model, tokens), *_rank(model)))
    rivals = [
        model
        for model in usable
        if model.price and model.status == chosen.status and _fits(model, tokens)
    ]
    compared = chosen.price is not None and len(rivals) > 1
    said = f"the cheapest of {len(rivals)} providers with a key" if compared else ""
    return Choice(chosen, said)


def _served(model: Model, own: Model) -> bool:
    """Whether a row can be asked, as far as is known: see `choose`."""
    alike = (own.status, own.provider.name) == (model.status, model.provider.name)
    return model.status == "available" or (model.status == "dedicated" and alike)


def _fits(model: Model, tokens: int) -> bool:
    """Whether a prompt and its answer are no longer than a model's context, where it is known."""
    return model.context is None or tokens <= model.context


def _rank(model: Model) -> tuple[int, bool, Decimal]:
    """What makes one row better than another: served today, and cheap; unknown prices last."""
    cost = model.price.cost(_MILLION) if model.price else None
    return _STATUSES.get(model.status, 0), cost is None, cost or Decimal(0)


def _within(some: Sequence[str], others: Sequence[str]) -> float:
    """How far the words of `some` are in `others`, from 0 to 1."""
    if not some or not others:
        return 0.0
    return sum(max(_likeness(word, other) for other in others) for word in some) / len(some)


def _likeness(one: str, other: str) -> float:
    """How far two words mean the same, from 0 to 1: slips of the pen, other forms of a word."""
    ratio = SequenceMatcher(None, one, other).ratio()
    begins = min(len(one), len(other)) > 3 and (one.startswith(other) or other.startswith(one))
    if begins or ratio > _SLIP or (one[:3] == other[:3] and ratio >= _ALIKE):
        return max(ratio, _ALIKE)
    return 0.0


def _words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return re.findall(r"\w+", text.lower())
