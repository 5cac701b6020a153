"""Tables of budgets, and of the likely cost of a call."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from mixmagic.core.money import format_dollars, from_nano, to_nano
from mixmagic.display.table import Table
from mixmagic.store.ledger.budgets import Balance, exact_dollars
from mixmagic.tasks.plan import Plan


def budgets_table(balances: Sequence[Balance]) -> Table:
    """Return the table of budgets with their remaining dollars."""
    amounts = ([one.limit.dollars, one.spent, one.reserved, one.remaining] for one in balances)
    columns = [_aligned(column) for column in zip(*amounts, strict=True)]
    return Table(
        ["budget", "limit>", "spent>", "reserved>", "remaining>", "raised by"],
        [
            [
                # A limit of the settings is listed beside one that was set here.
                balance.limit.name + " (settings)" * balance.limit.raised_by.startswith("budget_"),
                *row,
                balance.limit.raised_by.strip("`"),
            ]
            for balance, row in zip(balances, zip(*columns, strict=True), strict=True)
        ],
        "reserved: the most that running calls can cost"
        if balances
        else "No budget is set: `%mixmagic budget 0.50` sets one for this session,"
        " `--per day` or `--per month` one for all sessions.",
    )


def _aligned(column: Sequence[Decimal]) -> list[str]:
    """Format exact amounts, all with the same number of decimals."""
    texts = [exact_dollars(value) for value in column]
    digits = max(len(text.partition(".")[2]) for text in texts)
    return [text + "0" * (digits - len(text.partition(".")[2])) for text in texts]


def plan_table(plan: Plan) -> Table:
    """Return the table of a call's tokens and cost."""
    request, model, most = plan.request, plan.request.model, plan.worst_case
    prompt = f"{plan.prompt.tokens:,} tokens"
    if not plan.prompt.exact:
        prompt = f"about {prompt}, at most {plan.prompt.most:,}"
    origins = {0: "assumed", 1: "one earlier answer"}
    known = origins.get(plan.answers, f"the mean of {plan.answers:,} answers")
    bound = "" if plan.limit is None else f"at most {plan.limit:,} tokens, "
    several = "" if most.answers == 1 else f"{most.answers:,}, each "
    rows = [
        ["model", f"{model.name} ({model.id})"],
        ["prompt", prompt],
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
        rows.append(
            ["cost at most", most.reason if most.cost is None else exact_dollars(most.cost)]
        )
        about = "" if plan.likely is None else "about "
        rows.append(["cost likely", about + format_dollars(plan.likely)])
    for balance in () if free else plan.balances:
        limit = exact_dollars(balance.limit.dollars)
        now = f"{exact_dollars(balance.remaining)} of {limit} remaining"
        if most.cost is not None and most.cost <= balance.remaining:
            after = from_nano(to_nano(balance.remaining) - to_nano(most.cost))
            now += f"; after this call at least {exact_dollars(after)}"
        rows.append([balance.limit.name, now])
    notes = [f"{_verdict(plan)}Nothing was sent."]
    if request.params.get("response_format", {}).get("type") == "json_schema":
        notes.append(
            "If the answer does not match its schema, a second attempt may more than double this."
        )
    return Table(["", "dry run"], rows, "\n".join(notes))


def _verdict(plan: Plan) -> str:
    """Return the effect of the budgets on a call."""
    if plan.refused is not None:
        return f"It would be refused: {plan.refused.limit.name} does not allow it. "
    if plan.waits is not None:
        reserved = exact_dollars(plan.waits.reserved)
        return f"It would wait: running calls have reserved {reserved} of {plan.waits.limit.name}. "
    if plan.clamped is not None:
        return f"{plan.clamped.limit.name.capitalize()} has room for {plan.limit:,} tokens. "
    return ""
