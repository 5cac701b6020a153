"""From the name that was asked for to the model that answers, by the keys that are set.

Everything that raises for lack of a key is raised here, below the place of replay: above it no key
is looked at, so that a recorded notebook finds its answers on a machine with other keys, or none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from dataclasses import replace

from mixmagic.calls import tokens
from mixmagic.catalog import Catalog
from mixmagic.catalog.selection import Selection, elsewhere, refusal, select, sighted, usable
from mixmagic.core.values import Delta, Layer, Model, Provider, Request, Stream
from mixmagic.errors import ImagesUnsupported, MissingKey

# Models that a hint names, at most.
_NAMED = 2


def resolve(
    catalog: Catalog,
    is_available: Callable[[Provider], bool],
    require: Callable[[Model], None],
) -> Layer:
    """Replace a request's model by the one that answers; a delta says which, and why.

    Args:
        catalog: The models that can be named.
        is_available: Returns True for a provider that is set up.
        require: Raises `MissingKey` if a model cannot be called for lack of a key.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            selection = selected(request, catalog, is_available)
            model, asked = selection.model, request.asked
            if asked and catalog.resolve(asked) == request.model:
                by = request.control.chosen_by
                check(asked, model, catalog, is_available, require=require, by=by)
            else:
                require(model)
            if model != request.model or selection.reason:
                yield Delta(model=model, note=selection.reason)
            if model.images is None and any(message.images for message in request.messages):
                yield Delta(note=f"it is not known if {model.name} sees images")
            yield from inner(request if model is request.model else replace(request, model=model))

        return stream

    return layer


def check(
    asked: str,
    model: Model,
    catalog: Catalog,
    is_available: Callable[[Provider], bool],
    *,
    require: Callable[[Model], None],
    by: str = "",
) -> None:
    """Check that the model that was selected for a name can be called.

    Args:
        asked: The name.
        model: The row that `selected` has chosen for it.
        catalog: The models that can be named.
        is_available: Returns True for a provider that is set up.
        require: As for `resolve`.
        by: As `Control.chosen_by`.

    Raises:
        MissingKey: It cannot for lack of a key; the hint names models that can.
        UnknownModel: No provider serves it.
    """
    if (error := refusal(asked, model, catalog, is_available, by=by)) is not None:
        raise error
    try:
        require(model)
    except MissingKey as missing:
        routed = elsewhere(model, catalog, is_available)
        *others, local = usable(catalog, is_available)
        if not (routed or others):
            raise
        shown = [routed, local] if routed else [*others[:_NAMED], local]
        names = " or ".join(f"-m {name}" for name in shown)
        login = f", or run `%mixmagic login {model.provider.name}`" * bool(model.provider.key_env)
        raise MissingKey(missing.message, f"Use {names}{login}.") from None


def selected(
    request: Request, catalog: Catalog, is_available: Callable[[Provider], bool]
) -> Selection:
    """Return the model that answers a request: at the provider that is chosen by keys and prices.

    Args:
        request: The request; it keeps its model if that is not the first row of the asked name.
        catalog: The models that can be named.
        is_available: Returns True for a provider that is set up.

    Raises:
        UnknownModel: The name is in the catalog no longer.
        ImagesUnsupported: The prompt has an image, and the model is known to see none.
    """
    has_images = any(message.images for message in request.messages)
    selection = _selected(request, catalog, is_available, sees=has_images)
    if has_images and selection.model.images is False:
        # Without a key, no provider has been chosen.
        name = selection.model.name if is_available(selection.model.provider) else request.asked
        raise ImagesUnsupported(
            f"{name or selection.model.name} does not see images.", _hint(catalog, is_available)
        )
    return selection


def _selected(
    request: Request, catalog: Catalog, is_available: Callable[[Provider], bool], *, sees: bool
) -> Selection:
    """Return the model that a request's name means, one that sees images if it has to."""
    if not request.asked or catalog.resolve(request.asked) != request.model:
        return Selection(request.model)

    @functools.cache  # it is needed for each of several providers, or not at all
    def needed() -> int:
        prompt = tokens.high_estimate_prompt(request.messages)
        return prompt + int(request.params.get("max_tokens", tokens.RESERVE))

    def fits(model: Model) -> bool:
        if sees and model.images is False:
            return False
        return model.context is None or needed() <= model.context

    return select(request.asked, catalog, is_available, fits)


def _hint(catalog: Catalog, is_available: Callable[[Provider], bool]) -> str:
    """Return which models see images, or else which key to set, for the hint of an error."""
    if models := sighted(catalog, is_available):
        names = " or ".join(f"-m {model.name}" for model in models[:_NAMED])
        return f"Use a model that sees images: {names}."
    models = sighted(catalog, lambda provider: bool(provider.key_env and provider.key_required))
    by_provider = {model.provider.name: model for model in reversed(models)}
    best = sorted(by_provider.values(), key=lambda model: model.provider.rank)[:_NAMED]
    if not best:
        return "No model in the catalog is known to see images: see `%mixmagic models`."
    keys = " or ".join(f"{model.provider.key_env} for -m {model.name}" for model in best)
    login = f"or run `%mixmagic login {best[0].provider.name}`"
    return f"Models that see images need a key: set {keys}, {login}."
