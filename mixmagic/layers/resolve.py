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
from mixmagic.catalog.selection import Selection, select
from mixmagic.core.values import Delta, Layer, Model, Provider, Request, Stream


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
            model = selection.model
            require(model)
            if model != request.model or selection.reason:
                yield Delta(model=model, note=selection.reason)
            yield from inner(request if model is request.model else replace(request, model=model))

        return stream

    return layer


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
    """
    if not request.asked or catalog.resolve(request.asked) != request.model:
        return Selection(request.model)

    @functools.cache  # it is needed for each of several providers, or not at all
    def needed() -> int:
        prompt = tokens.high_estimate_prompt(request.messages)
        return prompt + int(request.params.get("max_tokens", tokens.RESERVE))

    def fits(model: Model) -> bool:
        return model.context is None or needed() <= model.context

    return select(request.asked, catalog, is_available, fits)
