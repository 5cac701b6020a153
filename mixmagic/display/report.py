"""Tables: the models that can be named, what the session has cost, what the doctor says."""

from __future__ import annotations

import html
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from mixmagic import defuse
from mixmagic.completion import dollars
from mixmagic.store.ledger import Spent, total
from mixmagic.tasks.doctor import Check
from mixmagic.values import Model, Price


class Table:
    """A table that shows itself as HTML in a notebook and as columns of text elsewhere.

    Args:
        columns: The heads; those that end with `>` hold numbers and are set to the right.
        rows: The cells, as many as there are columns.
        caption: Lines below the table.
    """

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = ""
    ) -> None:
        self.columns = [column.removesuffix(">") for column in columns]
        self.rows = [list(map(defuse.plain, row)) for row in rows]
        self.caption = defuse.plain(caption)
        self._right = [column.endswith(">") for column in columns]

    def __str__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join(
            [
                "  ".join(
                    cell.rjust(width) if right else cell.ljust(width)
                    for cell, width, right in zip(line, widths, self._right, strict=True)
                ).rstrip()
                for line in lines
            ]
            + ([self.caption] if self.caption else [])
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        def side(right: bool) -> str:
            return "right" if right else "left"

        def cells(line: Sequence[str], tag: str) -> str:
            return "".join(
                f'<{tag} style="text-align: {side(right)}">{html.escape(cell)}</{tag}>'
                for cell, right in zip(line, self._right, strict=True)
            )

        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in self.rows)
        caption = html.escape(self.caption).replace("\n", "<br>")
        below = f'<div style="opacity: 0.65; font-size: 85%">{caption}</div>' if caption else ""
        head = f"<thead><tr>{cells(self.columns, 'th')}</tr></thead>"
        return {
            "text/html": f"<table>{head}<tbody>{body}</tbody></table>{below}",
            "text/plain": str(self),
        }


def models_table(models: Sequence[Model], default: Model | None, about: str = "") -> Table:
    """The models that can be named; `default` is marked, `about` is said below."""
    asked = (default.provider.name, default.id) if default else None
    notes: dict[str, list[str]] = {}
    for model in models:
        notes.setdefault(model.about, []).append(model.name)
    notes.pop("", None)
    return Table(
        ["", "model", "API string", "context>", "$ in / M>", "$ out / M>", "status", "good for"],
        [
            [
                "→" if asked == (model.provider.name, model.id) else "",
                model.name,
                model.id,
                f"{model.context:,}" if model.context else "?",
                *_prices(model),
                model.status,
                ", ".join(model.strengths),
            ]
            for model in models
        ],
        "\n".join(
            ["→ asked by default", *filter(None, [about])]
            + [f"{', '.join(names)}: {note}" for note, names in notes.items()]
        ),
    )


def spend_table(spent: Sequence[Spent]) -> Table:
    """What the session has cost, per model and in all."""
    rows = [*spent, total(list(spent))]
    notes = ["this session"]
    if any(row.unpriced for row in spent):
        notes.append("≥: some calls have no known price")
    if any(row.estimated for row in spent):
        notes.append("≈: some tokens are estimated")
    return Table(
        ["model", "calls>", "stopped>", "failed>", "tokens in>", "tokens out>", "cost>"],
        [
            [
                row.model,
                str(row.calls),
                str(row.stopped),
                str(row.failed),
                f"{row.prompt_tokens:,}",
                f"{row.completion_tokens:,}",
                _cost(row),
            ]
            for row in rows
        ],
        " · ".join(notes),
    )


def doctor_table(checks: Sequence[Check]) -> Table:
    """What is in place and what is not."""
    troubles = sum(check.ok is False for check in checks)
    return Table(
        ["", "check", "found"],
        [[check.mark, check.name, check.detail] for check in checks],
        f"{troubles} to mend" if troubles else "all is well",
    )


def _cost(row: Spent) -> str:
    """A sum with what is uncertain about it."""
    if row.unpriced and not row.cost:
        return dollars(None)
    bound, about = "≥ " * bool(row.unpriced), "≈ " * bool(row.estimated and row.cost)
    return bound + about + dollars(row.cost)


def _prices(model: Model) -> tuple[str, str]:
    """A model's prices for people."""
    price: Price | None = model.price
    if model.provider.free:
        return "free", "free"
    if price is None:
        return "unknown", "unknown"
    return _price(price.input), _price(price.output)


def _price(value: Decimal) -> str:
    """Dollars per million tokens, with two digits at the least."""
    return str(value if value.as_tuple().exponent < -2 else value.quantize(Decimal("0.01")))  # type: ignore[operator]  # finite
