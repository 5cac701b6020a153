"""pytest's hooks for notebooks: their kernels' environment, comparison and repeated cells."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mixmagic.calls.footers import VARYING
from mixmagic.commands._samples import runs
from mixmagic.errors import BadArguments
from mixmagic.testing.replay import Replay


class Notebooks:
    """The hooks, for cells of nbval and notebooks of nbmake.

    Args:
        mode: The mode of the cassettes.
    """

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._replays: dict[Path, Replay] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Prepare the cells that nbval has collected."""
        for item in items:
            patterns = getattr(item.parent, "sanitize_patterns", None)
            if patterns is None:
                continue
            # nbval adds the person's own file to these before it runs the first cell.
            patterns.update(VARYING)
            _repeat_if_tagged(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Run the cell, or the notebook, in its environment."""
        if item.path.suffix != ".ipynb":
            return (yield)
        with self._replay(item.path).environment():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Check that the cell, or the notebook, has spent nothing."""
        yield
        if item.path.suffix == ".ipynb":
            self._replay(item.path).check()

    def pytest_unconfigure(self) -> None:
        """Remove the kernels' homes."""
        for replay in self._replays.values():
            replay.close()

    def _replay(self, path: Path) -> Replay:
        if path not in self._replays:
            self._replays[path] = Replay(self._mode, path)
        return self._replays[path]


def _repeat_if_tagged(cell: Any) -> None:
    """Let a cell of nbval's pass if enough of its runs do, if it has such a tag."""
    try:
        found = runs(cell.cell)
    except BadArguments as error:
        raise pytest.UsageError(f"{cell.nodeid}: {error.message} {error.hint}") from None
    if found is not None:
        cell.options["check"] = False  # each run has another answer
        cell.runtest = partial(_run_repeatedly, cell, cell.runtest, *found)


def _run_repeatedly(cell: Any, run: Callable[[], None], least: int, most: int) -> None:
    """Run a cell until `least` runs have passed; raise the error that makes this impossible."""
    passed = failed = 0
    while passed < least:
        try:
            run()
            passed += 1
        except Exception:
            failed += 1
            if failed > most - least or cell.parent.timed_out:
                runs = f"{passed} of {passed + failed} runs, and {least} of {most} have to"
                cell.add_report_section("call", "mixmagic", f"It passed in {runs}.")
                raise
