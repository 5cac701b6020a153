"""The `mixmagic` command in a separate process."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import nbformat
import pytest
from server import HANG, Answer

import mixmagic
from mixmagic import cli
from mixmagic.backends.local import weights
from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Message, Model, Provider, Request
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.reservations import Reservation

COMMAND = [str(Path(sys.executable).with_name("mixmagic"))]


def run(*words, **env):
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
        timeout=120,
    )


def test_a_hint_names_commands_as_they_are_typed_in_a_shell(capsys):
    assert cli.main(["models", "nosuch", "--for", "chess"]) == 1
    assert cli.main(["prices", "nosuch"]) == 1
    said = capsys.readouterr().err
    assert "`mixmagic models` lists all" in said
    assert cli.main(["alias", "nosuch"]) == 1
    assert "`mixmagic alias fast" in capsys.readouterr().err
    cli.main(["models", "--live", "--for", "x"])
    assert "%mixmagic" not in capsys.readouterr().err
    cli.main(["models"])
    assert "`mixmagic models ollama --live`" in capsys.readouterr().out
    assert cli.main(["running"]) == 2
    assert "`%mixmagic running` is for a notebook" in capsys.readouterr().err


def test_doctor_fails_where_the_default_model_has_no_key():
    ran = run("doctor")
    assert ran.returncode == 1
    assert "✗   model: 8x7b, the default model, is served at present by OpenRouter" in ran.stdout
    assert "Use -m local" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "1 to fix"
    assert ran.stderr == ""


def test_doctor_is_content_with_the_embedded_model(home):
    ran = run("doctor", MIXMAGIC_MODEL="local")
    assert ran.returncode == 0, ran.stdout
    assert f"ok  data folder: {home / 'data'}" in ran.stdout
    assert "✗" not in ran.stdout


def test_ctrl_c_ends_the_doctor_and_its_process_at_once(together):
    together.plan = [Answer([HANG])]
    with subprocess.Popen(
        [*COMMAND, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        together.wait(lambda: together.received, timeout=20)
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - begun < 3.5  # its own patience is 4 s
    assert (process.returncode, errors) == (130, "\nStopped.\n")


def test_install_says_where_the_weights_are(home):
    ran = run("local", "install")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{weights.path(home / 'cache')}\n"


def test_an_error_is_two_lines_and_status_1(home):
    (home / "config").mkdir()
    (home / "config" / "config.toml").write_text("modle = 'local'\n")
    ran = run("local", "install")
    assert (ran.returncode, ran.stdout) == (1, "")
    lines = ran.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("BadArguments: There is no setting 'modle'")
    assert lines[1] == "Hint: Settings are: model."


@pytest.mark.kernel
def test_the_demo_shows_answers_as_they_come_and_leaves_notebook_and_page(tmp_path):
    shown, arrivals = b"", []
    with subprocess.Popen(
        [*COMMAND, "demo", "--dir", tmp_path / "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        while piece := os.read(process.stdout.fileno(), 65536):
            shown += piece
            arrivals.append(len(shown))
        errors = process.stderr.read().decode()
    assert (process.returncode, errors) == (0, "")
    text = shown.decode()
    question = "what a histogram shows."
    begin = shown.index(question.encode()) + len(question)
    end = shown.index(b"tokens/s", begin)
    # The answer between the question and its footer came in many pieces.
    assert sum(begin < size <= end for size in arrivals) >= 5
    notebook, page = tmp_path / "demo" / "quickstart.ipynb", tmp_path / "demo" / "quickstart.html"
    assert str(notebook) in text
    assert str(page) in text
    cells = [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    answers = [
        cell for cell in cells if cell.source.startswith("%%mixtral") and "77b" not in cell.source
    ]
    assert answers
    for cell in answers:
        assert [output.output_type for output in cell.outputs] == ["display_data"]
        assert set(cell.outputs[0].data) == {"text/markdown", "text/plain"}
    assert "small model, for" in page.read_text("utf-8")
    assert sorted(path.name for path in notebook.parent.iterdir()) == [page.name, notebook.name]


def test_a_folder_that_cannot_be_written_is_two_lines(tmp_path):
    (tmp_path / "file").write_text("no folder")
    ran = run("demo", "--lab", "--dir", str(tmp_path / "file"))
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 2
    assert "--dir" in ran.stderr


def test_spend_shows_this_month_or_what_is_named_and_writes_files(home, tmp_path):
    ledger = Ledger(home / "data", "a-session")
    model = Model("m", Provider("x", "X"), price=Price(Decimal("0.5"), Decimal(1)))
    for age in (0, 100):
        request = Request(model, (Message("user", "Hi"),))
        reservation = Reservation(request, None, worst_case(request), time.time() - age * 86_400)
        ledger.reserve(reservation)
        answer = Completion("", Usage(1_000_000, 0), Decimal("0.5"), "stop", request, 1.0, None)
        ledger.record(reservation, "ok", answer)
    ledger.database.close()
    ran = run("spend")
    assert (ran.returncode, ran.stderr) == (0, "")
    head, row, total, about = ran.stdout.splitlines()
    assert head.split() == ["model", "calls", "tokens", "in", "tokens", "out", "cost"]
    assert row.split() == ["x:m", "1", "1,000,000", "0", "$0.50"]
    assert total.split() == ["total", "1", "1,000,000", "0", "$0.50"]
    assert about.startswith("this month (")
    days = run("spend", "--all", "--by", "day").stdout.splitlines()
    assert len(days) == 5
    assert days[-2].split()[-1] == "$1.00"
    path = tmp_path / "spend.csv"
    written = run("spend", "--all", "--csv", str(path))
    assert written.stdout == f"Wrote 1 row to {path}.\n"
    (line,) = csv.DictReader(path.read_text().splitlines())
    assert (line["model"], line["calls"], line["cost"]) == ("x:m", "2", "1")
    assert (line["prompt_tokens"], line["completion_tokens"]) == ("2000000", "0")
    refused = run("spend", "--csv", str(tmp_path))
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 2)


@pytest.fixture
def lost(home):
    """A ledger with one lost call, and one whose tokens were estimated."""
    ledger = Ledger(home / "data", "a-session")
    model = Model("m", Provider("x", "X"), price=Price(Decimal("0.5"), Decimal(1)))
    request = Request(model, (Message("user", "Hi"),), {"max_tokens": 50})
    for _ in range(2):
        reservation = Reservation(request, None, worst_case(request), time.time())
        ledger.reserve(reservation)
    usage = Usage(1_000_000, 1, counted="estimate")
    ledger.record(
        reservation, "ok", Completion("", usage, Decimal("0.5"), "stop", request, 1.0, None)
    )
    with ledger.database.transaction() as connection:
        connection.execute("UPDATE calls SET owner = NULL WHERE id = 1")
    ledger.database.close()


@pytest.mark.parametrize(
    ("encoding", "marks"),
    [("utf-8", "≈·"), ("cp1252", "~·"), ("ascii", "~-"), ("ascii:replace", "??")],
)
def test_what_an_encoding_lacks_is_written_in_its_letters(lost, encoding, marks):
    """As into a file on Windows; the table's columns stay where they are."""
    ran = subprocess.run(
        [*COMMAND, "spend", "--all"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
        timeout=120,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    shown = ran.stdout.decode(encoding.partition(":")[0])
    about, dot = marks
    row, total, caption = shown.splitlines()[1:]
    assert row.endswith(f" {about} $0.50")
    assert len(row) == len(total)
    assert f" {dot} lost calls count with their worst case" in caption
    assert f" {dot} {about}: some tokens are estimated" in caption


def test_a_closed_pipe_is_silent(lost):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        ran = subprocess.run(
            [*COMMAND, "spend"], stdout=pipe, stderr=subprocess.PIPE, check=False, timeout=120
        )
    assert (ran.returncode, ran.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("error", "system", "closed"),
    [
        (BrokenPipeError(errno.EPIPE, "broken"), "posix", True),
        (OSError(errno.EINVAL, "invalid"), "nt", True),
        (OSError(errno.EINVAL, "invalid"), "posix", False),
        (OSError(errno.ENOSPC, "full"), "nt", False),
    ],
)
def test_windows_has_its_own_error_for_a_closed_pipe(monkeypatch, error, system, closed):
    monkeypatch.setattr(cli.os, "name", system)
    assert cli._is_closed_pipe(error) is closed


def test_alone_it_lists_its_commands_and_its_version():
    ran = run()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith(f"\n\n{run('--help').stdout}")
    assert ran.stdout.startswith("Settings (`mixmagic set -h`):\n  model        8x7b     default\n")
    assert "mixmagic doctor " in ran.stdout
    assert run("--version").stdout == f"{mixmagic.__version__}\n"


def test_lost_calls_are_listed_and_settled_as_the_report_says(lost):
    assert "(`spend --resolve` records the bill)" in run("spend").stdout
    head, row, about = run("spend", "--resolve").stdout.splitlines()
    assert head.split()[:2] == ["number", "when"]
    assert row.split()[0] == "1"
    assert row.endswith(" lost")
    assert about == "Record a provider's bill: `spend --resolve NUMBER DOLLARS`."
    settled = run("spend", "--resolve", "1", "0.25")
    assert (settled.returncode, settled.stderr) == (0, "")
    assert "Recorded: call 1 cost $0.25." in settled.stdout
    assert run("spend").stdout.splitlines()[1].split()[-1] == "$0.75"
    refused = run("spend", "--resolve", "7", "0.25")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 2)


@pytest.mark.parametrize(
    "words",
    [
        ["spend", "--resolve", "--by", "day"],
        ["spend", "--resolve", "--today"],
        ["use", "local"],
        ["chats"],
        ["local"],
        ["nonsense"],
        ["spend", "--by", "modle"],
        ["spend", "--all", "--today"],
    ],
)
def test_wrong_words_are_refused_with_status_2(words):
    assert run(*words).returncode == 2
