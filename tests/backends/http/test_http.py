"""Requests to each provider, and the decoding of its answers, over a real socket."""

from __future__ import annotations

import json

import pytest
from server import HANG, Answer, chunk, frames, together, usage, whole

from mixmagic.calls.completion import Completion
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.errors import MixmagicError

NAMES = ["together:8x7b", "mistral:8x7b", "fireworks:8x7b", "openrouter:8x7b", "ollama:8x7b",
         "openai:any"]  # fmt: skip
KEY = "canary-key-4711"


@pytest.fixture
def hosted(server, monkeypatch):
    """The scripted server in the place of every hosted provider."""
    for provider in Catalog().providers.values():
        if provider.url_env:
            monkeypatch.setenv(provider.url_env, server.url)
            monkeypatch.setenv(provider.key_env, KEY)
    return server


def pieces(raw: bytes, size: int) -> list[bytes]:
    return [raw[i : i + size] for i in range(0, len(raw), size)]


def ask(session, name: str, **params) -> Completion:
    return session.ask("Hello", model=name, **params)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sent_to_each_provider(session, hosted, name):
    hosted.plan = [Answer(together("Hi"))]
    ask(session, name, system="Be brief.", temperature=0, max_tokens=5, seed=7, stop="END")
    sent = hosted.received[0]
    provider = name.partition(":")[0]
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["content-type"] == "application/json"
    own = {
        "mistral": {"random_seed": 7},
        "openrouter": {"seed": 7},
    }.get(provider, {"seed": 7, "stream_options": {"include_usage": True}})
    assert sent.body == {
        "model": session.catalog.resolve(name).id,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ],
        "temperature": 0,
        "max_tokens": 5,
        "stop": ["END"],
        "stream": True,
        **own,
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_answer(session, hosted, name):
    hosted.plan = [whole("Grüße 世界", prompt=9, completion=5)]
    answer = ask(session, name, stream=False)
    assert not {"stream", "stream_options"} & hosted.received[0].body.keys()
    assert (answer.text, answer.finish, answer.usage) == ("Grüße 世界", "stop", Usage(9, 5))


def test_a_whole_answer_to_a_request_for_a_stream(session, hosted):
    """Some servers and proxies never stream."""
    hosted.plan = [whole("Hi")]
    assert ask(session, "openai:any").text == "Hi"


def test_a_user_s_dialect_is_sent_as_json(home, hosted):
    from mixmagic.sessions import Session

    folder = home / "config" / "catalog"
    folder.mkdir(parents=True)
    always = "always = { safe = true, threshold = 0.25 }"
    text = f'name = "acme"\nbase_url = "{hosted.url}"\nkey_required = false\n[dialect]\n{always}'
    (folder / "acme.toml").write_text(text)
    hosted.plan = [Answer(together("Hi"))]
    session = Session()
    ask(session, "acme:x")
    session.close()
    assert {"safe": True, "threshold": 0.25}.items() <= hosted.received[0].body.items()


@pytest.mark.parametrize("part", ["prompt", "system", "stop"])
def test_a_lone_surrogate_is_refused(session, hosted, part):
    """It comes from pasting, or from a badly decoded file, and cannot be encoded in UTF-8."""
    hosted.plan = [Answer(together("Hi"))]
    with pytest.raises(MixmagicError):
        session.ask(**{"prompt": "Hello", "model": "8x7b", part: "x\ud83dy"})
    assert hosted.received == []


OPENROUTER = b": OPENROUTER PROCESSING\n\n"
LLAMA = {"choices": [{"delta": {"role": "assistant", "content": None}, "finish_reason": None}]}
PARTS = [{"type": "text", "text": "Hi"}, {"type": "text", "text": " there"}]
THINKING = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
END = {"choices": [], **usage(9, 2)}
# Name: model, bytes, reasoning.
STREAMS = {
    "Together: usage rides the finish": ("together:8x7b", b"".join(together("Hi", " there")), ""),
    "Together: eos": (
        "together:8x7b",
        frames(chunk("Hi there"), chunk("", "eos", **usage(9, 2))),
        "",
    ),
    "OpenRouter: comments": (
        "openrouter:8x7b",
        OPENROUTER * 3
        + frames(chunk("Hi"), done=False)
        + OPENROUTER
        + frames(chunk(" there"), chunk("", "stop"), chunk("", **usage(9, 2))),
        "",
    ),
    "OpenRouter: reasoning beside empty content": (
        "openrouter:8x7b",
        frames(
            {"choices": [{"delta": {"content": "", "reasoning": "hm"}, "finish_reason": None}]},
            chunk("Hi there", "stop", **usage(9, 2)),
        ),
        "hm",
    ),
    "Groq: x_groq": (
        "openai:any",
        frames(
            {**chunk(""), "x_groq": {"id": "req_1"}},
            chunk("Hi there"),
            {**chunk(None, "stop"), "x_groq": {"id": "req_1", **usage(9, 2)}},
        ),
        "",
    ),
    "vLLM: usage without choices": (
        "openai:any",
        frames(chunk(""), chunk("Hi"), chunk(" there"), chunk("", "stop"), END),
        "",
    ),
    "Ollama: CRLF, reasoning": (
        "ollama:8x7b",
        frames(
            {"choices": [{"delta": {"content": "", "reasoning": "hm"}}]},
            chunk("Hi there"),
            chunk("", "stop"),
            END,
            end=b"\r\n\r\n",
        ),
        "hm",
    ),
    "llama.cpp: null, pings, unfinished end": (
        "openai:any",
        b":\n\n"
        + frames(LLAMA, done=False)
        + b":\n\n"
        + frames(chunk("Hi there"), chunk(None, "stop"), {**END, "timings": {}}, done=False)
        + b"data: [DONE]",
        "",
    ),
    "Mistral: lists": (
        "mistral:8x7b",
        frames(
            {"choices": [{"delta": {"content": THINKING}, "finish_reason": None}]},
            {"choices": [{"delta": {"content": PARTS}, "finish_reason": None}]},
            chunk("", "stop", **usage(9, 2)),
        ),
        "hm",
    ),
    "no [DONE]": ("openai:any", frames(chunk("Hi there"), chunk("", "stop", **usage(9, 2)),
                                       done=False), ""),
    "only an unfinished [DONE]": (
        "openai:any",
        frames(chunk("Hi there"), END, done=False) + b"data: [DONE]",
        "",
    ),
    "an unfinished last piece": (
        "openai:any",
        frames(chunk("Hi"), chunk(" there", "stop", **usage(9, 2)), done=False).rstrip(),
        "",
    ),
    "no finish reason": ("openai:any", frames(chunk("Hi there"), END), ""),
    "empty events, BOM": (
        "openai:any",
        b"\xef\xbb\xbfevent: message\n\ndata:\n\nretry: 1\n\n"
        + frames(chunk("Hi there", "stop"), END),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 17, 100_000])
@pytest.mark.parametrize("case", STREAMS)
def test_every_dialect_in_every_chunking(session, hosted, case, size):
    name, raw, reasoning = STREAMS[case]
    hosted.plan = [Answer(pieces(raw, size))]
    answer = ask(session, name)
    assert (answer.text, answer.reasoning) == ("Hi there", reasoning)
    assert (answer.finish, answer.usage) == ("stop", Usage(9, 2))
    price = session.catalog.resolve(name).price
    assert answer.cost == (None if price is None else price.cost(Usage(9, 2)))


@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_text_survives_any_cut(session, hosted, size):
    """UTF-8 split inside a character, and Unicode's line ends."""
    text = "Grüße, 世界 🎈 \u2028 \u2029 \u0085 ok"
    raw = json.dumps(chunk(text), ensure_ascii=False).encode()
    hosted.plan = [
        Answer(
            pieces(b"data: " + raw + b"\n\ndata: [DONE]\n\n", size),
            type="Text/Event-Stream; charset=iso-8859-1",
        )
    ]
    assert ask(session, "openai:any").text == text


def test_pieces_are_received_as_they_are_sent(session, hosted):
    """The second piece is sent only after the first was received."""
    hosted.plan = [Answer([frames(chunk("Hi"), done=False), HANG])]
    request = session.request("Hello", model="together:8x7b")
    deltas = session.stream(request)
    assert next(deltas).text == "Hi"
    deltas.close()
    hosted.wait(lambda: hosted.received[0].closed_at)
