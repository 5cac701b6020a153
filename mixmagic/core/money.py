"""Token counts, prices and dollars: exact arithmetic, and amounts as people write them.

May import `errors` alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from fractions import Fraction
from numbers import Rational, Real
from typing import Literal

from mixmagic.errors import BadArguments

# How tokens were counted: by the provider, by the model's own tokenizer here, or not exactly.
Counted = Literal["server", "exact", "estimate"]
# Period of a budget.
Per = Literal["session", "notebook", "day", "month"]

_PER_MILLION = Decimal(1_000_000)
_NANODOLLAR = Decimal("1e-9")
NANO = 1_000_000_000
# Not the current context: a notebook may have changed its precision.
_EXACT = Context(prec=60)
# US dollars in any exact form; a float is read as it is printed.
Dollars = Decimal | Real | float | str

# More dollars are a mistake, and too much for the ledger.
_MOST = 1_000_000
# Every part is bounded, so that no text takes long to read.
_WRITTEN = re.compile(r"\$? ?(\d{1,20}\.?|\d{0,20}\.\d{1,40})(?:e[+-]?\d{1,3})?", re.IGNORECASE)
# From the most to the least reliable.
_SURE: tuple[Counted | None, ...] = (None, "server", "exact", "estimate")


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one call.

    Attributes:
        prompt_tokens: Tokens that went in.
        completion_tokens: Tokens that came out.
        cached_tokens: Tokens of the prompt that the provider read from its cache.
        cache_write_tokens: Tokens of the prompt that the provider wrote to its cache.
        charge: US dollars that the provider reports to charge; `None` if it reports none.
        reasoning_tokens: Tokens of `completion_tokens` that are thinking; 0 if unknown. They change
            no cost, and are not compared.
        counted: `server` if the provider counted; `exact` or `estimate` if we did; `None` if
            nothing was sent.

    Example:
        >>> Usage(9, 5) + Usage(20, 7, cached_tokens=9)
        Usage(prompt_tokens=29, completion_tokens=12, cached_tokens=9, counted='server', ...)
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    counted: Counted | None = "server"
    cache_write_tokens: int = 0
    charge: Decimal | None = None
    reasoning_tokens: int = field(default=0, compare=False)

    def __add__(self, other: Usage) -> Usage:
        """Return the usage of two calls together, only as reliable as the less reliable one."""
        sent = [usage for usage in (self, other) if usage.counted is not None]
        charges = [usage.charge for usage in sent if usage.charge is not None]
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            max(self.counted, other.counted, key=_SURE.index),
            self.cache_write_tokens + other.cache_write_tokens,
            exact_sum(charges) if charges and len(charges) == len(sent) else None,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def estimated(self) -> bool:
        """True if we counted, and not the provider, so that it may bill a different count."""
        return self.counted in ("exact", "estimate")

    @property
    def total_tokens(self) -> int:
        """Tokens in and out."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens.

    Attributes:
        input: For tokens that go in.
        output: For tokens that come out.
        batch: Factor of both in batch jobs.
        cached: For tokens that the provider reads from its cache; `input` if `None`.
        cache_write: For tokens that the provider writes to its cache; `input` if `None`.
        since: The first day of the price; `None` if unknown.
        source: The source of the price.
        above: Tokens of a prompt beyond which the whole call has the price `long`; `None` if its
            length does not matter.
        long: The price of calls with longer prompts.
    """

    input: Decimal
    output: Decimal
    batch: Decimal = Decimal(1)
    cached: Decimal | None = None
    since: date | None = None
    source: str = field(default="", compare=False)
    cache_write: Decimal | None = None
    above: int | None = None
    long: Price | None = None

    def at(self, prompt_tokens: int) -> Price:
        """Return the price of a call with a prompt of so many tokens."""
        is_long = self.long is not None and prompt_tokens > (self.above or 0)
        return self.long if is_long and self.long is not None else self

    @property
    def short(self) -> Price:
        """The price without regard to a prompt's length, for tokens of several calls together."""
        return replace(self, above=None, long=None)

    def cost(self, usage: Usage) -> Decimal:
        """Return the cost of a call's tokens at this price, without regard to `usage.charge`.

        Returns:
            US dollars, rounded to a nanodollar like those in the ledger.

        Example:
            >>> Price(Decimal(1), Decimal(2), cache_write=Decimal("1.25")).cost(
            ...     Usage(1000, 500, cache_write_tokens=1000))
            Decimal('0.002250000')
        """
        price, cached = self.at(usage.prompt_tokens), min(usage.cached_tokens, usage.prompt_tokens)
        written = min(usage.cache_write_tokens, usage.prompt_tokens - cached)
        with localcontext(_EXACT):
            exact = (
                price.input * (usage.prompt_tokens - cached - written)
                + (price.input if price.cached is None else price.cached) * cached
                + (price.input if price.cache_write is None else price.cache_write) * written
                + price.output * usage.completion_tokens
            )
            return (exact / _PER_MILLION).quantize(_NANODOLLAR) or Decimal(0)  # not 0E-9

    def estimates(self, usage: Usage) -> bool:
        """Return True if the cost of `usage` is an estimate: cache writes have no price."""
        price = self.at(usage.prompt_tokens)
        return price.cache_write is None and usage.cache_write_tokens > 0

    def most(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """Return the most US dollars that so many tokens can cost, rounded up to a nanodollar."""
        price = self.at(prompt_tokens)
        known = [each for each in (price.cached, price.cache_write) if each is not None]
        dearest = max([price.input, *known])
        with localcontext(_EXACT):
            exact = dearest * prompt_tokens + price.output * completion_tokens
            return round_up(exact, 1_000_000)

    @property
    def free(self) -> bool:
        """True if no token costs anything."""
        costs = self.input or self.output or self.cached or self.cache_write
        return not costs and (self.long is None or self.long.free)


def bill(usage: Usage, price: Price | None) -> Decimal | None:
    """Return the US dollars for `usage`: the provider's charge, else its tokens at `price`.

    Returns:
        `None` if neither a charge nor a price is known.

    Example:
        >>> bill(Usage(1000, 500, charge=Decimal("0.0042")), None)
        Decimal('0.0042')
    """
    if usage.charge is not None:
        return usage.charge
    return None if price is None else price.cost(usage)


def round_up(amount: Decimal, per: int = 1) -> Decimal:
    """Return an amount, of which `per` make a dollar, as dollars, rounded up to a nanodollar."""
    with localcontext(_EXACT):
        return (amount / per).quantize(_NANODOLLAR, ROUND_CEILING)


def to_nano(dollars: Decimal) -> int:
    """Return dollars as nanodollars, truncated."""
    return int(_EXACT.multiply(dollars, NANO))


def from_nano(nanodollars: int) -> Decimal:
    """Return nanodollars as dollars."""
    return _EXACT.divide(Decimal(nanodollars), NANO)


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """Return the sum of dollars, without rounding."""
    with localcontext(_EXACT):
        return sum(values, Decimal(0))


def format_column(values: Sequence[Decimal | None], rounding: str = ROUND_HALF_EVEN) -> list[str]:
    """Return dollars for a column, all with the same number of decimals.

    There are at least two, as many as the smallest amount needs for two significant digits, and at
    most nine, like in the ledger. `$0` is exactly 0, never a rounded amount. Every amount that a
    user sees is written by this rule, but for limits: see `format_limit`.
    """
    smallest = min((value.adjusted() for value in values if value), default=0)
    digits = min(max(2, 1 - smallest), 9)
    return [_amount(value, digits, rounding) for value in values]


def format_dollars(value: Decimal | None, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return dollars for people, as `format_column` has them; `price unknown` for `None`.

    Example:
        >>> format_dollars(Decimal("0.0008076"))
        '$0.00081'
    """
    return format_column([value], rounding)[0]


def format_most(value: Decimal) -> str:
    """Return dollars that are an upper limit, such as a worst case: rounded up.

    Example:
        >>> format_most(Decimal("0.0197328"))
        '$0.020'
    """
    return format_dollars(value, ROUND_CEILING)


def format_least(value: Decimal) -> str:
    """Return dollars that are there at least, such as what remains of a budget: rounded down.

    Example:
        >>> format_least(Decimal("0.4992476"))
        '$0.49'
    """
    return format_dollars(value, ROUND_FLOOR)


def format_limit(value: Decimal) -> str:
    """Return the dollars of a limit, exactly as they were set.

    Example:
        >>> format_limit(Decimal("0.0125"))
        '$0.0125'
    """
    exact = f"{value.copy_abs():.9f}".rstrip("0")
    whole, _, decimals = exact.partition(".")
    return f"{'-' if value < 0 else ''}${int(whole):,}.{decimals.ljust(2, '0')}"


def _amount(value: Decimal | None, digits: int, rounding: str) -> str:
    if not value:
        return "price unknown" if value is None else "$0"
    with localcontext(_EXACT):
        rounded = value.quantize(Decimal(1).scaleb(-digits), rounding)
        return f"{'-' if value < 0 else ''}${rounded.copy_abs():,f}"


@dataclass(frozen=True, slots=True)
class Budget:
    """A spending limit that calls share, such as those of a cell with `--budget`.

    Attributes:
        limit: US dollars.
        id: Random identifier: two budgets of the same limit differ.

    Raises:
        BadArguments: The limit is not a `Decimal`, or is below 0.
    """

    limit: Decimal
    id: str = field(default_factory=lambda: os.urandom(8).hex())

    def __post_init__(self) -> None:
        limit = self.limit
        if not isinstance(limit, Decimal) or not limit.is_finite() or limit < 0:
            raise BadArguments(
                f"A Budget's limit cannot be {limit!r:.40}.", "It takes a Decimal of US dollars."
            )


def parse_dollars(value: object) -> Decimal:
    """Read an amount of US dollars: a number, or a text such as `0.50`, `$2` or `1e-3`.

    Raises:
        BadArguments: It is not an amount from 0 to a million.

    Example:
        >>> parse_dollars("$0.50")
        Decimal('0.50')
    """
    read = _to_number(value)
    if read is None or not 0 <= read <= _MOST:
        raise BadArguments(
            f"An amount of dollars cannot be {_quoted(value)}.",
            f"It is a number from 0 to {_MOST:,}, written as in 0.50.",
        )
    exponent = read.as_tuple().exponent
    # The ledger has nanodollars, and the file of budgets only what it can read again.
    return from_nano(to_nano(read)) if exponent < -9 else read.copy_abs()  # type: ignore[operator]  # it is finite


def _to_number(value: object) -> Decimal | None:
    """Return the number that a value stands for; `None` if it is not a number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, Rational):
        exact = Fraction(int(value.numerator), int(value.denominator))  # numpy's overflow
        # Compared before it is converted, since it may have any number of digits.
        return from_nano(int(exact * NANO)) if 0 <= exact <= _MOST else None
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
    """Return a value, shortened for a message."""
    try:
        return f"{value!r:.40}"
    except ValueError:  # an integer of too many digits
        return "an integer that long"
