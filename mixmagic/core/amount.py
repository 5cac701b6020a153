"""Amounts of US dollars, as people and programs write them.

Imports nothing of the project but `money` and its exceptions.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from numbers import Rational, Real

from mixmagic.core.money import NANO, dollars, nano
from mixmagic.errors import BadArguments

# US dollars, in any form that is exact: a float is read as it is written.
Dollars = Decimal | Real | float | str

# More is a mistake, and too much for the ledger.
_MOST = 1_000_000
# Bounded in every part, so that no text takes long to read.
_WRITTEN = re.compile(r"\$? ?(\d{1,20}\.?|\d{0,20}\.\d{1,40})(?:e[+-]?\d{1,3})?", re.IGNORECASE)


def amount(value: object) -> Decimal:
    """Read an amount of US dollars: a number, or a text such as `0.50`, `$2` or `1e-3`.

    Raises:
        BadArguments: It is not an amount from 0 to a million.

    Example:
        >>> amount("$0.50")
        Decimal('0.50')
    """
    read = _read(value)
    if read is None or not 0 <= read <= _MOST:
        raise BadArguments(
            f"An amount of dollars cannot be {_quoted(value)}.",
            f"It is a number from 0 to {_MOST:,}, written as in 0.50.",
        )
    exponent = read.as_tuple().exponent
    # The ledger keeps nanodollars, and a file of budgets what it can read again.
    return dollars(nano(read)) if exponent < -9 else read.copy_abs()  # type: ignore[operator]  # it is finite


def _read(value: object) -> Decimal | None:
    """The number that a value stands for; `None` if it is not one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, Rational):
        exact = Fraction(int(value.numerator), int(value.denominator))  # numpy's overflow
        # Compared before it is written out: it may have any number of digits.
        return dollars(int(exact * NANO)) if 0 <= exact <= _MOST else None
    if isinstance(value, Real):
        if value == 0:
            return Decimal(0)  # and not -0
        value = str(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if not text.isascii() or not _WRITTEN.fullmatch(text):
        return None
    return Decimal(text.removeprefix("$").strip())


def _quoted(value: object) -> str:
    """A value, shortened for a message."""
    try:
        return f"{value!r:.40}"
    except ValueError:  # an integer of too many digits to be written
        return "an integer that long"
