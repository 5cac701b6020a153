"""Run a notebook offline, on its cassette, and compare the outputs.

They are compared with those that are saved in the notebook. No key is used and nothing is sent.
Times, costs and dates in the lines below answers are not compared, nor are pictures and pages. The
status is 1 if a cell fails or differs.
"""

from __future__ import annotations

import copy
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.backends.http import guard
from mixmagic.commands import Out, _notebooks, _samples
from mixmagic.commands._parser import Parser
from mixmagic.core import files
from mixmagic.errors import StoreError, counted
from mixmagic.tasks import notebooks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbformat import NotebookNode

    from mixmagic.sessions import Session

ONLY_IN = "shell"
# Lines of the differences of a cell that are printed, and characters of each.
_LINES, _WIDTH = 12, 160
# Tags of cells whose outputs are not compared, as nbval has them.
_IGNORED = {"nbval-ignore-output", "nbval-skip", "nbval-raises-exception"}


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = _notebooks.add_arguments(Parser(prog, __doc__))
    args.add("--timeout", type=int, metavar="SECONDS", help="time limit of each cell")
    return args


def run(session: Session, options: Namespace, out: Out) -> int:
    """Print the cells that fail or differ; return 1 if there are any, else 0."""
    path: Path = options.notebook
    saved = notebooks.read(path)
    cassette = _notebooks.cassette_of(saved, path, options.cassette)
    if not cassette.exists():
        raise StoreError(
            f"There is no cassette {cassette.name}.",
            f"Record it: `mixmagic record {files.typed(path)}`.",
        )
    ran = copy.deepcopy(saved)
    broken = replay(session, ran, path, cassette, keep_going=True, timeout=options.timeout)
    failed = dict(_notebooks.failures(ran))
    pairs = [
        pair for pair in zip(saved.cells, ran.cells, strict=True) if pair[0].cell_type == "code"
    ]
    wrong = 0
    for number, (before, after) in enumerate(pairs, 1):
        lines = [failed[number]] if number in failed else _compared(before, after)
        if lines:
            wrong += 1
            out.print(f"Cell {number} {'fails' if number in failed else 'differs'}:")
            for line in lines[:_LINES]:
                out.write(f"  {line[:_WIDTH]}")
    if broken:
        out.print(f"The run broke off: {broken}")
    if wrong or broken:
        out.print(f"{wrong} of {counted(len(pairs), 'cell')} failed or differed.")
        return 1
    unknown = sum(before.execution_count is None for before, _ in pairs)
    result = f"{unknown} without saved outputs to compare" if unknown else "as saved"
    out.print(f"{counted(len(pairs), 'cell')} replayed from {cassette.name}, {result}.")
    return 0


def replay(
    session: Session,
    notebook: NotebookNode,
    path: Path,
    cassette: Path,
    *,
    keep_going: bool,
    timeout: int | None = None,
) -> str:
    """Run a notebook on a cassette, without keys and with a home of its own.

    The arguments, and what is returned, are those of `_notebooks.run`.
    """
    env = {
        name: value
        for name, value in session.backends.access.environment().items()
        if not name.startswith("MIXMAGIC_")
    }
    with tempfile.TemporaryDirectory(prefix="mixmagic-", ignore_cleanup_errors=True) as home:
        env |= {
            "MIXMAGIC_HOME": home,
            "MIXMAGIC_CASSETTE": str(cassette),
            "MIXMAGIC_CASSETTE_MODE": "none",
            **guard.variables(env),
        }
        return _notebooks.run(notebook, path, env, keep_going=keep_going, timeout=timeout)


def _compared(before: NotebookNode, after: NotebookNode) -> list[str]:
    """Return the differences of the outputs of a cell, as lines; none if it was never run."""
    from difflib import unified_diff

    if _IGNORED & set(_notebooks.tags(before)) or before.execution_count is None:
        return []
    if _samples.runs(before):  # each run has another answer
        return []
    one, two = _shown(before.outputs), _shown(after.outputs)
    if one == two:
        return []
    compared = unified_diff(one, two, "saved", "replayed", lineterm="", n=1)
    return [line for line in compared if not line.startswith(("---", "+++", "@@"))]


def _shown(outputs: Sequence[Any]) -> list[str]:
    """Return the text of outputs, as lines, without what differs from run to run."""
    texts = _notebooks.comparable(outputs, lambda data: str(data.get("text/plain", "")))
    return "\n".join(texts).splitlines()
