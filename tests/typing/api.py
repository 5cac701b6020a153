"""The public API as a user's type checker sees it; mypy reads this file, nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, assert_type

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


def maps() -> None:
    job = mixmagic.map(["Great!"], "Positive? {{ text }}", model="local", in_flight=8, budget=2)
    mixmagic.map("reviews.csv", "Positive? {{ text }}", out="answers/", model="local")
    assert_type(job.state, Literal["running", "done", "paused", "stopped", "preview"])
    assert_type(job.progress.cost, Decimal)
    assert_type([error.row for error in job.errors], list[int])
    preview = mixmagic.map(["Great!"], "Positive? {{ text }}", preview=20)
    assert_type([row.position for row in preview], list[int])
    mixmagic.map(["Great!"], "Positive? {{ text }}", repeats="often")  # type: ignore[call-overload]


def parameters_are_typed(session: mixmagic.Session) -> None:
    """Each line below is an error to a type checker; an ignore without one would be, too."""
    mixmagic.ask("Hello", temperature="hot")  # type: ignore[arg-type]
    mixmagic.ask("Hello", temprature=1)  # type: ignore[call-arg]
    mixmagic.stream("Hello", max_tokens=2.5)  # type: ignore[arg-type]
    mixmagic.astream("Hello", stop=3)  # type: ignore[arg-type]
    session.ask("Hello", cache="of")  # type: ignore[arg-type]
    session.request("Hello", stream=None)  # type: ignore[arg-type]
    session.request("Hello", seed="1")  # type: ignore[arg-type]


def parameters_are_all_there(session: mixmagic.Session) -> None:
    budget = Decimal("0.10")
    session.ask("Hello", model=None, system="Be brief.", task="code", top_p=0.5, seed=1, n=2)
    session.request("Hello", stop=["a"], schema={"type": "object"}, timeout=5, stream=False)
    mixmagic.ask("Hello", budget=budget, cache="off", logprobs=True, extra_body={"top_a": 1})


async def awaits() -> None:
    assert_type(await mixmagic.aask("Hello", temperature=0), mixmagic.Completion)
    await mixmagic.aask("Hello", max_tokens="many")  # type: ignore[arg-type]
    async for piece in mixmagic.astream("Hello", system="Be brief."):
        assert_type(piece, mixmagic.Delta)


def spends() -> None:
    spent = mixmagic.spend("month", by="day")
    assert_type(spent.total.cost, Decimal)
    assert_type([row.name for row in spent], list[str])
    assert_type(spent.to_csv(), str)


def budgets() -> None:
    mixmagic.budget("0.50", per="day")
    mixmagic.budget(None)
    mixmagic.budget(0.5, per="year")  # type: ignore[call-overload]
    for balance in mixmagic.budget():
        assert_type(balance.remaining, Decimal)


def sessions() -> None:
    session = mixmagic.session()
    assert_type(session, mixmagic.Session)
    assert_type(session.model, str)
    request = session.request([{"role": "user", "content": "Hello"}])
    request.control.stop.set()
