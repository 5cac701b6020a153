"""A key that must be found nowhere, and the places where it is looked for."""

from __future__ import annotations

import base64
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from server import CUT, Answer, chunk, frames, refusal

KEY = "canary-key-4711"
PASSWORD = "canary-word-4711"
USER = "someone"
# A proxy's or a gateway's password as it is sent, and cut anywhere.
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_SIGNS = ("canary", "y-4711", "rd-4711", BASIC[:16], BASIC[-16:])
_HERE = str(Path(__file__).parent)

HTML = f"<html><body>Who is {KEY}?</body></html>".encode()
HI = frames(chunk("Hi"), done=False)


def streamed(*steps: bytes | str) -> Answer:
    return Answer(steps)


ECHOES = {
    "401": refusal(401, {"error": {"message": f"Incorrect API key provided: {KEY}."}}),
    "401 text": refusal(401, f"Bearer {KEY}".encode()),
    "401 page": refusal(401, HTML),
    "403 list": refusal(403, {"detail": [{"msg": KEY, KEY: 1}]}),
    "404": refusal(404, {"error": KEY, KEY: KEY}),
    "400 context": refusal(400, {"error": f"maximum context length {'x' * 170}{KEY}"}),
    "429": refusal(429, {"error": {"message": f"{KEY} {KEY}", "code": KEY}}),
    "500 page": refusal(500, HTML),
    "503 cut": refusal(503, f"{'x' * 190} {KEY}".encode()),
    "redirect": Answer([HTML], 307, {"location": f"http://127.0.0.1:9/{KEY}?key={KEY}"}),
    "headers": Answer([b"{}"], 418, {"x-echo": f"Bearer {KEY}", "retry-after": KEY}),
    "in the stream": streamed(HI, frames({"error": {"message": KEY, "code": KEY, "type": KEY}})),
    "event": streamed(HI, b'event: error\ndata: "%s"\n\n' % KEY.encode()),
    "error field": streamed(HI, b"error: %s\n\n" % KEY.encode()),
    "no JSON": streamed(HI, f"data: {'x' * 72}{KEY}\n\n".encode()),
    "odd frame": streamed(frames({"choices": [{"delta": {"content": [KEY, 1]}}], KEY: KEY})),
    "other frame": streamed(frames(f"{'x' * 70}{KEY}")),
    "page for an answer": Answer([HTML], type="text/html"),
    "cut": streamed(frames(chunk(f"It is {KEY[:-1]}"), done=False), CUT),
    "half JSON": Answer([f'{{"choices": "{KEY}'.encode()], type="application/json"),
}


def leaks(*texts: str | bytes) -> list[str]:
    """What stands around a key, or around a good part of one, in `texts`."""
    found = []
    for text in texts:
        written = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        signs = (written.find(sign) for sign in _SIGNS)
        found += [written[max(0, at - 80) : at + 80] for at in signs if at >= 0]
    return found


def files(folder: Path) -> Iterator[bytes]:
    """Everything that was written below a folder, but for the weights."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".gguf" and "cache" not in path.parts:
            yield f"{path.name}\n".encode() + path.read_bytes()


def shown(error: BaseException) -> str:
    """All that can be shown of an error: each of its frames' variables, its context's too."""
    said = []
    for each in _chain(error, set()):
        said += [str(each), repr(each), *map(repr, each.args), repr(vars(each))]
        said += getattr(each, "_render_traceback_", list)()
        if isinstance(each, Exception) and hasattr(each, "message"):
            said.append(repr(pickle.dumps(each)))
        trace = _without_tests(each.__traceback__)
        told = traceback.TracebackException(type(each), each, trace, capture_locals=True)
        said += told.format(chain=False)
        while trace is not None:
            said += [f"{name} = {_repr(value)}" for name, value in trace.tb_frame.f_locals.items()]
            trace = trace.tb_next
    return "\n".join(said)


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        yield from _chain(error.__context__, seen)
        yield from _chain(error.__cause__, seen)


def _without_tests(trace: TracebackType | None) -> TracebackType | None:
    """The frames below the test's own, which hold the canary of course."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return trace


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001  # an object that is not ready yet
        return repr(error)
