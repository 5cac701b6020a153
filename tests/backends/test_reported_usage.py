"""Token counts and charges are read from any field, and counted once."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal, Inexact, localcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from server import chunk

from mixmagic.backends import reported_usage, wire
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Delta, Model, Provider

MODEL = Model("org/Model-1", Provider("acme", "Acme"))


def halves(prompt=10, completion=20, total=None, **more):
    """A usage object in OpenAI's form."""
    said = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    return {name: value for name, value in said.items() if value is not None} | more


def thoughts(number, where="completion_tokens_details"):
    return {where: {"reasoning_tokens": number}}


@pytest.mark.parametrize(
    ("said", "out"),
    [
        # xAI's and Gemini's totals.
        (halves(10, 20, 4030, **thoughts(4000)), 4020),
        (halves(20, 198, 623), 603),
        (halves(32, 9, 135, **thoughts(94)), 103),
        (halves(32, 100, 226, **thoughts(94)), 194),
        # OpenAI's: they are within.
        (halves(10, 4020, 4030, **thoughts(4000)), 4020),
        (halves(10, 20, 30, **thoughts(20)), 20),
        (halves(10, 20, **thoughts(20)), 20),
        (halves(10, 20, **thoughts(0)), 20),
        # No total, or none that says more: more thoughts than answer are not a part of it.
        (halves(10, 20, **thoughts(4000)), 4020),
        (halves(10, 20, **thoughts(21, "output_tokens_details")), 41),
        (halves(10, 20, reasoning_tokens=73658), 73678),
        (halves(10, 20, 30, reasoning_tokens=73658), 73678),
        (halves(10, 0, **thoughts(50)), 50),
        (halves(10, None, **thoughts(50)), 50),
        (halves(10, None, 60, **thoughts(50)), 50),
        # Each is reported twice, and counted once.
        (halves(10, 20, reasoning_tokens=30, **thoughts(30)), 50),
        (halves(10, 20, 60, reasoning_tokens=30, **thoughts(30)), 50),
    ],
)
def test_tokens_of_thoughts_are_counted_once(said, out):
    assert reported_usage.usage(said) == Usage(said["prompt_tokens"], out)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ((11, 5, 7, 23), (11, 12)),
        ((11, 5, 7, None), (11, 12)),
        ((11, 20, 5, None), (11, 25)),
        ((11, 20, 5, 31), (11, 20)),  # Vertex: within
        ((11, 20, None, 40), (11, 29)),
        ((11, None, 7, 18), (11, 7)),
        ((11, None, None, 11), (11, 0)),
        ((11, 5, 7, 3), (11, 12)),
    ],
)
def test_gemini_s_thoughts_are_counted_separately(said, known):
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")
    told = dict(zip(names, said, strict=True))
    assert reported_usage.usage_in({"usageMetadata": told}) == Usage(*known)
    assert reported_usage.usage_in({"usage": told}) == Usage(*known)


@pytest.mark.parametrize(
    "total", [0, 5, 30, 9.0, True, -1, "4,030", 10**10, None, [], float("nan")]
)
def test_a_lower_or_missing_total_lowers_no_count(total):
    assert reported_usage.usage(halves() | {"total_tokens": total}) == Usage(10, 20)
    assert reported_usage.usage(halves(**thoughts(40)) | {"total_tokens": total}) == Usage(10, 60)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (halves(10, None, 400), Usage(10, 390)),
        (halves(None, 390, 400), Usage(10, 390)),
        (halves(None, 390, 40), Usage(0, 390)),
        (halves(10, None, 4), Usage(10, 0)),
        (halves(10, "390", 400), Usage(10, 390)),
        (halves(10, None, 400.0), Usage(10, 390)),
        (halves(None, None, 400), None),
        ({"input_tokens": 10, "output_tokens": 390}, Usage(10, 390)),
        ({"input_tokens": 10, "output_tokens": 390, "total_tokens": 500}, Usage(10, 490)),
        (halves(10, 390, input_tokens=0, output_tokens=0), Usage(10, 390)),
        (halves(0, 0, input_tokens=10, output_tokens=390), Usage(10, 390)),
    ],
)
def test_a_missing_half_is_the_total_minus_the_other(said, known):
    assert reported_usage.usage(said) == known


def anthropic(given, read, written, out=50, **more):
    return {
        "input_tokens": given,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "output_tokens": out,
    } | more


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (anthropic(100, 900, 0), (1000, 50, 900, 0)),
        (anthropic(100, 0, 900), (1000, 50, 0, 900)),
        (anthropic(3, 800, 200), (1003, 50, 800, 200)),
        (anthropic(0, 900, None), (900, 50, 900, 0)),
        (anthropic(None, 900, 0), (900, 50, 900, 0)),
        (anthropic(100, None, None), (100, 50, 0, 0)),
        (anthropic(100, 900, 0, total_tokens=150), (1000, 50, 900, 0)),
        (anthropic(100, 900, 0, total_tokens=1050), (1000, 50, 900, 0)),
        (anthropic(100, 900, 0, total_tokens=1250), (1000, 250, 900, 0)),
        (
            anthropic(100, 0, None, cache_creation={"ephemeral_5m_input_tokens": 700, "x": 200}),
            (1000, 50, 0, 900),
        ),
        (
            anthropic(100, 0, 900, cache_creation={"ephemeral_1h_input_tokens": 900}),
            (1000, 50, 0, 900),
        ),
        # The same tokens, also reported as a part of the input.
        (anthropic(1000, 900, 0, input_tokens_details={"cached_tokens": 900}), (1000, 50, 900, 0)),
        # A proxy's own words: they are within its prompt, unless that cannot be.
        (halves(1000, 50, 1050, cache_read_input_tokens=900), (1000, 50, 900, 0)),
        (halves(1000, 50, cache_read_input_tokens=900), (1000, 50, 900, 0)),
        (halves(1000, 50, cache_creation_input_tokens=900), (1000, 50, 0, 900)),
        (halves(100, 50, cache_read_input_tokens=900), (1000, 50, 900, 0)),
        (halves(1000, 50, 1950, cache_read_input_tokens=900), (1900, 50, 900, 0)),
        (halves(0, 50, input_tokens=100, cache_read_input_tokens=90), (190, 50, 90, 0)),
    ],
)
def test_tokens_that_anthropic_s_input_does_not_include_are_added(said, known):
    prompt, out, cached, written = known
    assert reported_usage.usage(said) == Usage(prompt, out, cached, cache_write_tokens=written)


@pytest.mark.parametrize(
    ("details", "cached", "written"),
    [
        ({"cached_tokens": 0, "cache_write_tokens": 1000}, 0, 1000),
        ({"cached_tokens": 600, "cache_write_tokens": 400}, 600, 400),
        ({"cached_tokens": 600, "cache_creation_tokens": 100}, 600, 100),
        ({"cached_tokens": 600, "cache_write_tokens": 900}, 600, 400),
        ({"cached_tokens": 5000, "cache_write_tokens": 900}, 1000, 0),
        ({"cache_write_tokens": "900"}, 0, 900),
        ({"cache_write_tokens": -1}, 0, 0),
        ({"cache_write_tokens": True}, 0, 0),
    ],
)
def test_tokens_written_to_the_cache_are_a_part_of_the_prompt(details, cached, written):
    known = Usage(1000, 500, cached, cache_write_tokens=written)
    assert reported_usage.usage(halves(1000, 500, prompt_tokens_details=details)) == known
    words = {"input_tokens": 1000, "output_tokens": 500, "input_tokens_details": details}
    assert reported_usage.usage(words) == known


SAID = halves(10, 390)
TOLD = Usage(10, 390)
ELSEWHERE = {
    "Kimi": {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": SAID}]},
    "a message": {"choices": [{"message": {"usage": SAID}, "finish_reason": "stop"}]},
    "a delta": {"choices": [{"delta": {"usage": SAID}, "finish_reason": "stop"}]},
    "Groq": {**chunk("", "stop"), "x_groq": {"id": "1", "usage": SAID}},
    "a response": {"type": "response.completed", "response": {"usage": SAID}},
    "message_start": {"type": "message_start", "message": {"role": "assistant", "usage": SAID}},
    "snake": {**chunk("", "stop"), "usage_metadata": SAID},
    "llama.cpp": {**chunk("", "stop"), "timings": {"prompt_n": 10, "predicted_n": 390}},
    "behind an empty one": {**chunk("", "stop"), "usage": {}, "x_groq": {"usage": SAID}},
    "behind zeros": {**chunk("", "stop"), "usage": halves(0, 0), "x_groq": {"usage": SAID}},
    "zeros and timings": {
        **chunk("", "stop"), "usage": halves(0, 0), "timings": {"prompt_n": 10, "predicted_n": 390}
    },
    "zeros beside a choice's": {
        "choices": [{"delta": {}, "finish_reason": "stop", "usage": SAID}], "usage": halves(0, 0, 0)
    },
}  # fmt: skip


@pytest.mark.parametrize("place", ELSEWHERE)
def test_counts_are_found_in_other_places(place):
    assert wire.decode(MODEL, ELSEWHERE[place]).usage == TOLD


def test_counts_in_any_place_are_read_with_the_text():
    for place in ("usageMetadata", "x_groq", "timings"):
        said = {"usage": SAID} if place == "x_groq" else SAID
        assert wire.decode(MODEL, {**chunk("Hi"), place: said}) == Delta("Hi", usage=TOLD)
    frame = {"choices": [{"delta": {"content": "Hi"}, "usage": SAID}]}
    assert wire.decode(MODEL, frame) == Delta("Hi", usage=TOLD, alone=True)


@pytest.mark.parametrize("write", [str, "{}.0".format, float])
def test_counts_may_be_strings(write):
    said = {name: write(number) for name, number in halves(10, 390, 4400).items()}
    assert reported_usage.usage(said | thoughts(write(4000))) == Usage(10, 4390)
    assert reported_usage.usage({"input_tokens": write(7), "output_tokens": write(0)}) == Usage(
        7, 0
    )


@pytest.mark.parametrize(
    "others",
    [
        {"x_groq": {"usage": SAID}},
        {"usage_metadata": {"promptTokenCount": 10, "candidatesTokenCount": 390}},
        {"message": {"usage": {"input_tokens": 10, "output_tokens": 390}}},
        {"response": {"usage": SAID}, "delta": {"usage": halves(10, 2)}},
    ],
)
def test_the_largest_of_several_counts_is_used(others):
    assert reported_usage.usage_in({**others, "usage": halves(10, 5)}) == TOLD
    charged = {**others, "usage": halves(10, 5, cost=0.25)}
    assert reported_usage.usage_in(charged) == Usage(10, 390, charge=Decimal("0.250000000"))


def test_timings_are_read_only_if_there_are_no_other_counts():
    timings = {"cache_n": 30, "prompt_n": 4, "predicted_n": 3}
    assert reported_usage.usage_in({"timings": timings}) == Usage(34, 3, 30)
    assert reported_usage.usage_in({"timings": timings, "usage": SAID}) == TOLD
    assert reported_usage.usage_in({"timings": {"n": 1.5}}) is None


@pytest.mark.parametrize(
    ("said", "dollars"),
    [
        ({"cost": 0.0042}, "0.0042"),
        ({"cost": "0.0042"}, "0.0042"),
        ({"cost": 1e-05}, "0.00001"),
        ({"cost": 3}, "3"),
        ({"cost": 0.1 + 0.2}, "0.300000001"),  # as it is written, rounded up
        ({"cost": "1e-12"}, "0.000000001"),
        ({"cost": 1_000_000}, "1000000"),
        ({"cost": ".5"}, "0.5"),
        # OpenRouter, with the user's own key: its fee, and the upstream charge.
        (
            {"cost": 0.0002, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.004}},
            "0.0042",
        ),
        (
            {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0360795}},
            "0.0360795",
        ),
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, "19.95"),
        ({"cost": None, "cost_details": {"upstream_inference_cost": "0.004"}}, "0.004"),
        # Without: it is in the cost.
        (
            {"cost": 0.0034, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.0034}},
            "0.0034",
        ),
        ({"cost": 0.0034, "cost_details": {"upstream_inference_cost": 0.0034}}, "0.0034"),
        ({"cost": 0.0034, "cost_details": {"upstream_inference_cost": 0.002}}, "0.0034"),
        ({"cost": 0.0034, "cost_details": {"upstream_inference_cost": None}}, "0.0034"),
        ({"cost": 0.0034, "is_byok": False, "cost_details": None}, "0.0034"),
        # xAI: 10,000,000,000 ticks are a dollar.
        ({"cost_in_usd_ticks": 37756000}, "0.0037756"),
        ({"cost_in_usd_ticks": "318319000"}, "0.0318319"),
        ({"cost_in_usd_ticks": 1}, "0.000000001"),
        ({"cost": 0, "cost_in_usd_ticks": 42}, "0.000000005"),
        # Perplexity.
        (
            {"cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}},
            "0.006",
        ),
        ({"cost": {"total_cost": "0.006"}}, "0.006"),
    ],
)
def test_a_charge_is_read_in_every_form(said, dollars):
    assert reported_usage.usage(halves(**said)).charge == Decimal(dollars)
    assert reported_usage.usage(said) == Usage(0, 0, charge=Decimal(dollars))
    with localcontext(prec=2, rounding=ROUND_UP) as context:
        context.traps[Inexact] = True
        assert reported_usage.usage(said) == Usage(0, 0, charge=Decimal(dollars))


NO_NUMBERS = [
    0, -1, 0.0, -0.5, True, False, None, "", "free", "-1", "0", "nan", "inf", "1_0", "\u0661",
    "$1", "0x1", "1e400", float("nan"), float("inf"), 10**400, 1_000_000.01, [], [1], {},
    {"total_cost": 0}, {"total_cost": True}, {"total_cost": {"total_cost": 1}}, "9" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
def test_an_invalid_charge_is_ignored(value):
    assert reported_usage.usage(halves(cost=value)) == Usage(10, 20)
    if not isinstance(value, dict):
        assert reported_usage.usage(halves(cost={"total_cost": value})) == Usage(10, 20)
        behind = {"cost_details": {"upstream_inference_cost": value}}
        assert reported_usage.usage(halves(cost="0.5", **behind)).charge == Decimal("0.5")
        assert reported_usage.usage(halves(cost="0.5", is_byok=True, **behind)).charge is None
    if type(value) not in (int, float) or value != 1_000_000.01:
        assert reported_usage.usage(halves(cost_in_usd_ticks=value)) == Usage(10, 20)


ERRORS = {
    "beside it": {"error": {"message": "why"}, "usage": SAID},
    "in it": {"error": {"message": "why", "usage": SAID}},
    "in its metadata": {"error": {"message": "why", "metadata": {"usage": SAID}}},
    "in another's": {"error": {"error": {"message": "why"}, "usage": SAID}},
    "Groq's": {"error": "why", "x_groq": {"usage": SAID}},
    "of a choice": {"error": {"message": "why"}, "choices": [{"usage": SAID}]},
    "a list": [{"error": {"message": "why", "details": [{"usage": SAID}]}}],
    "Gemini's": {"error": {"message": "why"}, "usageMetadata": {"promptTokenCount": 10,
                                                                "totalTokenCount": 400}},
    "of a response": {"error": {"message": "why"}, "response": {"usage": SAID}},
    "behind zeros": {"error": {"usage": SAID}, "usage": halves(0, 0, 0)},
}  # fmt: skip


@pytest.mark.parametrize("place", ERRORS)
def test_counts_of_an_error_are_found(place):
    assert reported_usage.in_error(ERRORS[place]) == TOLD


@pytest.mark.parametrize(
    "body",
    [None, "", "why", 5, [], {}, {"error": "why"}, {"usage": 5}, {"usage": {"total_tokens": 9}},
     {"usage": halves(0, 0)}, {"error": {"usage": []}}, [[[[[[{"usage": SAID}]]]]]]],
)  # fmt: skip
def test_an_error_without_counts_has_none(body):
    assert reported_usage.in_error(body) is None


def test_the_search_for_counts_is_bounded():
    deep = wide = SAID
    for _ in range(5000):
        deep = {"error": {"completion_tokens_details": deep, "error": deep}}
    assert reported_usage.in_error(deep) is None
    assert reported_usage.usage({"completion_tokens_details": deep, **SAID}) == TOLD
    for _ in range(5000):
        wide = {"completion_tokens_details": wide, **SAID}
    assert reported_usage.usage(wide) == TOLD
    assert reported_usage.in_error([{}] * 10**6 + [{"usage": SAID}]) is None
    lives = {str(each): 10**9 for each in range(100)}
    assert reported_usage.usage(anthropic(1, 0, 0, cache_creation=lives)).prompt_tokens <= 2 * 10**9


COUNT = st.integers(0, 10**6)
NONSENSE = st.sampled_from([None, True, -1, "seven", 10**12, 2.5, float("nan"), [], {}])
HALF = COUNT | COUNT.map(float) | NONSENSE


def valid(value) -> int:
    """A count, or 0 for any other value."""
    fits = type(value) in (int, float) and 0 <= value <= 10**9
    return int(value) if fits and value == int(value) else 0


@given(HALF, HALF, HALF, HALF, st.sampled_from(["completion_tokens_details", "x", None]))
@example(0, 0, 2, 1, None)
def test_no_count_is_less_than_reported_or_more_than_the_sum_of_all(
    prompt, answer, total, thought, where
):
    said = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": total}
    said |= {"reasoning_tokens": thought} if where is None else thoughts(thought, where)
    known = reported_usage.usage(said)
    thought = 0 if where == "x" else valid(thought)
    if known is None:
        assert valid(prompt) == valid(answer) == thought == 0
        return
    assert known.prompt_tokens >= valid(prompt)
    assert known.completion_tokens >= max(valid(answer), thought)
    together = valid(prompt) + valid(answer)
    assert known.total_tokens <= max(valid(total), together + thought)
    if thought <= valid(answer) and (valid(prompt) or valid(total) <= together):
        assert known.total_tokens == max(valid(total), together), "nothing is counted twice"


NAMES = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens",
     "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount",
     "reasoning_tokens", "cached_tokens", "cache_write_tokens", "prompt_cache_hit_tokens",
     "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "cost",
     "cost_details", "upstream_inference_cost", "is_byok", "cost_in_usd_ticks", "total_cost",
     "prompt_tokens_details", "completion_tokens_details", "usage", "error", "timings"]
)  # fmt: skip
SAYING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**10) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
DOLLARS = st.decimals(0, 100, places=4)


@given(st.dictionaries(NAMES, SAYING, max_size=8), DOLLARS, DOLLARS, st.none() | DOLLARS, DOLLARS)
def test_any_reported_usage_is_consistent_and_costs_no_more_than_the_worst_case(
    said, price_in, price_out, cached, written
):
    known = reported_usage.usage(said)
    reported_usage.in_error(said)
    if known is None:
        return
    assert min(known.prompt_tokens, known.completion_tokens, known.cached_tokens) >= 0
    assert 0 <= known.cache_write_tokens <= known.prompt_tokens - known.cached_tokens
    assert known.charge is None or 0 < known.charge <= 2_000_000
    assert known.charge is None or known.charge * 10**9 == int(known.charge * 10**9)
    price = Price(price_in, price_out, cached=cached, cache_write=written)
    assert price.cost(known) <= price.most(known.prompt_tokens, known.completion_tokens)


@pytest.mark.parametrize(
    "said",
    [
        {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 4030,
         "completion_tokens_details": {"reasoning_tokens": 4000}},
        {"prompt_tokens": 10, "completion_tokens": 4020, "total_tokens": 4030,
         "completion_tokens_details": {"reasoning_tokens": 4000}},
        {"input_tokens": 10, "output_tokens": 4020, "output_tokens_details":
         {"reasoning_tokens": 4000}},
        {"prompt_tokens": 10, "completion_tokens": 4020, "reasoning_tokens": 4000},
        {"promptTokenCount": 10, "candidatesTokenCount": 20, "thoughtsTokenCount": 4000},
        {"prompt_token_count": 10, "candidates_token_count": 20, "thoughts_token_count": 4000},
    ],
)  # fmt: skip
def test_tokens_of_thoughts_are_read_from_any_field(said):
    known = reported_usage.usage(said)
    assert (known.completion_tokens, known.reasoning_tokens) == (4020, 4000)


@pytest.mark.parametrize("count", [10**9 + 1, 10**12, "1000000001"])
def test_an_impossible_count_is_ignored(count):
    """It would lead to a wrong price."""
    assert reported_usage.usage_in({"usage": halves(9, count)}).completion_tokens == 0
    assert reported_usage.usage_in({"usage": halves(9, 10**9)}).completion_tokens == 10**9
