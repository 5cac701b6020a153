"""Limits on spending, and the share of them that a call gets.

They are kept apart from the ledger: a damaged one loses no limit. May be imported by `layers` and
what stands above it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mixmagic.calls.worst_case import WorstCase, advice, affordable_tokens
from mixmagic.core import files, notebook
from mixmagic.core.money import NANO, Budget, Per, from_nano, parse_dollars, to_nano
from mixmagic.core.values import Model, Request
from mixmagic.errors import BadArguments, BudgetExceeded, StoreError
from mixmagic.store.ledger import processes

PERIODS: dict[Per, str] = {
    "session": "this session's budget",
    "notebook": "this notebook's budget",
    "day": "today's budget",
    "month": "this month's budget",
}
# Seconds after which the session of another host, of which nobody can know, is over.
_LONGEST = 30 * 86_400.0


class Limit(NamedTuple):
    """One limit that applies to a call.

    Attributes:
        per: Kind of spending: of a session, a notebook, a day, a month, or one cell.
        key: Which one, as in the ledger: `2026-11-24`.
        dollars: US dollars that its calls may cost together.
        name: Name for people: `today's budget`.
        raised_by: How it is raised.
    """

    per: Per | Literal["cell"]
    key: str
    dollars: Decimal
    name: str
    raised_by: str

    @property
    def id(self) -> str:
        """Text that tells it from the other limits, in any process."""
        return f"{self.per}:{self.key}"


@dataclass(frozen=True, slots=True)
class Balance:
    """State of a limit.

    Attributes:
        limit: The limit.
        spent: US dollars that calls have cost, lost ones at their worst case.
        reserved: US dollars that calls under way may cost at most, and that jobs have reserved.
        returning: Those of them for which a call may wait: of other calls, which go on.
    """

    limit: Limit
    spent: Decimal
    reserved: Decimal
    returning: Decimal = Decimal(0)

    @property
    def remaining(self) -> Decimal:
        """US dollars that may still be spent; less than 0 if the limit was set too late."""
        return from_nano(to_nano(self.limit.dollars) - to_nano(self.spent) - to_nano(self.reserved))


class _File(NamedTuple):
    """The limits of all sessions, as the file has them: each under its name, and sorted."""

    names: dict[str, Decimal] = {}  # noqa: RUF012  # never changed
    sessions: dict[str, Decimal] = {}  # noqa: RUF012
    notebooks: dict[str, Decimal] = {}  # noqa: RUF012


class Budgets:
    """The limits of one session, and those that all of this user's sessions share.

    Args:
        path: The file that has them, of every session: a session may be several processes.
        settings: US dollars per period, from the settings file: they apply besides the others.
        session: The session's id.

    Attributes:
        settings: As given; they can be changed.
    """

    def __init__(self, path: Path, settings: Mapping[Per, Decimal], session: str) -> None:
        self.path = path
        self.settings = settings
        self._session = session
        self._read: tuple[object, _File] = (None, _File())
        self._last: tuple[object, list[Limit]] = (None, [])  # those of the last call

    @property
    def session(self) -> Decimal | None:
        """US dollars that this session may cost; `None` if nothing limits them.

        Raises:
            StoreError: The file cannot be read.
        """
        limits = (self._content().sessions.get(self._session), self.settings.get("session"))
        return min((limit for limit in limits if limit is not None), default=None)

    def set(self, per: Per, limit: Decimal | None, path: str | None) -> None:
        """Set a limit, or take it off; whoever calls keeps other processes from doing the same.

        Args:
            per: Kind of spending.
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
        name: dict[Per, str] = {
            "session": f"session:{self._session}:{processes.parent_process_id()}",
            "notebook": f"notebook:{path}",
        }
        names = {
            name: value
            for name, value in self._content().names.items()
            if not (self._is(name, per, path) or _over(name))
        }
        if limit is not None:
            names[name.get(per, per)] = limit
        self._write(names)

    def rename_notebook(self, before: str, after: str) -> None:
        """Give a notebook's limit another path; the lower one stays if that has one, too.

        Raises:
            StoreError: The file cannot be read or written.
        """
        content = self._content()
        limit = content.notebooks.get(before)
        if limit is not None:
            self.set("notebook", None, before)
            self.set("notebook", min(limit, content.notebooks.get(after, limit)), after)

    def _write(self, names: Mapping[str, Decimal]) -> None:
        """Write the file."""
        texts = {name: str(value) for name, value in names.items()}
        try:
            files.write(self.path, json.dumps(texts, indent=1))
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written: {error.strerror}; the budget stays as it was.",
                "Check the disk's free space and the folder's permissions.",
            ) from None

    def _is(self, name: str, per: Per, path: str | None) -> bool:
        """Return True if a limit of the file is this session's, or this notebook's, of a period."""
        kind, _, rest = name.partition(":")
        if kind != per:
            return False
        if per == "session":
            return rest.partition(":")[0] == self._session
        return per != "notebook" or notebook.canonical(rest) == path

    def limits(
        self, session: str, notebook: str | None, day: str, cell: Budget | None = None
    ) -> list[Limit]:
        """Return the limits that apply to a call, the narrowest first.

        Args:
            session: The session's id.
            notebook: The notebook's path, if known.
            day: The day of the call, as in `2026-11-24`.
            cell: The call's own budget.

        Raises:
            StoreError: The file cannot be read: nobody knows what applies.
        """
        content = self._content()
        call = (self._read[0], self.settings, session, notebook, day, cell)
        last, limits = self._last
        if last != call:
            limits = list(self._limits(content, session, notebook, day, cell))
            self._last = call, limits
        return limits

    def _limits(
        self, content: _File, session: str, notebook: str | None, day: str, cell: Budget | None
    ) -> Iterator[Limit]:
        if cell is not None:
            yield Limit("cell", cell.id, cell.limit, "its own budget", "a higher --budget")
        periods: tuple[tuple[Per, str | None, Decimal | None, str], ...] = (
            ("session", session, content.sessions.get(session), ""),
            ("notebook", notebook, content.notebooks.get(notebook or ""), " --notebook"),
            ("day", day, content.names.get("day"), " --per day"),
            ("month", day[:7], content.names.get("month"), " --per month"),
        )
        for per, key, own, option in periods:
            if key is not None and own is not None:
                yield Limit(per, key, own, PERIODS[per], f"`%mixmagic budget DOLLARS{option}`")
            if key is not None and (fixed := self.settings.get(per)) is not None:
                setting = f"budget_{per} in config.toml or MIXMAGIC_BUDGET_{per.upper()}"
                yield Limit(per, key, fixed, PERIODS[per], setting)

    def _content(self) -> _File:
        """Return what the file says; it is read again when it has changed."""
        try:
            found = self.path.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._read[0] != state:
                self._read = (state, _sorted(_parsed(files.read(self.path))))
        except (FileNotFoundError, NotADirectoryError):
            self._read = (None, _File())
        except (OSError, ValueError, BadArguments) as error:
            why = error.message if isinstance(error, BadArguments) else files.reason(error)
            raise StoreError(
                f"The budgets in {self.path} cannot be read ({why.rstrip('.')}), so that none can"
                " be kept.",
                "Fix the file, or delete it and set them again with `%mixmagic budget`.",
            ) from None
        return self._read[1]


def _parsed(text: str) -> dict[str, Decimal]:
    """Return the limits of a file by name.

    Raises:
        ValueError: It is not a JSON object of names that there are, each once.
        BadArguments: One of them is not an amount of dollars.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) < len(pairs):
            raise ValueError("a name stands there twice")
        return names

    try:
        # Numbers as they are written: they are amounts like any other text.
        values = json.loads(
            text, object_pairs_hook=once, parse_int=str, parse_float=str, parse_constant=str
        )
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("it is not valid JSON") from None
    if not isinstance(values, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  # one kind for all of these
    for name in values:
        kind, _, rest = name.partition(":")
        if name not in ("day", "month") and not (kind in ("session", "notebook") and rest):
            raise ValueError(f"there is no budget {name!r:.40}")
    return {name: parse_dollars(value) for name, value in values.items()}


def _sorted(names: dict[str, Decimal]) -> _File:
    """Sort limits by what they are of: the lowest for a notebook, in whatever spellings it is."""
    sessions: dict[str, Decimal] = {}
    notebooks: dict[str, Decimal] = {}
    for name, limit in names.items():
        kind, _, rest = name.partition(":")
        if kind == "session":
            sessions[rest.partition(":")[0]] = limit
        elif kind == "notebook":
            path = notebook.canonical(rest)
            notebooks[path] = min(limit, notebooks.get(path, limit))
    return _File(names, sessions, notebooks)


def _over(name: str) -> bool:
    """Return True if a limit is that of a session which is over."""
    kind, _, rest = name.partition(":")
    if kind != "session":
        return False
    process = rest.partition(":")[2]
    ended = processes.has_exited(process)
    return processes.age(process) > _LONGEST if ended is None else ended


class Grant(NamedTuple):
    """Share of its budgets that a call gets.

    Attributes:
        tokens: The `max_tokens` that each of its answers gets; 0 if it gets nothing now.
        tightest: The first limit with too little for all that the call asks for; `None` if all
            have enough.
        waits: True if other calls have reserved money that would give it more: it waits for them.
    """

    tokens: int
    tightest: Balance | None = None
    waits: bool = False


def grant(request: Request, worst: WorstCase, balances: Sequence[Balance], floor: int) -> Grant:
    """Decide what a call gets of its budgets: all that it asks for, less, or nothing.

    Args:
        request: The call.
        worst: Its worst case; its `limit` is known.
        balances: Those of its budgets, at least one.
        floor: Tokens of the shortest useful answer; one that was asked to be shorter is useful.

    Example:
        >>> grant(request, worst_case(request), session.budgets(), 64).tokens
        4096
    """
    wanted = worst.limit or 0
    now = min(each.remaining for each in balances)
    if worst.most is not None and worst.most <= now:
        return Grant(wanted)
    later = min(each.remaining + each.returning for each in balances)
    tokens, best = (
        min(wanted, affordable_tokens(request, worst, max(money, Decimal(0))))
        for money in (now, later)
    )
    tightest = next(each for each in balances if worst.most is None or each.remaining < worst.most)
    useful = min(floor, wanted)
    if best > tokens and best >= useful:
        return Grant(0, tightest, waits=True)
    return Grant(tokens if tokens >= useful else 0, tightest)


def exactly(value: Decimal) -> str:
    """Return dollars to the last nanodollar: a worst case may not be rounded."""
    whole, rest = divmod(abs(to_nano(value)), NANO)
    digits = f"{rest:09}".rstrip("0").ljust(2, "0")
    return f"{'-' if value < 0 else ''}${whole:,}.{digits}"


def unbounded(worst: WorstCase, limit: Limit) -> BudgetExceeded:
    """Return the refusal of a call whose cost nothing bounds, or nobody knows."""
    return BudgetExceeded(
        f"{worst.reason[0].upper()}{worst.reason[1:]}, so that {limit.name} of"
        f" {exactly(limit.dollars)} could not be kept; nothing was sent.",
        f"{worst.hint}, or take the budget off.",
    )


def charged(model: Model, limit: Limit) -> BudgetExceeded:
    """Return the refusal of a model that is free by its catalog and has been charged for."""
    return BudgetExceeded(
        f"{model.provider.label} has charged for {model.name}, whose price here is $0, so that"
        f" {limit.name} of {exactly(limit.dollars)} could not be kept; nothing was sent.",
        "Give its price in a catalog file (README, Models), or take the budget off.",
    )


def exceeded(
    request: Request,
    worst: WorstCase,
    balance: Balance,
    least: Decimal,
    why: str = "too little for a useful answer",
) -> BudgetExceeded:
    """Return the refusal of a call for which too little is left.

    Args:
        request: The call.
        worst: Its worst case.
        balance: That of the limit which it would pass, the narrowest of them.
        least: US dollars that the tightest of all limits has left.
        why: Why the call does not get what is left.
    """
    most, rest, limit = worst.most, max(balance.remaining, Decimal(0)), balance.limit
    reserved = exactly(balance.reserved)
    under_way = f" ({reserved} is held for calls under way)" if balance.reserved else ""
    could = "" if most is None else f"could cost up to {exactly(most)}, and "
    way = advice(request, worst, least)
    return BudgetExceeded(
        f"This call {could}{limit.name} of {exactly(limit.dollars)} has {exactly(rest)}"
        f" left{under_way}, {why}; nothing was sent.",
        f"Raise it ({limit.raised_by}){', or ' * bool(way)}{way}.",
        most=most,
        left=rest,
    )
