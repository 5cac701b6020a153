from __future__ import annotations

import html
import re
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from server import whole

from mixmagic.calls.collector import Collector, stopped_with
from mixmagic.calls.completion import Completion
from mixmagic.catalog import FREE
from mixmagic.core.money import Price, Usage, format_dollars
from mixmagic.core.values import Delta, Message, Model, Provider, Request

ACME = Provider("acme", "Acme")
MODEL = Model("org/Model-1", ACME, ("one",), price=Price(Decimal("0.60"), Decimal("1.20")))
REQUEST = Request(MODEL, (Message("user", "Hello"),))
ANSWER = Completion(
    text="Hi there.",
    usage=Usage(1234, 56),
    cost=Decimal("0.0008076"),
    finish="stop",
    request=REQUEST,
    elapsed=3.0,
    ttft=0.5,
)


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


def test_unknown_price_is_never_shown_as_nothing():
    answer = replace(ANSWER, cost=None)
    for shown in (answer.footer(), *answer.bundle().values(), repr(answer)):
        assert "price unknown" in shown
        assert "$" not in shown
        assert "free" not in shown


def test_free_is_said_of_free_providers_only():
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
def test_a_charge_that_is_told_is_no_estimate(counted, price):
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
def test_a_price_that_is_guessed_is_marked(price, shown):
    """Tokens that went into a cache, at a price for them that is not known."""
    model = replace(MODEL, price=replace(MODEL.price, cache_write=price and Decimal(price)))
    answer = on(model, usage=Usage(1234, 56, cache_write_tokens=1000))
    assert f" · 1,234 → 56 tokens · {shown} · " in answer.footer()


def test_what_was_never_sent_says_nothing_of_a_price_that_is_not_known():
    unsent = on(replace(MODEL, price=None), usage=Usage(0, 0, counted=None), cost=Decimal(0))
    unsent = replace(unsent, finish="stopped", ttft=None)
    assert unsent.footer() == "acme:one · 0 → 0 tokens · stopped"
    assert stopped_with(unsent).message == "Stopped: 0 tokens kept."
    known = on(MODEL, usage=Usage(0, 0, counted=None), cost=Decimal(0), ttft=None)
    assert known.footer() == "acme:one · 0 → 0 tokens · $0"


def test_the_most_that_it_can_cost_is_marked():
    assert "≈ 9 → 56 tokens · ≤ $0.00081" in UNSEEN.footer()
    assert "≤" not in replace(UNSEEN, finish="stop").footer()
    assert "≤" not in replace(UNSEEN, usage=ANSWER.usage).footer()


def test_a_price_of_the_users_outranks_a_providers_free():
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
def test_footer_says_why_an_answer_ended_early(finish, said):
    parts = replace(ANSWER, finish=finish).footer().split(" · ")
    assert parts[5:] == ([said] if said else [])


def test_footer_carries_caveat_and_notes():
    answer = on(replace(MODEL, caveat="small model"), notes=("not in the ledger",))
    assert answer.footer().startswith("acme:one (small model) · ")
    assert answer.footer().endswith(" · not in the ledger")


def test_speed_counts_the_tokens_after_the_first():
    assert ANSWER.tokens_per_second == 55 / 2.5
    assert replace(ANSWER, ttft=None).tokens_per_second is None
    assert replace(ANSWER, ttft=3.0).tokens_per_second is None
    whole = replace(ANSWER, request=replace(REQUEST, stream=False))
    assert whole.tokens_per_second is None


def test_footer_leaves_out_times_that_nobody_knows():
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


def test_footer_is_no_markup():
    """A model's name may hold what HTML would obey; two dollar signs would be mathematics."""
    answer = on(replace(MODEL, aliases=(), id="a<b>_c_"))
    assert "acme:a&lt;b>&#95;c&#95; · " in answer.bundle()["text/markdown"]
    assert "acme:a<b>_c_ · " in answer.bundle()["text/plain"]
    assert "$" not in answer.bundle("$1")["text/markdown"]


def test_bundle_of_nothing_is_the_footer():
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
def test_markdown_closes_what_the_answer_left_open(text, body):
    """The footer stands below the code, not in it; the text itself stays as it came."""
    answer = replace(ANSWER, text=text, finish="length")
    assert answer.bundle()["text/markdown"].startswith(f"{body}\n\n<div ")
    assert answer.bundle()["text/plain"].startswith(f"{text}\n\nacme")
    assert str(answer) == text


def test_code_blocks_are_those_of_the_text():
    answer = replace(ANSWER, text="Look:\n\n```python\nx = 1\n```\n~~~\ny")
    assert [(b.language, b.code) for b in answer.code_blocks] == [("python", "x = 1"), ("", "y")]
    assert ANSWER.code_blocks == ()


def test_a_value_takes_no_part_in_comparing():
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


def test_collector_joins_the_pieces():
    collector = Collector(REQUEST)
    assert not collector.begun
    collector.add(Delta(progress="loading"))
    assert not collector.begun
    collector.add(Delta(reasoning="Hm. "))
    assert collector.begun
    for delta in (Delta("Hi"), Delta(" there", note="slow"), Delta(".", finish="length")):
        collector.add(delta)
    collector.add(Delta(usage=Usage(9, 3)))
    done = collector.completion()
    assert (done.text, done.reasoning, done.finish) == ("Hi there.", "Hm. ", "length")
    assert (done.usage, done.notes, done.origin) == (Usage(9, 3), ("slow",), "live")
    assert done.cost == Decimal("0.000009")
    assert 0 < done.ttft <= done.elapsed


def test_last_usage_wins():
    """Some servers count along: each piece's count replaces the one before."""
    collector = Collector(REQUEST)
    for tokens in (1, 2, 3):
        collector.add(Delta("x", usage=Usage(9, tokens)))
    collector.add(Delta(finish="stop"))
    assert collector.completion().usage == Usage(9, 3)


EIGHT = [Delta(f"{number} ") for number in range(8)]
LAST = Delta(finish="stop")


@pytest.mark.parametrize(
    ("deltas", "usage"),
    [
        ([*EIGHT, LAST, Delta(usage=Usage(9, 8, 5))], Usage(9, 8, 5)),
        ([*EIGHT, Delta(finish="stop", usage=Usage(9, 8))], Usage(9, 8)),
        ([*EIGHT, Delta("!", finish="stop", usage=Usage(9, 2))], Usage(9, 2)),
        ([*EIGHT, LAST._replace(usage=Usage(9, 2)), Delta("held back")], Usage(9, 2)),
        ([each._replace(usage=Usage(9, 2)) for each in EIGHT] + [LAST], Usage(9, 2)),
        ([Delta(usage=Usage(9, 0)), LAST], Usage(9, 0)),
        # Counts that are none, or of something else.
        ([*EIGHT, LAST, Delta(usage=Usage(9, 0))], Usage(9, 8, 0, "estimate")),
        ([*EIGHT, LAST, Delta(usage=Usage(0, 2))], Usage(6, 2, 0, "estimate")),
        ([*EIGHT, LAST, Delta(usage=Usage(0, 0))], Usage(6, 8, 0, "estimate")),
        ([Delta("x", usage=Usage(9, 1)), *EIGHT, LAST], Usage(9, 9, 0, "estimate")),
        ([Delta(usage=Usage(9, 50)), *EIGHT, LAST], Usage(9, 50)),
        (
            [Delta("x", usage=Usage(9, 5)), *EIGHT, LAST, Delta(usage=Usage(9, 2))],
            Usage(9, 9, 0, "estimate"),
        ),
    ],
)
def test_the_providers_count_is_taken_where_it_is_one_of_all_that_came(deltas, usage):
    collector = Collector(REQUEST)
    for delta in deltas:
        collector.add(delta)
    assert collector.completion().usage == usage


CHARGE = Decimal("0.0042")
TOLD = Usage(9, 8, charge=CHARGE)


@pytest.mark.parametrize(
    ("deltas", "usage"),
    [
        ([*EIGHT, LAST, Delta(usage=TOLD)], TOLD),
        ([*EIGHT, Delta(usage=TOLD)], TOLD),  # broken off later
        ([*EIGHT, Delta(usage=TOLD), *EIGHT], Usage(9, 16, 0, "estimate", charge=CHARGE)),
        ([*EIGHT, Delta(usage=Usage(0, 0, charge=CHARGE))],
         Usage(6, 8, 0, "estimate", charge=CHARGE)),
        ([Delta(usage=Usage(9, 0, charge=CHARGE)), *EIGHT, LAST, Delta(usage=Usage(9, 8))], TOLD),
        # What has come since costs more than was charged until then.
        ([Delta("x", usage=Usage(9, 1, charge=Decimal("1e-8"))), *EIGHT],
         Usage(9, 9, 0, "estimate")),
    ],
)  # fmt: skip
def test_a_charge_that_is_told_is_kept(deltas, usage):
    collector = Collector(REQUEST)
    for delta in deltas:
        collector.add(delta)
    finish = "" if collector.finish else "broken off"
    assert collector.completion(finish).usage == usage
    assert collector.completion(finish).cost == (usage.charge or MODEL.price.cost(usage))


def test_a_charge_is_a_cost_where_no_price_is_known():
    collector = Collector(replace(REQUEST, model=replace(MODEL, price=None)))
    for delta in (Delta("Hi"), Delta(usage=TOLD), Delta("more")):
        collector.add(delta)
    assert collector.completion("broken off").cost == CHARGE


def test_an_answer_that_has_no_count_is_added_to_those_that_have():
    """A count of the first alone, with thoughts that nobody has seen; ours of the second."""
    collector = Collector(replace(REQUEST, params={"n": 2}))
    collector.add(Delta("word " * 72, choice=1))
    collector.add(Delta("Hi", choice=0))
    collector.add(Delta(finish="stop", choice=0, usage=Usage(9, 5000)))
    collector.add(Delta(finish="stop", choice=1))
    usage = collector.completion().usage
    assert usage == Usage(9, 5100, counted="estimate")


def test_answers_that_extra_body_asks_for_are_several():
    for params in ({"n": 2}, {"extra_body": {"n": 2}}, {"extra_body": {"best_of": 2}}):
        collector = Collector(replace(REQUEST, params=params))
        for choice, finish in enumerate(("stop", "length")):
            told = Usage(9, 5 + choice)
            collector.add(Delta("Hi", choice=choice))
            collector.add(Delta(finish=finish, choice=choice, usage=told))
        done = collector.completion()
        assert (done.usage, done.finish, done.others) == (Usage(9, 11), "length", ("Hi",))


def test_calls_to_tools_are_counted():
    collector = Collector(REQUEST)
    for _ in range(3):
        collector.add(Delta(usage=Usage(0, 4, counted="estimate")))
    assert collector.completion("stopped").usage == Usage(6, 12, counted="estimate")
    collector.add(Delta(finish="tool_calls", usage=Usage(9, 10)))
    assert collector.completion().usage == Usage(9, 10)


def test_tokens_are_estimated_where_the_provider_counts_none():
    """At least one token for each piece, at least what the length suggests."""
    pieces = Collector(REQUEST)
    for _ in range(10):
        pieces.add(Delta("x"))
    assert pieces.completion().usage.completion_tokens == 10
    lump = Collector(REQUEST)
    lump.add(Delta("word " * 72))
    usage = lump.completion().usage
    assert usage == Usage(usage.prompt_tokens, 100, counted="estimate")
    assert 2 <= usage.prompt_tokens <= 12


def test_price_decides_cost():
    """No price, no cost: not even of an answer without tokens."""
    unpriced = Collector(replace(REQUEST, model=replace(MODEL, price=None)))
    unpriced.add(Delta("Hi", usage=Usage(1, 1)))
    assert unpriced.completion().cost is None
    free = Collector(replace(REQUEST, model=replace(MODEL, price=FREE)))
    free.add(Delta("Hi", usage=Usage(1, 1)))
    assert free.completion().cost == 0


def test_finish_may_be_told():
    collector = Collector(REQUEST)
    assert collector.completion().finish == "stop"
    assert collector.completion("stopped").finish == "stopped"
    assert collector.completion("stopped").ttft is None


@pytest.mark.parametrize(
    ("answer", "price"),
    [
        (ANSWER, "priced as $0.00081"),
        (replace(ANSWER, usage=Usage(9, 56, counted="exact")), "priced as ≈ $0.00081"),
        (replace(ANSWER, cost=Decimal(0)), "priced as $0"),
        (UNSEEN, "priced as ≤ $0.00081: it may be billed in full"),
        (replace(UNSEEN, cost=None), "price unknown"),
        (replace(ANSWER, cost=None), "price unknown"),
        (on(replace(MODEL, provider=replace(ACME, free=True)), cost=Decimal(0)), "free"),
    ],
)
def test_stopped_with_says_what_is_kept_and_what_it_costs(answer, price):
    stopped = stopped_with(answer)
    assert stopped.message == f"Stopped: 56 tokens kept, {price}."
    assert stopped.completion is answer


def test_what_each_try_says_again_is_noted_once():
    collector = Collector(REQUEST)
    for _ in range(3):
        collector.add(Delta(note="the key travels unencrypted"))
    assert collector.completion().notes == ("the key travels unencrypted",)


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


def test_what_an_answer_is_made_of_can_be_hashed(session):
    request = session.request("Hi", model="local", temperature=0)
    assert len({request, replace(request, stream=False)}) == 1
    assert len({request, session.request("Hi", model="local", temperature=1)}) == 2
    assert len(set(session.models())) == len(session.models())
    assert len(set(session.catalog.providers.values())) == len(session.catalog.providers)


THOUGHT = replace(
    ANSWER,
    usage=Usage(10, 4020, reasoning_tokens=4000),
    reasoning="hm " * 4000,
    thinking=12.2,
    ttft=1.0,
    elapsed=2.0,
)


def test_tokens_of_thoughts_are_told_and_are_not_the_text_s_speed():
    footer = THOUGHT.footer()
    assert "10 → 4,020 tokens · 4,000 of them thinking · " in footer
    assert " · 19 tokens/s" in footer
    assert THOUGHT.thought == "Thought for 12 s, 4,000 tokens"
    assert "thinking" not in ANSWER.footer()


def test_thoughts_that_nobody_has_counted_are_estimated_for_the_speed_alone():
    """By their length, beside that of the text."""
    uncounted = replace(THOUGHT, usage=Usage(10, 4020), text="x" * 100, reasoning="x" * 3920)
    assert uncounted.tokens_per_second == pytest.approx(99)
    assert "of them" not in uncounted.footer()
    assert uncounted.thought == "Thought for 12 s"


def test_thoughts_of_which_nobody_knows_the_time_are_named():
    assert replace(THOUGHT, thinking=None, usage=Usage(1, 2)).thought == "Thought"
    assert replace(THOUGHT, thinking=None, reasoning="").thought == ""


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_an_empty_answer_says_so(finish):
    assert "the answer is empty" in replace(ANSWER, text=" \n", finish=finish).footer()
    assert "empty" not in replace(ANSWER, text="", others=("Hi",), finish=finish).footer()


@pytest.mark.parametrize("finish", ["stopped", "broken off", "tool_calls", "content_filter"])
def test_an_empty_answer_that_says_why_does_not(finish):
    assert "empty" not in replace(ANSWER, text="", finish=finish).footer()


def test_a_piece_behind_an_end_takes_the_end_and_the_count_back():
    collector = Collector(REQUEST)
    collector.add(Delta("x", finish="length", usage=Usage(9, 1)))
    for _ in range(20):
        collector.add(Delta("more ", resumed=True))
    assert collector.finish is None
    assert collector.completion().usage.completion_tokens >= 20
    collector.add(Delta(finish="stop", usage=Usage(9, 30)))
    assert collector.finish == "stop"
    assert collector.completion().usage == Usage(9, 30)


def test_what_has_turned_out_to_be_thoughts_is_told_anew():
    collector = Collector(REQUEST)
    for delta in (Delta("a draft</think>"), Delta("Hi"), Delta(instead=("Hi", "a draft"))):
        collector.add(delta)
    answer = collector.completion()
    assert (answer.text, answer.reasoning, answer.thought) == ("Hi", "a draft", "Thought")
