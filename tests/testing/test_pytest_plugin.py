"""The pytest plugin: real runs of pytest and nbval, with real kernels."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from server import Answer, Server, together

from mixmagic import cli

pytestmark = pytest.mark.kernel
NBVAL = ("--nbval", "--nbval-current-env")
OFFLINE = ("--mixmagic-cassette=none",)
ENVIRONMENT = """
import os
from pathlib import Path
assert os.environ["MIXMAGIC_CASSETTE_MODE"] == "none"
assert os.environ["MIXMAGIC_LIVE"] == "0"
assert os.environ["JPY_SESSION_NAME"] == str(Path("environment.ipynb").absolute())
assert not list(Path(os.environ["MIXMAGIC_HOME"]).iterdir())
"""
SPENDS = """
%load_ext mixmagic
import mixmagic, os
del os.environ["MIXMAGIC_CASSETTE_MODE"]
mixmagic.ask("Hi", model="together:8x7b").text
"""
PAPERMILL = """
import papermill, pytest

@pytest.mark.parametrize("name", ["environment", "network", "spends"])
def test_report(mixmagic_replay, name):
    mixmagic_replay(f"{name}.ipynb")
    papermill.execute_notebook(f"{name}.ipynb", None, kernel_name="python3", progress_bar=False)
"""
AFTER = """
import os

def test_after():
    names = {"MIXMAGIC_CASSETTE_MODE", "MIXMAGIC_BLOCK_NETWORK", "JPY_SESSION_NAME"}
    assert not names & set(os.environ)
    assert os.environ["MIXMAGIC_HOME"] == os.environ["PERSONS_HOME"]
"""
LOAD = "%load_ext mixmagic\nimport mixmagic"
ASKS = "answer = mixmagic.ask('Again', model='together:8x7b')\n%mixtral -m together:8x7b Hi"
SAMPLE = "assert mixmagic.ask('Yes?', model='together:8x7b', temperature=1).text == 'yes'"
MISSES = (
    "%load_ext mixmagic\n%mixmagic cassette replays.cassette.jsonl\n"
    "%mixtral -m together:8x7b Hi there"
)
FOOTER = "8x7b · 9 → 2 tokens · first token {} s · {} tokens/s · session ${}"


def save(path: Path, *cells: str | tuple[str, str] | tuple[str, str, str]) -> None:
    """Save a notebook: of each cell its source, its result and its tag, if any."""
    notebook = new_notebook()
    for cell in cells:
        source, result, tag = (*((cell,) if isinstance(cell, str) else cell), "", "")[:3]
        made = new_code_cell(source.strip(), execution_count=1)
        if tag:
            made.metadata.tags = [tag]
        if result:
            data = {"text/plain": result}
            made.outputs = [new_output("execute_result", data, execution_count=1)]
        notebook.cells.append(made)
    nbformat.write(notebook, path)


def check(folder: Path, *options: str) -> str:
    """Run pytest in a folder; return its output."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--color=no", *options],
        cwd=folder,
        env={**os.environ, "PERSONS_HOME": os.environ["MIXMAGIC_HOME"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return ran.stdout + ran.stderr


def outcomes(output: str) -> dict[str, list[str]]:
    """Return the outcomes of each notebook's cells in turn; `ERROR` is a check after a cell."""
    found: dict[str, list[tuple[int, str]]] = {}
    for outcome, name, cell in re.findall(
        r"^(PASSED|FAILED|ERROR) (\S+)\.ipynb::Cell (\d+)", output, re.MULTILINE
    ):
        found.setdefault(name, []).append((int(cell), outcome))
    return {name: [outcome for _, outcome in sorted(cells)] for name, cells in found.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Notebooks of many kinds, and a file of the person's sanitizers."""
    folder = tmp_path_factory.mktemp("notebooks")
    save(folder / "passes.ipynb", ("1 + 1", "2"))
    save(folder / "differs.ipynb", ("1 + 1", "3"))
    save(
        folder / "network.ipynb",
        "import urllib.request\nurllib.request.urlopen('http://data.invalid/')",
    )
    save(
        folder / "process.ipynb",
        "import subprocess, sys\ncode = 'import socket; socket.getaddrinfo(\"data.invalid\", 80)'\n"
        "subprocess.run([sys.executable, '-c', code], check=True, timeout=60)",
    )
    save(folder / "environment.ipynb", ENVIRONMENT)
    save(
        folder / "sanitized.ipynb",
        ("import os; os.getpid()", "123"),
        ("'a' + str(os.getpid())", "'a123'"),
        (repr(FOOTER.format("0.10", "7", "0")), repr(FOOTER.format("2.34", "1,234", "0.5"))),
    )
    save(folder / "spends.ipynb", ("1 + 1", "2"), (SPENDS, "'Hello there'"), ("2 + 2", "4"))
    save(
        folder / "repeated.ipynb",
        "run, passes = iter([0, 1, 1]), iter([0, 0, 1])",
        ("assert next(run)\n'not compared'", "'x'", "mixmagic-2-of-3"),
        ("assert next(passes)", "", "mixmagic-2-of-3"),
        ("next(passes)", "1"),
    )
    save(folder / "misses.ipynb", MISSES)
    (folder / "test_after.py").write_text(AFTER)
    (folder / "mine.cfg").write_text("[ids]\nregex: \\d{3,}\nreplace: N\n")
    return folder


def record(path: Path, *cells: str) -> None:
    """Save a notebook with the outputs of a live run, which is recorded in its cassette."""
    save(path, *cells)
    words = ["nbconvert", "--to=notebook", "--execute", "--inplace", "--allow-errors", path.name]
    env = {**os.environ, "MIXMAGIC_CASSETTE_MODE": "once", "JPY_SESSION_NAME": str(path)}
    subprocess.run(
        [sys.executable, "-m", *words],
        cwd=path.parent,
        env=env,
        capture_output=True,
        check=True,
        timeout=120,
    )


@pytest.fixture(scope="module", autouse=True)
def provider(folder):
    """A provider on this machine, and notebooks that were recorded with it."""
    server = Server()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOGETHER_BASE_URL", server.url)
        patch.setenv("TOGETHER_API_KEY", "canary-key-4711")
        server.plan = [Answer(together(text)) for text in ("Hello", "**One**", "no", "yes", "yes")]
        record(folder / "replays.ipynb", LOAD, ASKS, "answer", "answer.text")
        save(folder / "samples.ipynb", LOAD, (SAMPLE, "", "mixmagic-2-of-3"))
        assert cli.main(["record", str(folder / "samples.ipynb")]) == 0
        server.plan = [Answer(together("Hello", " there"))]
        yield
    server.close()


@pytest.fixture(scope="module")
def offline(folder) -> str:
    """The output of a run with the option."""
    return check(folder, *NBVAL, *OFFLINE, "--nbval-sanitize-with=mine.cfg")


@pytest.fixture(scope="module")
def plain(folder) -> str:
    """The output of a run without the option."""
    (folder / "conftest.py").write_text(
        "import sys\n\ndef pytest_unconfigure():\n"
        "    print('OURS', *sorted(name for name in sys.modules if 'mixmagic' in name))\n"
    )
    return check(folder, *NBVAL, "-s", "--deselect=spends.ipynb")


def test_a_notebook_with_its_saved_outputs_passes(offline):
    assert outcomes(offline)["passes"] == ["PASSED"]


def test_a_notebook_with_another_output_fails(offline):
    assert outcomes(offline)["differs"] == ["FAILED"]
    assert "Cell outputs differ" in offline


@pytest.mark.parametrize("name", ["network", "process"])
def test_a_notebook_that_tries_the_network_fails(offline, name):
    """Also one that never loads mixmagic, and in a process that it starts."""
    assert outcomes(offline)[name] == ["FAILED"]


def test_the_two_lines_of_the_network_are_in_the_report(offline):
    assert "NetworkBlocked: The look-up of data.invalid was refused" in offline
    assert "Hint: Replay a model's answers from a cassette" in offline


def test_the_kernel_gets_its_environment_and_a_home_of_its_own(offline):
    assert outcomes(offline)["environment"] == ["PASSED"]


def test_other_tests_of_the_run_keep_their_environment(offline):
    assert "PASSED test_after.py::test_after" in offline


def test_with_another_mode_what_is_missing_is_recorded(folder, tmp_path):
    ask = "mixmagic.ask('Hi', model='together:8x7b').text"
    save(tmp_path / "new.ipynb", LOAD, (ask, "'Hello there'"))
    output = check(tmp_path, *NBVAL, *OFFLINE)
    assert outcomes(output)["new"] == ["PASSED", "FAILED"]
    output = check(tmp_path, *NBVAL, "--mixmagic-cassette=once")
    assert outcomes(output)["new"] == ["PASSED", "PASSED"]
    assert len((tmp_path / "new.cassette.jsonl").read_text("utf-8").splitlines()) == 1
    output = check(tmp_path, *NBVAL, *OFFLINE)
    assert outcomes(output)["new"] == ["PASSED", "PASSED"]


def test_our_sanitizers_are_merged_with_the_file_of_the_person(offline):
    assert outcomes(offline)["sanitized"] == ["PASSED"] * 3


def test_a_notebook_that_was_saved_with_paid_answers_equals_its_replay(offline, folder):
    saved = nbformat.read(folder / "replays.ipynb", 4).cells[1].outputs[0].data["text/plain"]
    assert " · $0.0000060 · first token " in saved
    assert outcomes(offline)["replays"] == ["PASSED"] * 4


def test_a_request_that_is_not_in_the_cassette_fails(offline):
    assert outcomes(offline)["misses"] == ["FAILED"]
    said = " ".join(offline.split())  # without the folds
    assert "CassetteMiss: This request is not in replays.cassette.jsonl (2 recorded)" in said


def test_the_runs_of_a_tagged_cell_get_the_recorded_samples_in_turn(offline):
    assert outcomes(offline)["samples"] == ["PASSED", "PASSED"]


def test_the_cell_that_spent_money_is_an_error(offline):
    assert outcomes(offline)["spends"] == ["PASSED", "ERROR", "PASSED", "PASSED"]
    assert "ERROR spends.ipynb::Cell 1" in offline
    assert "1 call went to a model instead of the cassette: $0.0000066, where $0" in offline


def test_a_tagged_cell_passes_if_enough_of_its_runs_do(offline):
    assert outcomes(offline)["repeated"] == ["PASSED", "PASSED", "FAILED", "PASSED"]
    assert "It passed in 0 of 2 runs, and 2 of 3 have to." in offline


def test_without_the_option_nothing_changes(plain):
    found = outcomes(plain)
    assert found["passes"] == ["PASSED"]
    assert found["environment"] == ["FAILED"]
    assert found["sanitized"] == ["FAILED"] * 3
    assert found["repeated"] == ["PASSED", "FAILED", "FAILED", "FAILED"]
    assert found["network"] == ["FAILED"]
    assert "NetworkBlocked" not in plain


def test_without_the_option_nothing_is_imported(plain):
    light = "mixmagic mixmagic.core mixmagic.core.keywords"
    assert f"OURS {light} mixmagic.testing mixmagic.testing.pytest_plugin" in plain.splitlines()


def test_papermill_in_a_test_replays_too(folder):
    (folder / "test_reports.py").write_text(PAPERMILL)
    output = check(folder, "test_reports.py")
    assert "1 failed, 2 passed, 1 error" in output
    assert "FAILED test_reports.py::test_report[network]" in output
    assert "NetworkBlocked: The look-up of data.invalid was refused" in output
    assert "ERROR test_reports.py::test_report[spends] - Failed: 1 call went" in output
