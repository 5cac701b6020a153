"""A preview: rows of all lengths, the cost of all, and what a changed prompt changes."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

import pandas as pd
import pytest
from server import refusal, whole

from mixmagic.display.jobs import run
from mixmagic.errors import BadArguments
from mixmagic.sessions import Session
from mixmagic.tasks.bulk.preview_shown import marked

TEXTS = [f"{'word ' * (number % 37)}{number}" for number in range(300)]
PARAMS = {"model": "8x7b"}


def answer(request):
    """Answer with the words of a text but the first: in capitals if the prompt is a shout."""
    prompt = request.body["messages"][-1]["content"]
    command, _, text = prompt.partition(": ")
    said = text[-40:].upper() if command == "Shout" else text[-40:]
    return whole(said, prompt=len(prompt) // 4 + 9, completion=len(prompt) // 20 + 3)


@pytest.fixture
def answering(together):
    together.plan = [answer]
    return together


def preview(session, rows, prompt="Say: {{ text }}", count=20, **params):
    job = session.jobs.prepare(rows, prompt, in_flight=1, params=PARAMS | params)
    return run(job, preview=count)


def full(session, rows, prompt="Say: {{ text }}", **params):
    return run(session.jobs.prepare(rows, prompt, in_flight=1, params=PARAMS | params))


def test_it_tells_what_all_rows_cost_and_its_rows_are_not_paid_for_again(session, answering):
    rows = pd.Series([*TEXTS, None, TEXTS[0]])
    shown = preview(session, rows)
    assert (len(shown), len(answering.received), shown.questions, shown.length) == (
        20,
        20,
        300,
        302,
    )
    assert {row.change for row in shown} == {"new"}
    assert shown.result(timeout=100).tolist() == [row.value for row in shown]
    job = full(session, rows)
    assert len(answering.received) == 300
    cost = float(job.progress.cost + shown.spent)
    assert shown.cost.low <= cost <= shown.cost.high
    assert shown.cost.likely == pytest.approx(cost, rel=0.05)
    lines = repr(shown).splitlines()
    assert lines[0].split() == ["row", "text", "answer"]
    assert re.fullmatch(
        r"All 302 rows \(300 questions\) cost about \$0\.\d+, from \$0\.\d+ to \$0\.\d+\. "
        r"20 rows kept: the same call without preview= asks the others\.",
        lines[-1],
    )


def test_a_changed_prompt_shows_the_same_rows_and_what_has_changed(session, answering):
    frame = pd.DataFrame({"text": TEXTS, "stars": 5})
    first = preview(session, frame)
    frame["label"] = "x" * 50  # other columns, another order and one more row
    frame = pd.concat([frame.iloc[::-1], pd.DataFrame({"text": ["one more"]})])
    second = preview(Session(), frame, "Shout: {{ text[:300] }} {{ stars }}")
    assert Counter(row.row["text"] for row in first) == Counter(row.row["text"] for row in second)
    assert second.last == "Say: {{ text }}"
    assert {row.change for row in second} == {"changed"}
    before = {row.row["text"]: row.value for row in first}
    assert all(row.before == before[row.row["text"]] for row in second)
    assert "20 of 20 answers changed, before: Say: {{ text }}" in repr(second)
    assert len(answering.received) == 40
    again = preview(session, frame, "Say: {{ text }}")
    assert len(answering.received) == 40, "both are in the journal"
    assert again.last == "Shout: {{ text[:300] }} {{ stars }}"
    assert [row.value for row in again] == [before[row.row["text"]] for row in again]


def test_more_rows_keep_those_that_were_shown(session, answering):
    shown = preview(session, TEXTS, count=5)
    more = preview(session, TEXTS, "Say: {{ text }}!", count=9)
    assert {row.position for row in shown} < {row.position for row in more}
    assert Counter(row.change for row in more) == {"changed": 5, "new": 4}
    assert "4 new" in repr(more)


def test_kinds_of_failure_are_shown_with_the_rows_of_the_table(session, together):
    def failing(request):
        if "7" in request.body["messages"][-1]["content"]:
            return refusal(400, {"error": {"message": "no such thing"}})
        return answer(request)

    together.plan = [failing]
    rows = [{"text": text, "of": number % 100} for number, text in enumerate(TEXTS)]
    shown = preview(session, rows, "Say: {{ text }} {{ 100 // of }}")
    failed = [row.position for row in shown if row.value is None]
    assert failed
    assert all("7" in TEXTS[position] + str(100 // (position % 100)) for position in failed)
    assert {error.row for error in shown.errors} == {*failed, 0, 100, 200}
    assert "3 rows (0, 100, 200): " in repr(shown)
    assert "no such thing" in repr(shown)


def test_a_schema_with_repairs_counts_all_attempts(session, together):
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string"}, "stars": {"type": "integer"}},
        "required": ["label", "stars"],
    }
    bad, good = whole('{"label": 3}', completion=9), whole('{"label": "good", "stars": 5}')
    together.plan = [bad, good] * 500
    shown = preview(session, TEXTS[:60], count=6, schema=schema)
    job = full(session, TEXTS[:60], schema=schema)
    cost = float(job.progress.cost + shown.spent)
    assert shown.cost.likely == pytest.approx(cost, rel=0.1)
    assert repr(shown).splitlines()[0].split() == ["row", "text", "label", "stars"]


def test_html_marks_the_words_that_have_changed_and_escapes_all_others(session, together):
    together.plan = [whole("a <b>good</b> film"), whole("a <b>bad</b> film & $5")]
    preview(session, ["<i>x</i>"], count=1)
    html = preview(session, ["<i>x</i>"], "Tell: {{ text }}", count=1)._repr_html_()
    assert re.search(r"<del [^>]*>good</del>", html)
    assert re.search(r"<ins [^>]*>bad</ins>", html)
    assert "<b>" not in html
    assert "<i>" not in html
    assert "row</th>" in html


def test_marks_are_for_words_and_long_texts_are_cut_around_the_first_change():
    old, new = marked("it is very good", "it is good")
    assert re.sub("<[^>]*>", "", old) == "it is very good"
    assert (new, old.count("<del")) == ("it is good", 1)
    old, new = marked("same " * 400 + "old", "same " * 400 + "new")
    assert re.search("…same.*<del [^>]*>old</del>$", old)
    assert len(new) < 400


def test_a_small_table_is_known_and_a_free_model_is_free(session, answering):
    shown = preview(session, ["a", "b"], count=20)
    assert shown.cost.likely == pytest.approx(float(shown.spent))
    assert "All 2 rows cost $" in repr(shown)


def test_what_cannot_be_previewed_is_refused(session, answering):
    for count in (0, 2.5, "20", True):
        with pytest.raises(BadArguments, match="preview cannot be"):
            preview(session, TEXTS, count=count)
    with pytest.raises(BadArguments, match="nothing to preview"):
        preview(session, [None, None])
    assert answering.received == []


def test_a_preview_is_a_job_in_the_journal_and_goes_on_as_the_whole(session, answering):
    shown = preview(session, TEXTS)
    record = session.journal.jobs()[0]
    assert (record.state, record.rows, record.answers) == ("preview", 20, 20)
    whole_job = session.jobs.again(str(record.id))
    whole_job.start()
    assert whole_job.wait(60)
    assert (whole_job.number, len(whole_job.result(timeout=100))) == (record.id, 300)
    assert shown.spent > Decimal(0)
    session.journal.forget(record.id)
    assert session.journal.previews() == []


def test_a_job_that_has_run_stays_what_it_is_after_a_preview(session, answering):
    job = session.map(TEXTS, "Say: {{ text }}", model="8x7b")
    assert job.wait(60)
    before = session.journal.jobs()[0]
    preview(session, TEXTS)
    after = session.journal.jobs()[0]
    assert (after.id, after.state, after.rows) == (before.id, "done", 300)
    budget = session.map(["new", *TEXTS], "Say: {{ text }}", model="8x7b", budget="0.0000001")
    assert budget.wait(60)
    assert session.journal.jobs()[0].state == "paused"
    preview(session, TEXTS)
    assert (session.journal.jobs()[0].state, session.journal.jobs()[0].rows) == ("paused", 301)


def test_answers_of_another_kind_or_to_other_rows_are_no_last_preview(session, together):
    together.plan = [whole('{"label": "good"}')]
    schema = {"type": "object", "properties": {"label": {"type": "string"}}}
    preview(session, TEXTS)
    assert preview(session, TEXTS, schema=schema).last == ""
    assert (
        preview(session, TEXTS[:1] + ["x" * n for n in range(1, 90)], "Tell: {{ text }}").last == ""
    )
    assert preview(session, TEXTS, "Tell: {{ text }}", schema=schema).last == "Say: {{ text }}"
