"""Notebooks for commands: run them in a kernel, find their cassettes.

nbclient, which is an extra, is imported when it is needed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.calls.footers import without_varying
from mixmagic.commands import _samples
from mixmagic.core.notebook import VARIABLE, canonical
from mixmagic.errors import BadArguments, one_line
from mixmagic.tasks import notebooks
from mixmagic.tasks.player import below, beside

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from mixmagic.commands._parser import Parser

# The notebook's own line.
_LINE = re.compile(r"^[ \t]*%mixmagic[ \t]+cassette[ \t]+(\S.*)$", re.MULTILINE)


def add_arguments(parser: Parser) -> Parser:
    """Add the notebook and its cassette to a command's arguments; return the parser."""
    parser.add("notebook", type=Path, metavar="NOTEBOOK", help="the notebook, NAME.ipynb")
    parser.add("--cassette", type=Path, metavar="FILE", help="default: the file of its line"
        " `%%mixmagic cassette FILE`, or NAME.cassette.jsonl beside it")  # fmt: skip
    return parser


def cassette_of(notebook: NotebookNode, path: Path, named: Path | None = None) -> Path:
    """Return the path of a notebook's cassette: as named, of its own line, or beside it."""
    if named is not None:
        return named.absolute()
    itself = Path(canonical(str(path)))  # as its kernel knows it, if it is a link
    return below(itself.parent, _own_file(notebook) or beside(itself))


def _own_file(notebook: NotebookNode) -> str:
    """Return the file that a line of the notebook names; empty if none does."""
    from mixmagic.commands import cassette
    from mixmagic.commands._parser import HelpAsked, split

    parser = cassette.parser("%mixmagic cassette")
    for cell in notebook.cells:
        for line in _LINE.finditer(cell.source) if cell.cell_type == "code" else ():
            with contextlib.suppress(BadArguments, HelpAsked):  # that cell fails, as it should
                file = parser.parse_args(split(line[1])).file
                if file not in (None, "", "off"):
                    return str(file)
    return ""


def run(
    notebook: NotebookNode,
    path: Path,
    environment: Mapping[str, str],
    *,
    keep_going: bool,
    before_cell: Callable[[int, NotebookNode], None] = lambda _number, _cell: None,
    timeout: int | None = None,
) -> str:
    """Run a notebook in a kernel of this Python; its outputs are replaced.

    Args:
        notebook: The notebook.
        path: Its file, in whose folder it runs.
        environment: The environment of the kernel.
        keep_going: True to run the cells after one that fails, too.
        before_cell: Called with the number of a code cell, from 1, and the cell.
        timeout: Seconds that a cell may take; no limit if `None`.

    Returns:
        The error of the cell that failed, in one line; an empty string if none did.

    Raises:
        MissingPackage: nbclient is not installed.
    """
    try:
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

        from mixmagic.commands._run_notebook import Client
    except ImportError as error:
        raise notebooks.missing(str(error.name)) from None
    numbers = {
        id(cell): number
        for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1)
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None

    def started(cell: NotebookNode, cell_index: int) -> None:
        if id(cell) in numbers:
            before_cell(numbers[id(cell)], cell)

    client = Client(
        notebook,
        resources={"metadata": {"path": str(path.absolute().parent)}},
        timeout=timeout,
        allow_errors=keep_going,
        on_cell_start=started,
        skip_cells_with_tag="nbval-skip",
    )
    named = {**environment, VARIABLE: canonical(str(path))}
    try:
        with _samples.repeated(notebook):
            client.execute(env=named)
    except CellExecutionError as error:
        return one_line(f"{error.ename}: {error.evalue}", 300)
    except (CellTimeoutError, DeadKernelError) as error:
        return one_line(error, 300)
    # A cell that is run several times does not end the run.
    return "" if keep_going else next((text for _, text in failures(notebook)), "")


def failures(notebook: NotebookNode) -> list[tuple[int, str]]:
    """Return the numbers and the errors of the cells that failed and must not."""
    found, number = [], 0
    for cell in notebook.cells:
        number += cell.cell_type == "code"
        if cell.cell_type != "code" or "raises-exception" in tags(cell):
            continue
        found += [
            (number, one_line(f"{output.ename}: {output.evalue}", 300))
            for output in cell.outputs
            if output.output_type == "error"
        ]
    return found


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return [str(tag).lower() for tag in cell.metadata.get("tags", ())]


def comparable(
    outputs: Iterable[Mapping[str, Any]], of_data: Callable[[Mapping[str, Any]], str]
) -> list[str]:
    """Return the outputs of a cell as texts, without what differs from run to run.

    Args:
        outputs: The outputs; what was printed in several pieces is one text.
        of_data: Returns the text of a result, or of something displayed, by its formats.
    """
    from mixmagic.layers.take import ADDRESS

    streams: dict[str, str] = {}
    shown: list[str] = []
    for output in outputs:
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + output["text"]
        elif output["output_type"] == "error":
            shown.append(f"{output['ename']}: {output['evalue']}")
        else:
            shown.append(of_data(output["data"]))
    return [ADDRESS.sub("0x…", without_varying(text)) for text in (*streams.values(), *shown)]
