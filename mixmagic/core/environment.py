"""A value that tells if the environment has changed: every call looks at it several times."""

from __future__ import annotations

import os

from mixmagic.core.sealed import sealed


def version() -> object:
    """Return a value that changes when a variable of the environment does; it reveals none.

    Example:
        >>> version() == version()
        True
    """
    with sealed():
        # The dict behind `os.environ`, if it is there: to decode each name takes 20 times as long.
        variables = getattr(os.environ, "_data", os.environ).copy()
        return hash(frozenset(variables.items()))
