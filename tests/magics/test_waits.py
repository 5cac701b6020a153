"""Messages of a cell that waits, and stopping it."""

from __future__ import annotations

import html
import re
import time

import pytest
from kernels import Desk, Ran
from patience import soon
from server import HANG, Answer, refusal, together

HELLO = Answer(together("Hello", " there"))
BUSY = {"error": {"message": "slow down"}}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"), MIXMAGIC_MAX_RETRIES="3")
    yield desk
    desk.close()


def shown(ran: Ran) -> list[str]:
    """The texts that stood in the cell, one after the other."""
    datas = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    return [html.unescape(re.sub("<[^>]*>", "", data["text/markdown"])) for data in datas]


def test_a_wait_for_the_next_try_counts_down_and_is_in_the_footer(desk):
    ran = desk.run("%%mixtral\nHi", refusal(429, BUSY, retry_after="2"), HELLO)
    assert ran.status == "ok"
    first, second, *rest = shown(ran)
    assert first == "rate limited by Together AI: next try in 2 s"
    assert second == "rate limited by Together AI: next try in 1 s"
    assert not any("waiting" in text or "next try" in text for text in rest)
    assert " · after 1 retry · session " in ran.text
    assert [output["kind"] for output in ran.outputs] == ["display_data"]
    assert len(desk.server.received) == 2


def test_a_server_that_fails_is_named_while_it_is_tried_again(desk):
    ran = desk.run("%%mixtral\nHi", refusal(503, BUSY, retry_after="1"), HELLO)
    assert shown(ran)[0] == "Together AI answered 503: next try in 1 s"


def test_a_stop_ends_the_wait_for_the_next_try(desk):
    desk.plan(refusal(429, BUSY, retry_after="30"))
    sent = desk.kernel.send("%%mixtral\nHi")
    before = desk.kernel.collect(sent, until=lambda ran: "next try in" in ran.text)
    at = time.monotonic()
    desk.kernel.interrupt()
    ran = desk.kernel.collect(sent)
    took = ran.replied_at - at
    print(f"\nreply after {took * 1000:.0f} ms")
    assert took < soon(0.5)
    assert ran.reply["ename"] == "Stopped"
    assert len(ran.traceback) == 1
    assert "next try in 30 s" in before.text
    assert len(desk.server.received) == 1


def test_a_wait_without_a_word_is_said_once(desk):
    desk.plan(Answer([1.6, *together("Hello")]))
    ran = desk.run("%%mixtral\nHi")
    assert shown(ran)[0] == "waiting for together:8x7b …"
    assert sum("waiting" in text for text in shown(ran)) == 1


def test_a_wait_longer_than_is_allowed_is_an_error_at_once(desk):
    at = time.monotonic()
    ran = desk.run("%%mixtral\nHi", refusal(429, BUSY, retry_after="3600"))
    assert time.monotonic() - at < soon(5)
    assert ran.reply["ename"] == "RateLimited"
    assert "60 minutes" in ran.traceback[0]


def test_the_total_time_ends_a_call_that_waits(desk):
    desk.plan(Answer([HANG]))
    ran = desk.run("import mixmagic\nmixmagic.ask('Hi', timeout=0.5)")
    assert ran.reply["ename"] == "TotalTimedOut"
    assert len(ran.traceback) == 2
