"""What cannot fit into a model's context is refused before anything is sent or recorded."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from mixmagic.calls import tokens
from mixmagic.core.values import Delta, Layer, Request, Stream
from mixmagic.errors import ContextTooLong


def fit() -> Layer:
    """Refuse a prompt that is too long; leave the answer no more than what remains.

    Where the tokens are an estimate, only what is over by far is refused: the provider knows.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            asked = request.params.get("max_tokens")
            request = fitted(request)
            room = request.params.get("max_tokens")
            if asked == room:
                yield from inner(request)
                return
            with closing(inner(request)) as deltas:
                for delta in deltas:
                    yield delta
                    if delta.finish == "length":
                        yield Delta(note=f"its context had room for {room:,} tokens, not {asked:,}")

        return stream

    return layer


def fitted(request: Request) -> Request:
    """The request with a `max_tokens`, where it has one, that its context has room for.

    Raises:
        ContextTooLong: The prompt leaves none.
    """
    model = request.model
    if model.context is None:
        return request
    prompt = tokens.count(request.messages, model)
    # An estimate can be several times too high: blanks and repetitions make long tokens.
    least = prompt.tokens if prompt.exact else prompt.tokens // 4
    if least >= model.context:
        about = "" if prompt.exact else "about "
        raise ContextTooLong(
            f"The prompt is too long: {about}{prompt.tokens:,} tokens, and {model.name} takes"
            f" {model.context:,} with the answer.",
            "Shorten it, or take a model with a longer context (8x22b: 65,536); nothing was sent.",
        )
    room = max(model.context - prompt.tokens, 1)
    if request.params.get("max_tokens", 0) <= room:
        return request
    return replace(request, params={**request.params, "max_tokens": room})
