"""`spend`: times, other models' prices, and rows for other programs."""

from __future__ import annotations

import contextlib
import csv
import io

import pytest
from command_lines import shown
from server import Answer
from server import together as words

from mixmagic import commands
from mixmagic.errors import BadArguments, MixmagicError, UnknownModel
from mixmagic.sessions import Session


@pytest.fixture
def asked(session, together):
    """A session with two calls of a million tokens in and two out, to two models."""
    together.plan = [Answer(words("Hello", " there", prompt=1_000_000)) for _ in range(2)]
    session.ask("Hi", model="8x7b")
    session.ask("Hi", model="8x22b")
    return session


def test_performance_is_by_model_and_day(asked):
    (table,) = shown(asked, "spend", "--performance")
    assert table.columns == [
        *("model", "day", "calls", "errors", "first token", "p95", "duration", "p95", "tokens/s")
    ]
    assert [row[0] for row in table.rows] == ["together:8x22b", "together:8x7b"]
    for row in table.rows:
        assert row[2:4] == ["1", "0%"]
        assert all(cell.endswith(" s") for cell in row[4:8])
    assert table.caption.startswith("this session · ")
    (text,) = shown(asked, "spend", "--performance", "--month", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["model"] for row in rows] == ["together:8x22b", "together:8x7b"]
    assert {row["error_rate"] for row in rows} == {"0.0"}
    assert all(0 <= float(row["first_token_s"]) <= float(row["duration_s"]) for row in rows)


def test_nothing_called_is_a_sentence(session):
    for words_ in (["--performance"], ["--as-if", "8x22b"], ["--elsewhere"], [], ["--by", "day"]):
        (table,) = shown(session, "spend", *words_)
        assert str(table) == "No calls: this session."


def test_as_if_prices_the_same_tokens_at_another_model(asked):
    (table,) = shown(asked, "spend", "--as-if", "mistral:8x7b")
    assert table.columns == ["model", "tokens in", "tokens out", "paid", "as if mistral:8x7b"]
    paid = {row[0]: row[3:] for row in table.rows}
    assert paid == {
        "together:8x7b": ["$0.60", "$0.60"],
        "together:8x22b": ["$1.20", "≈ $0.60"],
    }
    assert table.foot == ["total", "2,000,000", "4", "$1.80", "≈ $1.20"]
    about, note = table.caption.splitlines()
    assert about == "this session · the same tokens at today's price of mistral:8x7b"
    assert note.startswith("≈: mistral:8x7b has another tokenizer than together:8x22b")
    (text,) = shown(asked, "spend", "--as-if", "mistral:8x7b", "--csv", "-")
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows["together:8x7b"]["exact"] == "true"
    assert rows["together:8x22b"]["exact"] == "false"
    assert rows["together:8x7b"]["as_if_cost"] == "0.600003600"


def test_a_cost_that_is_not_known_is_empty_in_a_csv(session, together):
    together.plan = [Answer(words("Hello"))]
    session.ask("Hi", model="together:nobody-prices-this")
    (text,) = shown(session, "spend", "--as-if", "8x22b", "--csv", "-")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["cost"], row["exact"]) == ("", "false")
    assert float(row["as_if_cost"]) > 0


def test_as_if_of_a_free_model_is_free(asked):
    (table,) = shown(asked, "spend", "--as-if", "local")
    assert [row[-1] for row in [*table.rows, table.foot]] == ["free"] * 3
    assert "≈" not in table.caption


def test_as_if_counts_what_a_provider_did_not(session, together):
    from server import chunk, frames

    together.plan = [Answer([frames(chunk("Hi", "stop"))])]
    session.ask("Hi", model="8x7b")
    (table,) = shown(session, "spend", "--as-if", "fireworks:8x7b")
    assert table.foot[-1].startswith("≈ $0.0000")
    assert "their provider did not count them" in table.caption


@pytest.mark.parametrize(
    ("words_", "error", "says"),
    [
        (["--as-if", "8x7"], UnknownModel, "8x7"),
        (["--as-if", "openai:nobody-prices-this"], BadArguments, "is not known"),
        (["--as-if"], BadArguments, "expected one argument"),
        (["--as-if", "8x7b", "--elsewhere"], BadArguments, "not allowed with"),
        (["--as-if", "8x7b", "--by", "day"], BadArguments, "not allowed with"),
        (["--performance", "--by", "day"], BadArguments, "not allowed with"),
        (["--performance", "--resolve"], BadArguments, "not allowed with"),
        (["--resolve", "--month"], BadArguments, "--resolve and --month exclude"),
        (["--month", "--resolve"], BadArguments, "--resolve and --month exclude"),
        (["--resolve", "--csv", "x"], BadArguments, "--resolve and --csv exclude"),
        (["--elsewhere", "--csv", "x"], BadArguments, "--csv and --elsewhere exclude"),
        (["--today", "--month"], BadArguments, "not allowed with"),
        (["--notebook"], BadArguments, "path is not known"),
    ],
)
def test_what_makes_no_sense_is_refused_in_two_lines(session, words_, error, says):
    with pytest.raises(error, match=says) as caught:
        shown(session, "spend", *words_)
    assert isinstance(caught.value, MixmagicError)
    assert caught.value.hint


def test_a_notebooks_calls_are_those_of_all_its_sessions(asked, monkeypatch, tmp_path, together):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    together.plan = [Answer(words("Hello", prompt=1_000_000)) for _ in range(2)]
    for _ in range(2):
        with contextlib.closing(Session()) as session:
            session.ask("Hi", model="8x7b")
            (table,) = shown(session, "spend", "--notebook")
            (priced,) = shown(session, "spend", "--as-if", "8x22b", "--notebook")
    assert [row[:2] for row in table.rows] == [["together:8x7b", "2"]]
    assert table.caption == "this notebook, in all sessions"
    assert priced.foot[1] == "2,000,000"
    (table,) = shown(asked, "spend", "--all")
    assert table.foot[1] == "4"


def test_elsewhere_takes_a_period(asked):
    (table,) = shown(asked, "spend", "--elsewhere", "--all")
    assert len(table.rows) == 2


def test_csv_is_printed_or_written(asked, tmp_path):
    (text,) = shown(asked, "spend", "--csv", "-")
    path = tmp_path / "spend.csv"
    assert shown(asked, "spend", "--csv", str(path)) == [f"Wrote 2 rows to {path}."]
    assert path.read_text() == text + "\n"


@pytest.mark.parametrize("place", ["notebook", "shell"])
def test_every_option_has_its_help(place):
    parser = commands.parser("spend", place)
    assert all(argument.action.help for argument in parser.options.values())
