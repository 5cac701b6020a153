"""Run a notebook and its translation, and compare the outputs of their code cells."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixmagic.commands import _notebooks
from mixmagic.errors import counted
from mixmagic.tasks import notebooks

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True, slots=True)
class Proof:
    """The comparison of a notebook's run with that of its translation.

    Attributes:
        cells: Code cells.
        different: The numbers of the cells, from 1 among all, whose outputs differ.
        unstable: Those whose outputs differ also between two runs of the source alone.
        failed: The numbers and errors of the cells that fail in the translation alone.
        broken: The reason why a run broke off; empty if none did.
    """

    cells: int
    different: Sequence[int] = ()
    unstable: Sequence[int] = ()
    failed: Sequence[tuple[int, str]] = ()
    broken: str = ""

    @property
    def is_equal(self) -> bool:
        """True if no output differs that could be compared."""
        return not (self.different or self.failed or self.broken)

    def __str__(self) -> str:
        cells = counted(self.cells, "code cell")
        if self.broken:
            return f"not proved: the run broke off: {self.broken}"
        if self.failed:
            number, error = self.failed[0]
            return f"not equal: cell {number} fails in the translation: {error}"
        if self.different:
            listed = ", ".join(map(str, self.different))
            return f"not equal: the outputs of {listed} differ, of {cells}"
        if not self.unstable:
            return f"proved equal: {cells}"
        listed = ", ".join(map(str, self.unstable))
        return f"proved equal: {cells}, but for {listed}, which differ in each run"


def prove(source: Path, translation: Path, timeout: int | None = None) -> Proof:
    """Run a notebook and its translation, and compare the outputs of their code cells.

    The source is run once more if an output differs: one that differs there, too, says nothing.

    Args:
        source: The notebook.
        translation: Its translation.
        timeout: Seconds that a cell may take; no limit if `None`.

    Raises:
        BadArguments: One of them cannot be read.
        MissingPackage: nbclient is not installed.

    Example:
        >>> str(prove(Path("lesson.ipynb"), Path("lesson.fr.ipynb")))
        'proved equal: 42 code cells'
    """
    one, broken = _run(source, timeout)
    two, broken_too = _run(translation, timeout)
    numbers = [n for n, cell in enumerate(one.cells) if cell.cell_type == "code"]
    if broken or broken_too or len(two.cells) < len(one.cells):
        return Proof(len(numbers), broken=broken or broken_too or "cells are missing")
    fails = {number for number, _ in _notebooks.failures(one)}
    failed = [
        (numbers[number - 1] + 1, error)
        for number, error in _notebooks.failures(two)
        if number not in fails
    ]
    different = _different(numbers, one, two)
    unstable: Sequence[int] = ()
    if different:
        three, _ = _run(source, timeout)
        unstable = _different(numbers, one, three)
        different = [number for number in different if number not in unstable]
    return Proof(len(numbers), different, unstable, failed)


def _run(path: Path, timeout: int | None) -> tuple[NotebookNode, str]:
    """Return a notebook with the outputs of a run, and the reason why that broke off."""
    notebook = copy.deepcopy(notebooks.read(path))
    return notebook, _notebooks.run(
        notebook, path, dict(os.environ), keep_going=True, timeout=timeout
    )


def _different(numbers: Sequence[int], one: NotebookNode, two: NotebookNode) -> list[int]:
    return [
        number + 1
        for number in numbers
        if _all(one.cells[number].outputs) != _all(two.cells[number].outputs)
    ]


def _all(outputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return outputs in all their formats as texts."""
    return _notebooks.comparable(outputs, lambda data: json.dumps(data, sort_keys=True))
