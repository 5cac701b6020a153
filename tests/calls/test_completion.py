from __future__ import annotations

import html
import re
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from answers import ACME, ANSWER, MODEL, REQUEST
from server import whole

from mixmagic.calls.collector import stopped_with
from mixmagic.calls.completion import Completion
from mixmagic.catalog import FREE
from mixmagic.core.logprobs import Logprobs, TokenLogprob
from mixmagic.core.money import Usage, format_dollars
from mixmagic.core.values import Model


def on(model: Model, **changes) -> Completion:
    return replace(ANSWER, request=replace(REQUEST, model=model), **changes)


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        (None, "price unknown"),
        ("0", "$0"),
        ("0E-9", "$0"),
        ("12.346", "$12.35"),
        ("1", "$1.00"),
        ("0.6", "$0.60"),
        ("0.05", "$0.050"),
        ("0.0008076", "$0.00081"),
        ("0.000000001", "$0.000000001"),
    ],
)
def test_dollars(cost, shown):
    assert format_dollars(None if cost is None else Decimal(cost)) == shown


# Stopped before the provider had said anything of it, which it would have said at once.
UNSEEN = replace(
    ANSWER,
    usage=Usage(9, 56, counted="estimate"),
    request=replace(REQUEST, stream=False),
    finish="stopped",
)


def test_footer_says_model_tokens_cost_times_and_session():
    assert ANSWER.footer("$0.12") == (
        "acme:one · 1,234 → 56 tokens · $0.00081 · first token 0.50 s · 22 tokens/s · session $0.12"
    )


def test_an_unknown_price_is_never_shown_as_zero():
    answer = replace(ANSWER, cost=None)
    for shown in (answer.footer(), *answer.bundle().values(), repr(answer)):
        assert "price unknown" in shown
        assert "$" not in shown
        assert "free" not in shown


def test_only_free_providers_are_shown_as_free():
    free = Model("m", replace(ACME, free=True), price=FREE)
    assert " · free · " in on(free, cost=Decimal(0)).footer()
    assert " · $0 · " in on(MODEL, cost=Decimal(0)).footer()


def test_estimates_are_marked():
    """Tokens and dollars that we counted carry a sign; the provider's do not."""
    footer = replace(ANSWER, usage=Usage(10, 5, counted="estimate")).footer()
    assert "≈ 10 → 5 tokens" in footer
    assert "≈ $0.00081" in footer
    assert "≈" not in ANSWER.footer()


CHARGED = replace(ANSWER.usage, charge=Decimal("0.0042"))


@pytest.mark.parametrize("counted", ["server", "exact", "estimate"])
@pytest.mark.parametrize("price", [MODEL.price, None])
def test_a_reported_charge_is_not_an_estimate(counted, price):
    """Whoever counted the tokens, and whether or not a price is known."""
    answer = on(
        replace(MODEL, price=price), usage=replace(CHARGED, counted=counted), cost=CHARGED.charge
    )
    assert f"{'≈ ' * (counted != 'server')}1,234 → 56 tokens · $0.0042 · " in answer.footer()
    whole = replace(answer, request=replace(answer.request, stream=False), finish="stopped")
    assert " · $0.0042 · " in whole.footer()


@pytest.mark.parametrize(
    ("price", "shown"),
    [(None, "≈ $0.00081"), ("1.25", "$0.00081"), ("0", "$0.00081")],
)
def test_an_estimated_price_is_marked(price, shown):
    """Tokens that went into a cache, at a price for them that is not known."""
    model = replace(MODEL, price=replace(MODEL.price, cache_write=price and Decimal(price)))
    answer = on(model, usage=Usage(1234, 56, cache_write_tokens=1000))
    assert f" · 1,234 → 56 tokens · {shown} · " in answer.footer()


def test_a_call_of_unknown_price_that_was_not_sent_has_no_bill():
    unsent = on(replace(MODEL, price=None), usage=Usage(0, 0, counted=None), cost=Decimal(0))
    unsent = replace(unsent, finish="stopped", ttft=None)
    assert unsent.footer() == "acme:one · 0 → 0 tokens · stopped"
    assert stopped_with(unsent).message == "Stopped: 0 tokens kept."
    known = on(MODEL, usage=Usage(0, 0, counted=None), cost=Decimal(0), ttft=None)
    assert known.footer() == "acme:one · 0 → 0 tokens · $0"


def test_an_upper_limit_of_the_cost_is_marked():
    assert "≈ 9 → 56 tokens · ≤ $0.00081" in UNSEEN.footer()
    assert "≤" not in replace(UNSEEN, finish="stop").footer()
    assert "≤" not in replace(UNSEEN, usage=ANSWER.usage).footer()


def test_a_price_of_the_user_overrides_a_free_provider():
    priced = replace(MODEL, provider=replace(ACME, free=True))
    assert " · $0.00081 · " in on(priced).footer()


@pytest.mark.parametrize(
    ("finish", "said"),
    [
        ("stop", None),
        ("tool_calls", None),
        ("length", "cut off at its token limit"),
        ("stopped", "stopped"),
        ("content_filter", "content_filter"),
    ],
)
def test_footer_has_the_reason_of_an_early_end(finish, said):
    parts = replace(ANSWER, finish=finish).footer().split(" · ")
    assert parts[5:] == ([said] if said else [])


def test_footer_says_if_log_probabilities_were_asked_for_and_not_sent():
    asked = replace(ANSWER, request=replace(ANSWER.request, params={"logprobs": True}))
    said = " · no log-probabilities were sent"
    assert said in asked.footer()
    assert said not in replace(asked, logprobs=Logprobs([TokenLogprob("Hi", -0.5)])).footer()
    assert said not in replace(asked, notes=("one:acme without logprobs",)).footer()
    assert said not in replace(asked, finish="stopped").footer()
    assert said not in ANSWER.footer()


def test_footer_carries_notes_and_no_caveat():
    answer = on(replace(MODEL, caveat="small model"), notes=("not in the ledger",))
    assert answer.footer().startswith("acme:one · ")
    assert answer.footer().endswith(" · not in the ledger")


def test_speed_counts_the_tokens_after_the_first():
    assert ANSWER.tokens_per_second == 55 / 2.5
    assert replace(ANSWER, ttft=None).tokens_per_second is None
    assert replace(ANSWER, ttft=3.0).tokens_per_second is None
    whole = replace(ANSWER, request=replace(REQUEST, stream=False))
    assert whole.tokens_per_second is None


def test_footer_leaves_out_unknown_times():
    assert replace(ANSWER, ttft=None).footer() == "acme:one · 1,234 → 56 tokens · $0.00081"


def test_bundle_is_markdown_and_plain_text():
    bundle = ANSWER.bundle("$1")
    footer = ANSWER.footer("$1")
    body, _, quiet = bundle["text/markdown"].rpartition("\n\n")
    assert body == "Hi there."
    assert quiet.startswith("<div ")
    assert html.unescape(re.sub("<[^>]*>", "", quiet)) == footer
    assert bundle["text/plain"] == f"Hi there.\n\n{footer}"
    assert bundle.keys() == {"text/markdown", "text/plain"}
    assert ANSWER._repr_mimebundle_() == ANSWER.bundle()
    assert ANSWER._repr_markdown_() == ANSWER.bundle()["text/markdown"]


def test_footer_is_not_read_as_markup():
    """A model's name may hold what HTML would obey; two dollar signs would be mathematics."""
    answer = on(replace(MODEL, aliases=(), id="a<b>_c_"))
    assert "acme:a&lt;b>&#95;c&#95; · " in answer.bundle()["text/markdown"]
    assert "acme:a<b>_c_ · " in answer.bundle()["text/plain"]
    assert "$" not in answer.bundle("$1")["text/markdown"]


def test_bundle_of_an_empty_answer_is_the_footer():
    empty = replace(ANSWER, text=" \n")
    assert empty.bundle()["text/markdown"].startswith("<div")
    assert empty.bundle()["text/plain"].strip() == empty.footer()


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("Look:\n```python\nx = 1", "Look:\n\n```python\nx = 1\n```"),
        ("~~~~\nx\n~~~", "```\nx\n~~~\n```"),
        ("```\nx\n```", "```\nx\n```"),
    ],
)
def test_open_code_blocks_are_closed(text, body):
    """The footer stands below the code, not in it; the text itself stays as it came."""
    answer = replace(ANSWER, text=text, finish="length")
    assert answer.bundle()["text/markdown"].startswith(f"{body}\n\n<div ")
    assert answer.bundle()["text/plain"].startswith(f"{text}\n\nacme")
    assert str(answer) == text


def test_code_blocks_are_those_of_the_text():
    answer = replace(ANSWER, text="Look:\n\n```python\nx = 1\n```\n~~~\ny")
    assert [(b.language, b.code) for b in answer.code_blocks] == [("python", "x = 1"), ("", "y")]
    assert ANSWER.code_blocks == ()


def test_values_are_not_compared():
    """A DataFrame does not say whether it equals another, and has no hash."""
    assert ANSWER.value is None
    frames = [replace(ANSWER, value=pd.DataFrame({"a": [each]})) for each in (1, 2)]
    assert frames[0] == frames[1] == ANSWER
    assert "value" not in repr(frames[0])


def test_repr_is_short():
    shown = repr(replace(ANSWER, text="x" * 1000))
    assert f"'{'x' * 59}…'" in shown
    assert "x" * 60 not in shown
    assert repr(ANSWER) == f"<Completion 'Hi there.': {ANSWER.footer()}>"


def test_answers_can_be_hashed_and_equal_ones_count_once(session, together):
    together.plan = [whole("Tea."), whole("Tea."), whole("Milk.")]
    first, second, third = (
        session.ask("Hi", model="together:8x7b", stop=["END"], stream=False) for _ in range(3)
    )
    same = replace(first, value=pd.DataFrame())
    assert first == same
    assert hash(first) == hash(same)
    assert len({first, same, second, third}) == 3
    frame = pd.DataFrame({"answer": [first, same, third], "n": [1, 2, 3]})
    assert frame["answer"].value_counts().tolist() == [2, 1]
    assert frame.groupby("answer", sort=False)["n"].sum().tolist() == [3, 3]


def test_requests_and_models_can_be_hashed(session):
    request = session.request("Hi", model="local", temperature=0)
    assert len({request, replace(request, stream=False)}) == 1
    assert len({request, session.request("Hi", model="local", temperature=1)}) == 2
    assert len(set(session.catalog.models)) == len(session.catalog.models)
    assert len(set(session.catalog.providers.values())) == len(session.catalog.providers)


THOUGHT = replace(
    ANSWER,
    usage=Usage(10, 4020, reasoning_tokens=4000),
    reasoning="hm " * 4000,
    thinking=12.2,
    ttft=1.0,
    elapsed=2.0,
)


def test_thinking_tokens_are_shown_and_do_not_count_for_the_speed():
    footer = THOUGHT.footer()
    assert "10 → 4,020 tokens · 4,000 of them thinking · " in footer
    assert " · 19 tokens/s" in footer
    assert THOUGHT.thought == "Thought for 12 s, 4,000 tokens"
    assert "thinking" not in ANSWER.footer()


def test_uncounted_thinking_is_estimated_for_the_speed_only():
    """By their length, beside that of the text."""
    uncounted = replace(THOUGHT, usage=Usage(10, 4020), text="x" * 100, reasoning="x" * 3920)
    assert uncounted.tokens_per_second == pytest.approx(99)
    assert "of them" not in uncounted.footer()
    assert uncounted.thought == "Thought for 12 s"


def test_thinking_without_a_time_is_mentioned():
    assert replace(THOUGHT, thinking=None, usage=Usage(1, 2)).thought == "Thought"
    assert replace(THOUGHT, thinking=None, reasoning="").thought == ""


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_an_empty_answer_is_marked(finish):
    assert "the answer is empty" in replace(ANSWER, text=" \n", finish=finish).footer()
    assert "empty" not in replace(ANSWER, text="", others=("Hi",), finish=finish).footer()


@pytest.mark.parametrize("finish", ["stopped", "broken off", "tool_calls", "content_filter"])
def test_an_empty_answer_with_another_reason_is_not_marked(finish):
    assert "empty" not in replace(ANSWER, text="", finish=finish).footer()
