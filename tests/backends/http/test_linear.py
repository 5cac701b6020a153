"""Reading any response takes time linear in its length."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from linear import is_linear
from nasty import TEXTS

from mixmagic.backends import dialects, error_bodies, provider_errors, schema_roots
from mixmagic.backends.http import reading, sse
from mixmagic.catalog import Catalog
from mixmagic.core.values import Delta, Request
from mixmagic.errors import MixmagicError, one_line
from mixmagic.keys.credentials import Credentials

MODEL = Catalog().resolve("8x7b")


@pytest.fixture(scope="module")
def access():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANARY_API_KEY", "sk-canary-key-4711")
        made = Credentials(Path("/nonexistent/.env"))
        assert made.redact("sk-canary-key-4711") == "[key]"
        yield made


def read(access: Credentials, raw: bytes, size: int = 65536) -> None:
    answer = reading.ResponseReader(Request(MODEL, ()), access)
    with contextlib.suppress(MixmagicError):
        for start in range(0, len(raw), size):
            for _ in answer.feed(raw[start : start + size]):
                pass
        for _ in answer.close():
            pass


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def said(text: str) -> bytes:
    return event({"choices": [{"delta": {"content": text}}]})


def refuse(words: str) -> None:
    sent = {"model": "m", "messages": [], "temperature": 0, "response_format": {"type": "x"}}
    body = {"error": {"message": words}}
    provider_errors.from_status(MODEL, 400, error_bodies.parse_body(json.dumps(body).encode()))
    dialects.lesson(MODEL, sent, 400, body)


def unwrap(text: str, size: int = 7) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    for _ in schema_roots.unwrapped((Delta(each) for each in ('{"answer": ', *pieces)), "answer"):
        pass


WAYS = {
    "events": lambda access, text: read(access, b"data: " + text.encode("utf-8", "replace")),
    "small chunks": lambda access, text: read(access, text.encode("utf-8", "replace"), 7),
    "content": lambda access, text: read(access, said(text)),
    "pieces": lambda access, text: read(
        access, b"".join(said(text[start : start + 50]) for start in range(0, len(text), 50))
    ),
    "an error": lambda access, text: read(access, event({"error": {"message": text}})),
    "redaction": lambda access, text: access.redact({"error": [text, {"a": text}]}),
    "a refusal": lambda access, text: refuse(text),
    "an answer in an object": lambda access, text: unwrap(text),
    "one line": lambda access, text: one_line(text),
    "decoder": lambda access, text: sse.Decoder().feed(text.encode("utf-8", "replace")),
}


@pytest.mark.parametrize("name", WAYS)
def test_each_text_is_read_in_linear_time(access, name):
    slow = [
        what
        for what, make in list(TEXTS.items())[:: 1 if name in ("redaction", "decoder") else 3]
        if not is_linear(lambda text: WAYS[name](access, text), make, 100_000, 2)
    ]
    assert slow == []


FRAMES = {
    "answers": lambda size: event({"choices": [{"index": at} for at in range(size // 15)]}),
    "answers without a number": lambda size: event({"choices": [{}] * (size // 4)}),
    "fields": lambda size: event({str(at): 0 for at in range(size // 12)}),
    "parts": lambda size: event({"choices": [{"delta": {"content": ["a"] * (size // 5)}}]}),
    "tools": lambda size: event(
        {"choices": [{"delta": {"tool_calls": [{"function": {"name": "a"}}] * (size // 30)}}]}
    ),
    "frames": lambda size: said("sk-") * (size // 50),
    "nesting": lambda size: b"data: " + b"[" * size + b"\n\n",
    "digits": lambda size: b'data: {"choices": [{"index": ' + b"1" * size + b"}]}\n\n",
    "errors": lambda size: event({"error": [["a"] * 10] * (size // 50)}),
    "lines": lambda size: b"data: [\n" + b"data: 1,\n" * (size // 9) + b"\n",
    "empty lines": lambda size: b"data\n" * (size // 5) + b"\n",
    "line ends": lambda size: b"\r\n" * (size // 2),
    "addresses": lambda size: b"data: " + b"https://a:" * (size // 10) + b"\n\n",
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_megabyte_of_frames_takes_seconds_at_most(access, name):
    make = FRAMES[name]
    assert is_linear(
        lambda text: read(access, text.encode()), lambda size: make(size).decode(), 1_000_000, 4
    )
