"""Refuse a prompt that cannot fit into the context, before anything is sent or recorded."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from mixmagic.calls import tokens
from mixmagic.core.values import Delta, Layer, Request, Stream
from mixmagic.errors import ContextTooLong, counted


def fit() -> Layer:
    """Refuse a prompt that is too long; limit the answer to the rest of the context.

    If the tokens are an estimate, only a prompt far over the limit is refused: the provider knows.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            wanted = request.params.get("max_tokens")
            request = fitted(request)
            limit = request.params.get("max_tokens", 0)
            if wanted is None or wanted == limit:
                yield from inner(request)
                return
            with closing(inner(request)) as deltas:
                for delta in deltas:
                    yield delta
                    if delta.finish == "length":
                        room = counted(limit, "token")
                        yield Delta(note=f"its context had room for {room}, not {wanted:,}")

        return stream

    return layer


def fitted(request: Request) -> Request:
    """Return the request with its `max_tokens`, if any, lowered to what the context has left.

    Raises:
        ContextTooLong: The prompt leaves nothing.
    """
    model = request.model
    if model.context is None:
        return request
    limit = request.params.get("max_tokens", 0)
    if (
        tokens.most(request.messages, model) + limit <= model.context
    ):  # most calls: no need to count
        return request
    prompt = tokens.count(request.messages, model)
    # An estimate can be several times too high: blanks and repetitions make long tokens.
    least = prompt.tokens if prompt.exact else prompt.tokens // 4
    if least >= model.context:
        about = "" if prompt.exact else "about "
        raise ContextTooLong(
            f"The prompt is too long: {about}{prompt.tokens:,} tokens, and {model.name} takes"
            f" {model.context:,} with the answer.",
            "Shorten it, or use a model with a longer context (`%mixmagic models`); nothing was"
            " sent.",
        )
    room = max(model.context - prompt.tokens, 1)
    if limit <= room:
        return request
    return replace(request, params={**request.params, "max_tokens": room})
