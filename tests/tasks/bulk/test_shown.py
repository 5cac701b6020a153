"""A job as a table: its first rows, its progress, and the kinds of its errors."""

from __future__ import annotations

import re

import pandas as pd
from server import refusal, whole

SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}, "stars": {"type": "integer"}},
    "required": ["label", "stars"],
}


def answer(request):
    if "3" in request.body["messages"][-1]["content"]:
        return refusal(400, {"error": {"message": "no such thing"}})
    return whole('{"label": "<b>good</b> $5", "stars": 5}', completion=3)


def test_a_job_shows_its_first_rows_its_cost_and_its_errors(session, together):
    together.plan = [answer]
    frame = pd.DataFrame({"text": [f"<i>{n}</i>" for n in range(60)], "other": 1})
    job = session.map(frame, "Classify: {{ text }}", schema=SCHEMA, model="8x7b", name="labels")
    job.wait(60)
    lines = repr(job).split("\n")
    assert lines[0].split() == ["text", "label", "stars"]
    assert lines[1].split() == ["<i>0</i>", "<b>good</b>", "$5", "5"]
    assert lines[4].split() == ["<i>3</i>"]
    assert re.fullmatch(r"labels · 8x7b · 60 rows in .* · \$0.00032 · 15 failed", lines[6])
    assert lines[7].startswith("15 rows (3, 13, 23, 30, 31, …): Together AI answered 400")
    html = job._repr_html_()
    assert "<b>good" not in html
    assert "<i>" not in html
    assert "labels · 8x7b · 60 rows" in html


def test_a_text_has_one_column_and_a_missing_row_an_empty_cell(session, together):
    together.plan = [whole("two\nlines")]
    job = session.map(["x", None], "Say {{ text }}", model="8x7b")
    job.wait(60)
    lines = repr(job).split("\n")
    assert [line.split() for line in lines[:2]] == [["text", "answer"], ["x", "two", "lines"]]
    assert lines[2].strip() == ""
