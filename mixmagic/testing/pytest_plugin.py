"""The options and fixtures that pytest gets: `pytest --nbval --mixmagic-cassette=none notebooks/`.

pytest imports this module in every run, so it imports nothing of the project until it is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_MODES = ("none", "once", "new", "all")
_HELP = (
    "the answers of models come from each notebook's cassette; none: only from there, with the"
    " network blocked and $0 spent; once, new or all: what is missing is asked, paid and recorded"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--mixmagic-cassette`."""
    group = parser.getgroup("mixmagic", "notebooks that ask models")
    group.addoption("--mixmagic-cassette", choices=_MODES, metavar="MODE", help=_HELP)


def pytest_configure(config: pytest.Config) -> None:
    """Register the hooks for notebooks, if the option is used."""
    if mode := config.getoption("mixmagic_cassette"):
        from mixmagic.testing.notebooks import Notebooks

        config.pluginmanager.register(Notebooks(mode), "mixmagic-notebooks")


@pytest.fixture
def mixmagic_replay() -> Iterator[Callable[[Path | str], None]]:
    """Replay a notebook that the test runs itself, with papermill, nbclient or testbook.

    Call it with the notebook's path before the kernel starts. Until the end of the test, kernels
    replay this notebook's cassette, with the network blocked; then $0 must have been spent.

    Example:
        >>> def test_report(mixmagic_replay, tmp_path):
        ...     mixmagic_replay("report.ipynb")
        ...     papermill.execute_notebook("report.ipynb", tmp_path / "out.ipynb")
    """
    from mixmagic.testing.replay import Replay

    with contextlib.ExitStack() as stack:

        def replay(notebook: Path | str) -> None:
            replayed = stack.enter_context(contextlib.closing(Replay("none", notebook)))
            stack.callback(replayed.check)
            stack.enter_context(replayed.environment())

        yield replay
