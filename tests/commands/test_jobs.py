"""`%mixmagic jobs`: list, show, resume, stop and forget the jobs over many rows."""

from __future__ import annotations

import subprocess
import sys

import pytest
from command_lines import shown
from server import Answer, refusal, whole

from mixmagic.errors import BadArguments
from mixmagic.sessions import Session
from mixmagic.store.jobs import Journal

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}


def echo(request) -> Answer:
    return whole(request.body["messages"][-1]["content"].upper(), completion=3)


def begin(session, rows, prompt="Say {{ text }}", **options):
    job = session.map(rows, prompt, model="8x7b", **options)
    assert job.wait(60)
    return job


def table(session, *words) -> list[list[str]]:
    (found,) = shown(session, "jobs", *words)
    return found.rows


def test_without_jobs_it_says_how_one_begins(session):
    (found,) = shown(session, "jobs")
    assert "%%mixtral --each" in found.caption
    with pytest.raises(BadArguments, match="There is no job '7'"):
        shown(session, "jobs", "show", "7")


def test_jobs_are_listed_with_their_rows_failures_and_cost(session, together):
    together.plan = [echo]
    begin(session, ["a", "b", "a"], name="letters")
    together.plan = [echo, refusal(400, {"error": {"message": "no such thing"}})]
    begin(session, ["x", "y"], "Shout {{ text }}", in_flight=1)
    last, first = table(session)
    assert first[:6] == ["1", "letters", "8x7b", "3", "2", "0"]
    assert first[6].startswith("$0.00")
    assert first[7] == "done"
    assert last[:6] == ["2", "Shout {{ text }}", "8x7b", "2", "1", "1"]
    (text,) = shown(session, "jobs", "show", "2")
    assert "1 row (1): Together AI answered 400: no such thing" in text
    assert shown(Session(), "jobs", "show", "2") == [text], "also after a restart"
    (text,) = shown(session, "jobs", "show", "letters")
    assert "Say {{ text }}" in text


def test_a_job_of_this_session_goes_on_with_what_has_no_answer(session, together):
    together.plan = [echo, refusal(400, {"error": {"message": "no such thing"}})]
    begin(session, ["a", "b"], in_flight=1, name="letters")
    together.plan = [echo]
    before = len(together.received)
    (said,) = shown(session, "jobs", "resume", "letters")
    assert said == "Job 1 is done. Its results: `mixmagic.session().jobs[1].result()`."
    assert len(together.received) == before + 1
    assert session.jobs[1].result(timeout=100) == ["SAY A", "SAY B"]


def test_a_budget_can_be_raised_when_a_job_goes_on(session, together):
    together.plan = [echo]
    rows = [f"{number}" for number in range(100)]
    assert begin(session, rows, max_tokens=20, budget="0.0002").state == "paused"
    (said,) = shown(session, "jobs", "resume", "1", "--budget", "0.0003")
    assert said.startswith("Job 1 is paused")
    assert "`%mixmagic jobs resume 1` goes on." in said
    (said,) = shown(session, "jobs", "resume", "1", "--budget", "1")
    assert said.startswith("Job 1 is done.")
    assert len(together.received) == 100


def test_rows_of_another_kernel_are_resumed_by_its_cell(session, together):
    together.plan = [echo]
    begin(session, ["a"])
    with pytest.raises(BadArguments, match="The rows of job 1 are not here") as caught:
        shown(Session(), "jobs", "resume", "1")
    assert "Run its cell again" in caught.value.hint


def test_the_next_run_asks_the_same_whatever_the_defaults_are_then(session, together):
    together.plan = [whole('{"label": "good"}')]
    session.set_default("system", "Be brief.")
    session.set_default("temperature", 0.5)
    job = begin(session, ["a"], schema=SCHEMA, stop=["END"], budget="2", timeout=50)
    (record,) = session.journal.jobs()
    session.set_default("system", None)
    session.set_default("temperature", 1)
    again = dict(record.options)
    assert again["budget"] == "2"
    schema = again.pop("schema")
    assert schema == {"name": "schema", "json": SCHEMA}
    job = session.map(["a"], record.prompt, schema=schema["json"], **again)
    assert job.result(timeout=100) == [{"label": "good"}]
    assert len(together.received) == 1
    assert [each.id for each in session.journal.jobs()] == [1]


def test_a_job_whose_process_was_killed_is_not_running(session, together):
    together.plan = [echo]
    begin(session, ["a"])
    script = (
        "from mixmagic.sessions import Session; s = Session();"
        " s.journal.begin(b'x', name='n', model='m', prompt='p', source='r', options={})"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    record = session.journal.job("n")
    assert (record.state, record.reason) == ("stopped", "its process has ended")
    session.journal.begin(b"y", name="own", model="m", prompt="p", source="r", options={})
    assert session.journal.job("own").state == "running"
    for command in ("resume", "forget"):
        with pytest.raises(BadArguments, match="is under way"):
            shown(session, "jobs", command, "own")


def test_a_job_can_be_stopped_and_goes_on(session, together):
    def slow(request):
        prompt = request.body["messages"][-1]["content"]
        return echo(request) if int(prompt.split()[-1]) < 5 else Answer([30.0, b""])

    together.plan = [slow]
    job = session.map([f"{n}" for n in range(20)], "Say {{ text }}", model="8x7b", in_flight=8)
    together.wait(lambda: len(together.received) == 13)
    with pytest.raises(BadArguments, match="under way"):
        shown(session, "jobs", "resume", "1")
    (said,) = shown(session, "jobs", "stop", "1")
    assert "`%mixmagic jobs resume 1` goes on" in said
    assert job.wait(10)
    together.plan = [echo]
    (said,) = shown(session, "jobs", "resume", "1")
    assert said.startswith("Job 1 is done.")
    assert session.jobs[1].progress.reused == 5


def test_a_forgotten_job_is_paid_for_again(session, together):
    together.plan = [echo]
    begin(session, ["a", "b"])
    assert shown(session, "jobs", "forget", "1") == ["Job 1 is forgotten, with 2 answers."]
    assert table(session) == []
    begin(session, ["a", "b"])
    assert len(together.received) == 4
    begin(session, ["a"], "{{ text }}")
    session.journal.begin(b"y", name="own", model="m", prompt="p", source="r", options={})
    for words in ([], ["own", "--all"]):
        with pytest.raises(BadArguments, match="not clear"):
            shown(session, "jobs", "forget", *words)
    assert shown(session, "jobs", "forget", "--all") == ["Forgotten: 2 jobs, with 3 answers."]
    assert [row[1] for row in table(session)] == ["own"], "it is under way"


def test_only_the_last_jobs_are_listed_unless_all_are_asked_for(session):
    for number in range(25):
        session.journal.begin(
            b"%d" % number, name=f"n{number}", model="m", prompt="p", source="r", options={}
        )
    (found,) = shown(session, "jobs")
    assert [row[1] for row in found.rows[:2]] == ["n24", "n23"]
    assert len(found.rows) == 20
    assert "25 jobs; `%mixmagic jobs list --all` lists all." in found.caption
    assert len(table(session, "list", "--all")) == 25


def test_a_session_keeps_its_last_jobs_alone(session, together):
    together.plan = [echo]
    for number in range(10):
        begin(session, ["a"], f"{number} {{{{ text }}}}")
    assert [number for number in range(1, 11) if session.jobs.get(number)] == [*range(3, 11)]
    with pytest.raises(BadArguments, match="not begun in this session"):
        _ = session.jobs[1]
    assert isinstance(session.journal, Journal)
