"""`%%translate` and `%translate`: a cell, a variable, a file."""

from __future__ import annotations

import json

import pytest
from server import Answer, refusal
from translators import french, french_without_12


def data(ran, mime: str = "text/markdown") -> str:
    """What a cell shows last."""
    shown = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    return shown[-1].get(mime, "")


def test_a_cell_is_translated_and_shown_as_safe_markdown_with_its_languages(desk):
    cell = "%%translate --to fr -m 8x7b -o french\n# The `mean` of {x}\n\nIt is <b>the</b> mean."
    ran = desk.run(cell, french)
    assert ran.status == "ok", ran.text
    shown = data(ran)
    assert "La `mean` de" in shown
    assert "English → French" in shown
    assert "8x7b" in shown
    assert desk.value("french").startswith("# La `mean` de {x}")
    assert desk.value("type(french).__name__") == "TranslatedText"
    assert desk.value("_ is french") is True
    assert ran.kinds.count("display_data") == 1, "the result takes the place of the progress"


def test_faults_are_shown_below_and_kept(desk):
    ran = desk.run(
        "%%translate --to fr -m 8x7b -o french\nThe box has 12 pears.", french_without_12
    )
    assert ran.status == "ok", ran.text
    assert "⚠ " in data(ran)
    assert "12" in data(ran)
    assert "12" in desk.value("french.faults[0].message")
    assert len(desk.server.received) == 2, "it was asked once more"


def test_a_variable_keeps_its_kind_and_its_index(desk):
    desk.run("import pandas as pd\ns = pd.Series(['The cat.', None, 'The dog.'], index=[3, 1, 2])")
    ran = desk.run("%translate s --to fr -m 8x7b -o series", french)
    assert ran.status == "ok", ran.text
    assert desk.value("series.dropna().to_dict()") == {3: "La chatte.", 2: "La chienne."}
    ran = desk.run("x = %translate ['The cat.'] --to French -m 8x7b\nx", french)
    assert desk.value("list(x)") == ["La chatte."]
    assert ran.text.startswith("1 text\n")
    ran = desk.run("%translate s.iloc[0] + ' It is -to be.' --to fr -m 8x7b", french)
    assert "La chatte. Elle est " in data(ran)


def test_a_file_is_written_beside_itself_and_summed_up(desk, tmp_path):
    notebook = {
        "cells": [
            {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# The data"},
            {"cell_type": "markdown", "id": "b", "metadata": {}, "source": "There are 12 rows."},
        ],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    path = tmp_path / "lesson.ipynb"
    path.write_text(json.dumps(notebook))
    ran = desk.run(f"%translate {path} --to fr -m 8x7b", french_without_12)
    assert ran.status == "ok", ran.text
    assert "lesson.fr.ipynb: 2 cells" in ran.text
    assert "with a fault" in ran.text
    assert "⚠ cell 2: " in ran.text
    assert (tmp_path / "lesson.fr.ipynb").exists()


def test_nobody_who_watches_gets_one_output(desk):
    cell = "%%translate --to fr -m 8x7b\nThe cat is not here."
    desk.server.plan = [french]
    ran = desk.kernel.run(cell, live=False)
    assert ran.kinds.count("display_data") == 1
    assert "update_display_data" not in ran.kinds
    assert "La chatte est pas ici." in data(ran)


def test_an_interrupt_says_in_one_line_what_is_kept_and_the_same_cell_goes_on(desk):
    cell = (
        "%%translate --to fr -m 8x7b -o french\n# The cat\n\nThe dog is here.\n\nThe box is here."
    )
    desk.plan(french, Answer([60.0, b""]))
    sent = desk.kernel.send(cell)
    desk.server.wait(lambda: len(desk.server.received) == 3)
    desk.kernel.manager.interrupt_kernel()
    ran = desk.kernel.collect(sent)
    (line,) = ran.traceback
    assert line.startswith("Stopped after 1 of 3 texts, which are kept")
    assert line.endswith("The same call goes on.")
    again = desk.run(cell, french)
    assert again.status == "ok"
    assert len(desk.server.received) == 2
    assert "1 answered before" in data(again)


def test_a_dry_run_shows_languages_segments_calls_and_cost_and_sends_nothing(desk):
    ran = desk.run(
        "%%translate --to fr -m 8x7b --dry-run\nThe cat is here.\n\nThe dog is not.", french
    )
    assert ran.status == "ok", ran.text
    for word in ("English → French", "segments", "calls", "cost at most", "cost likely", "Nothing"):
        assert word in ran.text
    assert desk.server.received == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%translate nothing_here --to fr", "neither a variable nor a file"),
        ("%translate Good morning --to fr", "neither a variable nor a file"),
        ("%translate 'Good morning.' --to klingonese", "is not a language"),
        ("%translate 'Good morning.'", "--to"),
        ("%translate 'Good morning.' --to fr --tone rude", "--tone"),
        ("%translate 3 --to fr", "cannot be translated"),
        ("%translate none.md --to fr", "none.md"),
        ("%%translate --to fr\n ", "nothing to translate"),
        ("%%translate words --to fr\nText", "does not take 'words'"),
        ("%translate 'The cat is in the house.' --to en", "is in English already"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines(desk, line, said):
    ran = desk.run(line, french)
    assert ran.status == "error"
    text = "\n".join(ran.traceback)
    assert said in text
    assert len(ran.traceback) <= 2
    assert desk.server.received == []


def test_a_stop_or_an_error_leaves_no_half_result(desk):
    ran = desk.run(
        "%%translate --to fr -m 8x7b -o never\nThe cat is here.",
        refusal(400, {"error": {"message": "no such thing"}}),
    )
    assert "no such thing" in ran.text or "no such thing" in "\n".join(ran.traceback)


def test_its_help_and_its_options_are_completed(desk):
    ran = desk.run("%translate -h")
    assert "--glossary" in ran.text
    desk.run("opening = 'The cat.'\nnumber = 3")
    for typed, expected in {
        "%translate ope": "opening",
        "%translate opening --to f": "fr",
        "%translate opening --from ": "en",
        "%translate opening --to": "--to",
        "%%translate --to fr --tone ": "formal",
    }.items():
        reply = desk.kernel.client.complete(typed, reply=True, timeout=30)
        assert expected in reply["content"]["matches"], typed
