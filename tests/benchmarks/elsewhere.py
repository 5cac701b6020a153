"""Notebooks of installed packages, recorded here and replayed in a second environment.

    python tests/benchmarks/elsewhere.py

Cells that ask the embedded model are added to five notebooks that papermill ships. `mixmagic
record` runs them here. Then pytest replays them in a new virtual environment (half a minute), which
has mixmagic without extras, nbval and pytest: with another home and another default model, without
keys, and without a network if the system can give it none. Prints one line for each notebook, and
fails if a cell does.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

_PROJECT = Path(__file__).parents[2]
_LOAD = "import mixmagic\n%load_ext mixmagic\n%mixmagic use local"
_THREADS = """
from concurrent.futures import ThreadPoolExecutor

def ask(prompt):
    return mixmagic.ask(prompt, temperature=1, max_tokens=12).text

with ThreadPoolExecutor(4) as pool:
    texts = list(pool.map(ask, ["Say one word.", "Name a tree.", "Name a color."]))
texts
"""
# Of each notebook, the cells that are added at its end.
_CELLS = {
    "result_no_exec": [
        "%%mixtral -t 0 --max-tokens 40 -o answer\nWhat is in this list?\n\n{{ [foo, bar] }}",
        "answer.text, answer.usage.completion_tokens, answer.cost",
    ],
    "nb_version_4.4": [
        "%mixtral --max-tokens 20 Name a number that is larger than one.",
        "%mixtral --max-tokens 20 Name a number that is larger than one.",
    ],
    "no_parameters": [
        "%%mixtral -n 2 -t 1 --max-tokens 12 -o answers\nName a color.",
        "[answers.text, *answers.others]",
    ],
    "report_mode_test": [
        _THREADS,
        "for piece in mixmagic.stream('Count to five.', max_tokens=20):\n    print(piece, end='')",
        "%%mixtral -t 0 --max-tokens 30\nWhat does this function do?\n\n{{ sum }}",
    ],
    "test_notebooknode_io": [
        "%%mixtral -c talk -t 0 --max-tokens 20\nMy name is Ann.",
        "%%mixtral -c talk -t 0 --max-tokens 20\nWhat is my name?",
        "%%mixtral -f code -t 0 --max-tokens 60 -o source\nWrite a Python function double(n).",
        "source",
    ],
}


def _add_cells(folder: Path) -> None:
    """Copy the notebooks into a folder, with the cells added."""
    shipped = {Path(file).stem: file for file in importlib.metadata.files("papermill") or ()}
    for name, sources in _CELLS.items():
        notebook = nbformat.read(shipped[name].locate(), 4)
        added = [new_code_cell(source) for source in [_LOAD, *sources]]
        if notebook.nbformat_minor < 5:
            for cell in added:
                del cell["id"]
        notebook.cells = [added[0], *notebook.cells, *added[1:]]
        nbformat.write(notebook, folder / f"{name}.ipynb")


def _record(path: Path) -> None:
    words = [str(Path(sys.executable).with_name("mixmagic")), "record", "--inplace", str(path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    if ran.returncode:
        sys.exit(f"{path.name} cannot be recorded:\n{ran.stdout}{ran.stderr}")


def _new_environment(folder: Path) -> Path:
    """Return the Python of a new virtual environment with mixmagic and nbval."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    words = [str(python), "-m", "pip", "install", "-q", str(_PROJECT), "nbval"]
    subprocess.run(words, check=True, timeout=900)
    return python


def _without_network() -> list[str]:
    """Return the beginning of a command that runs without a network; nothing if impossible."""
    words = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError):
        return []
    return words


def main() -> int:
    """Record and replay; return 1 if a cell fails."""
    with tempfile.TemporaryDirectory(prefix="mixmagic-") as name:
        folder, home = Path(name, "notebooks"), Path(name, "home")
        folder.mkdir()
        home.mkdir()
        _add_cells(folder)
        for path in sorted(folder.glob("*.ipynb")):
            _record(path)
        python = _new_environment(Path(name, "environment"))
        bare, wrong = _without_network(), 0
        print(f"{'notebook':24} cells  answers  passed  seconds  {'no network' if bare else ''}")
        for path in sorted(folder.glob("*.ipynb")):
            lines = path.with_suffix(".cassette.jsonl").read_text("utf-8").splitlines()
            begun = time.monotonic()
            ran = subprocess.run(
                [
                    *(*bare, str(python), "-m", "pytest", "-q", "--color=no", "--rootdir", name),
                    *("--nbval", "--nbval-current-env", "--mixmagic-cassette=none", str(path)),
                ],
                env={
                    "HOME": str(home),
                    "PATH": os.environ["PATH"],
                    "MIXMAGIC_MODEL": "fireworks:8x22b",
                    "FIREWORKS_API_KEY": "sk-of-another",
                },
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
            passed = re.search(r"(\d+) passed", ran.stdout)
            cells = sum(c["cell_type"] == "code" for c in json.loads(path.read_text())["cells"])
            print(
                f"{path.stem:24} {cells:5}  {len(lines):7}  {passed[1] if passed else '0':>6}"
                f"  {time.monotonic() - begun:7.1f}"
            )
            if ran.returncode:
                wrong = 1
                print(ran.stdout, ran.stderr)
        return wrong


if __name__ == "__main__":
    sys.exit(main())
