"""Limits on spending, and the share of them that a call gets.

They are in a file of their own: a damaged ledger loses no limit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mixmagic.calls.worst_case import WorstCase, advice, affordable_tokens
from mixmagic.core import files, notebook
from mixmagic.core.money import (
    Budget,
    Per,
    format_dollars,
    format_least,
    format_limit,
    format_most,
    from_nano,
    parse_dollars,
    to_nano,
)
from mixmagic.core.values import Model, Request
from mixmagic.errors import BadArguments, BudgetExceeded, StoreError
from mixmagic.store.ledger import processes

PERIODS: dict[Per, str] = {
    "session": "this session's budget",
    "notebook": "this notebook's budget",
    "day": "today's budget",
    "month": "this month's budget",
}
# Seconds after which a session on another host is presumed over.
_LONGEST = 30 * 86_400.0


class Limit(NamedTuple):
    """One limit that applies to a call.

    Attributes:
        per: Period or place that it limits: a session, a notebook, a day, a month, or one cell.
        key: Its value in the ledger's column: `2026-11-24`.
        dollars: US dollars that the calls of that period may cost together.
        name: Name in messages: `today's budget`.
        raised_by: Way to raise it: a command, an option or a setting.
    """

    per: Per | Literal["cell"]
    key: str
    dollars: Decimal
    name: str
    raised_by: str

    @property
    def id(self) -> str:
        """Id of the limit, the same in every process: `day:2026-11-24`."""
        return f"{self.per}:{self.key}"


@dataclass(frozen=True, slots=True)
class Balance:
    """The amounts spent and reserved of a limit.

    Attributes:
        limit: The limit.
        spent: US dollars that calls have cost, lost ones at their worst case.
        reserved: US dollars that calls under way may cost at most, and that jobs have reserved.
        returning: Part of `reserved` that a call may wait for: other calls will free it.
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
    """The limits of all sessions as they are in the file: by name, session id and notebook."""

    names: dict[str, Decimal] = {}  # noqa: RUF012  # never changed
    sessions: dict[str, Decimal] = {}  # noqa: RUF012
    notebooks: dict[str, Decimal] = {}  # noqa: RUF012


class Budgets:
    """The limits of one session, and those that all of this user's sessions share.

    Args:
        path: The file with the limits of all sessions: a session may be several processes.
        settings: US dollars per period, from the settings file: these limits apply, too.
        session: The session's id.

    Attributes:
        settings: As given; can be changed.
    """

    def __init__(self, path: Path, settings: Mapping[Per, Decimal], session: str) -> None:
        self.path, self._name = path, os.fspath(path)
        self.settings = settings
        self._session = session
        self._read: tuple[object, _File] = (None, _File())
        self._last: tuple[object, list[Limit]] = (None, [])  # those of the last call

    @property
    def session(self) -> Decimal | None:
        """US dollars that this session may cost; `None` if there is no limit.

        Raises:
            StoreError: The file cannot be read.
        """
        limits = (self._content().sessions.get(self._session), self.settings.get("session"))
        return min((limit for limit in limits if limit is not None), default=None)

    def set(self, per: Per, limit: Decimal | None, path: str | None) -> None:
        """Set a limit, or remove it. The caller keeps other processes from doing so meanwhile.

        Args:
            per: Period or place that it limits.
            limit: US dollars; `None` removes it.
            path: The notebook's path.

        Raises:
            BadArguments: There is no such period, or the notebook is not known.
            StoreError: The file cannot be written; it stays as it was.
        """
        if per not in tuple(PERIODS):  # it may be anything
            raise BadArguments(
                f"There is no budget per {per!r:.40}.", f"Budgets are per {', '.join(PERIODS)}."
            )
        if per == "notebook" and path is None:
            raise BadArguments(
                "The notebook is not known: this front end does not name it.",
                "Set the session's budget instead: `%mixmagic budget DOLLARS`.",
            )
        name: dict[Per, str] = {
            "session": f"session:{self._session}:{processes.parent_process_id()}",
            "notebook": f"notebook:{path}",
        }
        names = {
            name: value
            for name, value in self._content().names.items()
            if not (self._matches(name, per, path) or _is_over(name))
        }
        if limit is not None:
            names[name.get(per, per)] = limit
        self._write(names)

    def rename_notebook(self, before: str, after: str) -> None:
        """Move a notebook's limit to its new path; the lower one stays if that has one, too.

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

    def _matches(self, name: str, per: Per, path: str | None) -> bool:
        """Return True if a name in the file is that of this session's limit for a period."""
        kind, _, rest = name.partition(":")
        if kind != per:
            return False
        if per == "session":
            return rest.partition(":")[0] == self._session
        return per != "notebook" or notebook.canonical(rest) == path

    def limits(self, notebook: str | None, day: str, cell: Budget | None = None) -> list[Limit]:
        """Return the limits that apply to a call of this session, the narrowest first.

        Args:
            notebook: The notebook's path, if known.
            day: The day of the call, as in `2026-11-24`.
            cell: The call's own budget.

        Raises:
            StoreError: The file cannot be read, so the limits are not known.
        """
        content = self._content()
        call = (self._read[0], self.settings, notebook, day, cell)
        last, limits = self._last
        if last != call:
            limits = list(self._limits(content, notebook, day, cell))
            self._last = call, limits
        return limits

    def _limits(
        self, content: _File, notebook: str | None, day: str, cell: Budget | None
    ) -> Iterator[Limit]:
        if cell is not None:
            yield Limit("cell", cell.id, cell.limit, "its own budget", "a higher --budget")
        periods: tuple[tuple[Per, str | None, Decimal | None, str], ...] = (
            ("session", self._session, content.sessions.get(self._session), ""),
            ("notebook", notebook, content.notebooks.get(notebook or ""), " --notebook"),
            ("day", day, content.names.get("day"), " --per day"),
            ("month", day[:7], content.names.get("month"), " --per month"),
        )
        for per, key, own, option in periods:
            if key is not None and own is not None:
                yield Limit(per, key, own, PERIODS[per], f"`%mixmagic budget DOLLARS{option}`")
            if key is not None and (fixed := self.settings.get(per)) is not None:
                files = "config.toml, mixmagic.toml"
                setting = f"budget_{per} in {files} or MIXMAGIC_BUDGET_{per.upper()}"
                yield Limit(per, key, fixed, PERIODS[per], setting)

    def _content(self) -> _File:
        """Return the limits in the file; it is read again when it has changed."""
        try:
            status = os.stat(self._name)  # noqa: PTH116  # half the time of Path's, in each call
            state = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._read[0] != state:
                self._read = (state, _sorted(_parsed(files.read(self.path))))
        except (FileNotFoundError, NotADirectoryError):
            self._read = (None, _File())
        except (OSError, ValueError, BadArguments) as error:
            why = error.message if isinstance(error, BadArguments) else files.reason(error)
            raise StoreError(
                f"The budgets in {self.path} cannot be read ({why.rstrip('.')}), so none can be"
                " kept.",
                "Fix the file, or delete it and set the budgets again with `%mixmagic budget`.",
            ) from None
        return self._read[1]


def _parsed(text: str) -> dict[str, Decimal]:
    """Return the limits of a file by name.

    Raises:
        ValueError: It is not a JSON object with valid names, each at most once.
        BadArguments: A value is not an amount of dollars.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) < len(pairs):
            raise ValueError("it has the same name twice")
        return names

    try:
        # Numbers stay text: an amount is parsed from its digits.
        values = json.loads(
            text, object_pairs_hook=unique, parse_int=str, parse_float=str, parse_constant=str
        )
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("it is not valid JSON") from None
    if not isinstance(values, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  # one class for all problems
    for name in values:
        kind, _, rest = name.partition(":")
        if name not in ("day", "month") and not (kind in ("session", "notebook") and rest):
            raise ValueError(f"{name!r:.40} is not a valid budget name")
    return {name: parse_dollars(value) for name, value in values.items()}


def _sorted(names: dict[str, Decimal]) -> _File:
    """Group limits by session and by notebook, with the lowest for all spellings of its path."""
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


def _is_over(name: str) -> bool:
    """Return True if a name is that of the limit of a session that is over."""
    kind, _, rest = name.partition(":")
    if kind != "session":
        return False
    process = rest.partition(":")[2]
    ended = processes.has_exited(process)
    return processes.age(process) > _LONGEST if ended is None else ended


class Grant(NamedTuple):
    """Share of its budgets that a call gets.

    Attributes:
        tokens: The `max_tokens` of each of its answers; 0 if it gets nothing now.
        tightest: The first balance with too little for all that the call asks for; `None` if all
            have enough.
        waits: True if the call should wait for money that other calls have reserved.
    """

    tokens: int
    tightest: Balance | None = None
    waits: bool = False


def grant(request: Request, worst: WorstCase, balances: Sequence[Balance], floor: int) -> Grant:
    """Return what a call gets of its budgets: all that it asks for, less, or nothing.

    Args:
        request: The call.
        worst: Its worst case, with a known `limit`.
        balances: The balances of its budgets, at least one.
        floor: Tokens of the shortest useful answer, unless the call asks for a shorter one.

    Example:
        >>> grant(request, worst_case(request), session.budgets(), 64).tokens
        4096
    """
    wanted = worst.limit or 0
    now = min(balance.remaining for balance in balances)
    if worst.most is not None and worst.most <= now:
        return Grant(wanted)
    later = min(balance.remaining + balance.returning for balance in balances)
    tokens, best = (
        min(wanted, affordable_tokens(request, worst, max(money, Decimal(0))))
        for money in (now, later)
    )
    tightest = next(
        balance for balance in balances if worst.most is None or balance.remaining < worst.most
    )
    useful = min(floor, wanted)
    if best > tokens and best >= useful:
        return Grant(0, tightest, waits=True)
    return Grant(tokens if tokens >= useful else 0, tightest)


def unbounded_error(worst: WorstCase, limit: Limit) -> BudgetExceeded:
    """Return the error for a call whose cost is unlimited or unknown."""
    return BudgetExceeded(
        f"{worst.reason[0].upper()}{worst.reason[1:]}, so {limit.name} of"
        f" {format_limit(limit.dollars)} could not be kept; nothing was sent.",
        f"{worst.hint}, or remove the budget.",
    )


def charged_error(model: Model, limit: Limit) -> BudgetExceeded:
    """Return the error for a model that the catalog calls free, and that has cost something."""
    return BudgetExceeded(
        f"{model.provider.label} has charged for {model.name}, whose price here is $0, so"
        f" {limit.name} of {format_limit(limit.dollars)} could not be kept; nothing was sent.",
        "Give its price in a catalog file (README, Models), or remove the budget.",
    )


def exceeded_error(
    request: Request,
    worst: WorstCase,
    balance: Balance,
    least: Decimal,
    why: str = "too little for a useful answer",
) -> BudgetExceeded:
    """Return the error for a call for which too little is left.

    Args:
        request: The call.
        worst: Its worst case.
        balance: The balance of the first limit that it would exceed.
        least: US dollars that the tightest of all limits has left.
        why: Reason why the call does not get what is left.
    """
    most, rest, limit = worst.most, max(balance.remaining, Decimal(0)), balance.limit
    reserved = format_dollars(balance.reserved)
    under_way = f" ({reserved} is reserved for calls under way)" if balance.reserved else ""
    could = "" if most is None else f"could cost up to {format_most(most)}, and "
    way = advice(request, worst, least)
    return BudgetExceeded(
        f"This call {could}{limit.name} of {format_limit(limit.dollars)} has {format_least(rest)}"
        f" left{under_way}, {why}; nothing was sent.",
        f"Raise it ({limit.raised_by}){', or ' * bool(way)}{way}.",
        most=most,
        remaining=rest,
    )
