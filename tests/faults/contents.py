"""Faults of the answer itself: error objects under status 200, and bodies that are not answers."""

from __future__ import annotations

import codecs
import json

from faults.table import (
    DONE,
    FINAL,
    HI,
    JSON,
    STOP,
    TRIES,
    Fault,
    body,
    document,
    streamed,
)
from server import Answer, chunk, frames, usage, whole

from mixmagic.errors import (
    ContextTooLong,
    MissingKey,
    MixmagicError,
    ProviderError,
    RateLimited,
    StreamBroken,
    Unavailable,
    UnknownModel,
)

HTML = b"<html><body>Sign in to the campus network</body></html>"
DEEP = 100_000


def error(code: object = None, message: str = "why", **more: object) -> dict[str, object]:
    return {"error": {"message": message, "code": code, **more}}


def broken(name: str, *steps, text: str | None = None, **options) -> Fault:
    kind = options.pop("kind", StreamBroken)
    return Fault(name, kind, (streamed(*steps),), text, **options)


def no_answer(name: str, raw: bytes, **options) -> Fault:
    return Fault(name, StreamBroken, (body(raw),), stream=False, **options)


def first(code: int | str, kind: type[MixmagicError], requests: int) -> list[Fault]:
    """An error object before any of the answer: as an event, and as a whole answer.

    The question was accepted: what has come of it may be billed.
    """
    options = {"requests": requests, "says": "why"}
    event, document = frames(error(code), done=False), json.dumps(error(code)).encode()
    return [
        Fault(f"{code} as the first event", kind, (streamed(event),), **options),
        Fault(f"{code} as the answer", kind, (body(document),), stream=False, **options),
    ]


_FIRST = [
    *first(400, ProviderError, 1),
    *first(401, MissingKey, 1),
    *first(402, ProviderError, 1),
    *first(403, ProviderError, 1),
    *first(404, UnknownModel, 1),
    *first(422, ProviderError, 1),
    *first(408, Unavailable, TRIES),
    *first(409, Unavailable, TRIES),
    *first(429, RateLimited, TRIES),
    *first("429", RateLimited, TRIES),
    *first(500, Unavailable, TRIES),
    *first(502, Unavailable, TRIES),
    *first(529, Unavailable, TRIES),
    Fault("502 as the first event, then an answer", None,
          (streamed(frames(error(502))), streamed(HI, FINAL)), "Hi", 2, "counted"),
    Fault("429 as the first answer, then an answer", None,
          (body(json.dumps(error(429)).encode()), whole("Hi")), "Hi", 2, "counted", stream=False),
    Fault("a prompt too long, as the first event", ContextTooLong,
          (streamed(frames(error("context_length_exceeded"))),)),
]  # fmt: skip

_CODE = error(502, metadata={"error_type": "provider_unavailable"})
_BEHIND_TEXT = [
    broken(f"{name} behind text", HI + raw, text="Hi", kind=kind, says="why")
    for name, kind, raw in [
        ("OpenRouter's error", Unavailable, frames({"choices": [], **_CODE}, done=False)),
        ("OpenRouter's finish", Unavailable, frames({**chunk("", "error"), **_CODE}, done=False)),
        ("OpenRouter's 429", RateLimited, frames({"choices": [], **error(429)})),
        ("Groq's error", StreamBroken, frames({**chunk(), "x_groq": {"id": "1", "error": "why"}})),
        ("vLLM's error", ProviderError, frames(error(400, type="BadRequestError"))),
        ("vLLM's internal error", Unavailable, frames(error(500, type="InternalServerError"))),
        ("LiteLLM's error", StreamBroken, frames(error(None, type="None"))),
        ("LiteLLM's text", StreamBroken, b"data: why not JSON\n\n" + DONE),
        ("LM Studio's error", StreamBroken, b"event: error\n" + frames(error())),
        ("llama.cpp's error", Unavailable, b'error: {"code": 500, "message": "why"}\n\n'),
        ("llama.cpp's unfinished error", StreamBroken, b'error: {"error": {"message": "why"}}'),
        ("Ollama's error", StreamBroken, frames(error(None))),
        ("Mistral's error", StreamBroken, frames({"object": "error", "message": "why"})),
        ("an error that is a text", StreamBroken, frames({"error": "why"})),
        ("a finish that is an error", StreamBroken, frames(chunk("", "error", error="why"))),
    ]
]

_BEHIND_TEXT += [
    broken("an error in the event of a text", frames(chunk("Lost", error="why")), says="why"),
    broken("an error behind the finish reason", HI + STOP + frames({"error": "why"}), text="Hi"),
    broken("LM Studio's error and nothing else", b"event: error\n" + frames(error()), says="why"),
    broken("half an error behind text", HI + b'error: {"cod', text="Hi"),
    broken("an error without words", frames({"error": {"code": [1], "message": {}}}, done=False)),
    broken("an error that is half a surrogate", b'data: {"error": "\\ud83d why"}\n\n', says="why"),
]

_NOT_WHOLE = [
    Fault("an empty 200", StreamBroken, (streamed(b""),), stream=None),
    Fault("an empty 200 of another type", StreamBroken, (body(b""),), stream=None),
    Fault("blank lines and nothing else", StreamBroken, (streamed(b"\n\n", b"\r\n"),), stream=None),
    broken("pings and nothing else", b": OPENROUTER PROCESSING\n\n", b": ping\n\n"),
    broken("pings behind text", HI, b": ping\n\n", text="Hi"),
    broken("counts and nothing else", frames({"choices": [], **usage(9, 0)}, done=False),
           bill="counted"),
    broken("no choices", frames({"choices": None}, {"choices": []}, {}, done=False)),
    broken("an empty text and nothing else", frames(chunk(""), done=False)),
    broken("a reasoning and nothing else",
           frames({"choices": [{"delta": {"reasoning": "hm"}}]}, done=False), text=""),
    broken("an empty finish reason", HI + frames(chunk("", ""), done=False), text="Hi"),
    broken("the beginning of a key, then cut", HI + frames(chunk(" cana"), done=False),
           text="Hi cana"),
    broken("the beginning of a key, then an error", HI + frames(chunk(" cana"), error()),
           text="Hi cana"),
]  # fmt: skip

_GARBAGE = [
    broken(f"{name} behind text", HI + b"data: " + raw + b"\n\n" + FINAL, text="Hi")
    for name, raw in [
        ("half an object", b'{"choices": [{"delta": {"content": "x"'),
        ("a number", b"7"),
        ("a text", b'"text"'),
        ("a list", b"[]"),
        ("null", b"null"),
        ("true", b"true"),
        ("two objects in one event", b'{"choices": []} {"choices": []}'),
        ("choices that are a text", b'{"choices": "x"}'),
        ("choices of numbers", b'{"choices": [7]}'),
        ("an object of choices", b'{"choices": {"0": {}}}'),
        ("a delta that is a list", b'{"choices": [{"delta": [1]}]}'),
        ("brackets without end", b"[" * DEEP),
        ("brackets nested deep", b"[" * DEEP + b"]" * DEEP),
        ("objects nested deep", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        *(
            (f"an error nested {n} deep", b'{"error":' * n + b'"why"' + b"}" * n)
            for n in (300, 600, 900)
        ),
        *(
            (f"brackets nested {n} deep", b"[" * n + b"]" * n)
            for n in (300, 600, 900)
        ),
        ("a number of 5,000 digits", b'{"choices": [], "created": ' + b"9" * 5000 + b"}"),
        ("UTF-16", '{"choices": []}'.encode("utf-16")),
        ("NUL", b"\x00"),
    ]
]  # fmt: skip

_NO_ANSWER = [
    no_answer("HTML", HTML, says="invalid JSON"),
    Fault("HTML from a gateway", StreamBroken, (Answer([HTML], type="text/html"),), stream=None),
    no_answer("an empty object", b"{}"),
    no_answer("an empty list", b"[]"),
    no_answer("JSON's null", b"null"),
    no_answer("a JSON number", b"7"),
    no_answer("no choices in JSON", b'{"choices": []}'),
    no_answer("a choice without a message", b'{"choices": [{}]}'),
    no_answer("two answers in one", document() + document(), says="invalid JSON"),
    no_answer("an answer of plain text", b"Hi there", says="invalid JSON"),
    no_answer("an answer in UTF-16", codecs.BOM_UTF16_LE + document().decode().encode("utf-16-le")),
    no_answer("an answer nested deep", b'{"choices":' * DEEP),
    *(
        no_answer(f"an answer nested {n} deep", b'{"choices":[' * n + b"]}" * n)
        for n in (300, 900)
    ),
    Fault("an error as the answer", StreamBroken, (body(b'{"error": "why"}'),), stream=False,
          says="why"),
    Fault("an error beside the answer", StreamBroken, (body(document(error="why")),), stream=False,
          says="why"),
]  # fmt: skip

_TYPES = {"a wrong type": JSON, "no type": "", "an image's type": "image/png"}
_WHOLE_ANYWAY = [
    *(
        Fault(f"events under {name}", None, (streamed(HI, FINAL, type=kind),), "Hi",
              bill="counted", stream=None)
        for name, kind in _TYPES.items()
    ),
    Fault("JSON under the type of events", None, (streamed(document()),), "Hi", stream=None),
    Fault("a BOM before events", None, (streamed(codecs.BOM_UTF8, HI, FINAL),), "Hi",
          bill="counted"),
    Fault("a BOM before JSON", None, (body(codecs.BOM_UTF8 + document()),), "Hi", stream=False),
    Fault("JSON instead of events, without a finish reason", None,
          (body(document(finish=None)),), "Hi", stream=None),
    Fault("JSON with an empty finish reason", None, (body(document(finish="")),), "Hi",
          stream=None),
    Fault("JSON without a finish reason, with counts", None,
          (body(document(finish=None, **usage(9, 1))),), "Hi", bill="counted", stream=False),
    Fault("the beginning of a key, without a finish reason", None,
          (body(document("a cana", None)),), "a cana", stream=None),
    Fault("[DONE] without a finish reason", None, (streamed(HI, DONE),), "Hi"),
    Fault("[DONE] and nothing else", StreamBroken, (streamed(DONE),), says="without content"),
    Fault("blank lines before events", None, (streamed(*[b"\n"] * 80, HI, FINAL),), "Hi",
          bill="counted", stream=None),
    Fault("a finish reason without [DONE]", None, (streamed(HI, STOP),), "Hi"),
    Fault("a finish reason and nothing else", None, (streamed(STOP),), ""),
    Fault("Latin-1 in events", None, (streamed(HI, HI.replace(b"Hi", b"\xe9\xff"), FINAL),),
          "Hi\ufffd\ufffd", bill="counted"),
    Fault("Latin-1 in JSON", None, (body(document().replace(b"Hi", b"\xe9")),), "\ufffd",
          stream=False),
    Fault("half a surrogate in events", None,
          (streamed(HI, frames(chunk("x")).replace(b'"x"', b'"\\ud83d"')),), "Hi\ufffd"),
    Fault("half a surrogate in JSON", None, (body(document().replace(b"Hi", b"\\ude00")),),
          "\ufffd", stream=False),
    Fault("two halves of one surrogate", None,
          (streamed(frames(chunk("x")).replace(b'"x"', b'"\\ud83d\\ude00"')),), "\U0001f600"),
    *(
        Fault(f"counts that are {name}", None,
              (streamed(HI, frames(chunk("", "stop", usage=counts))),), "Hi")
        for name, counts in {
            "negative": {"prompt_tokens": -9, "completion_tokens": -1},
            "gigantic": {"prompt_tokens": 10**30, "completion_tokens": 10**400},
            "more than SQLite holds": {"prompt_tokens": 2**63, "completion_tokens": 2**63},
            "true and false": {"prompt_tokens": True, "completion_tokens": False},
            "a list": [1],
            "a text": "many",
        }.items()
    ),
    Fault("counts that are texts", None,
          (streamed(HI, frames(chunk("", "stop", usage={"prompt_tokens": "9",
                                                        "completion_tokens": "1"}))),),
          "Hi", bill="counted"),
    Fault("an answer in parts that are no texts", StreamBroken,
          (streamed(HI, frames(chunk("x")).replace(b'"x"', b'[{"text": 5}]')),), "Hi"),
    Fault("a finish reason that is a number", None, (streamed(HI, frames(chunk("", 7))),), "Hi"),
    Fault("a finish reason that is a list", None, (streamed(HI, frames(chunk("", ["x"]))),), "Hi"),
    broken("a finish reason that is a number, and no [DONE]", HI + frames(chunk("", 7), done=False),
           text="Hi"),
]  # fmt: skip

TABLE = [
    *_FIRST, *_BEHIND_TEXT, *_NOT_WHOLE, *_GARBAGE, *_NO_ANSWER, *_WHOLE_ANYWAY,
]  # fmt: skip
