"""A prompt over many rows: same order, each question once, nothing paid for twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from decimal import Decimal

import pandas as pd
import pytest
from server import Answer, refusal, whole

from mixmagic.errors import BadArguments, MissingKey, ProviderError


def asked(server) -> Counter:
    """How often the server was asked each prompt."""
    return Counter(request.body["messages"][-1]["content"] for request in server.received)


def echo(request) -> Answer:
    """Answer with the prompt in capitals."""
    return whole(request.body["messages"][-1]["content"].upper(), completion=3)


@pytest.fixture
def echoing(together):
    together.plan = [echo]
    return together


def run(session, rows, prompt="Say {{ text }}", **options):
    options.setdefault("model", "8x7b")
    return session.map(rows, prompt, **options)


def test_a_series_keeps_its_order_its_index_and_its_missing_values(session, echoing):
    texts = pd.Series(["b", None, "a", "b"], index=[7, 3, 9, 1], name="review")
    job = run(session, texts)
    found = job.result(timeout=100)
    assert list(found.index) == [7, 3, 9, 1]
    assert found.isna().tolist() == [False, True, False, False]
    assert found.dropna().tolist() == ["SAY B", "SAY A", "SAY B"]
    assert asked(echoing) == {"Say b": 1, "Say a": 1}, "equals are asked once"
    progress = job.progress
    assert (progress.done, progress.missing, progress.failed, progress.asked) == (4, 1, 0, 2)
    assert job.state == "done"


def test_columns_are_names_in_the_prompt_and_a_list_gives_a_list(session, echoing):
    frame = pd.DataFrame({"title": ["x", "y"], "full name": ["Bo", "Al"], "n": [1, 2]})
    job = run(session, frame, "{{ title }} {{ row['full name'] }} {{ n + 1 }}")
    assert job.result(timeout=100).tolist() == ["X BO 2", "Y AL 3"]
    assert run(session, [{"a": "x"}, {"a": None}], "{{ a }}!").result(timeout=100) == ["X!", None]


def test_equal_rows_are_asked_again_if_they_are_samples(session, echoing):
    assert run(session, ["a", "a", "a"], repeats="ask").result(timeout=100) == ["SAY A"] * 3
    assert asked(echoing) == {"Say a": 3}
    assert run(session, ["a"] * 4, repeats="ask").result(timeout=100) == ["SAY A"] * 4
    assert asked(echoing) == {"Say a": 4}, "three of them are in the journal"


def test_the_same_call_asks_nothing_twice_and_a_new_row_only_itself(session, echoing):
    run(session, ["a", "b"]).result(timeout=100)
    assert run(session, ["c", "b", "a"]).result(timeout=100) == ["SAY C", "SAY B", "SAY A"]
    assert asked(echoing) == {"Say a": 1, "Say b": 1, "Say c": 1}
    assert run(session, ["a"], "Shout {{ text }}").result(timeout=100) == ["SHOUT A"]
    assert sum(each.calls for each in session.ledger.spent()) == 4


def test_a_schema_makes_typed_columns_and_a_repair_is_journaled_too(session, together):
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string"}, "stars": {"type": "integer"}},
        "required": ["label", "stars"],
    }
    good = whole('{"label": "good", "stars": 5}')
    together.plan = [good, whole('{"label": 3}'), good]
    job = run(session, ["x", "y"], schema=schema, in_flight=1)
    found = job.result(timeout=100)
    assert found == [{"label": "good", "stars": 5}] * 2
    before = len(together.received)
    frame = run(session, pd.Series(["x", "y", None]), schema=schema, in_flight=1).result(
        timeout=100
    )
    assert (before, len(together.received)) == (3, 3)
    assert frame.dtypes.astype(str).to_dict() == {"label": "string", "stars": "Int64"}
    assert frame["stars"].tolist() == [5, 5, pd.NA]


SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
}


def test_a_row_whose_answer_did_not_fit_is_asked_again_in_the_next_run_and_only_then(
    session, together
):
    bad = whole('{"label": 3}')
    together.plan = [bad]
    job = run(session, ["x", "x"], schema=SCHEMA)
    assert job.result(timeout=100) == [None, None]
    assert [error.kind for error in job.errors] == ["AnswerUnusable"] * 2
    assert len(together.received) == 2, "the answer, and its repair"
    paid = session.journal.jobs()[0].cost
    again = run(session, ["x", "x"], schema=SCHEMA)
    assert again.result(timeout=100) == [None, None]
    assert len(together.received) == 4
    assert (again.progress.asked, again.progress.reused) == (2, 0)
    assert session.journal.jobs()[0].cost == 2 * paid == sum(e.cost for e in session.ledger.spent())
    together.plan = [whole('{"label": "good"}')]
    third = run(session, ["x", "x"], schema=SCHEMA)
    assert third.result(timeout=100) == [{"label": "good"}] * 2
    assert run(session, ["x"], schema=SCHEMA).result(timeout=100) == [{"label": "good"}]
    assert len(together.received) == 5


def test_a_refused_and_a_cut_answer_to_a_schema_are_asked_for_again(session, together):
    for finish in (b"length", b"content_filter"):
        body = whole('{"label": "go').steps[0].replace(b'"stop"', b'"%s"' % finish)
        together.plan = [Answer([body], type="application/json")]
        options = {"schema": SCHEMA, "temperature": 0, "system": finish.decode()}
        assert run(session, ["x"], **options).result(timeout=100) == [None]
        together.plan, before = [whole('{"label": "good"}')], len(together.received)
        assert run(session, ["x"], **options).result(timeout=100) == [{"label": "good"}]
        assert len(together.received) == before + 1, "also where the answer cache is in use"


def test_a_job_that_ended_before_a_repair_asks_for_the_repair_alone(session, together):
    together.plan = [whole('{"label": 3}'), refusal(400, {"error": {"message": "no"}})]
    assert run(session, ["x"], schema=SCHEMA).result(timeout=100) == [None]
    together.plan = [whole('{"label": "good"}')]
    assert run(session, ["x"], schema=SCHEMA).result(timeout=100) == [{"label": "good"}]
    assert len(together.received) == 3
    assert together.received[-1].body["messages"][-2]["role"] == "assistant"


def test_a_dry_run_counts_the_rows_that_are_asked_again(session, together):
    together.plan = [whole('{"label": "good"}'), whole('{"label": 3}')]
    run(session, ["x", "y"], schema=SCHEMA, in_flight=1).result(timeout=100)
    job = session.jobs.prepare(
        ["x", "y", "z"], "Say {{ text }}", params={"schema": SCHEMA, "model": "8x7b"}
    )
    assert [is_answered for _, is_answered in job.questions()] == [True, False, False]


def test_rows_that_are_read_later_count_as_answered_before_if_their_equal_was(
    session, echoing, tmp_path
):
    rows = ["a", "b"] + ["c"] * 100 + ["a", "b", "a"]
    for number, options in enumerate([{}, {"out": tmp_path / "answers.csv"}]):
        prompt = f"Say {{{{ text }}}} {number}"
        run(session, ["a"], prompt).result(timeout=100)
        job = run(session, rows, prompt, in_flight=1, **options)
        job.result(timeout=100)
        assert job.progress.reused == 3
        assert run(session, rows, prompt, **options).result(timeout=100) is not None
    assert session.jobs[2].progress.reused == len(rows)


def test_an_error_is_that_of_its_row(session, together):
    def answer(request):
        if request.body["messages"][-1]["content"] == "Say b":
            return refusal(400, {"error": {"message": "no such thing"}})
        return echo(request)

    together.plan = [answer]
    job = run(session, pd.Series(["a", "b", "c", "b"]))
    assert job.result(timeout=100).tolist() == ["SAY A", pd.NA, "SAY C", pd.NA]
    assert [error.row for error in job.errors] == [1, 3]
    (group,) = job.errors.groups
    assert group.rows == (1, 3)
    assert "no such thing" in group.message
    assert job.state == "done"
    together.plan = [echo]
    assert run(session, pd.Series(["a", "b", "c", "b"])).result(timeout=100).tolist()[1] == "SAY B"


def test_the_first_error_ends_a_job_that_is_to_raise(session, together):
    together.plan = [echo, refusal(400, {"error": {"message": "no such thing"}})]
    job = run(session, ["a", "b", "c"], in_flight=1, on_error="raise")
    with pytest.raises(ProviderError, match="no such thing"):
        job.result(timeout=100)
    assert (job.state, len(together.received)) == ("stopped", 2)


def test_an_answer_that_was_cut_off_is_reported(session, together):
    body = whole("SAY").steps[0].replace(b'"stop"', b'"length"')
    together.plan = [Answer([body], type="application/json")]
    for _ in range(2):  # the second one is the journal's
        job = run(session, ["a"], max_tokens=5)
        assert job.result(timeout=100) == ["SAY"]
        assert repr(job.errors) == "1 row: The answer was cut off at 5 tokens. Raise max_tokens."
    assert len(together.received) == 1


def test_each_row_of_a_cut_answer_is_reported_also_one_that_is_read_later(session, together):
    body = whole("SAY").steps[0].replace(b'"stop"', b'"length"')
    together.plan = [Answer([body], type="application/json")]
    job = run(session, ["a", "a"] + ["b"] * 100 + ["a"], max_tokens=5, in_flight=1)
    job.result(timeout=100)
    assert [error.row for error in job.errors] == list(range(103))


def test_what_all_rows_would_have_in_common_is_raised_at_once(session, echoing, monkeypatch):
    with pytest.raises(BadArguments, match="temperature"):
        run(session, ["a"], temperature=9)
    with pytest.raises(BadArguments, match="no column"):
        run(session, ["a"], "Say {{ txt }}")
    monkeypatch.delenv("TOGETHER_API_KEY")
    with pytest.raises(MissingKey):
        run(session, ["a"], model="together:8x7b")
    assert echoing.received == []


def test_a_server_that_answers_nobody_pauses_the_job(session, together, monkeypatch):
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "0")
    together.plan = [echo, refusal(503, {"error": {"message": "overloaded"}})]
    job = run(session, [f"{number}" for number in range(500)], in_flight=4)
    job.wait(60)
    assert job.state == "paused"
    assert "overloaded" in job.reason
    assert len(together.received) < 60


def test_a_stop_ends_all_calls_at_once_and_the_rest_goes_on(session, together):
    def slow(request):
        prompt = request.body["messages"][-1]["content"]
        return echo(request) if int(prompt.split()[-1]) < 20 else Answer([30.0, b""])

    together.plan = [slow]
    rows = [f"{number}" for number in range(100)]
    job = run(session, rows, in_flight=16)
    together.wait(lambda: len(together.received) == 36)
    started = time.monotonic()
    job.stop()
    assert job.wait(5)
    assert time.monotonic() - started < 0.5
    assert job.state == "stopped"
    assert [value for value in job.result(timeout=100) if value] == [f"SAY {n}" for n in range(20)]
    together.plan, before = [echo], len(together.received)
    assert run(session, rows).result(timeout=100) == [f"SAY {number}" for number in range(100)]
    assert len(together.received) - before == 80


def test_a_budget_is_used_to_the_last_row_that_fits(session, echoing):
    # Each call can cost 20 tokens and its prompt, and costs 12 tokens of $0.60 per million.
    rows = [f"{number}" for number in range(300)]
    job = run(session, rows, max_tokens=20, budget="0.0010", in_flight=32)
    job.wait(60)
    assert job.state == "paused"
    assert "budget" in job.reason
    answered = sum(value is not None for value in job.result(timeout=100))
    cost = Decimal("0.0000072")
    assert len(echoing.received) == answered
    assert answered * cost <= Decimal("0.0010") < (answered + 12) * cost
    assert not job.errors
    again = run(session, rows, max_tokens=20, budget="0.0010")
    again.wait(60)
    assert (again.state, len(echoing.received)) == ("paused", answered), "of all its runs"
    assert None not in run(session, rows, max_tokens=20, budget="1").result(timeout=100)
    assert max(asked(echoing).values()) == 1


def test_a_budget_does_not_shorten_the_answers_of_rows(session, echoing):
    job = run(session, map(str, range(150)), max_tokens=200, budget="0.0010", in_flight=4)
    assert job.wait(60)
    assert job.state == "paused"
    assert {request.body["max_tokens"] for request in echoing.received} == {200}


def test_rows_do_not_push_a_persons_own_prompts_out_of_the_history(session, echoing):
    session.ask("mine", model="8x7b")
    run(session, ["a", "b"]).result(timeout=60)
    assert [entry.prompt for entry in session.history] == ["mine"]


def test_a_row_that_is_too_expensive_does_not_keep_others_from_being_asked(session, echoing):
    rows = ["a", "word " * 3000, *map(str, range(30))]
    job = run(session, rows, max_tokens=20, budget="0.0015", in_flight=2)
    assert [value is None for value in job.result(timeout=100)] == [False, True, *[False] * 30]
    assert (job.state, len(job.errors)) == ("paused", 0)
    assert "budget" in job.reason
    assert run(session, rows, max_tokens=20, budget=1).result(timeout=100)[1]
    assert max(asked(echoing).values()) == 1


def test_a_limit_is_inferred_from_the_first_answers(session, together):
    def answer(request):
        body = request.body
        if body["messages"][-1]["content"] == "Say 90" and body.get("max_tokens") == 64:
            cut = whole("SAY", completion=64).steps[0].replace(b'"stop"', b'"length"')
            return Answer([cut], type="application/json")
        return echo(request)

    together.plan = [answer]
    job = run(session, [f"{number}" for number in range(120)], in_flight=2, budget=1)
    assert job.result(timeout=100)[90] == "SAY 90", "it was asked again without the limit"
    limits = [request.body.get("max_tokens") for request in together.received]
    assert 50 <= limits.count(1024) <= 52, "until the first 50 are there"
    assert set(limits) == {1024, 64, 32636}, "the last one is all that the context has"
    assert job.progress.limit == 64


def test_answers_have_no_limit_without_a_budget(session, echoing):
    run(session, ["a", "b"]).result(timeout=100)
    assert all("max_tokens" not in request.body for request in echoing.received)


def test_two_jobs_at_once_share_their_answers(session, echoing):
    rows = [f"{number}" for number in range(200)]
    jobs = [run(session, rows), run(session, rows[::-1])]
    assert jobs[0].result(timeout=100) == jobs[1].result(timeout=100)[::-1]
    assert session.journal.jobs()[0].answers >= 200


def test_answers_come_from_64_calls_at_the_same_time(session, together):
    gate = threading.Barrier(64)

    def answer(request):
        if request.body["messages"][-1]["content"] != "Say 0":  # the first one is asked alone
            gate.wait(timeout=60)
        return echo(request)

    together.plan = [answer]
    rows = [f"{number}" for number in range(129)]
    job = run(session, rows)
    assert job.result(timeout=100) == [f"SAY {number}" for number in range(129)]
    assert not job.errors
