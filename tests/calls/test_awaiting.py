"""Calls in coroutines: answers, pieces, cancellation, many at once, and what is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import aclosing

import anyio
import pytest
from server import CUT, HANG, Answer, chunk, frames, together

import mixmagic
from mixmagic import sessions
from mixmagic.calls import awaiting
from mixmagic.errors import BadArguments, MissingKey, StreamBroken

HALF = Answer([frames(chunk("Half "), chunk("an "), done=False), HANG])
HELLO = Answer(together("Hello", " there"))


@pytest.fixture(autouse=True)
def own_session(session, monkeypatch):
    """The test's session is that of the process."""
    monkeypatch.setattr(sessions, "_of_process", {"session": session})
    return session


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "mixmagic-call"]


def statuses(session) -> dict[str, int]:
    return {row.name: row.calls for row in session.ledger.spent("all", "status")}


async def seen(server, count: int = 1) -> None:
    """Wait until the server has so many requests; the pieces are on their way."""
    await asyncio.to_thread(server.wait, lambda: len(server.received) >= count)


def test_the_answer_is_that_of_ask(together):
    together.plan = [HELLO]
    answer = asyncio.run(mixmagic.aask("Hi", model="8x7b", temperature=0))
    assert (answer.text, answer.finish) == ("Hello there", "stop")
    assert answer.cost > 0
    assert together.received[0].body["temperature"] == 0
    assert threads() == []


def test_pieces_are_those_of_stream(together):
    together.plan = [HELLO]

    async def main():
        return [str(piece) async for piece in mixmagic.astream("Hi") if str(piece)]

    assert asyncio.run(main()) == ["Hello", " there"]


def test_pieces_arrive_while_the_answer_goes_on(together):
    together.plan = [HALF]

    async def main():
        async with aclosing(mixmagic.astream("Hi")) as pieces:
            return [str(await anext(pieces)), str(await anext(pieces))]

    assert asyncio.run(main()) == ["Half ", "an "]
    assert together.wait(lambda: together.received[0].closed_at, timeout=5)


@pytest.mark.parametrize("answer", [HALF, Answer([HANG])], ids=["streaming", "before its head"])
@pytest.mark.parametrize(
    "how", ["cancel", "timeout", "timeout at once", "gather", "group", "anyio"]
)
def test_a_cancelled_task_closes_the_connection_and_records_what_was_received(
    together, own_session, answer, how
):
    together.plan = [answer]

    async def ask():
        return await mixmagic.aask("Hi")

    async def main():
        task = asyncio.ensure_future(ask())
        await seen(together)
        await asyncio.sleep(0.2)
        begun = time.monotonic()
        if how == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await task
        elif how == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0)
        elif how == "gather":
            both = asyncio.gather(task, asyncio.sleep(60))
            await asyncio.sleep(0)
            both.cancel()
            with pytest.raises(asyncio.CancelledError):
                await both
        elif how == "group":
            with pytest.raises(ExceptionGroup):
                await _in_a_group(task)
        else:
            with anyio.move_on_after(0.01):
                await task
        await asyncio.wait({task}, timeout=5)
        assert time.monotonic() - begun < 5
        return task

    task = asyncio.run(main())
    assert task.cancelled()
    assert together.wait(lambda: together.received[0].closed_at, timeout=5)
    together.wait(lambda: not threads(), timeout=5)
    assert statuses(own_session) == {"stopped": 1}
    (kept,) = mixmagic.stopped()
    assert kept.text in ("Half an ", "")
    assert bool(kept.text) == (answer is HALF)


async def _in_a_group(task):
    """Wait for a task in a group in which another one fails."""

    async def wait():
        await task

    async def fail():
        raise ValueError("of another task")

    async with asyncio.TaskGroup() as group:
        group.create_task(wait())
        group.create_task(fail())


async def _fail_at(pieces):
    async with aclosing(pieces):
        async for piece in pieces:
            raise ValueError(piece)


@pytest.mark.parametrize("how", ["break", "aclose", "raise", "forgotten"])
def test_leaving_a_stream_closes_the_connection(together, own_session, how):
    together.plan = [HALF]

    async def main():
        pieces = mixmagic.astream("Hi")
        if how == "break":
            async for _ in pieces:
                break
            await pieces.aclose()
        elif how == "aclose":
            await anext(pieces)
            await pieces.aclose()
        elif how == "raise":
            with pytest.raises(ValueError, match="Half"):
                await _fail_at(pieces)
        else:
            await anext(pieces)
            del pieces
            gc.collect()
        await asyncio.to_thread(together.wait, lambda: together.received[0].closed_at)

    asyncio.run(main())
    together.wait(lambda: not threads(), timeout=5)
    assert statuses(own_session) == {"stopped": 1}
    assert [each.text for each in mixmagic.stopped()] == ["Half an "]


def test_a_loop_that_ends_leaves_no_call_behind(together, own_session):
    together.plan = [HALF]

    async def main():
        task = asyncio.ensure_future(mixmagic.aask("Hi"))
        pieces = mixmagic.astream("Hi")
        await anext(pieces)
        await seen(together, 2)
        assert not task.done()

    asyncio.run(main())
    assert threads() == []
    assert statuses(own_session) == {"stopped": 2}
    assert awaiting._turns == {}


def test_a_cancelled_call_that_waits_for_its_turn_sends_nothing(together, own_session, monkeypatch):
    monkeypatch.setattr(awaiting, "_MOST", 1)
    together.plan = [HALF]

    async def main():
        first = asyncio.ensure_future(mixmagic.aask("first"))
        await seen(together)
        second = asyncio.ensure_future(mixmagic.aask("second"))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.wait({second})
        together.plan = [HELLO]
        first.cancel()
        await asyncio.wait({first})
        return (await mixmagic.aask("third")).text

    assert asyncio.run(main()) == "Hello there"
    assert [each.body["messages"][0]["content"] for each in together.received] == ["first", "third"]


def test_two_hundred_at_once_use_bounded_threads_and_leave_the_loop_free(together, own_session):
    together.plan = [Answer([frames(chunk("Hel"), done=False), 0.3, *together_rest()])]
    most, late = 0, 0.0

    async def watch():
        nonlocal most, late
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late = max(late, time.monotonic() - due)
            most = max(most, len(threads()))

    async def main():
        await mixmagic.aask("imports")
        watching = asyncio.ensure_future(watch())
        answers = await asyncio.gather(*(mixmagic.aask(f"q{each}") for each in range(200)))
        watching.cancel()
        return answers

    answers = asyncio.run(main())
    assert [each.text for each in answers] == ["Hello"] * 200
    asked = [each.request.messages[0].content for each in answers]
    assert asked == [f"q{each}" for each in range(200)]
    assert 50 < most <= 100
    assert late < 2.0, "a loop that waits for calls in turn would be late by a minute"
    assert threads() == []
    assert statuses(own_session) == {"ok": 201}


def together_rest() -> list[bytes]:
    return together("lo")


def test_all_of_two_hundred_end_when_they_are_cancelled(together, own_session):
    together.plan = [HALF]

    async def main():
        tasks = [asyncio.ensure_future(mixmagic.aask(f"q{each}")) for each in range(200)]
        await seen(together, 100)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}

    asyncio.run(main())
    together.wait(lambda: not threads(), timeout=10)
    assert len(together.received) == 100
    assert statuses(own_session) == {"stopped": 100}


def test_errors_arrive_with_their_two_lines(together, monkeypatch):
    together.plan = [Answer([frames(chunk("Half"), done=False), CUT])]
    with pytest.raises(StreamBroken) as broken:
        asyncio.run(mixmagic.aask("Hi"))
    assert broken.value.partial.text == "Half"
    assert len(broken.value._render_traceback_()) == 2

    async def read():
        return [str(piece) async for piece in mixmagic.astream("Hi")]

    with pytest.raises(StreamBroken):
        asyncio.run(read())
    with pytest.raises(BadArguments):
        asyncio.run(mixmagic.aask("Hi", temperature=9))
    monkeypatch.delenv("TOGETHER_API_KEY")
    with pytest.raises(MissingKey):
        asyncio.run(mixmagic.aask("Hi"))


def test_one_failure_of_many_does_not_stop_the_others(together):
    def plan(received):
        text = received.body["messages"][0]["content"]
        return Answer([frames(chunk("Half"), done=False), CUT]) if text == "q3" else HELLO

    together.plan = [plan]

    async def main():
        calls = (mixmagic.aask(f"q{each}") for each in range(6))
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(main())
    assert isinstance(answers[3], StreamBroken)
    assert [each.text for each in answers if each is not answers[3]] == ["Hello there"] * 5


def test_a_call_stopped_from_elsewhere_ends_its_task_and_not_the_loop(together, own_session):
    """A `KeyboardInterrupt` in a task would end the event loop."""
    together.plan = [HALF]

    async def main():
        task = asyncio.ensure_future(mixmagic.aask("Hi"))
        await seen(together)
        await asyncio.sleep(0.2)
        for running in own_session.running:
            running.stop()
        with pytest.raises(asyncio.CancelledError, match=r"Stopped: .* kept in mixmagic.stopped"):
            await task
        return "the loop goes on"

    assert asyncio.run(main()) == "the loop goes on"
    assert [each.text for each in mixmagic.stopped()] == ["Half an "]


def test_a_call_runs_in_the_context_of_its_task(own_session):
    place = contextvars.ContextVar("place", default="nowhere")
    found = []

    def stream(request):
        found.append(place.get())
        yield mixmagic.Delta("Hi")

    async def main():
        place.set("here")
        request = own_session.request("Hi", model="local")
        return await awaiting.ask(stream, request, own_session.calls)

    assert asyncio.run(main()).text == "Hi"
    assert found == ["here"]


def test_without_asyncio_the_error_names_the_way(together):
    coroutine = mixmagic.aask("Hi")
    with pytest.raises(BadArguments, match="asyncio") as refused:
        coroutine.send(None)
    assert "trio.to_thread.run_sync(mixmagic.ask" in refused.value.hint


SCRIPT = """
import asyncio, os, signal, threading, mixmagic
async def main():
    try:
        await asyncio.gather(mixmagic.aask("a"), mixmagic.aask("b"))
    finally:
        print("left", flush=True)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print([each.text for each in mixmagic.stopped()])
    print({row.name: row.calls for row in mixmagic.spend("session", by="status")})
print([each.name for each in threading.enumerate() if each.name == "mixmagic-call"])
"""


def test_ctrl_c_ends_a_script_and_its_calls(together):
    together.plan = [HALF]
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    together.wait(lambda: len(together.received) == 2)
    time.sleep(0.5)  # its pieces are on their way
    script.send_signal(signal.SIGINT)
    out, _ = script.communicate(timeout=30)
    assert out.splitlines() == ["left", "['Half an ', 'Half an ']", "{'stopped': 2}", "[]"]
    assert all(each.closed_at for each in together.received)
