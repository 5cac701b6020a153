"""Tables: what the budgets have left, what a call would cost."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from mixmagic.core.money import format_dollars, from_nano, to_nano
from mixmagic.display.table import Table
from mixmagic.store.ledger.budgets import Balance, exactly
from mixmagic.tasks.plan import Plan


def budgets_table(balances: Sequence[Balance]) -> Table:
    """Make a table of what each limit has left."""
    amounts = ([each.limit.dollars, each.spent, each.reserved, each.remaining] for each in balances)
    columns = [_aligned(column) for column in zip(*amounts, strict=True)]
    return Table(
        ["budget", "limit>", "spent>", "held>", "left>", "raised by"],
        [
            [
                # The settings' own stands beside the one that is set here.
                each.limit.name + " (settings)" * each.limit.raised_by.startswith("budget_"),
                *row,
                each.limit.raised_by.strip("`"),
            ]
            for each, row in zip(balances, zip(*columns, strict=True), strict=True)
        ],
        "held: what calls under way may cost at most"
        if balances
        else "No budget is set: `%mixmagic budget 0.50` sets this session's,"
        " `--per day` and `--per month` those of all sessions.",
    )


def _aligned(column: Sequence[Decimal]) -> list[str]:
    """Exact amounts, all with as many decimals as one of them needs."""
    texts = [exactly(value) for value in column]
    digits = max(len(text.partition(".")[2]) for text in texts)
    return [text + "0" * (digits - len(text.partition(".")[2])) for text in texts]


def plan_table(plan: Plan) -> Table:
    """What a call would take and cost."""
    request, model, most = plan.request, plan.request.model, plan.worst_case
    prompt = f"{plan.prompt.tokens:,} tokens"
    if not plan.prompt.exact:
        prompt = f"about {prompt}, at most {plan.prompt.most:,}"
    known = f"the mean of {plan.answers:,} answers" if plan.answers else "assumed: none is known"
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
        rows.append(["cost at most", most.reason if most.cost is None else exactly(most.cost)])
        about = "" if plan.likely is None else "about "
        rows.append(["cost likely", about + format_dollars(plan.likely)])
    for balance in () if free else plan.balances:
        now = f"{exactly(balance.remaining)} of {exactly(balance.limit.dollars)} left"
        if most.cost is not None and most.cost <= balance.remaining:
            after = from_nano(to_nano(balance.remaining) - to_nano(most.cost))
            now += f"; after this call at least {exactly(after)}"
        rows.append([balance.limit.name, now])
    notes = [f"{_verdict(plan)}Nothing was sent."]
    if request.params.get("response_format", {}).get("type") == "json_schema":
        notes.append(
            "An answer that does not fit its schema is asked for once more, which may more than"
            " double this."
        )
    return Table(["", "dry run"], rows, "\n".join(notes))


def _verdict(plan: Plan) -> str:
    """What budgets would do to a call."""
    if plan.refused is not None:
        return f"It would be refused: {plan.refused.limit.name} does not allow it. "
    if plan.waits is not None:
        held = exactly(plan.waits.reserved)
        return f"It would wait: calls under way hold {held} of {plan.waits.limit.name}. "
    if plan.clamped is not None:
        return f"{plan.clamped.limit.name.capitalize()} has room for {plan.limit:,} tokens. "
    return ""
