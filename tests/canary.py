"""A key that must not appear anywhere, and the search for it."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import pickle
import pydoc
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote

from rich.pretty import pretty_repr  # as its tracebacks with `show_locals` write each variable
from server import CUT, Answer, chunk, frames, refusal, usage

KEY = "canary-key-4711"
PASSWORD = "canary-word-4711"
USER = "someone"
# A proxy's or a gateway's password as it is sent, and cut anywhere.
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_SIGNS = ("canary", "y-4711", "rd-4711", BASIC[:16], BASIC[-16:])
_HERE = str(Path(__file__).parent)


def _each(form: str) -> Callable[[str], str]:
    """Writes each character of a text by its code."""
    return lambda text: "".join(form.format(ord(letter)) for letter in text)


def _base64(before: str, after: str = "", *, urlsafe: bool = False) -> Callable[[str], str]:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return lambda text: encode(f"{before}{text}{after}".encode()).decode()


def _named(text: str) -> str:
    return text.replace("_", "&lowbar;").replace("-", "&#45;").replace(".", "&period;")


# The ways in which a provider, a gateway or a model may write a key that it repeats.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "other case": str.swapcase,
    "percent": _each("%{:02x}"),
    "percent, upper case": _each("%{:02X}"),
    "percent twice": _each("%25{:02x}"),
    "percent thrice, upper case": _each("%2525{:02X}"),
    "percent where needed": lambda text: text.replace("-", "%2D").replace("_", "%5f"),
    "percent, here and there": lambda text: _each("%{:02x}")(text[:4]) + text[4:],
    "decimal entities": _each("&#{};"),
    "padded entities": _each("&#{:05};"),
    "entities padded further": _each("&#{:012};"),
    "hexadecimal entities": _each("&#x{:x};"),
    "hexadecimal entities, upper case": _each("&#X{:04X};"),
    "entities twice": _each("&amp;#{};"),
    "named entities": _named,
    "JSON escapes": _each("\\u{:04x}"),
    "JSON escapes, upper case": _each("\\u{:04X}"),
    "JSON escapes twice": _each("\\\\u{:04x}"),
    "JavaScript escapes": _each("\\u{{{:x}}}"),
    "Python escapes": _each("\\x{:02x}"),
    "long Python escapes": _each("\\U{:08x}"),
    "octal escapes": _each("\\{:03o}"),
    "every sign escaped": lambda text: re.sub(r"([^\w\s])", r"\\\1", text),
    "Markdown escapes": lambda text: text.replace("-", "\\-").replace("_", "\\_"),
    "typographic hyphens": lambda text: text.replace("-", "\u2011"),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, upper case": lambda text: text.encode().hex().upper(),
    "hexadecimal in a longer one": lambda text: f"Bearer {text}\n".encode().hex(),
    "Base64": _base64(""),
    "Base64 without padding": lambda text: _base64("")(text).rstrip("="),
    "Base64 for URLs": _base64("", urlsafe=True),
    "Base64 of a header": _base64("Bearer "),
    "Base64 of a header for URLs": _base64("Bearer ", urlsafe=True),
    "Base64 of a user": _base64("user:"),
    "Base64 after one byte": _base64("?", "?"),
    "Base64 after two bytes": _base64("~~", "}}}"),
    "Base64 in a longer one": _base64('{"api_key": "', '", "n": 1}'),
    "Base64 in a URL": lambda text: quote(_base64("a")(text), safe=""),
    "all but its last characters": lambda text: text[:-4],
    "all but its first characters": lambda text: text[4:],
    "masked at its end": lambda text: f"{text[:-3]}***",
    "masked at its beginning": lambda text: f"...{text[2:]}",
    "masked at both ends": lambda text: f"*{text[1:-1]}*",
    "its first half": lambda text: text[: max(-(-len(text) // 2), 8)],
    "its second half": lambda text: text[-max(-(-len(text) // 2), 8) :],
}

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
    """Return the surroundings of a key, or most of one, in `texts`, in any encoding."""
    found = []
    for text in texts:
        written = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        for form in (written, *_decoded(written)):
            signs = (form.find(sign) for sign in _SIGNS)
            found += [form[max(0, at - 80) : at + 80] for at in signs if at >= 0]
            if found:
                break
    return found


def _decoded(text: str) -> Iterator[str]:
    """A text with each encoding undone in which a key may be echoed."""
    yield text.lower()
    if "%" in text:
        yield unquote(unquote(text)).lower()
    if "&" in text:
        yield html.unescape(html.unescape(text)).lower()
    if "\\" in text:
        code = re.compile(
            r"\\+(?:u\{?0*([0-9a-f]{2})\}?|x([0-9a-f]{2})|U0*([0-9a-f]{2}))", re.IGNORECASE
        )
        plain = code.sub(lambda one: chr(int(one[one.lastindex], 16)), text)
        yield re.sub(r"\\+([-_.])", r"\1", plain).lower()
    for run in re.findall(r"(?:[0-9a-fA-F]{2}){6,}", text):
        yield bytes.fromhex(run).decode("latin-1")
        yield bytes.fromhex(f"0{run[:-1]}").decode("latin-1")
    for run in re.findall(r"[\w+/-]{10,}", text, re.ASCII):
        standard = run.replace("-", "+").replace("_", "/")
        for at in range(4):
            whole = standard[at : at + (len(run) - at) // 4 * 4]
            yield base64.b64decode(whole).decode("latin-1")


def files(folder: Path) -> Iterator[bytes]:
    """Everything that was written below a folder, but for the weights."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".gguf" and "cache" not in path.parts:
            yield f"{path.name}\n".encode() + path.read_bytes()


def shown(error: BaseException) -> str:
    """Return all that can be shown of an error, with its frames' variables and its context."""
    said = []
    for each in _chain(error, set()):
        said += [str(each), repr(each), *map(repr, each.args), repr(vars(each))]
        said += getattr(each, "_render_traceback_", list)()
        if isinstance(each, Exception) and hasattr(each, "message"):
            said.append(repr(pickle.dumps(each)))
        trace = _without_tests(each.__traceback__)
        with contextlib.suppress(AttributeError):  # of a variable that is not ready yet
            told = traceback.TracebackException(type(each), each, trace, capture_locals=True)
            said += told.format(chain=False)
        while trace is not None:
            for name, value in trace.tb_frame.f_locals.items():
                said += [f"{name} = {form}" for form in _forms(value)]
            trace = trace.tb_next
    return "\n".join(said)


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            yield from _chain(member, seen)
        yield from _chain(error.__context__, seen)
        yield from _chain(error.__cause__, seen)


def _without_tests(trace: TracebackType | None) -> TracebackType | None:
    """Return the frames below the test's, which holds the canary itself."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return trace


def _forms(value: Any) -> Iterator[str]:
    """A variable as tracebacks show it: Python's, IPython's, cgitb's and rich's."""
    with contextlib.suppress(Exception):  # an object that is not ready yet
        yield repr(value)
        yield pydoc.text.repr(value)
        yield pretty_repr(value, max_width=999, max_length=10, max_string=80)
    if isinstance(value, str):
        yield from (str(value), f"{value}", value[:9].__repr__())


def in_pieces(*pieces: str, field: str = "content") -> Answer:
    """An answer in pieces, as text or in another field of the provider's."""
    steps = [
        frames({"choices": [{"index": 0, "delta": {field: piece}}]}, done=False) for piece in pieces
    ]
    return Answer([*steps, frames(chunk("", "stop", **usage(9, len(pieces))))])


def everything(answer: Any) -> list[str]:
    """Return everything that can be shown of a Completion."""
    texts = [answer.text, answer.reasoning, answer.finish, *answer.notes, repr(answer)]
    return [*texts, answer.footer(), json.dumps(answer.bundle()), repr(answer.usage)]
