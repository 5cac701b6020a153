"""The limits on what may be spent, apart from the record of it: a damaged ledger loses none.

May be imported by `layers` and what stands above it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal, NamedTuple

from mixmagic import files
from mixmagic.bounds import Bound, cheaper
from mixmagic.errors import BadArguments, BudgetExceeded, StoreError
from mixmagic.money import NANO, Budget, Per, dollars, nano
from mixmagic.values import Request

# US dollars, in any form that is exact: a float is read as it is written.
Dollars = Decimal | float | str

PERIODS: dict[Per, str] = {
    "session": "this session's budget",
    "notebook": "this notebook's budget",
    "day": "today's budget",
    "month": "this month's budget",
}
# More is a mistake, and too much for the ledger.
_MOST = Decimal(1_000_000)


class Cap(NamedTuple):
    """One limit that holds for a call.

    Attributes:
        per: What it limits the spending of: a period, a notebook, or the calls of one cell.
        key: Which one, as in the ledger: `2026-11-24`.
        limit: US dollars.
        name: What people call it: `today's budget`.
        cure: How it is raised.
    """

    per: Per | Literal["cell"]
    key: str
    limit: Decimal
    name: str
    cure: str


@dataclass(frozen=True, slots=True)
class Left:
    """What a limit has left.

    Attributes:
        cap: The limit.
        spent: US dollars that calls have cost, lost ones at their most.
        held: US dollars that calls under way may cost at most.
    """

    cap: Cap
    spent: Decimal
    held: Decimal

    @property
    def left(self) -> Decimal:
        """US dollars that may still be spent; less than 0 where the limit was set too late."""
        return dollars(nano(self.cap.limit) - nano(self.spent) - nano(self.held))


class Budgets:
    """The limits of one session, and those that all of this user's sessions share.

    Args:
        path: The file of those that are shared; it need not exist.
        settings: US dollars per period, from the settings file: they hold besides the others.
    """

    def __init__(self, path: Path, settings: Mapping[Per, Decimal]) -> None:
        self.path = path
        self._settings = settings
        self._session: Decimal | None = None
        self._read: tuple[object, dict[str, Decimal]] = (None, {})

    @property
    def session(self) -> Decimal | None:
        """What this session may cost."""
        limits = (self._session, self._settings.get("session"))
        return min((limit for limit in limits if limit is not None), default=None)

    def set(self, per: Per, limit: Decimal | None, notebook: str | None) -> None:
        """Set a limit, or take it off; whoever calls keeps other processes from doing the same.

        Raises:
            BadArguments: The notebook is not known.
            StoreError: The file cannot be written; what it says stays as it was.
        """
        if per == "session":
            self._session = limit
            return
        name = f"notebook:{_known(notebook)}" if per == "notebook" else per
        shared = self._shared() | ({} if limit is None else {name: limit})
        if limit is None:
            shared.pop(name, None)
        texts = {key: str(value) for key, value in shared.items()}
        try:
            files.write(self.path, json.dumps(texts, indent=1))
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written: {error.strerror}; the budget stays as it was.",
                "Check the disk's free space and the folder's permissions.",
            ) from None

    def caps(
        self, session: str, notebook: str | None, day: str, cell: Budget | None = None
    ) -> list[Cap]:
        """The limits that hold for a call, the narrowest first.

        Args:
            session: The session's number.
            notebook: The notebook's path, where known.
            day: The day of the call, as in `2026-11-24`.
            cell: The call's own budget.

        Raises:
            StoreError: The file of the shared ones cannot be read: nobody knows what holds.
        """
        return list(self._caps(session, notebook, day, cell))

    def _caps(
        self, session: str, notebook: str | None, day: str, cell: Budget | None
    ) -> Iterator[Cap]:
        if cell is not None:
            yield Cap("cell", cell.id, cell.limit, "its own budget", "a higher --budget")
        shared = self._shared()
        limits: tuple[tuple[Per, str | None, Decimal | None], ...] = (
            ("session", session, self._session),
            ("notebook", notebook, shared.get(f"notebook:{notebook}")),
            ("day", day, shared.get("day")),
            ("month", day[:7], shared.get("month")),
        )
        options = {"session": "", "notebook": " --notebook", "day": " --per day"}
        for per, key, own in limits:
            if key is None:  # the notebook is not known
                continue
            if own is not None:
                option = options.get(per, " --per month")
                yield Cap(per, key, own, PERIODS[per], f"`%mixmagic budget DOLLARS{option}`")
            if (fixed := self._settings.get(per)) is not None:
                cure = f"budget_{per} in config.toml or MIXMAGIC_BUDGET_{per.upper()}"
                yield Cap(per, key, fixed, PERIODS[per], cure)

    def _shared(self) -> dict[str, Decimal]:
        """What the file says; it is read again when it has changed."""
        try:
            found = self.path.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._read[0] != state:
                values = json.loads(self.path.read_text())
                self._read = (state, {name: amount(value) for name, value in values.items()})
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, AttributeError, BadArguments) as error:
            raise StoreError(
                f"The budgets in {self.path} cannot be read ({type(error).__name__}), so that"
                " none can be kept.",
                "Mend the file, or delete it and set them again with `%mixmagic budget`.",
            ) from None
        return self._read[1]


def amount(value: object) -> Decimal:
    """An amount of US dollars, from a number or a text.

    Raises:
        BadArguments: It is none, or not from 0 to a million.
    """
    try:
        parsed = Decimal(str(value).removeprefix("$"))
    except InvalidOperation:
        parsed = Decimal("NaN")
    if isinstance(value, bool) or not parsed.is_finite() or not 0 <= parsed <= _MOST:
        raise BadArguments(
            f"An amount of dollars cannot be {value!r:.40}.", "It is written as in 0.50."
        )
    return parsed


def exactly(value: Decimal) -> str:
    """Dollars to the last nanodollar: a bound may not be rounded."""
    whole, rest = divmod(abs(nano(value)), NANO)
    digits = f"{rest:09}".rstrip("0").ljust(2, "0")
    return f"{'-' if value < 0 else ''}${whole:,}.{digits}"


def unbounded(bound: Bound, cap: Cap) -> BudgetExceeded:
    """The refusal of a call whose cost nothing bounds, or nobody knows."""
    return BudgetExceeded(
        f"{bound.reason[0].upper()}{bound.reason[1:]}, so that {cap.name} of"
        f" {exactly(cap.limit)} could not be kept; nothing was sent.",
        f"{bound.hint}, or take the budget off.",
    )


def exceeded(request: Request, bound: Bound, left: Left, least: Decimal) -> BudgetExceeded:
    """The refusal of a call that could cost more than what is left.

    Args:
        request: The call.
        bound: What it could cost.
        left: The limit that it would pass, the narrowest of them.
        least: What the tightest of all limits has left, in US dollars.
    """
    most, rest, cap = bound.cost or Decimal(0), max(left.left, Decimal(0)), left.cap
    under_way = f" ({exactly(left.held)} is held for calls under way)" if left.held else ""
    way = cheaper(request, bound, least)
    return BudgetExceeded(
        f"This call could cost up to {exactly(most)}, and {cap.name} of {exactly(cap.limit)} has"
        f" {exactly(rest)} left{under_way}; nothing was sent.",
        f"Raise it ({cap.cure}){', or ' * bool(way)}{way}.",
        most=most,
        left=rest,
    )


def _known(notebook: str | None) -> str:
    """The notebook's path."""
    if notebook is None:
        raise BadArguments(
            "It is not known which notebook this is: the front end does not say.",
            "Set the session's budget instead: `%mixmagic budget DOLLARS`.",
        )
    return os.fspath(notebook)
