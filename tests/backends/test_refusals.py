"""Refusals are classified by code and words: credit, keys, waits, the provider's reason."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from server import Answer, refusal
from server import together as pieces

from mixmagic.errors import (
    ContextTooLong,
    KeyRejected,
    MissingKey,
    MixmagicError,
    ProviderError,
    RateLimited,
    UnknownModel,
)
from mixmagic.sessions import Session

KEY = "canary-key-4711"


@pytest.fixture
def refused(session, together):
    """Return the error for a refusal."""

    def refused(status, body, **headers) -> MixmagicError:
        together.plan = [refusal(status, body, **headers)]
        with pytest.raises(MixmagicError) as caught:
            session.ask("Hi", model="8x7b")
        assert len(caught.value._render_traceback_()) == 2
        return caught.value

    return refused


def said(message: str, **more) -> dict:
    return {"error": {"message": message, **more}}


QUOTA = [
    (429, said("You exceeded your current quota, please check your plan and billing details.",
               type="insufficient_quota", code="insufficient_quota")),
    (429, said("Quota is used up", code="insufficient_quota")),
    (429, {"error": {"type": "exceeded_current_quota_error", "message": "It is suspended"}}),
    (429, said("Insufficient balance or no resource package. Please recharge.", code="1113")),
    (403, {"code": "Arrearage", "message": "Access denied, please make sure your account is in "
                                           "good standing."}),
    (400, said("Your credit balance is too low to access the API.")),
    (403, said("Your team ran out of credits or reached its monthly spending limit.")),
    (400, said("Billing hard limit has been reached", code="billing_hard_limit_reached")),
    (402, said("Payment required")),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), QUOTA)
def test_an_exhausted_quota_is_not_waited_for(together, monkeypatch, status, body):
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "3")
    together.plan = [refusal(status, body)]
    with closing(Session()) as session, pytest.raises(MixmagicError) as caught:
        session.ask("Hi", model="8x7b")
    assert type(caught.value) is ProviderError
    assert caught.value.status == status
    assert "no credit" in caught.value.message
    assert "Add credit" in caught.value.hint
    assert len(together.received) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (said("Rate limit reached", type="requests", code="rate_limit_exceeded"), {}),
        (said("You exceeded your current quota. Please retry in 32.5s."),
         {}),
        (said("You exceeded your current quota"), {"retry_after": "30"}),
        (said("Quota exceeded for requests per minute"), {}),
        ({"detail": "Too many requests"}, {}),
    ],
)  # fmt: skip
def test_a_rate_limit_is_waited_for(refused, body, headers):
    error = refused(429, body, **headers)
    assert type(error) is RateLimited
    assert error.retryable


OTHER_403 = [
    said("Country, region, or territory not supported",
         code="unsupported_country_region_territory"),
    said("mixtral requires moderation. Your input was flagged for \"violence\".", code=403,
         metadata={"reasons": ["violence"], "flagged_input": "x"}),
    said("Project `p` does not have access to model `m`", code="model_not_found"),
    said("This key is not permitted to use the model m"),
    b"<html><head><title>Attention Required! | Cloudflare</title></head><body>Ray</body></html>",
    b"<html><head><title>403 Forbidden</title></head></html>",
    b"error code: 1020",
    {"detail": "You are not allowed to use this deployment"},
    {"error": {"code": "Forbidden", "message": "Virtual network rules forbid this"}},
    {"message": "Access to this endpoint is blocked by your organization's policy"},
]  # fmt: skip


@pytest.mark.parametrize("body", OTHER_403)
def test_403_is_about_the_key_only_if_it_says_so(refused, body):
    error = refused(403, body)
    assert not isinstance(error, MissingKey)
    assert "TOGETHER_API_KEY" not in f"{error.message} {error.hint}"
    if isinstance(body, bytes):
        assert "Cloudflare" in error.message or "403" in error.message or "1020" in error.message


@pytest.mark.parametrize(
    "body",
    [
        said("Incorrect API key provided", code="invalid_api_key"),
        said("Invalid authentication credentials"),
        {"detail": "Not authenticated"},
        {"message": "Missing Authentication Token"},
        {"error": "invalid subscription key"},
        said("Unauthorized"),
    ],
)
def test_403_with_words_of_a_key_is_about_the_key(refused, body):
    error = refused(403, body)
    assert type(error) is KeyRejected
    assert "TOGETHER_API_KEY" in f"{error.message} {error.hint}"


def test_a_key_that_is_set_was_rejected(refused):
    error = refused(401, said("Incorrect API key provided"))
    assert type(error) is KeyRejected
    assert "rejected" in error.message
    assert "missing" not in error.message
    assert "TOGETHER_API_KEY" in error.message
    assert "Incorrect API key provided" in error.message


@pytest.mark.parametrize("status", [401, 400])
def test_a_bad_key_under_either_status_was_rejected(refused, status):
    error = refused(status, said("API key not valid. Please pass a valid API key.",
                                 status="INVALID_ARGUMENT"))  # fmt: skip
    assert type(error) is KeyRejected
    assert "rejected" in error.message


def test_a_key_in_the_file_beside_the_notebook_is_named_as_such(together, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOGETHER_API_KEY")
    (tmp_path / ".env").write_text(f"TOGETHER_API_KEY={KEY}\n")
    together.plan = [refusal(401, said("no"))]
    with closing(Session()) as session, pytest.raises(MissingKey) as caught:
        session.ask("Hi", model="8x7b")
    assert "rejected" in caught.value.message
    assert ".env" in caught.value.message


def test_a_key_that_is_not_set_is_missing(session, server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.plan = [refusal(401, said("You didn't provide an API key."))]
    with pytest.raises(MissingKey) as caught:
        session.ask("Hi", model="openai:m")
    assert "rejected" not in caught.value.message
    assert "OPENAI_API_KEY is not set" in caught.value.message


REASONS = [
    ({"error": "the reason"}, ["the reason"]),
    ({"error": {"message": "the reason"}}, ["the reason"]),
    ({"message": "the reason"}, ["the reason"]),
    ({"msg": "the reason", "code": 1301}, ["the reason"]),
    ({"detail": "the reason"}, ["the reason"]),
    ({"detail": ["the reason", "another"]}, ["the reason", "another"]),
    ({"errors": [{"message": "the reason", "code": 5007}], "success": False}, ["the reason"]),
    ({"errors": ["the reason"]}, ["the reason"]),
    ({"errors": {"message": "the reason"}}, ["the reason"]),
    ({"error": {"errors": [{"message": "the reason"}]}}, ["the reason"]),
    ({"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]},
     ["top_k", "Extra inputs are not permitted"]),
    ({"object": "error", "message": {"detail": [
        {"type": "missing", "loc": ["body", "messages", 0, "role"], "msg": "Field required"}]}},
     ["messages.0.role", "Field required"]),
    ({"error": {"message": "Invalid value", "param": "logit_bias"}},
     ["Invalid value", "logit_bias"]),
    ({"error": {"message": "Provider returned error", "code": 400, "metadata": {
        "raw": '{"error":{"message":"the reason"}}', "provider_name": "X"}}}, ["the reason"]),
    ({"error": {"message": "Provider returned error", "metadata": {"raw": "the reason"}}},
     ["the reason"]),
    ({"base_resp": {"status_code": 1008, "status_msg": "the reason"}}, ["the reason"]),
    ({"error_msg": "the reason"}, ["the reason"]),
    ({"Message": "the reason"}, ["the reason"]),
    ({"error": "invalid_request", "error_description": "the reason"}, ["the reason"]),
    ({"title": "Bad Request", "detail": "the reason", "status": 400}, ["the reason"]),
    ([{"error": {"message": "the reason"}}], ["the reason"]),
    ('{"error": {"message": "the reason"}}', ["the reason"]),
    (b"<html><head><title>the reason</title></head><body>x</body></html>", ["the reason"]),
    (b"<!DOCTYPE html>\n<HTML><TITLE>\n the  reason </TITLE>", ["the reason"]),
    (b"the reason\n", ["the reason"]),
    (b'\xef\xbb\xbf{"error": "the reason"}', ["the reason"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "words"), REASONS)
@pytest.mark.parametrize("status", [400, 422, 500])
def test_the_provider_s_reason_is_quoted_from_any_field(refused, body, words, status):
    error = refused(status, body)
    for each in words:
        assert each in error.message
    assert "{" not in error.message
    assert "<" not in error.message


@pytest.mark.parametrize(("body", "words"), REASONS)
def test_no_key_is_quoted_with_the_reason(refused, body, words):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    for word in ("the reason", "Field required", "Invalid value", "Extra inputs"):
        raw = raw.replace(word.encode(), f"{word} {KEY}".encode())
    error = refused(400, raw)
    assert "canary" not in f"{error.message} {error.hint} {error.body}"


OVERFLOWS = [
    (400, "This model's maximum context length is 8192 tokens. However, you requested 9000", 8192),
    (422, "`inputs` tokens + `max_new_tokens` must be <= 32769. Given: 40000 `inputs` tokens",
     32769),
    (400, "Input is too long for requested model.", None),
    (400, "prompt is too long: 213462 tokens > 200000 maximum", 200000),
    (400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", 200000),
    (400, "Requested tokens (5032) exceed context window of 4096", 4096),
    (400, "the request exceeds the available context size, try increasing it", None),
    (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
     1048576),
    (400, "Please reduce the length of the messages or completion.", None),
    (400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
     32768),
    (413, "Request too large: the prompt is too long", None),
    (400, "This endpoint's maximum context length is 32768 tokens. You sent 50000", 32768),
    (400, "Range of input length should be [1, 30720]", 30720),
    (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096", 4096),
]  # fmt: skip


@pytest.mark.parametrize(("status", "words", "limit"), OVERFLOWS)
@pytest.mark.parametrize("shape", [said, lambda words: {"detail": words}, str.encode])
def test_a_prompt_that_is_too_long_is_recognized_in_any_wording(
    refused, status, words, limit, shape
):
    error = refused(status, shape(words))
    assert type(error) is ContextTooLong
    if limit:
        assert f"{limit:,} tokens in all" in error.message
    assert "--max-tokens" in error.hint


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "max_tokens is too large: 9000. This model supports at most 4096 completion tokens"),
        (400, "The prompt is empty"),
        (429, "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40000"),
        (400, "Too many tokens per minute"),
        (400, "messages: text content blocks must be non-empty"),
    ],
)
def test_another_limit_is_not_taken_for_the_context_s(refused, status, words):
    assert not isinstance(refused(status, said(words)), ContextTooLong)


@pytest.mark.parametrize(
    "headers",
    [
        {"retry_after": "0"},
        {"retry_after": "-5"},
        {"retry_after_ms": "0"},
        {"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"retry_after": "0.0"},
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_of_zero_is_ignored(together, monkeypatch, headers, status):
    """Then the waits grow as usual."""
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "3")
    waits = []

    def uniform(low, high):
        waits.append(high)
        return 0.001

    monkeypatch.setattr("random.uniform", uniform)
    together.plan = [refusal(status, said("later"), **headers)] * 3 + [Answer(pieces("ok"))]
    with closing(Session()) as session:
        assert session.ask("Hi", model="8x7b").text == "ok"
    assert waits == [0.5, 1.0, 2.0]


LISTS = [
    ([{"id": "a"}, {"id": "b"}], ["a", "b"]),
    ({"object": "list", "data": [{"id": "a"}]}, ["a"]),
    ({"models": [{"name": "a"}]}, ["a"]),
    ({"models": ["a", "b"]}, ["a", "b"]),
    ({"data": ["a"]}, ["a"]),
    (["a", "b"], ["a", "b"]),
    ([{"name": "a", "id": "azureml://registries/x/models/a/versions/1"}], ["a"]),
    ({"models": [{"model": "a"}]}, ["a"]),
    ({"data": None}, []),
    ({"data": []}, []),
    ({"models": None}, []),
    ({"data": [None, 5, {"id": None}, {"id": ""}, {}, [], {"id": 7}, {"id": "a"}]}, ["a"]),
    ([{"id": "a"}, "b", {"name": "c"}, None], ["a", "b", "c"]),
]


@pytest.mark.parametrize(("body", "names"), LISTS)
def test_models_are_listed_in_every_shape(session, together, body, names):
    together.plan = [refusal(200, body)]
    assert [row.id for row in session.live_models("together")] == names


@pytest.mark.parametrize(
    "entry",
    [
        {"context_length": 8192},
        {"context_window": 8192},
        {"max_model_len": 8192},
        {"max_context_length": 8192},
        {"context_window": "8192"},
        {"limits": {"max_context_window_tokens": 8192}},
        {"capabilities": {"limits": {"max_context_window_tokens": 8192}}},
        {"context_length": None, "top_provider": {"context_length": 8192}},
        {"meta": {"n_ctx": 8192}},
    ],
)
def test_a_model_s_context_is_read_under_every_name(session, together, entry):
    together.plan = [refusal(200, [{"id": "a", **entry}])]
    assert [row.context for row in session.live_models("together")] == [8192]


@pytest.mark.parametrize("context", [0, -1, True, 1.5, "many", None, [], "9" * 40])
def test_an_invalid_context_is_unknown(session, together, context):
    together.plan = [refusal(200, [{"id": "a", "context_window": context}])]
    assert [row.context for row in session.live_models("together")] == [None]


@pytest.mark.parametrize(
    "body", [b"<html><title>Sign in</title>", {"error": "not today"}, {"data": {"id": "a"}}, 7]
)
def test_a_reply_that_is_not_a_list_is_an_error_that_quotes_it(session, together, body):
    together.plan = [refusal(200, body)]
    with pytest.raises(ProviderError) as caught:
        session.live_models("together")
    for words in ("Sign in", "not today"):
        if words in str(body):
            assert words in caught.value.message


def test_a_404_for_the_model_is_still_an_unknown_model(refused):
    assert type(refused(404, said("The model `x` does not exist"))) is UnknownModel
