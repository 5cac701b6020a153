"""The public API as a user's type checker sees it; mypy reads this file, nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import assert_type

import mixmagic


def asks() -> None:
    answer = mixmagic.ask("Hello", model="local", temperature=0, system="Be brief.")
    assert_type(answer, mixmagic.Completion)
    assert_type(answer.text, str)
    assert_type(answer.cost, Decimal | None)
    assert_type(answer.usage.prompt_tokens, int)


def streams() -> Iterator[str]:
    conversation = [mixmagic.Message("user", "Hello")]
    for piece in mixmagic.stream(conversation, max_tokens=5):
        assert_type(piece, mixmagic.Delta)
        yield str(piece)


def spends() -> None:
    spent = mixmagic.spend("month", by="day")
    assert_type(spent.total.cost, Decimal)
    assert_type([row.name for row in spent], list[str])
    assert_type(spent.to_csv(), str)


def sessions() -> None:
    session = mixmagic.session()
    assert_type(session, mixmagic.Session)
    assert_type(session.model, str)
    request = session.request([{"role": "user", "content": "Hello"}])
    request.control.stop.set()
