"""The limits on what may be spent, apart from the record of it: a damaged ledger loses none.

May be imported by `layers` and what stands above it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mixmagic import files, notebook
from mixmagic.amount import amount
from mixmagic.bounds import Bound, cheaper
from mixmagic.errors import BadArguments, BudgetExceeded, StoreError
from mixmagic.money import NANO, Budget, Per, dollars, nano
from mixmagic.store import processes
from mixmagic.values import Request

PERIODS: dict[Per, str] = {
    "session": "this session's budget",
    "notebook": "this notebook's budget",
    "day": "today's budget",
    "month": "this month's budget",
}
# Seconds after which the session of another host, of which nobody can know, is over.
_LONGEST = 30 * 86_400.0


class Cap(NamedTuple):
    """One limit that holds for a call.

    Attributes:
        per: What it limits the spending of: a period, a notebook, or the calls of one cell.
        key: Which one, as in the ledger: `2026-11-24`.
        limit: US dollars.
        name: What people call it: `today's budget`.
        cure: How it is raised.
        also: What else the ledger may call it: a notebook in other spellings.
    """

    per: Per | Literal["cell"]
    key: str
    limit: Decimal
    name: str
    cure: str
    also: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """What tells it from the other limits, in any process."""
        return f"{self.per}:{self.key}"


@dataclass(frozen=True, slots=True)
class Left:
    """What a limit has left.

    Attributes:
        cap: The limit.
        spent: US dollars that calls have cost, lost ones at their worst case.
        held: US dollars that calls under way may cost at most, and that jobs have reserved.
        moving: Those of them that a call may wait for: of other calls, which go on.
    """

    cap: Cap
    spent: Decimal
    held: Decimal
    moving: Decimal = Decimal(0)

    @property
    def left(self) -> Decimal:
        """US dollars that may still be spent; less than 0 if the limit was set too late."""
        return dollars(nano(self.cap.limit) - nano(self.spent) - nano(self.held))


class _Shared(NamedTuple):
    """What the file says: the limits under their names, and those of sessions and notebooks."""

    names: dict[str, Decimal] = {}  # noqa: RUF012  # never changed
    sessions: dict[str, Decimal] = {}  # noqa: RUF012
    notebooks: dict[str, dict[str, Decimal]] = {}  # noqa: RUF012  # by any spelling, all of them


class Budgets:
    """The limits of one session, and those that all of this user's sessions share.

    Args:
        path: The file that has them, of every session: a session's own may be several processes.
        settings: US dollars per period, from the settings file: they hold besides the others.
        session: The session's id.
    """

    def __init__(self, path: Path, settings: Mapping[Per, Decimal], session: str) -> None:
        self.path = path
        self._settings = settings
        self._session = session
        self._read: tuple[object, _Shared] = (None, _Shared())
        self._last: tuple[object, list[Cap]] = (None, [])  # the limits of the last call

    @property
    def session(self) -> Decimal | None:
        """What this session may cost.

        Raises:
            StoreError: The file cannot be read.
        """
        limits = (self._shared().sessions.get(self._session), self._settings.get("session"))
        return min((limit for limit in limits if limit is not None), default=None)

    def set(self, per: Per, limit: Decimal | None, path: str | None) -> None:
        """Set a limit, or take it off; whoever calls keeps other processes from doing the same.

        Args:
            per: What it limits the spending of.
            limit: US dollars, or `None`.
            path: The notebook's.

        Raises:
            BadArguments: The notebook is not known.
            StoreError: The file cannot be written; what it says stays as it was.
        """
        if per == "notebook" and path is None:
            raise BadArguments(
                "It is not known which notebook this is: the front end does not say.",
                "Set the session's budget instead: `%mixmagic budget DOLLARS`.",
            )
        shared = self._shared()
        mine: list[str] = [per]
        if per == "session":
            mine = [f"session:{self._session}:{processes.parent()}"]
        elif per == "notebook":  # what it was called before has its earlier spending
            spellings = dict.fromkeys([path, *shared.notebooks.get(path or "", {})])
            mine = [f"notebook:{each}" for each in spellings]
        names = {
            name: value
            for name, value in shared.names.items()
            if name not in mine and not self._over(name, per)
        }
        if limit is not None:
            names |= dict.fromkeys(mine, limit)
        texts = {name: str(value) for name, value in names.items()}
        try:
            files.write(self.path, json.dumps(texts, indent=1))
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written: {error.strerror}; the budget stays as it was.",
                "Check the disk's free space and the folder's permissions.",
            ) from None

    def _over(self, name: str, per: Per) -> bool:
        """Return True if a limit is that of a session which is over, or is to be set anew."""
        kind, _, rest = name.partition(":")
        if kind != "session":
            return False
        session, _, process = rest.partition(":")
        if session == self._session:
            return per == "session"
        ended = processes.gone(process)
        return processes.age(process) > _LONGEST if ended is None else ended

    def caps(
        self, session: str, notebook: str | None, day: str, cell: Budget | None = None
    ) -> list[Cap]:
        """Return the limits that hold for a call, the narrowest first.

        Args:
            session: The session's id.
            notebook: The notebook's path, if known.
            day: The day of the call, as in `2026-11-24`.
            cell: The call's own budget.

        Raises:
            StoreError: The file cannot be read: nobody knows what holds.
        """
        shared = self._shared()
        call = (self._read[0], session, notebook, day, cell)
        last, caps = self._last
        if last != call:
            caps = list(self._caps(shared, session, notebook, day, cell))
            self._last = call, caps
        return caps

    def _caps(
        self, shared: _Shared, session: str, notebook: str | None, day: str, cell: Budget | None
    ) -> Iterator[Cap]:
        if cell is not None:
            yield Cap("cell", cell.id, cell.limit, "its own budget", "a higher --budget")
        spellings = shared.notebooks.get(notebook, {}) if notebook is not None else {}
        limits: tuple[tuple[Per, str | None, list[Decimal | None]], ...] = (
            ("session", session, [shared.sessions.get(session)]),
            ("notebook", notebook, [*dict.fromkeys(spellings.values())]),
            ("day", day, [shared.names.get("day")]),
            ("month", day[:7], [shared.names.get("month")]),
        )
        options = {"session": "", "notebook": " --notebook", "day": " --per day"}
        for per, key, own in limits:
            if key is None:  # the notebook is not known
                continue
            also = tuple(each for each in spellings if each != key) if per == "notebook" else ()
            for limit in own:
                if limit is not None:
                    option = options.get(per, " --per month")
                    cure = f"`%mixmagic budget DOLLARS{option}`"
                    yield Cap(per, key, limit, PERIODS[per], cure, also)
            if (fixed := self._settings.get(per)) is not None:
                cure = f"budget_{per} in config.toml or MIXMAGIC_BUDGET_{per.upper()}"
                yield Cap(per, key, fixed, PERIODS[per], cure)

    def _shared(self) -> _Shared:
        """Return what the file says; it is read again when it has changed."""
        try:
            found = self.path.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._read[0] != state:
                self._read = (state, _sorted(_parsed(self.path.read_bytes())))
        except (FileNotFoundError, NotADirectoryError):
            self._read = (None, _Shared())
        except (OSError, ValueError, RecursionError, BadArguments) as error:
            raise StoreError(
                f"The budgets in {self.path} cannot be read ({_reason(error)}), so that none can"
                " be kept.",
                "Fix the file, or delete it and set them again with `%mixmagic budget`.",
            ) from None
        return self._read[1]


def _parsed(content: bytes) -> dict[str, Decimal]:
    """Read limits by name.

    Raises:
        ValueError: That is not a JSON object of names that there are, each once.
        RecursionError: It is nested too deep.
        BadArguments: One of them is not an amount of dollars.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) < len(pairs):
            raise ValueError("a name stands there twice")
        return names

    values = json.loads(content.decode("utf-8"), object_pairs_hook=once)
    if not isinstance(values, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  # one kind for all of these
    for name in values:
        if name not in ("day", "month") and name.partition(":")[0] not in ("session", "notebook"):
            raise ValueError(f"there is no budget {name!r:.40}")
    return {name: amount(value) for name, value in values.items()}


def _reason(error: Exception) -> str:
    """What is wrong with the file, in a few words."""
    if isinstance(error, BadArguments):
        return error.message.rstrip(".")
    return str(error) if type(error) is ValueError else type(error).__name__


def _sorted(names: dict[str, Decimal]) -> _Shared:
    """Sort limits by what they are of."""
    sessions: dict[str, Decimal] = {}
    notebooks: dict[str, dict[str, Decimal]] = {}
    for name, limit in names.items():
        kind, _, rest = name.partition(":")
        if kind == "session":
            sessions[rest.partition(":")[0]] = limit
        elif kind == "notebook":
            same = notebooks.setdefault(notebook.canonical(rest), {})
            same[rest] = limit
            notebooks[rest] = same
    return _Shared(names, sessions, notebooks)


def exactly(value: Decimal) -> str:
    """Return dollars to the last nanodollar: a worst case may not be rounded."""
    whole, rest = divmod(abs(nano(value)), NANO)
    digits = f"{rest:09}".rstrip("0").ljust(2, "0")
    return f"{'-' if value < 0 else ''}${whole:,}.{digits}"


def unbounded(bound: Bound, cap: Cap) -> BudgetExceeded:
    """Return the refusal of a call whose cost nothing bounds, or nobody knows."""
    return BudgetExceeded(
        f"{bound.reason[0].upper()}{bound.reason[1:]}, so that {cap.name} of"
        f" {exactly(cap.limit)} could not be kept; nothing was sent.",
        f"{bound.hint}, or take the budget off.",
    )


def exceeded(
    request: Request,
    bound: Bound,
    left: Left,
    least: Decimal,
    why: str = "too little for a useful answer",
) -> BudgetExceeded:
    """Return the refusal of a call for which too little is left.

    Args:
        request: The call.
        bound: What it could cost.
        left: The limit that it would pass, the narrowest of them.
        least: What the tightest of all limits has left, in US dollars.
        why: Why the call does not get what is left.
    """
    most, rest, cap = bound.most, max(left.left, Decimal(0)), left.cap
    under_way = f" ({exactly(left.held)} is held for calls under way)" if left.held else ""
    could = "" if most is None else f"could cost up to {exactly(most)}, and "
    way = cheaper(request, bound, least)
    return BudgetExceeded(
        f"This call {could}{cap.name} of {exactly(cap.limit)} has {exactly(rest)} left{under_way},"
        f" {why}; nothing was sent.",
        f"Raise it ({cap.cure}){', or ' * bool(way)}{way}.",
        most=most,
        left=rest,
    )
