"""One thing that is wrong with a translation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a translation.

    Attributes:
        kind: A short name: `number`, `link`.
        message: A sentence for people and models alike.

    Example:
        >>> Fault("number", "The number 1,250 is missing.").message
        'The number 1,250 is missing.'
    """

    kind: str
    message: str
