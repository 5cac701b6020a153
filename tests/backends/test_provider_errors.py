from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.backends import error_bodies, provider_errors
from mixmagic.catalog import Catalog
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
from mixmagic.keys.credentials import missing_key

CATALOG = Catalog()
TOGETHER = CATALOG.resolve("8x7b")
OLLAMA = CATALOG.resolve("ollama:8x7b")
HTML = b"<!DOCTYPE html>\n<html><title>502 Bad Gateway</title></html>"


def said(message: str = "that is why", **more) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


def reads_well(error: MixmagicError) -> None:
    """Check that message and hint are one line each, and not empty."""
    message, hint = error._render_traceback_()
    for line in (message, hint):
        assert "\n" not in line
        assert "  " not in line
        assert not line.endswith((":", ": .", "None"))
    assert len(error.hint) > 10
    assert len(error.message) > 10


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderError),
        (401, MissingKey),
        (402, ProviderError),
        (403, ProviderError),
        (404, UnknownModel),
        (405, ProviderError),
        (408, Unavailable),
        (413, ProviderError),
        (422, ProviderError),
        (429, RateLimited),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (524, Unavailable),
        (529, Unavailable),
        (302, ProviderError),
        (418, ProviderError),
    ],
)
@pytest.mark.parametrize(
    ("body", "words"),
    [(said(), "that is why"), (b"", ""), (HTML, ""), (b"that is\n why", "that is why")],
    ids=["JSON", "empty", "HTML", "text"],
)
def test_every_status_is_an_error_that_says_it(status, kind, body, words):
    error = provider_errors.from_status(TOGETHER, status, error_bodies.parse_body(body))
    # A body without words leaves it open: it is the key in most cases.
    assert type(error) is (MissingKey if (status, body) == (403, b"") else kind)
    assert str(status) in error.message
    assert words in error.message
    assert "Together AI" in error.message
    assert "<" not in error.message
    assert getattr(error, "status", status) == status
    reads_well(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, said("Unable to access non-serverless model mistralai/Mixtral. Please visit …")),
        (404, said("x", type="invalid_request_error", code="model_not_available")),
        (400, said("The model does not exist", code="model_not_found")),
    ],
)
def test_a_model_that_is_not_served_names_the_three_ways_out(status, body):
    error = provider_errors.from_status(TOGETHER, status, error_bodies.parse_body(body))
    assert type(error) is UnknownModel
    assert TOGETHER.id in error.message
    assert re.search(rf"[.!?…] {re.escape(TOGETHER.note)}$", error.message)
    assert "dedicated endpoint" in error.hint
    assert "another provider's row" in error.hint
    assert "%mixmagic models together --live" in error.hint
    reads_well(error)


@pytest.mark.parametrize("name", ["together:x", "mistral:x", "ollama:x", "openai:x", "fireworks:x"])
def test_every_provider_has_a_way_out_of_404(name):
    error = provider_errors.from_status(CATALOG.resolve(name), 404, error_bodies.parse_body(b""))
    assert "models" in error.hint
    reads_well(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, said("This model's maximum context length is 32768 tokens.")),
        (403, said("input tokens and max_tokens exceed the context length of the model")),
        (422, said("`inputs` tokens + `max_new_tokens` is over the context window")),
        (413, said("Requested tokens exceed the context window")),
        (400, said("x", code="context_length_exceeded")),
        (400, said("x", code=400, type="exceed_context_size_error")),
        (400, json.dumps({"object": "error", "message": "maximum context", "code": 1}).encode()),
    ],
)
def test_a_context_error_is_recognized_by_code_or_words_not_by_status(status, body):
    error = provider_errors.from_status(TOGETHER, status, error_bodies.parse_body(body))
    assert type(error) is ContextTooLong
    assert "takes 32,768 tokens in all" in error.message
    assert "longer context" in error.hint
    reads_well(error)
    assert (
        type(provider_errors.from_status(TOGETHER, 500, error_bodies.parse_body(body)))
        is Unavailable
    )


def test_context_of_unknown_size():
    error = provider_errors.from_status(
        replace(TOGETHER, context=None), 400, error_bodies.parse_body(said("context length"))
    )
    assert "context is full" in error.message
    reads_well(error)


def test_the_error_of_a_refused_key_names_its_variable_and_two_fixes():
    error = provider_errors.from_status(
        TOGETHER, 401, error_bodies.parse_body(said("Invalid API key provided"))
    )
    assert "TOGETHER_API_KEY" in error.message
    assert "https://api.together.ai/settings/api-keys" in error.hint
    assert "-m local" in error.hint
    missing = missing_key(TOGETHER)
    assert "TOGETHER_API_KEY is not set" in missing.message
    assert missing.hint == error.hint


def test_a_lack_of_credit_is_distinguished_from_other_refusals():
    error = provider_errors.from_status(
        TOGETHER, 402, error_bodies.parse_body(said("limit reached"))
    )
    assert "no credit" in error.message
    assert "Add credit" in error.hint


def test_rate_limit_keeps_the_wait():
    error = provider_errors.from_status(
        TOGETHER, 429, error_bodies.parse_body(said("slow down")), 2.5
    )
    assert (error.status, error.retry_after) == (429, 2.5)
    assert "slow down" in error.message
    assert "2.5 s" in error.message
    assert (
        "wait"
        not in provider_errors.from_status(
            TOGETHER, 429, error_bodies.parse_body(b"")
        ).message.lower()
    )
    assert (
        provider_errors.from_status(TOGETHER, 503, error_bodies.parse_body(b""), 1.0).retry_after
        == 1.0
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "why", "type": "t", "param": None, "code": None}}, "why"),
        ({"error": "why"}, "why"),
        ({"object": "error", "message": "why", "type": "t", "code": "1300"}, "why"),
        (
            {
                "object": "error",
                "message": {
                    "detail": [
                        {"type": "extra_forbidden", "msg": "Extra inputs"},
                        {"msg": "Too many"},
                    ]
                },
            },
            "Extra inputs; Too many",
        ),
        ({"message": "why"}, "why"),
        ({"detail": "why"}, "why"),
        ({"detail": [{"loc": ["body"], "msg": "why"}]}, "why"),
        ({"error": {"error": {"message": "why"}}}, "why"),
        ({"error": None, "message": "why"}, "why"),
        ({"error": {}}, ""),
        ({"status": "bad"}, ""),
        ([], ""),
        (["why", {"error": "so"}], "why; so"),
        ("why", "why"),
        (None, ""),
        (5, "5"),
    ],
)
def test_the_provider_s_words_in_every_shape(body, words):
    assert error_bodies.provider_message(body) == words
    assert (
        error_bodies.provider_message(error_bodies.parse_body(json.dumps(body).encode())) == words
    )


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", ""),
        (b" \n<html>", ""),
        (b"upstream\r\n  timed out", "upstream timed out"),
        (b"\xff\xfe no UTF-8", "\ufffd\ufffd no UTF-8"),
        (b'{"error": "cut', '{"error": "cut'),
        (b"x" * 1000, "x" * 199 + "…"),
    ],
)
def test_the_provider_s_words_outside_json(raw, words):
    assert error_bodies.provider_message(error_bodies.parse_body(raw)) == words


@given(st.integers(300, 599), st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_no_body_raises_a_foreign_error(status, raw):
    error = provider_errors.from_status(TOGETHER, status, error_bodies.parse_body(raw))
    assert len(error._render_traceback_()) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "msg", "code", "type"]),
            inner,
            max_size=4,
        )
    ),
)


@given(st.sampled_from([400, 404, 429, 500]), JSON)
def test_no_json_raises_a_foreign_error(status, body):
    error = provider_errors.from_status(
        TOGETHER, status, error_bodies.parse_body(json.dumps(body).encode())
    )
    assert isinstance(error, MixmagicError)
    assert isinstance(provider_errors.in_stream(OLLAMA, body), MixmagicError)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"error":' * 100_000], ids=["list", "object"])
def test_a_deeply_nested_body_raises_no_foreign_error(raw):
    assert (
        type(provider_errors.from_status(TOGETHER, 500, error_bodies.parse_body(raw)))
        is Unavailable
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "why"}, RateLimited),
        ({"code": 502, "message": "why"}, Unavailable),
        ({"code": 401, "message": "why"}, MissingKey),
        ({"code": 0, "message": "why"}, StreamBroken),
        ({"code": None, "message": "why"}, StreamBroken),
        ({"code": "context_length_exceeded", "message": "why"}, ContextTooLong),
        ({"message": "why: the context length is 4096"}, ContextTooLong),
        ({"type": "exceed_context_size_error", "code": 400, "message": "why"}, ContextTooLong),
        ("why", StreamBroken),
        ({"message": "why", "metadata": {"error_type": "x"}}, StreamBroken),
    ],
)
def test_errors_inside_a_stream(error, kind):
    made = provider_errors.in_stream(OLLAMA, error)
    assert type(made) is kind
    assert "why" in made.message
    reads_well(made)


@pytest.mark.parametrize("error", [{}, None, "", [], 0])
def test_an_error_inside_a_stream_without_a_reason(error):
    made = provider_errors.in_stream(OLLAMA, error)
    assert made.message == "Ollama broke off the answer: it gave no reason"
