"""Values that say how they are shown: by Jupyter's `_ai_repr_`, or as Markdown or HTML."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any

from mixmagic.prompting.present.html_text import html_text
from mixmagic.prompting.present.media import from_bundle, shown_by
from mixmagic.prompting.present.opaque import is_a, is_label, is_media

_AI = "_ai_repr_"
# Seconds between two looks at the end: on Windows, a signal does not wake a thread that waits.
_TICK = 0.05
# MIME types of texts, the best first.
_TEXTS = ("text/markdown", "text/plain", "application/json", "text/html", "text/latex")
_METHODS = {
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_html_": "text/html",
}


def unwrapped(value: Any) -> Any:
    """Return what a value says that it is for a model: a text, or the bytes of an image.

    That is what its `_ai_repr_(**kwargs)` returns, as `jupyter/enhancement-proposals#129` has it:
    a text or a dict of MIME types, maybe of a coroutine; of several types, a text is preferred. The
    data of IPython's Markdown, HTML, JSON, Latex, … is itself, HTML as its text. All other values
    are returned as they are.

    Raises:
        TypeError: `_ai_repr_` returned neither text nor image.
        Exception: Anything that `_ai_repr_` raises.

    Example:
        >>> unwrapped(IPython.display.HTML("<h1>Tea</h1>"))
        '# Tea'
    """
    method = getattr(type(value), _AI, None)
    if method is not None:
        return _of_bundle(_called(method, value), type(value).__name__)
    if is_a(value, "IPython.core.display", "DisplayObject") and not is_media(value):
        data = getattr(value, "data", None)
        if isinstance(data, str) and is_a(value, "IPython.core.display", "HTML"):
            return html_text(data)
        if isinstance(data, str | dict | list):
            return data
    return value


def shown_text(value: Any) -> str | None:
    """Return the Markdown, LaTeX, JSON or HTML by which a notebook shows a value, as text.

    `None` for a value without, and for one whose `str` tells its content.
    """
    kind = type(value)
    methods = [name for name in _METHODS if callable(getattr(kind, name, None))]
    has_bundle = callable(getattr(kind, "_repr_mimebundle_", None))
    if not (methods or has_bundle) or inspect.isclass(value) or is_media(value):
        return None
    if not is_label(str(value)):
        return None
    bundle = {_METHODS[name]: shown_by(getattr(value, name)) for name in methods}
    if has_bundle:
        more = shown_by(value._repr_mimebundle_, include=None, exclude=None)
        bundle |= more if isinstance(more, dict) else {}
    bundle.pop("text/plain", None)  # the label
    return _text(bundle)


def _called(method: Callable[..., Any], value: Any) -> Any:
    """Return what `_ai_repr_` returns; a coroutine runs in a thread, beside the kernel's loop."""
    kinds = inspect.signature(method).parameters.values()
    takes_hints = any(each.kind is each.VAR_KEYWORD or each.name == "multimodal" for each in kinds)
    result = method(value, multimodal=False) if takes_hints else method(value)
    if not inspect.isawaitable(result):
        return result
    return _awaited(result)


def _awaited(awaitable: Awaitable[Any]) -> Any:
    """Return the result of an awaitable, which an interrupt cancels."""
    import asyncio
    import queue
    import threading
    from concurrent.futures import Future

    ended: Future[Any] = Future()
    begun: queue.SimpleQueue[asyncio.Task[Any] | None] = queue.SimpleQueue()

    async def wait() -> Any:
        begun.put(asyncio.current_task())
        return await awaitable

    def work() -> None:
        try:
            ended.set_result(asyncio.run(wait()))
        except BaseException as error:  # noqa: BLE001  # raised again by `result`
            ended.set_exception(error)

    # A thread of an executor would hold up the end of the process.
    threading.Thread(target=work, name="mixmagic-presenter", daemon=True).start()
    try:
        while not ended.done():
            with contextlib.suppress(TimeoutError):
                ended.exception(_TICK)  # returned, not raised
    except KeyboardInterrupt:
        if (task := begun.get()) is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)
        raise
    return ended.result()


def _of_bundle(result: object, name: str) -> object:
    """Return the text, or else the image, that an `_ai_repr_` has returned."""
    result = result[0] if isinstance(result, tuple) and result else result
    if isinstance(result, str):
        return result
    found: object = _text(result) if isinstance(result, dict) else None
    if found is None:
        found = from_bundle(result)
    if found is None:
        types = ", ".join(map(str, result)) if isinstance(result, dict) else type(result).__name__
        raise TypeError(f"{name}.{_AI} returned no text: {types or 'nothing'}")
    return found


def _text(bundle: dict[Any, Any]) -> str | None:
    """Return the best text of a MIME bundle."""
    others = (name for name in bundle if isinstance(name, str) and name.startswith("text/"))
    for name in (*_TEXTS, *others):
        data = bundle.get(name)
        if name == "application/json" and data is not None and not isinstance(data, str):
            data = json.dumps(data, ensure_ascii=False, default=str)
        text = html_text(data) if name == "text/html" and isinstance(data, str) else data
        if isinstance(text, str) and text and name not in ("text/javascript", "text/css"):
            return text
    return None
