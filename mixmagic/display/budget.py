"""Tables: what the budgets have left, what a call would cost."""

from __future__ import annotations

from collections.abc import Sequence

from mixmagic.completion import dollars as rounded
from mixmagic.display.report import Table
from mixmagic.money import dollars, nano
from mixmagic.store.budgets import Left, exactly
from mixmagic.tasks.plan import Plan


def budgets_table(left: Sequence[Left]) -> Table:
    """What each limit has left."""
    return Table(
        ["budget", "limit>", "spent>", "held>", "left>", "raised by"],
        [
            [
                each.cap.name,
                exactly(each.cap.limit),
                exactly(each.spent),
                exactly(each.held),
                exactly(each.left),
                each.cap.cure.strip("`"),
            ]
            for each in left
        ],
        "held: what calls under way may cost at most"
        if left
        else "No budget is set: `%mixmagic budget 0.50` sets this session's,"
        " `--per day` and `--per month` those of all sessions.",
    )


def plan_table(plan: Plan) -> Table:
    """What a call would take and cost."""
    request, model, most = plan.request, plan.request.model, plan.bound
    prompt = f"{plan.prompt.tokens:,} tokens"
    if not plan.prompt.exact:
        prompt = f"about {prompt}, at most {plan.prompt.most:,}"
    known = f"the mean of {plan.answers:,} answers" if plan.answers else "assumed: none is known"
    limit = request.params.get("max_tokens", most.completion_tokens)
    bound = "" if limit is None else f"at most {limit:,} tokens, "
    rows = [
        ["model", f"{model.name} ({model.id})"],
        ["prompt", prompt],
        ["answer", f"{bound}likely {plan.answer:,} ({known})"],
    ]
    if model.context is not None:
        share = plan.prompt.tokens / model.context
        used = f"{share:.1%}" if share >= 0.001 else "under 0.1%"
        rows.append(["context", f"{used} of {model.context:,} tokens for the prompt"])
    if model.provider.free:
        rows.append(["cost", "free"])
    else:
        rows.append(["cost at most", most.reason if most.cost is None else exactly(most.cost)])
        about = "" if plan.likely is None else "about "
        rows.append(["cost likely", about + rounded(plan.likely)])
    for left in () if model.provider.free else plan.left:
        now = f"{exactly(left.left)} of {exactly(left.cap.limit)} left"
        if most.cost is not None and most.cost <= left.left:
            after = dollars(nano(left.left) - nano(most.cost))
            now += f"; after this call at least {exactly(after)}"
        rows.append([left.cap.name, now])
    refused = plan.refused
    verdict = f"It would be refused: {refused.cap.name} does not allow it. " if refused else ""
    return Table(["", "dry run"], rows, f"{verdict}Nothing was sent.")
