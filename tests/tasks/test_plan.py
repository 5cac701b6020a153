"""What a call would cost, before it is made."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from server import Answer
from server import together as pieces

from mixmagic.calls.tokens import Count
from mixmagic.core.money import Price
from mixmagic.display.budget import plan_table
from mixmagic.errors import ContextTooLong, StreamBroken

TOKEN = Decimal("600e-9")


def test_a_plan_has_the_most_and_the_likely(session):
    plan = session.plan(session.request("Hi", model="8x7b", max_tokens=1000))
    assert (plan.prompt.tokens, plan.prompt.exact) == (9, True)
    assert plan.worst_case.cost == (1009 + 24 + 96) * TOKEN
    assert (plan.answer, plan.answers, plan.likely) == (300, 0, 309 * TOKEN)
    assert plan.refused is None


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (0, "(assumed)"),
        (1, "(one earlier answer)"),
        (2, "(the mean of 2 answers)"),
        (1_200, "(the mean of 1,200 answers)"),
    ],
)
def test_the_table_says_where_the_likely_answer_comes_from(session, answers, words):
    plan = replace(session.plan(session.request("Hi", model="local")), answers=answers)
    assert words in str(plan_table(plan))


@pytest.mark.parametrize(
    ("answers", "words"),
    [(1, "(one earlier answer had 412)"), (9, "(the mean of 9 answers is 412)")],
)
def test_a_mean_above_the_limit_is_told(session, answers, words):
    plan = session.plan(session.request("Hi", model="8x7b", max_tokens=100))
    table = str(plan_table(replace(plan, answers=answers, usual=412)))
    assert f"at most 100 tokens, likely 100 {words}" in table
    assert "412" not in str(plan_table(replace(plan, answers=answers, answer=100, usual=100)))


def test_the_table_has_no_empty_head_and_says_what_is_likely(session):
    plan = session.plan(session.request("Hi", model="ollama:8x7b"))
    table = plan_table(replace(plan, prompt=Count(5, 123, exact=False)))
    assert table.columns == ["dry run", "estimate"]
    assert ["prompt", "at most 123 tokens, likely 5"] in table.rows


def test_several_answers_cost_several_times_as_much(session):
    plan = session.plan(session.request("Hi", model="8x7b", max_tokens=1000, n=10))
    assert (plan.answer, plan.limit, plan.likely) == (300, 1000, 3009 * TOKEN)
    assert plan.worst_case.completion_tokens == 10_000
    row = next(line for line in str(plan_table(plan)).splitlines() if "answer" in line)
    assert row.split(None, 1) == [
        "answers",
        "10, each at most 1,000 tokens, likely 300 (assumed)",
    ]
    free = session.plan(session.request("Hi", model="local", max_tokens=1000, n=10))
    assert "10, each at most 1,000 tokens" in str(plan_table(free))


def test_extra_body_has_the_last_word_on_the_limit(session):
    extra = {"max_tokens": 50}
    plan = session.plan(session.request("Hi", model="8x7b", max_tokens=1000, extra_body=extra))
    assert (plan.limit, plan.answer) == (50, 50)


@pytest.mark.parametrize(("form", "told"), [("json_schema", True), ("json_object", False)])
def test_a_schemas_plan_says_that_there_may_be_a_second_round(session, form, told):
    request = session.request("Hi", model="8x7b", response_format={"type": form})
    table = str(plan_table(session.plan(request)))
    assert ("may more than double this" in table) is told


def test_a_price_of_the_users_is_in_the_plan(session):
    model = replace(session.catalog.resolve("ollama:8x7b"), price=Price(Decimal(5), Decimal(50)))
    request = session.request("Hi", model="ollama:8x7b", max_tokens=10)
    request = replace(request, model=model)
    assert "free" not in str(plan_table(session.plan(request)))


def test_what_is_likely_is_the_mean_of_the_models_whole_answers(session, together):
    together.plan = [
        Answer(pieces(*"ab")),
        Answer(pieces(*"abcdef")),
        Answer([*pieces("x")[:1], "cut"]),
    ]
    for _ in range(2):
        session.ask("Hi", model="8x7b")
    with pytest.raises(StreamBroken, match="broke before"):
        session.ask("Hi", model="8x7b")
    plan = session.plan(session.request("Hi", model="8x7b"))
    assert (plan.answer, plan.answers) == (4, 2)
    assert session.plan(session.request("Hi", model="disco")).answers == 0
    assert session.plan(session.request("Hi", model="8x7b", max_tokens=3)).answer == 3


def test_what_is_asked_for_is_cut_to_the_context(session):
    plan = session.plan(session.request("Hi", model="8x7b", max_tokens=10**6))
    assert plan.request.params["max_tokens"] == 32_768 - 9
    assert plan.worst_case.completion_tokens == 32_768 - 9


def test_what_does_not_fit_has_no_plan(session):
    with pytest.raises(ContextTooLong):
        session.plan(session.request("word " * 40_000, model="8x7b"))


def test_an_unknown_price_is_unknown(session):
    plan = session.plan(session.request("Hi", model="openai:m", max_tokens=10))
    assert (plan.likely, plan.worst_case.cost) == (None, None)
    assert plan.refused is None
    session.budget(1)
    plan = session.plan(session.request("Hi", model="openai:m", max_tokens=10))
    assert plan.refused.limit.name == "this session's budget"


def test_the_budget_that_forbids_is_named(session):
    session.budget("0.5", per="month")
    session.budget("0.00001", per="day")
    plan = session.plan(session.request("Hi", model="8x7b", budget=1))
    assert [left.limit.name for left in plan.balances] == [
        "its own budget",
        "today's budget",
        "this month's budget",
    ]
    assert plan.refused.limit.name == "today's budget"


def test_the_embedded_models_plan_is_exact_and_free(session):
    session.budget(0)
    plan = session.plan(session.request("Hi", model="local"))
    said = session.ask("Hi", model="local", max_tokens=1)
    assert plan.prompt.exact
    assert plan.prompt.tokens == said.usage.prompt_tokens
    assert (plan.likely, plan.worst_case.cost, plan.refused) == (0, 0, None)
