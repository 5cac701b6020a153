"""Tables of budgets, and of the likely cost of a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mixmagic.calls.image_tokens import image_tokens
from mixmagic.core.money import (
    format_column,
    format_dollars,
    format_least,
    format_limit,
    format_most,
    from_nano,
    to_nano,
)
from mixmagic.core.values import Request
from mixmagic.errors import counted
from mixmagic.store.ledger.budgets import Balance
from mixmagic.tasks.plan import Plan
from mixmagic.text.table import Table

if TYPE_CHECKING:
    from mixmagic.sessions import Session
    from mixmagic.store.ledger.budgets import Limit
    from mixmagic.store.ledger.spend import Period


class Budgets(tuple[Balance, ...]):
    """The balances of the budgets that are set; they show themselves as a table.

    Attributes:
        table: The table.

    Example:
        >>> mixmagic.budget()[0].remaining
        Decimal('0.4992476')
    """

    table: Table

    def __str__(self) -> str:
        return str(self.table)

    __repr__ = __str__

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.table._repr_mimebundle_()  # IPython's name


def read_budgets(session: Session) -> Budgets:
    """Return the balances of the budgets that are set, the session's first.

    Raises:
        StoreError: The ledger, or the budgets, cannot be read.
    """
    budgets = Budgets(session.budgets())
    budgets.table = budgets_table(budgets)
    if any(_unpriced(session, balance.limit) for balance in budgets):
        notes = [budgets.table.caption, "spent: without calls whose price is not known"]
        budgets.table.caption = "\n".join(filter(None, notes))
    return budgets


def _unpriced(session: Session, limit: Limit) -> bool:
    """Return True if any of the calls that a limit counts has no known price."""
    if limit.per == "notebook":
        spent = [row for row in session.ledger.spent("all", "notebook") if row.name == limit.key]
    else:
        period: dict[str, Period] = {"day": "today", "month": "month"}
        spent = session.ledger.spent(period.get(limit.per, "session"))
    return any(row.unpriced for row in spent)


def budgets_table(balances: Sequence[Balance]) -> Table:
    """Return the table of budgets with their remaining dollars."""
    if not balances:
        return Table(
            [],
            [],
            "No budget is set. `%mixmagic budget 0.50` sets one for this session,"
            " `--per day` or `--per month` one for all sessions.",
        )
    amounts = _amounts(balances)
    reserved = any(balance.reserved for balance in balances)
    return Table(
        ["budget", "limit>", "spent>", *["reserved>"] * reserved, "remaining>"],
        [
            [_name(balance), format_limit(balance.limit.dollars), row[0]]
            + [row[1]] * reserved
            + [row[2]]
            for balance, row in zip(balances, amounts, strict=True)
        ],
        "reserved: the most that running calls can cost" if reserved else "",
    )


def budget_line(balance: Balance) -> str:
    """Return a budget and what remains of it, in one line.

    Example:
        >>> budget_line(session.budgets()[0])
        "This session's budget is $0.50: $0.00083 spent, $0.49917 remaining."
    """
    spent, reserved, remaining = _amounts([balance])[0]
    name, limit = _name(balance), format_limit(balance.limit.dollars)
    line = f"{name[0].upper()}{name[1:]} is {limit}: {spent} spent"
    return f"{line}{f', {reserved} reserved' * bool(balance.reserved)}, {remaining} remaining."


def _name(balance: Balance) -> str:
    """Return a budget's name; one of the settings is listed beside one that was set here."""
    return balance.limit.name + " (settings)" * balance.limit.raised_by.startswith("budget_")


def _amounts(balances: Sequence[Balance]) -> list[list[str]]:
    """Return the dollars spent, reserved and remaining of each budget, with equal decimals."""
    rows = [(balance.spent, balance.reserved, balance.remaining) for balance in balances]
    texts = iter(format_column([value for row in rows for value in row]))
    return [[next(texts) for _ in row] for row in rows]


def plan_table(plan: Plan) -> Table:
    """Return the table of a call's tokens and cost."""
    request, model, most = plan.request, plan.request.model, plan.worst_case
    prompt = counted(plan.prompt.tokens, "token")
    if not plan.prompt.exact:
        prompt = f"at most {counted(plan.prompt.most, 'token')}, likely {plan.prompt.tokens:,}"
    origins = {0: "assumed", 1: "one earlier answer"}
    known = origins.get(plan.answers, f"the mean of {plan.answers:,} answers")
    if plan.answers and plan.answer < plan.usual:
        known += f" had {plan.usual:,}" if plan.answers == 1 else f" is {plan.usual:,}"
    bound = "" if plan.limit is None else f"at most {counted(plan.limit, 'token')}, "
    several = "" if most.answers == 1 else f"{most.answers:,}, each "
    rows = [
        ["model", f"{model.name} ({model.id})"],
        ["prompt", prompt],
        *([["images", images]] if (images := _images(request)) else []),
        ["answers" if several else "answer", f"{several}{bound}likely {plan.answer:,} ({known})"],
    ]
    if model.context is not None:
        share = plan.prompt.tokens / model.context
        used = f"{share:.1%}" if share >= 0.001 else "under 0.1%"
        rows.append(["context", f"{used} of {model.context:,} tokens for the prompt"])
    free = model.provider.free and most.cost == 0
    if free:
        rows.append(["cost", "free"])
    else:
        rows.append(["cost at most", most.reason if most.cost is None else format_most(most.cost)])
        about = "" if plan.likely is None else "about "
        rows.append(["cost likely", about + format_dollars(plan.likely)])
    for balance in () if free else plan.balances:
        limit = format_limit(balance.limit.dollars)
        now = f"{format_least(balance.remaining)} of {limit} remaining"
        if most.cost is not None and most.cost <= balance.remaining:
            after = from_nano(to_nano(balance.remaining) - to_nano(most.cost))
            now += f"; after this call at least {format_least(after)}"
        rows.append([balance.limit.name, now])
    notes = [f"{_verdict(plan)}Nothing was sent."]
    if request.params.get("response_format", {}).get("type") == "json_schema":
        notes.append(
            "If the answer does not match its schema, a second attempt may more than double this."
        )
    return Table(["dry run", "estimate"], rows, "\n".join(notes))


def _images(request: Request) -> str:
    """Return the images of a call, and their tokens; empty if it has none."""
    images = [image for message in request.messages for image in message.images]
    if not images:
        return ""
    counts = [image_tokens(image, request.model.image_tokens) for image in images]
    likely, most = (sum(numbers) for numbers in zip(*counts, strict=True))
    bound = "" if likely == most else f", at most {most:,}"
    return f"{counted(len(images), 'image')}, about {likely:,} tokens of these{bound}"


def _verdict(plan: Plan) -> str:
    """Return the effect of the budgets on a call."""
    if plan.refused is not None:
        return f"It would be refused: {plan.refused.limit.name} does not allow it. "
    if plan.waits is not None:
        reserved = format_dollars(plan.waits.reserved)
        return f"It would wait: running calls have reserved {reserved} of {plan.waits.limit.name}. "
    if plan.clamped is not None:
        tokens = counted(plan.limit or 0, "token")
        return f"{plan.clamped.limit.name.capitalize()} has room for {tokens}. "
    return ""
