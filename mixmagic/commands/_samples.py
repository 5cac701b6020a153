"""Cells that are run several times, since a model's answers differ: tagged `mixmagic-2-of-3`."""

from __future__ import annotations

import contextlib
import copy
import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mixmagic.errors import BadArguments

if TYPE_CHECKING:
    from nbformat import NotebookNode

_TAG = re.compile(r"mixmagic-(\d{1,3})-of-(\d{1,3})", re.IGNORECASE)
# With this tag, nbclient does not end the run at an error.
_MAY_FAIL = "raises-exception"


def runs(cell: NotebookNode) -> tuple[int, int] | None:
    """Return how many runs of a cell have to pass, and how many there are; `None` without a tag.

    Raises:
        BadArguments: The tag's numbers are not valid.
    """
    for tag in cell.metadata.get("tags", ()):
        if match := _TAG.fullmatch(str(tag)):
            least, most = int(match[1]), int(match[2])
            if not 1 <= least <= most:
                raise BadArguments(
                    f"{tag!r} is not a valid tag of a cell.",
                    "Write `mixmagic-2-of-3` if two of three runs have to pass.",
                )
            return least, most
    return None


@contextlib.contextmanager
def repeated(notebook: NotebookNode) -> Iterator[None]:
    """Let a notebook have each tagged cell as often as it is run, in this block.

    Afterwards each has the outputs of its first run that passed; of its first run that failed, if
    too few have passed.
    """
    original = list(notebook.cells)
    samples = {index: found for index, cell in enumerate(original) if (found := runs(cell))}
    before = {index: original[index].metadata.tags for index in samples}
    repeats: dict[int, list[NotebookNode]] = {}
    cells: list[NotebookNode] = []
    for index, cell in enumerate(original):
        cells.append(cell)
        if index in samples:
            cell.metadata.tags = [*before[index], _MAY_FAIL]
            repeats[index] = [_again(cell) for _ in range(samples[index][1] - 1)]
            cells += repeats[index]
    notebook.cells = cells
    try:
        yield
    finally:
        notebook.cells = original
        for index, (least, _) in samples.items():
            cell = original[index]
            cell.metadata.tags = before[index]
            every = [cell, *repeats[index]]
            passed = [run for run in every if not _failed(run)]
            failed = [run for run in every if _failed(run)]
            cell.outputs = (passed if len(passed) >= least else failed)[0].outputs


def _again(cell: NotebookNode) -> NotebookNode:
    """Return another cell with the same source, which a cassette numbers as one of its own."""
    other = copy.deepcopy(cell)
    if "id" in cell:
        other.id = uuid.uuid4().hex[:8]
    return other


def _failed(cell: NotebookNode) -> bool:
    return any(output.output_type == "error" for output in cell.outputs)
