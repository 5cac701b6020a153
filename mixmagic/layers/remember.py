"""Remember the prompt and the answer of each call, however it ends, but for rows of jobs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

from mixmagic.core.values import Delta, Layer, Request, Stream


def remember(add: Callable[[str, str, str, str], object]) -> Layer:
    """Pass each call on when it is over.

    Args:
        add: Called with the last message, the answer, the model's name, and why it ended.
    """

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            if request.control.job:  # its many rows would push the user's own prompts out
                yield from inner(request)
                return
            texts: list[str] = []
            model, finish = request.model, ""
            try:
                with closing(inner(request)) as deltas:
                    for delta in deltas:
                        if delta.restarted:
                            texts.clear()
                        if delta.instead is not None and delta.choice == 0:
                            texts[:] = [delta.instead[0]]
                        elif delta.text and delta.choice == 0:
                            texts.append(delta.text)
                        model, finish = delta.model or model, delta.finish or finish
                        yield delta
            finally:
                prompt = request.messages[-1].described if request.messages else ""
                add(prompt, "".join(texts), model.name, finish)

        return stream

    return layer
