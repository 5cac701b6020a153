"""What is written as JSON comes back equal, or is refused by name."""

from __future__ import annotations

import contextlib
import inspect
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmagic import errors
from mixmagic.calls import codec
from mixmagic.calls.codec import (
    completion_from_json,
    completion_to_json,
    error_from_json,
    error_to_json,
    request_from_json,
    request_to_json,
    usage_from_json,
    usage_to_json,
)
from mixmagic.calls.completion import Completion
from mixmagic.calls.identity import cassette_key
from mixmagic.core.control import Control
from mixmagic.core.logprobs import Logprobs, TokenLogprob
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Image, Message, Model, Provider, Request, Text
from mixmagic.errors import MixmagicError, Stopped, UnreadableRecord

KEY = "canary-key-4711"
ACME = Provider(
    "acme", "Acme", base_url=f"https://{KEY}@acme.example/v1?sig={KEY}", headers={"X-Key": KEY}
)
MODEL = Model("org/Model-1", ACME, context=32_768, price=Price(Decimal("0.60"), Decimal("1.2")))
HELLO = (Message("user", "Hello"),)

ONE = st.builds(TokenLogprob, st.text(max_size=3), st.floats(-1e6, 0), st.just(()))
TOKEN = st.builds(
    TokenLogprob, st.text(max_size=3), st.floats(-1e6, 0), st.lists(ONE, max_size=2).map(tuple)
)
TOKENS = st.lists(TOKEN, max_size=3).map(Logprobs)

DOLLARS = st.decimals(0, 1000, places=12)
USAGES = st.builds(
    Usage,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.sampled_from(["server", "exact", "estimate", None]),
    st.integers(0, 10**9),
    st.none() | DOLLARS,
    st.integers(0, 10**9),
)
SECONDS = st.floats(0, 1e6)
TEXTS = st.text(max_size=20)
COMPLETIONS = st.builds(
    Completion,
    text=TEXTS,
    usage=USAGES,
    cost=st.none() | DOLLARS,
    finish=st.sampled_from(["stop", "length", "stopped", "broken off", "odd"]),
    request=st.just(Request(MODEL, HELLO)),
    elapsed=SECONDS,
    ttft=st.none() | SECONDS,
    reasoning=TEXTS,
    thinking=st.none() | SECONDS,
    notes=st.lists(TEXTS, max_size=2).map(tuple),
    origin=st.sampled_from(["live", "cache", "cassette"]),
    others=st.lists(TEXTS, max_size=2).map(tuple),
    logprobs=TOKENS,
    billed_tries=st.integers(0, 9),
    value=st.none(),
    excerpt=TEXTS,
    recorded=st.none() | st.datetimes(timezones=st.just(UTC)),
)
PARTS = st.builds(Text, TEXTS) | st.builds(Image, st.binary(max_size=9), st.just("image/jpeg"))
REQUESTS = st.builds(
    Request,
    st.just(MODEL),
    st.lists(
        st.builds(
            Message,
            st.sampled_from(["system", "user", "assistant"]),
            TEXTS | st.lists(PARTS, max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    st.fixed_dictionaries({}, optional={"temperature": st.floats(0.1, 1.9), "seed": st.integers()}),
    st.booleans(),
    st.sampled_from(["", "one", "8x7b"]),
)
WHOLE = Completion(
    text="Hi",
    usage=Usage(9, 2, charge=Decimal("0.0042")),
    cost=Decimal("0.0042"),
    finish="stop",
    request=Request(MODEL, HELLO),
    elapsed=1.5,
    ttft=0.0,
)


def through_json(data: object) -> object:
    """Return what a file would give back; none of it is a key."""
    text = json.dumps(data, allow_nan=False)
    assert KEY not in text
    return json.loads(text)


def found(_provider: str, _id: str) -> Model:
    return MODEL


class TestRoundTrip:
    @settings(deadline=None)
    @given(REQUESTS)
    def test_of_a_request(self, request):
        back = request_from_json(through_json(request_to_json(request)), found)
        assert (back, back.stream) == (request, request.stream)
        assert cassette_key(back) == cassette_key(request)

    @settings(deadline=None)
    @given(USAGES)
    def test_of_usage(self, usage):
        back = usage_from_json(through_json(usage_to_json(usage)))
        assert (back, back.reasoning_tokens) == (usage, usage.reasoning_tokens)

    @settings(deadline=None)
    @given(COMPLETIONS)
    def test_of_a_completion(self, completion):
        data = through_json(completion_to_json(completion))
        back = completion_from_json(data, completion.request)
        assert back == completion
        assert back.usage.reasoning_tokens == completion.usage.reasoning_tokens
        assert back.footer() == completion.footer()

    @pytest.mark.parametrize(
        "kind",
        [
            kind
            for _, kind in inspect.getmembers(errors, inspect.isclass)
            if issubclass(kind, MixmagicError)
        ],
    )
    def test_of_an_error(self, kind):
        error = kind("It failed.", "Try this.")
        error.status, error.sent, error.retry_after = 429, True, 2.5
        error.retryable, error.body = True, {"error": {"code": "rate"}}
        error.usage, error.partial = Usage(9, 2), replace(WHOLE, finish="broken off")
        back = error_from_json(through_json(error_to_json(error)), WHOLE.request)
        assert type(back) is kind
        assert (back.message, back.hint) == ("It failed.", "Try this.")
        assert back.__dict__ == error.__dict__
        assert back.transmitted == kind.transmitted
        assert back.__notes__ == ["Hint: Try this."]

    def test_of_an_error_without_anything_else(self):
        for kind in (errors.StreamBroken, errors.MissingKey):
            data = through_json(error_to_json(kind("It failed.", "Try this.")))
            back = error_from_json(data)
            assert set(data) == {"v", "type", "message", "hint"}
            assert (back.sent, back.status, back.partial, back.usage) == (False, None, None, None)
            assert back.transmitted == kind.transmitted

    def test_of_a_budget_that_was_exceeded(self):
        error = errors.BudgetExceeded("Too dear.", "Ask less.")
        error.most = Decimal("0.25")
        assert error_from_json(through_json(error_to_json(error))).most == Decimal("0.25")

    def test_of_a_stop(self):
        error = Stopped("Stopped: 2 tokens kept.", replace(WHOLE, finish="stopped"), sent=False)
        back = error_from_json(through_json(error_to_json(error)), WHOLE.request)
        assert type(back) is Stopped
        assert (back.message, back.sent) == (error.message, False)
        assert back.completion == error.completion

    def test_of_a_class_that_only_its_caller_knows(self):
        class OurOwn(errors.RateLimited):
            pass

        back = error_from_json(error_to_json(OurOwn("No.", "Wait.", retryable=True)))
        assert (type(back), back.retryable) == (errors.RateLimited, True)

    def test_an_error_without_its_question_has_no_partial_answer(self):
        error = errors.StreamBroken("No.", "Again.")
        error.partial = WHOLE
        assert error_from_json(error_to_json(error)).partial is None


class TestRequest:
    def test_control_is_not_written(self):
        request = Request(MODEL, HELLO, control=Control(tag="cell 3", notes=("note",)))
        text = json.dumps(request_to_json(request))
        assert "cell 3" not in text
        assert "note" not in text

    def test_a_model_that_the_catalog_has_no_more_comes_from_the_record(self):
        price = Price(
            Decimal("0.60"), Decimal("1.2"), Decimal("0.5"), Decimal("0.1"), date(2026, 1, 2),
            "a page", Decimal("0.7"),
        )  # fmt: skip
        request = Request(replace(MODEL, price=price), HELLO)
        data = through_json(request_to_json(request))
        for find in (None, lambda provider, id_: None):
            model = request_from_json(data, find).model
            assert (model.provider.name, model.id, model.context) == ("acme", "org/Model-1", 32_768)
            assert model.price == price
        assert request_from_json(data, found).model is MODEL

    def test_a_portable_one_has_no_folder(self):
        local = Model("/home/me/x.gguf", Provider("local", "here", backend="local"))
        request = Request(local, HELLO, asked="local:/home/me/x.gguf")
        data = request_to_json(request, portable=True)
        assert (data["asked"], data["model"]["id"]) == ("local:x.gguf", "x.gguf")
        assert request_to_json(request)["model"]["id"] == "/home/me/x.gguf"
        asked = replace(request, model=MODEL, asked="acme:a/b")
        assert request_to_json(asked, portable=True)["asked"] == "acme:a/b"


USAGE = Usage(9, 2, 1, "exact", 1, Decimal(1), 1)
COMPLETION = replace(
    WHOLE, notes=("a",), logprobs=Logprobs([TokenLogprob("a", -0.5)]), recorded=datetime.now(UTC)
)
REQUEST = Request(MODEL, (Message("user", (Text("a"),)),), {"n": 2})
ERROR = errors.RateLimited("No.", "Wait.", status=429, retry_after=1.0)
DAMAGED = [
    (usage_from_json, usage_to_json(USAGE)),
    (lambda data: completion_from_json(data, REQUEST), completion_to_json(COMPLETION)),
    (request_from_json, request_to_json(REQUEST)),
    (error_from_json, error_to_json(ERROR)),
]
ODD = [None, True, -1, 1.5, "", "odd", [], ["a"], [None], {}, {"v": 1}, float("nan"), 10**400]


class TestDamage:
    @pytest.mark.parametrize(("read", "data"), DAMAGED)
    @pytest.mark.parametrize("odd", ODD, ids=repr)
    def test_any_field_of_any_value_is_read_or_refused_by_name(self, read, data, odd):
        for name in data:
            with contextlib.suppress(UnreadableRecord):
                read({**data, name: odd})

    @pytest.mark.parametrize(("read", "data"), DAMAGED)
    @pytest.mark.parametrize("odd", ODD, ids=repr)
    def test_anything_in_the_place_of_a_record_is_refused_by_name(self, read, data, odd):
        if odd != {"v": 1} or read is not request_from_json:
            with pytest.raises(UnreadableRecord):
                read(odd)

    @pytest.mark.parametrize(("read", "data"), DAMAGED)
    def test_a_record_of_a_newer_version_is_refused_by_name(self, read, data):
        with pytest.raises(
            UnreadableRecord, match="has format 2, and this mixmagic reads 1"
        ) as caught:
            read({**data, "v": 2})
        assert "Update mixmagic" in caught.value.hint

    @pytest.mark.parametrize(("read", "data"), DAMAGED)
    @pytest.mark.parametrize("version", [None, 0, -1, "1", True, 1.0])
    def test_a_record_without_a_valid_version_is_damaged(self, read, data, version):
        with pytest.raises(UnreadableRecord, match="is damaged"):
            read({**data, "v": version})

    @pytest.mark.parametrize(("read", "data"), DAMAGED)
    def test_a_field_of_the_same_version_that_is_not_known_is_ignored(self, read, data):
        assert type(read({**data, "more": [1]})) is type(read(data))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("text", None),
            ("text", 5),
            ("finish", []),
            ("usage", {}),
            ("usage", {"v": 2}),
            ("cost", "NaN"),
            ("cost", "-1"),
            ("cost", "1e999999"),
            ("cost", 0.5),
            ("timing", {"elapsed": -1}),
            ("timing", {"elapsed": 1, "ttft": "soon"}),
            ("others", "ab"),
            ("others", [1]),
            ("logprobs", ["-1"]),
            ("logprobs", [["a", "-1"]]),
            ("logprobs", [["a", -1.0, [], []]]),
            ("origin", "moon"),
            ("billed_tries", True),
            ("billed_tries", -1),
            ("recorded", "yesterday"),
        ],
    )
    def test_a_damaged_completion_is_refused(self, name, value):
        data = {**completion_to_json(WHOLE), name: value}
        with pytest.raises(UnreadableRecord):
            completion_from_json(data, WHOLE.request)

    @pytest.mark.parametrize(
        "type_", ["NoSuchError", "one_line", "Iterable", "re", "__name__", "annotations", ""]
    )
    def test_a_type_that_is_not_an_error_of_ours_is_refused(self, type_):
        with pytest.raises(UnreadableRecord):
            error_from_json({"v": 1, "type": type_, "message": "No."})

    @pytest.mark.parametrize(
        "message",
        [
            "Hi",
            {"role": "boss", "content": "Hi"},
            {"role": "user"},
            {"role": "user", "content": [{"image": "not base64!", "type": "image/png"}]},
            {"role": "user", "content": [{"image": "aGk=!", "type": "image/png"}]},
            {"role": "user", "content": ["Hi"]},
            {"role": "user", "content": [{"sound": ""}]},
        ],
    )
    def test_a_damaged_message_is_refused(self, message):
        data = {**request_to_json(WHOLE.request), "messages": [message]}
        with pytest.raises(UnreadableRecord):
            request_from_json(data)


def test_a_completion_is_written_without_what_is_empty():
    data = completion_to_json(WHOLE)
    assert list(data) == ["v", "text", "finish", "usage", "cost", "timing"]
    assert data["timing"] == {"elapsed": 1.5, "ttft": 0.0}
    assert "cost" not in completion_to_json(replace(WHOLE, cost=None)), "unknown is not 0"


def test_the_version_is_the_first_field():
    for data in (
        usage_to_json(WHOLE.usage),
        completion_to_json(WHOLE),
        request_to_json(WHOLE.request),
        error_to_json(errors.MissingKey("No.", "Log in.")),
    ):
        assert next(iter(data.items())) == ("v", codec.VERSION)


def test_a_price_of_long_prompts_is_kept():
    longer = Price(Decimal(3), Decimal(5), cached=Decimal("0.3"), source="there")
    price = Price(Decimal(1), Decimal(2), source="here", above=1_000, long=longer)
    model = Model("m", Provider("acme", "Acme"), price=price)
    request = Request(model, (Message("user", "Hi"),))
    again = codec.request_from_json(json.loads(json.dumps(codec.request_to_json(request))))
    assert (again.model.price, again.model.price.long.source) == (price, "there")


def test_a_record_of_an_older_version_has_only_the_logarithms():
    data = codec.completion_to_json(WHOLE) | {"logprobs": [-0.5, -1]}
    found = codec.completion_from_json(data, WHOLE.request).logprobs
    assert found == (TokenLogprob("", -0.5), TokenLogprob("", -1.0))
