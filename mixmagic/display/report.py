"""Tables: the models that can be named, what calls have cost, what the doctor says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Protocol

from mixmagic.core.money import amounts, exact_sum
from mixmagic.core.terminal import encodable
from mixmagic.core.values import Model
from mixmagic.store.ledger.spend import By, Spent, total
from mixmagic.tasks.doctor import Check
from mixmagic.text.escape import as_text, plain

# Columns of `spend_table` that are shown where they have anything to show.
_SOMETIMES = {"stopped": "stopped", "failed": "failed", "lost": "lost", "open": "under way"}

# Characters of a cell that stay in one line.
_SHORT = 24


class Sum(Protocol):
    """What some calls have cost, and what is uncertain about it."""

    @property
    def cost(self) -> Decimal: ...
    @property
    def unpriced(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def billed_tries(self) -> int: ...
    @property
    def estimated(self) -> int: ...


class Table:
    """A table that shows itself as HTML in a notebook and as columns of text elsewhere.

    Args:
        columns: The heads; those that end with `>` hold numbers and are set to the right.
        rows: The cells, as many as there are columns.
        caption: Lines below the table.
        foot: The cells of a last row that is set apart, such as a total.

    Example:
        >>> Table(["model", "cost>"], [["8x7b", "$0.60"]], "this session", ["total", "$0.60"])
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        caption: str = "",
        foot: Sequence[str] = (),
    ) -> None:
        self.columns = [column.removesuffix(">") for column in columns]
        self.rows = [list(map(plain, row)) for row in rows]
        self.foot = list(map(plain, foot))
        self.caption = plain(caption)
        self._right = [column.endswith(">") for column in columns]

    def __str__(self) -> str:
        lines = [self.columns, *self.rows, *filter(None, [self.foot])]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        text = "\n".join(
            [
                "  ".join(
                    cell.rjust(width) if right else cell.ljust(width)
                    for cell, width, right in zip(line, widths, self._right, strict=True)
                ).rstrip()
                for line in lines
            ]
            + ([self.caption] if self.caption else [])
        )
        return encodable(text)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        def cells(line: Sequence[str], tag: str, more: str = "") -> str:
            parts = []
            for cell, right in zip(line, self._right, strict=True):
                side = "right" if right else "left"
                whole = "; white-space: nowrap" if tag == "td" and len(cell) <= _SHORT else ""
                # Bold figures would be wider than those above them.
                bold = "; font-weight: bold" if more and not right else ""
                style = f"text-align: {side}{whole}{bold}{more}"
                parts.append(f'<{tag} style="{style}">{as_text(cell, starts_line=False)}</{tag}>')
            return "".join(parts)

        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in self.rows)
        caption = as_text(self.caption, starts_line=False).replace("\n", "<br>")
        below = f'<div style="opacity: 0.65; font-size: 85%">{caption}</div>' if caption else ""
        head = f"<thead><tr>{cells(self.columns, 'th')}</tr></thead>"
        apart = "; border-top: 1px solid gray"
        foot = f"<tfoot><tr>{cells(self.foot, 'td', apart)}</tr></tfoot>" if self.foot else ""
        table = f'<table style="font-variant-numeric: tabular-nums">{head}<tbody>{body}</tbody>'
        return {
            "text/html": f"{table}{foot}</table>{below}",
            "text/plain": str(self),
        }


def models_table(models: Sequence[Model], default: Model | None, about: str = "") -> Table:
    """The models that can be named; `default` is marked, `about` is said below."""
    asked = (default.provider.name, default.id) if default else None
    notes: dict[str, list[str]] = {}
    for model in models:
        notes.setdefault(model.about, []).append(model.name)
    notes.pop("", None)
    given, taken = (
        rates([_price(model, getattr(model.price, side, None)) for model in models])
        for side in ("input", "output")
    )
    return Table(
        ["", "model", "API string", "context>", "$ in / M>", "$ out / M>", "status", "good for"],
        [
            [
                "→" if asked == (model.provider.name, model.id) else "",
                model.name,
                model.id,
                f"{model.context:,}" if model.context else "?",
                price_in,
                price_out,
                model.status,
                ", ".join(model.strengths),
            ]
            for model, price_in, price_out in zip(models, given, taken, strict=True)
        ],
        "\n".join(
            ["→ asked by default", *filter(None, [about])]
            + [f"{', '.join(names)}: {note}" for note, names in notes.items()]
        ),
    )


def spend_table(spent: Sequence[Spent], by: By, about: str) -> Table:
    """What groups of calls have cost, and in all; columns that would be empty are left out.

    Args:
        spent: The groups.
        by: What they are.
        about: Which calls they are of, in a few words.
    """
    everything, costs = total(spent), costs_with_total(spent)
    savings = amounts([*(row.saved for row in spent), everything.saved])
    sometimes = [name for name in _SOMETIMES if getattr(everything, name)]
    cached, saved = everything.cached_tokens > 0, any(row.saved for row in spent)

    def cells(name: str, row: Spent, cost: str, saving: str) -> list[str]:
        return [
            name,
            *(f"{getattr(row, count):,}" for count in ["calls", *sometimes]),
            f"{row.prompt_tokens:,}",
            *[f"{row.cached_tokens:,}"] * cached,
            f"{row.completion_tokens:,}",
            cost,
            *[saving] * saved,
        ]

    counts = ["calls>", *(f"{_SOMETIMES[name]}>" for name in sometimes), "tokens in>"]
    counts += ["cached>"] * cached + ["tokens out>", "cost>"] + ["saved>"] * saved
    *rows, foot = map(
        cells,
        [*(row.name or f"no {by} known" for row in spent), "total"],
        [*spent, everything],
        costs,
        savings,
    )
    notes = [about, *_spend_notes(everything, "".join(costs))]
    return Table([by, *counts], rows, " · ".join(notes), foot)


def spend_cost(spent: Sequence[Spent]) -> str:
    """What groups of calls have cost in all, with what is uncertain about it."""
    return costs_with_total(spent)[-1]


def costs_with_total(sums: Sequence[Sum]) -> list[str]:
    """What each of the groups has cost and, last, all of them, with marks of what is uncertain."""
    marks = [_marks(each) for each in sums]
    marks.append("".join(marks))
    costs = [*(each.cost for each in sums), exact_sum(each.cost for each in sums)]
    unknown = ["≥" in said and not cost for said, cost in zip(marks, costs, strict=True)]
    shown = amounts([None if no else cost for no, cost in zip(unknown, costs, strict=True)])
    return [
        cost if no else _bound(said) + cost
        for no, said, cost in zip(unknown, marks, shown, strict=True)
    ]


def rates(prices: Sequence[Decimal | str]) -> list[str]:
    """A column of dollars per million tokens, to the last digit of each; words stay words."""
    digits = max((len(_decimals(each)) for each in prices if isinstance(each, Decimal)), default=0)
    return [each if isinstance(each, str) else f"{each:,.{max(2, digits)}f}" for each in prices]


def doctor_table(checks: Sequence[Check]) -> Table:
    """What is in place and what is not."""
    troubles = sum(check.ok is False for check in checks)
    return Table(
        ["", "check", "found"],
        [[check.mark, check.name, check.detail] for check in checks],
        f"{troubles} to mend" if troubles else "all is well",
    )


def _marks(row: Sum) -> str:
    """What is uncertain about what a group of calls has cost."""
    about = "≤" * bool(row.lost or row.billed_tries) + "≈" * bool(row.estimated)
    return "≥" * bool(row.unpriced) + about * bool(row.cost)


def _bound(marks: str) -> str:
    """Marks as they stand before a sum: it is no upper bound where it is a lower one."""
    bound = "≥ " if "≥" in marks else "≤ " if "≤" in marks else ""
    return bound + "≈ " * ("≈" in marks)


def _spend_notes(everything: Spent, shown: str) -> Iterator[str]:
    """What should be known of the costs that are shown."""
    if "≥" in shown:
        yield "≥: some calls have no known price"
    if everything.lost and everything.cost:
        mark = "≤: " if "≤" in shown else ""
        yield f"{mark}lost calls are counted at their most (`spend --resolve` settles them)"
    if everything.billed_tries and everything.cost:
        tries = "1 try" if everything.billed_tries == 1 else f"{everything.billed_tries:,} tries"
        mark = "≤: " if "≤" in shown else ""
        yield f"{mark}{tries} may have been billed (`spend --resolve` settles them)"
    if "≈" in shown:
        yield "≈: some tokens are estimated"
    if everything.held:
        open_calls = {0: "jobs", 1: "the call under way"}
        calls = open_calls.get(everything.open, f"the {everything.open:,} calls under way")
        yield f"{amounts([everything.held])[0]} is held for {calls}"
    if everything.saved < 0:
        yield "saved below $0: cached tokens cost more than others"


def _price(model: Model, price: Decimal | None) -> Decimal | str:
    """One of a model's prices, or what there is to say in its place."""
    return "free" if model.provider.free and not price else "unknown" if price is None else price


def _decimals(price: Decimal) -> str:
    """The digits behind the point that say something; no arithmetic, which may round."""
    return f"{price:f}".partition(".")[2].rstrip("0")
