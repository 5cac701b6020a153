"""What a call can cost at most: never less than what any answer of its limits costs."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.backends.wire import encode
from mixmagic.calls import tokens
from mixmagic.calls.worst_case import (
    UNLIMITED,
    WorstCase,
    advice,
    affordable_tokens,
    with_limit,
    worst_case,
)
from mixmagic.catalog import Catalog
from mixmagic.core.money import Price
from mixmagic.core.values import Dialect, Message, Model, Provider, Request
from mixmagic.layers.fit import fitted

CATALOG = Catalog()
HI = (Message("user", "Hi"),)
ACME = Provider("acme", "Acme")
PRICED = Model("m", ACME, price=Price(Decimal("0.60"), Decimal("1.80")), context=1000)


def asked(model: str | Model = "8x7b", messages=HI, **params) -> Request:
    return Request(CATALOG.resolve(model) if isinstance(model, str) else model, messages, params)


# What a provider's own chat template may have more, for one message.
TEMPLATE = 24 + 96


def test_exact_tokens_and_what_the_context_leaves():
    most = worst_case(asked())
    assert (most.prompt_tokens, most.completion_tokens) == (9 + TEMPLATE, 32_768 - 9)
    assert most.cost == (32_768 + TEMPLATE) * Decimal("600e-9")


def test_max_tokens_limit_the_answer():
    assert worst_case(asked(max_tokens=100)).cost == (109 + TEMPLATE) * Decimal("600e-9")


def test_max_tokens_are_lowered_to_the_context():
    request = asked(max_tokens=10**6)
    assert worst_case(request) == worst_case(fitted(request))
    assert worst_case(request).completion_tokens == 32_768 - 9


def test_a_providers_own_template_is_included_for_an_exact_count():
    """Together's for Mixtral wrote the system text in Llama's form: 40 tokens instead of 14."""
    messages = (Message("system", "Be brief."), *HI)
    assert tokens.count(messages, CATALOG.resolve("8x7b")).tokens == 14
    assert worst_case(asked(messages=messages)).prompt_tokens == 14 + 2 * 24 + 96


def test_the_embedded_models_template_is_our_own():
    provider = Provider("mine", "Mine", backend="local", free=True, counts_exactly=True)
    model = replace(PRICED, provider=provider, tokenizer="mistral-v1")
    assert worst_case(asked(model)).prompt_tokens == 9


def test_a_price_on_the_embedded_model_is_kept():
    model = replace(CATALOG.resolve("local"), price=PRICED.price)
    assert worst_case(asked(model, max_tokens=100)).cost > 100 * Decimal("1.8e-6")


def test_an_estimated_prompt_counts_at_its_most_and_leaves_the_whole_context_to_the_answer():
    """What an estimate may have too much, the answer may have."""
    text = (Message("user", "many words " * 50),)
    count = tokens.count(text, PRICED)
    most = worst_case(asked(PRICED, text))
    assert not count.exact
    assert most.prompt_tokens == count.most
    assert most.completion_tokens == 1000 - 1


@pytest.mark.parametrize(
    ("extra", "answers", "each"),
    [
        ({"n": 3}, 3, 10),
        ({"best_of": 4, "n": 2}, 4, 10),
        ({"max_tokens": 500}, 1, 500),
        ({"max_completion_tokens": 700}, 1, 700),
        ({"max_completion_tokens": 5}, 1, 10),
        ({"max_tokens": 500, "max_completion_tokens": 700}, 1, 700),
    ],
)
def test_extra_body_counts(extra, answers, each):
    most = worst_case(asked(max_tokens=10, extra_body=extra))
    assert (most.answers, most.completion_tokens) == (answers, answers * each)
    assert most.prompt_tokens > 9, "its own length may be read, too"


def test_a_response_format_counts_as_prompt():
    described = {"type": "object", "description": "long " * 100}
    assert worst_case(asked(max_tokens=1, response_format=described)).prompt_tokens > 9 + 500


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asked("openai:m"), "the price of openai:m is not known"),
        (asked("openai:m", max_tokens=5), "the price of openai:m is not known"),
        (
            asked(Model("m", ACME, price=PRICED.price)),
            "nothing limits what acme:m may answer",
        ),
        (
            asked(extra_body={"n": 2, "service_tier": "flex"}),
            "the cost of 'service_tier' in the request is not known",
        ),
        (asked(extra_body={"model": "x"}), "the cost of 'model' in the request is not known"),
    ],
)
def test_an_unknown_cost_has_a_reason(request_, reason):
    most = worst_case(request_)
    assert (most.cost, most.reason) == (None, reason)
    assert most.hint


@pytest.mark.parametrize(
    "extra",
    [
        {"max_tokens": None},
        {"max_tokens": -1},
        {"max_tokens": -(10**6)},
        {"max_tokens": "2000"},
        {"max_tokens": 2000.0},
        {"max_tokens": True},
        {"max_completion_tokens": None},
        {"n": 50.0},
        {"n": "50"},
        {"best_of": 0},
        {"max_tokens": 10**16},
        {"max_tokens": 10**400},
        {"n": 10**15},
    ],
)
def test_an_invalid_limit_limits_nothing(extra):
    """`extra_body` goes over the parameters; servers read a null or -1 as no limit."""
    most = worst_case(asked(max_tokens=10, extra_body=extra))
    assert most.cost is None
    assert "is not a number of tokens or answers" in most.reason


def test_a_cost_that_is_too_large_for_the_ledger_is_unknown():
    most = worst_case(asked(extra_body={"n": 10**9, "max_tokens": 10**9}))
    assert (most.cost, most.reason) == (None, "the call could cost over $1,000,000")


def test_the_highest_of_several_limits_counts():
    """Where a provider has another name for `max_tokens`, it may know the usual one, too."""
    dialect = Dialect(rename={"max_tokens": "max_completion_tokens"})
    model = replace(PRICED, provider=Provider("acme", "Acme", dialect=dialect))
    most = worst_case(asked(model, max_tokens=10, extra_body={"max_tokens": 900}))
    assert most.completion_tokens == 900
    # What it may not know at all limits nothing.
    assert worst_case(asked(model, extra_body={"max_tokens": 9})).completion_tokens == 1000 - 1


def test_keys_of_any_kind_are_refused_by_name():
    assert "'1'" in worst_case(asked(extra_body={1: 2, "a": 3})).reason


def test_fields_that_a_dialect_always_sends_count():
    """As in a user's own file: it goes over what the call asks for."""
    dialect = Dialect(
        rename={"max_tokens": "limit"},
        always={"limit": 400, "n": 2},
        streaming={"stream_options": {}},
    )
    provider = Provider("acme", "Acme", dialect=dialect)
    model = replace(PRICED, provider=provider)
    assert worst_case(asked(model, max_tokens=10)).completion_tokens == 800
    plain = replace(PRICED, provider=Provider("acme", "Acme", dialect=replace(dialect, always={})))
    assert worst_case(asked(plain, max_tokens=10)).completion_tokens == 10
    assert worst_case(asked(plain, extra_body={"limit": 30})).completion_tokens == 30
    odd = replace(PRICED, provider=Provider("a", "A", dialect=Dialect(always={"service_tier": 1})))
    assert worst_case(asked(odd, max_tokens=10)).cost is None


def test_the_decimal_precision_of_the_notebook_does_not_matter():
    with localcontext(prec=3):
        assert worst_case(asked(max_tokens=71)).cost == Decimal("0.00012")


def test_a_free_model_costs_nothing_without_counting():
    assert worst_case(asked("local")) == WorstCase(cost=Decimal(0))
    assert worst_case(asked("local", n=3)).answers == 3


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (None, 0),
        (Price(Decimal(0), Decimal(0), since=date(2026, 11, 25)), 0),
        (Price(Decimal(1), Decimal(2)), Decimal("0.000323")),
    ],
)
def test_a_price_of_the_user_overrides_a_free_provider(price, cost):
    """As for a GPU that is paid by the hour."""
    model = replace(PRICED, provider=Provider("mine", "Mine", free=True), price=price)
    assert worst_case(asked(model, max_tokens=100)).cost == cost


@given(st.decimals("0.000001", "0.001", places=9), st.integers(1, 3))
def test_affordable_tokens_are_affordable_and_one_more_is_not(left, answers):
    request = asked(extra_body={"n": answers})
    most = worst_case(request)
    tokens_ = affordable_tokens(request, most, left)

    def cost(limit: int) -> Decimal:
        return request.model.price.most(most.prompt_tokens, limit * answers)

    assert cost(tokens_ + 1) > left
    if tokens_:
        assert cost(tokens_) <= left


def test_tokens_below_a_nanodollar_are_affordable():
    model = replace(PRICED, price=Price(Decimal(600), Decimal("0.0000000001")))
    request = asked(model, max_tokens=5)
    assert affordable_tokens(request, worst_case(request), Decimal("0.0001")) == 0
    assert affordable_tokens(request, worst_case(request), worst_case(request).cost) >= 5


@pytest.mark.parametrize(
    ("params", "left", "way"),
    [
        ({}, "0.001", "ask for less: --max-tokens 1537 would fit"),
        ({"n": 3}, "0.001", "ask for less: --max-tokens 512 would fit"),
        ({}, "0", ""),
        ({}, "-1", ""),
        ({}, "0.00005", "ask less: no --max-tokens is low enough, the prompt costs too much"),
        (
            {"response_format": {"type": "json_object"}},
            "0.00005",
            "ask less: no --max-tokens is low enough, the prompt with its schema costs too much",
        ),
        (
            {"extra_body": {"max_tokens": 30_000}},
            "0.001",
            "ask for less: a 'max_tokens' of 1516 in extra_body would fit",
        ),
        (
            {"extra_body": {"max_completion_tokens": 30_000}},
            "0.001",
            (
                "ask for less: a 'max_completion_tokens' of 1505 in extra_body and"
                " --max-tokens 1505 would fit"
            ),
        ),
        (
            {"extra_body": {"max_completion_tokens": 9}},
            "0.001",
            "ask for less: --max-tokens 1509 would fit",
        ),
    ],
)
def test_advice_for_a_cheaper_call(params, left, way):
    request = asked(**params)
    assert advice(request, worst_case(request), Decimal(left)) == way


@pytest.mark.parametrize("own", [{}, {"max_tokens": 2}, {"max_tokens": 20_000}])
@pytest.mark.parametrize("first", [{}, {"max_tokens": 2}, {"max_tokens": 30_000}])
@pytest.mark.parametrize(
    "second", [{}, {"max_completion_tokens": 9}, {"max_completion_tokens": 30_000}]
)
def test_a_call_that_follows_the_advice_is_affordable(own, first, second):
    left = Decimal("0.001")
    params = {**own, "extra_body": first | second}
    request = asked(**params)
    if worst_case(request).cost <= left:
        return
    way = advice(request, worst_case(request), left)
    room = int(re.search(r"\d+", way)[0])
    extra = {k: room if repr(k) in way else value for k, value in (first | second).items()}
    given = {"max_tokens": room} if "--max-tokens" in way else own
    assert worst_case(asked(**given, extra_body=extra)).cost <= left


FUNCTION = {"type": "function", "function": {"name": "find", "parameters": {}}}


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [FUNCTION]},
        {"tools": [FUNCTION, FUNCTION], "tool_choice": "auto", "parallel_tool_calls": True},
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "find"}}},
        {"tools": [], "tool_choice": "none"},
        {"tools": [FUNCTION], "tool_choice": None},
    ],
)
def test_functions_of_the_user_cost_their_tokens(extra):
    assert worst_case(asked(max_tokens=10, extra_body=extra)).cost is not None


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "web_search_preview", "search_context_size": "high"}]}, "tools"),
        ({"tools": [FUNCTION, {"type": "code_interpreter", "container": "auto"}]}, "tools"),
        ({"tools": [{"type": "file_search"}, FUNCTION]}, "tools"),
        ({"tools": [{"type": "mcp", "server_url": "https://x"}]}, "tools"),
        ({"tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]}, "tools"),
        ({"tools": [{"google_search": {}}]}, "tools"),
        ({"tools": [{"type": ["function"]}]}, "tools"),
        ({"tools": [{}]}, "tools"),
        ({"tools": ["web_search"]}, "tools"),
        ({"tools": {"type": "function"}}, "tools"),
        ({"tools": "web_search"}, "tools"),
        ({"tools": None}, "tools"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [FUNCTION]}}, "tool_choice"),
        ({"tool_choice": ["web_search"]}, "tool_choice"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"search_parameters": {"mode": "on"}}, "search_parameters"),
        ({"models": ["dear/one"]}, "models"),
        ({"functions": [{"name": "find"}]}, "functions"),
    ],
)
def test_tools_of_a_provider_have_an_unknown_cost(extra, name):
    """It bills searches, and reads the pages that it finds."""
    most = worst_case(asked(max_tokens=10, extra_body=extra))
    assert (most.cost, most.limit) == (None, None)
    assert most.reason == f"the cost of {name!r} in the request is not known"


def test_a_dialect_that_always_sends_such_a_tool_has_an_unknown_cost():
    dialect = Dialect(always={"tools": [{"type": "web_search"}]})
    model = replace(PRICED, provider=Provider("acme", "Acme", dialect=dialect))
    assert worst_case(asked(model, max_tokens=10)).limit is None


LIMITS = st.dictionaries(
    st.sampled_from(["max_tokens", "max_completion_tokens", "limit"]), st.integers(1, 10**6)
)


@given(LIMITS, LIMITS, st.none() | st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 3))
def test_no_limit_that_is_sent_is_higher(extra, always, own, limit, answers):
    """Whatever a provider calls it, and wherever it stands; lower ones stay."""
    dialect = Dialect(rename={"max_tokens": "limit"}, always=always)
    model = replace(PRICED, provider=Provider("acme", "Acme", dialect=dialect))
    params = {} if own is None else {"max_tokens": own}
    request = with_limit(asked(model, **params, extra_body=extra | {"n": answers}), limit)
    body = encode(request)
    sent = {
        name: body[name]
        for name in ("limit", "max_tokens", "max_completion_tokens")
        if name in body
    }
    assert max(sent.values()) <= limit
    assert "limit" in sent
    before = encode(asked(model, **params, extra_body=extra | {"n": answers}))
    for name, value in sent.items():
        assert value == min(before.get(name, limit), limit)
    assert worst_case(request).completion_tokens <= limit * answers


def test_a_request_within_the_limit_is_not_changed():
    request = asked(max_tokens=10, extra_body={"seed": 1})
    assert with_limit(request, 10) is request
    assert with_limit(request, 9).params == {"max_tokens": 9, "extra_body": {"seed": 1}}


@given(st.integers(0, 30_000), st.sampled_from(["a ", "漢", "0", "\n"]))
def test_the_limit_that_is_sent_leaves_room_for_the_prompt(length, sign):
    """At its upper bound, or, of a prompt that may not fit at all, half of what remains."""
    text = (Message("user", sign * length),)
    for model in (replace(PRICED, context=32_768), CATALOG.resolve("8x7b")):
        most, count = worst_case(asked(model, text)), tokens.count(text, model)
        fits = most.limit + most.prompt_tokens <= model.context
        assert fits or most.limit <= max((model.context - count.tokens) / 2, 1)
        assert most.limit <= most.completion_tokens
        assert most.most <= most.cost


def test_without_a_limit_only_the_budgets_limit_an_answer():
    most = worst_case(asked(Model("m", ACME, price=PRICED.price)))
    assert (most.limit, most.most, most.cost) == (UNLIMITED, None, None)
    free = replace(PRICED.price, output=Decimal(0))
    assert worst_case(asked(Model("m", ACME, price=free))).limit is None, (
        "no limit makes it cheaper"
    )


def test_an_answer_is_no_longer_than_its_model_writes():
    """A provider refuses a higher limit than that, which a budget would allow."""
    luna = Catalog().resolve("openai:gpt-6-luna")
    assert luna.answer == 128_000
    found = worst_case(Request(luna, (Message("user", "Hi"),)))
    assert (found.completion_tokens, found.limit) == (128_000, 128_000)
    short = replace(luna, context=1_000)
    assert worst_case(Request(short, (Message("user", "Hi"),))).completion_tokens < 1_000
    unknown = replace(luna, context=None)
    assert worst_case(Request(unknown, (Message("user", "Hi"),))).limit == 128_000
    own = worst_case(Request(luna, (Message("user", "Hi"),), {"max_tokens": 5}))
    assert own.completion_tokens == 5
