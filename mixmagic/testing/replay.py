"""The environment in which a notebook's kernel replays its cassette, and what it spends there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixmagic.backends.http import guard
from mixmagic.core import notebook as notebooks
from mixmagic.core.money import format_dollars
from mixmagic.errors import counted
from mixmagic.store.ledger.ledger import Ledger
from mixmagic.store.ledger.spend import Spent, total


class Replay:
    """The replay of one notebook.

    Args:
        mode: The cassette's mode. With `none` the kernel has no network, and a home of its own:
            the person's settings and earlier calls do not count.
        notebook: The notebook's path.
    """

    def __init__(self, mode: str, notebook: Path | str) -> None:
        self._variables = {
            "MIXMAGIC_CASSETTE_MODE": mode,
            "MIXMAGIC_LIVE": "0",  # nbval sees no updates of an output
            notebooks.VARIABLE: str(Path(notebook).absolute()),
        }
        self._spent = _NOTHING
        self._home: tempfile.TemporaryDirectory[str] | None = None
        if mode == "none":
            self._home = tempfile.TemporaryDirectory(prefix="mixmagic-", ignore_cleanup_errors=True)
            self._variables["MIXMAGIC_HOME"] = self._home.name

    @contextlib.contextmanager
    def environment(self) -> Iterator[None]:
        """Give the kernels that are started in this block their environment."""
        variables = self._variables
        if self._home is not None:  # a kernel is guarded from its start
            variables = {**variables, **guard.variables(os.environ)}
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def check(self) -> None:
        """Fail the test if money was spent since the last check, or may have been.

        With another mode than `none`, a person has allowed it.
        """
        if self._home is None:
            return
        before, self._spent = self._spent, _spent(Path(self._home.name))
        calls = self._spent.calls - before.calls
        cost = self._spent.cost + self._spent.held - before.cost - before.held
        unpriced = self._spent.unpriced - before.unpriced
        if cost or unpriced:
            amount = format_dollars(cost if cost else None)
            pytest.fail(
                f"{counted(calls, 'call')} went to a model instead of the cassette:"
                f" {amount}, where $0 was expected.\n"
                "Hint: the notebook changes MIXMAGIC_CASSETTE_MODE, or its session's settings.",
                pytrace=False,
            )

    def close(self) -> None:
        """Remove the home."""
        if self._home is not None:
            self._home.cleanup()


_NOTHING = total([])


def _spent(home: Path) -> Spent:
    """Return what all sessions in a home have spent."""
    data = home / "data"
    if not (data / "ledger.db").exists():
        return _NOTHING
    with contextlib.closing(Ledger(data, session="")) as ledger:
        return total(ledger.spent("all"))
