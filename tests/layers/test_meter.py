"""Each call becomes a row, however it ends."""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from server import CUT, HANG, Answer, chunk, frames, refusal, usage
from server import together as pieces

from mixmagic.calls.collector import Collector
from mixmagic.calls.interrupts import Calls
from mixmagic.core.money import Price, Usage
from mixmagic.core.values import Delta
from mixmagic.errors import (
    BudgetExceeded,
    MissingKey,
    MixmagicError,
    Stopped,
    StreamBroken,
    TotalTimedOut,
    Unavailable,
)
from mixmagic.layers.meter import meter
from mixmagic.sessions import Session
from mixmagic.store.ledger import rows as store_rows
from mixmagic.store.ledger.ledger import Ledger

HALF = [frames(chunk("Half"), chunk(" an"), done=False)]
HELLO = pieces("Hello", " there")


def rows(session: Session) -> list:
    return session.ledger.database.rows("SELECT * FROM calls ORDER BY id")


def drain(session: Session, request):
    """The completion of `request`, through the session's own stack."""
    collector = Collector(request)
    with closing(session.stream(request)) as deltas:
        for delta in deltas:
            collector.add(delta)
    return collector.completion()


@contextmanager
def stopped_when_received(server, request):
    """Stop a call as soon as the server has its question."""

    def stop() -> None:
        server.wait(lambda: server.received, 30)
        request.control.stop.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Stopped):
        yield
    stopper.join(30)


def test_a_whole_answer_is_ok_with_the_providers_count(session, together):
    together.plan = [Answer(HELLO)]
    drain(session, session.request("Hi"))
    (row,) = rows(session)
    assert (row["status"], row["error"], row["counted"]) == ("ok", None, "server")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (9, 2)
    assert row["cost_nanodollars"] == 11 * 600
    assert 0 < row["first_token_ms"] <= row["latency_ms"]


def test_an_answer_of_several_that_has_ended_is_not_all_of_them(session):
    """Together's usage rides on what ends an answer: it counts that one alone."""

    def send(request):
        yield Delta("Yes.")
        yield Delta(finish="stop", usage=Usage(9, 2))
        while True:
            yield Delta("word ", choice=1)

    stream = meter(session.ledger, None, session.calls)(send)(session.request("Hi", n=2))
    for _ in range(400):
        next(stream)
    stream.close()
    (row,) = rows(session)
    assert row["counted"] != "server"
    assert row["completion_tokens"] > 300


def test_a_count_that_came_with_the_first_of_two_answers_is_not_for_both(session):
    def send(request):
        yield Delta("Yes.")
        yield Delta(finish="stop", usage=Usage(9, 2))
        yield from (Delta("word ", choice=1) for _ in range(400))
        yield Delta(finish="stop", choice=1)

    for _ in meter(session.ledger, None, session.calls)(send)(session.request("Hi", n=2)):
        pass
    (row,) = rows(session)
    assert row["status"] == "ok"
    assert row["counted"] != "server"
    assert row["completion_tokens"] > 300


@pytest.mark.parametrize("streamed", [True, False])
def test_a_reader_that_goes_while_its_call_waits_pays_nothing(session, streamed):
    def send(request):
        yield Delta(progress="waiting for a turn")
        pytest.fail("nobody waits any more")

    stream = meter(session.ledger, None, session.calls)(send)(
        session.request("Hi", stream=streamed)
    )
    assert next(stream).progress
    assert rows(session)[0]["status"] == "open", "money is reserved while it waits"
    stream.close()
    assert rows(session) == []


def test_a_bill_above_the_worst_case_is_noted_and_can_be_corrected(session, together):
    together.plan = [Answer([frames(chunk("Hi"), chunk(finish="stop"), usage(9, 10**9))])]
    (note,) = session.ask("Hi", max_tokens=10).notes
    assert note == (
        "it cost more than its worst case of $0.000084: the provider counted more;"
        " `spend --resolve 1 DOLLARS` corrects that"
    )
    session.ledger.resolve(1, Decimal("0.00001"))
    assert [row.cost for row in session.ledger.spent()] == [Decimal("0.00001")]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            refusal(503, {"error": "busy"}),
            (Unavailable, "Unavailable: Together AI answered 503", 0),
        ),
        # "Hi" is 1 + 4 tokens; two pieces of an answer came.
        (Answer([*HALF, CUT]), (StreamBroken, "StreamBroken: ", 11 * 600)),
    ],
    ids=["refused", "broken off"],
)
def test_an_error_is_failed_with_its_reason(session, together, answer, expected):
    error, reason, nanodollars = expected
    together.plan = [answer]
    with pytest.raises(error):
        drain(session, session.request("Hi"))
    (row,) = rows(session)
    assert row["status"] == "failed"
    assert row["error"].startswith(reason)
    assert "\n" not in row["error"]
    assert row["cost_nanodollars"] == nanodollars


def test_a_call_without_a_key_leaves_no_row(session, monkeypatch):
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    with pytest.raises(MissingKey):
        drain(session, session.request("Hi"))
    assert rows(session) == []


def test_a_reader_that_goes_away_is_stopped_and_the_server_sees_it(session, together):
    together.plan = [Answer([*HALF, HANG])]
    with closing(session.stream(session.request("Hi"))) as deltas:
        assert str(next(deltas)) == "Half"
    together.wait(lambda: together.received[0].closed_at)
    (row,) = rows(session)
    assert (row["status"], row["error"], row["counted"]) == ("stopped", None, "exact")
    assert row["completion_tokens"] == 1


def test_a_count_that_came_before_an_error_is_priced(session, together):
    """Where there is a count, there is a bill; and the question is not sent again."""
    counted = frames({"choices": [], **usage(1000, 0)}, done=False)
    error = frames({"choices": [], "error": {"code": 502, "message": "why"}}, done=False)
    together.plan = [Answer([counted, error])]
    with pytest.raises(Unavailable):
        drain(session, session.request("Hi"))
    (row,) = rows(session)
    assert (row["status"], row["prompt_tokens"], row["counted"]) == ("failed", 1000, "server")
    assert row["cost_nanodollars"] == 1000 * 600
    assert len(together.received) == 1


def test_a_stop_from_another_thread_is_stopped(session, together):
    together.plan = [Answer([*HALF, HANG])]
    request = session.request("Hi")
    with stopped_when_received(together, request):
        drain(session, request)
    (row,) = rows(session)
    assert (row["status"], row["counted"]) == ("stopped", "exact")


def test_a_stop_before_the_first_token_is_priced_for_its_prompt(session, together):
    together.plan = [Answer([HANG])]
    request = session.request("Hi")
    with stopped_when_received(together, request):
        drain(session, request)
    (row,) = rows(session)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (9, 0)
    assert row["cost_nanodollars"] == 9 * 600


def test_the_row_is_open_while_the_answer_comes_and_closed_after_the_connection(session, together):
    together.plan = [Answer([*HALF, *HELLO])]
    with closing(session.stream(session.request("Hi"))) as deltas:
        next(deltas)
        assert rows(session)[0]["status"] == "open"
        list(deltas)
    assert rows(session)[0]["status"] == "ok"


def test_an_internal_error_is_recorded_by_its_name_alone(tmp_path, session):
    def broken(request):
        yield Delta("x")
        raise ZeroDivisionError("with a secret")

    ledger = Ledger(tmp_path / "data", "s")
    with pytest.raises(ZeroDivisionError):
        list(meter(ledger, None, session.calls)(broken)(session.request("Hi")))
    (row,) = ledger.database.rows("SELECT * FROM calls")
    assert (row["status"], row["error"]) == ("failed", "ZeroDivisionError")
    ledger.database.close()


def test_many_threads_leave_a_row_each(session, together):
    together.plan = [Answer(HELLO)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: drain(session, session.request(f"Hi {n}")), range(40)))
    (spent,) = session.ledger.spent()
    assert (spent.calls, spent.prompt_tokens, spent.completion_tokens) == (40, 40 * 9, 40 * 2)
    assert {row["status"] for row in rows(session)} == {"ok"}


def test_a_ledger_that_cannot_be_opened_lets_the_call_go_on_with_a_note(home, session, together):
    together.plan = [Answer(HELLO)]
    (home / "data").write_text("a file where the folder should be")
    answer = drain(session, session.request("Hi"))
    assert answer.text == "Hello there"
    assert answer.cost is not None
    (note,) = answer.notes
    assert note.startswith(f"not in the ledger: {home / 'data' / 'ledger.db'} cannot be used")
    assert note in answer.footer()


def test_without_a_ledger_a_reader_that_goes_away_still_closes_the_connection(
    home, session, together
):
    together.plan = [Answer([*HALF, HANG])]
    (home / "data").write_text("a file where the folder should be")
    with closing(session.stream(session.request("Hi"))) as deltas:
        assert next(deltas).note
        assert str(next(deltas)) == "Half"
    together.wait(lambda: together.received[0].closed_at)


def test_a_ledger_that_is_lost_on_the_way_does_not_cost_the_answer(home, session, together, caplog):
    together.plan = [Answer([*HALF, 0.3, *HELLO])]
    with (
        caplog.at_level(logging.WARNING, "mixmagic"),
        closing(session.stream(session.request("Hi"))) as deltas,
    ):
        text = str(next(deltas))
        session.ledger.database.close()
        shutil.rmtree(home / "data")
        (home / "data").write_text("a file where the folder should be")
        text += "".join(map(str, deltas))
    assert text == "Half anHello there"
    assert "The row of a call stays open" in caplog.text


def test_an_unwritable_ledger_shows_in_the_cells_footer(home, start_kernel, together):
    together.plan = [Answer(HELLO)]
    (home / "data").write_text("a file where the folder should be")
    kernel = start_kernel()
    ran = kernel.run("%%mixtral\nHi")
    assert ran.status == "ok"
    assert "Hello there" in ran.text
    assert "not in the ledger: " in ran.text
    assert "session unknown" in ran.text
    spend = kernel.run("%mixmagic spend")
    assert spend.reply["ename"] == "StoreError"
    assert len(spend.traceback) == 2
    together.plan = [Answer([b"[]"], type="application/json")]
    doctor = kernel.run("%mixmagic doctor")
    assert "2 to fix" in doctor.text


def test_an_unstreamed_answer_that_timed_out_costs_its_worst_case(session, together):
    """The provider goes on, and bills it."""
    together.plan = [Answer(HELLO), Answer([20.0, b"{}"], type="application/json")]
    drain(session, session.request("Hi"))  # so that the time goes into the second call alone
    with pytest.raises(TotalTimedOut):
        drain(session, session.request("Hi", stream=False, timeout=1.0, max_tokens=100))
    _, row = rows(session)
    assert (row["status"], row["counted"]) == ("failed", "exact")
    assert row["cost_nanodollars"] == row["held_nanodollars"] == (109 + 24 + 96) * 600


def test_a_count_on_the_way_is_not_the_last_word(session, together):
    """A first frame that counts nothing yet, then text, then silence."""
    first = frames(chunk("Some", **usage(9, 0)), done=False)
    together.plan = [Answer([first, frames(*map(chunk, "words"), done=False), CUT])]
    with pytest.raises(StreamBroken):
        drain(session, session.request("Hi"))
    (row,) = rows(session)
    assert row["prompt_tokens"] == 9
    assert row["completion_tokens"] >= 2
    assert row["counted"] == "exact"


def test_the_next_price_does_not_change_a_call_under_way(session, together):
    together.plan = [Answer(HELLO)]
    with closing(session.stream(session.request("Hi"))) as deltas:
        next(deltas)
        provider, model = session.catalog.provider("together"), session.catalog.resolve("8x7b")
        catalog = session.catalog
        catalog._models[provider.name, model.id] = replace(
            model, price=Price(Decimal(9), Decimal(9))
        )
        session.catalog._version = object()
        catalog._version = object()
        list(deltas)
    drain(session, session.request("Hi"))
    assert [row["cost_nanodollars"] for row in rows(session)] == [11 * 600, 11 * 9_000]
    assert [row["input_price_nanodollars"] for row in rows(session)] == [600_000_000, 9_000_000_000]


@pytest.mark.parametrize("again", ["ollama:8x7b", "ollama:other"])
def test_a_free_model_that_has_been_charged_for_is_not_free_under_a_budget(
    session, together, monkeypatch, again
):
    monkeypatch.setenv("OLLAMA_HOST", together.url)
    count = {"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.5}
    together.plan = [Answer([frames(chunk("Hello", "stop", usage=count))])] * 3
    session.budget(Decimal("0.01"))
    first = session.ask("Hi", model="ollama:8x7b")
    assert first.cost == Decimal("0.5")
    if again == "ollama:8x7b":
        with pytest.raises(BudgetExceeded, match=r"Ollama has charged for ollama:8x7b"):
            session.ask("Hi", model=again)
        session.budget(None)
    assert session.ask("Hi", model=again).text == "Hello"


class TestOnEnd:
    """`control.on_end` is called with the answer before the ledger records the end of the call."""

    @pytest.fixture
    def ended(self, session):
        """Make a call with `on_end`; return what it was called with, and the row at that time."""

        def ended(send, on_end=lambda _: None, **params):
            seen = []

            def note(completion):
                seen.append((completion, rows(session)[0]["status"]))
                on_end(completion)

            request = session.request("Hi", **params)
            request.control.on_end = note
            stream = meter(session.ledger, None, session.calls)(send)(request)
            with contextlib.suppress(MixmagicError, OSError):
                deque(stream, 0)
            return seen

        return ended

    def test_it_gets_the_answer_while_the_row_is_open(self, session, ended):
        def send(request):
            yield Delta("Hello")
            yield Delta(finish="stop", usage=Usage(9, 2))

        [(completion, status)] = ended(send)
        assert (completion.text, completion.cost > 0, status) == ("Hello", True, "open")
        assert rows(session)[0]["status"] == "ok"

    def test_it_gets_the_part_of_an_answer_that_broke_off(self, session, ended):
        def send(request):
            yield Delta("Hel")
            raise StreamBroken("It broke off.", "Ask again.")

        [(completion, _)] = ended(send)
        assert (completion.text, completion.finish) == ("Hel", "broken off")
        assert rows(session)[0]["status"] == "failed"

    def test_it_is_not_called_for_what_never_left_this_machine(self, session, ended):
        def send(request):
            raise Unavailable("No network.", "Connect.")
            yield

        assert ended(send) == []
        assert rows(session) == []

    def test_the_call_is_recorded_even_if_it_fails(self, session, ended):
        def send(request):
            yield Delta("Hello", finish="stop", usage=Usage(9, 2))

        def fail(completion):
            raise OSError("the journal's disk is full")

        assert len(ended(send, fail)) == 1
        assert rows(session)[0]["status"] == "ok"


def test_an_interrupt_at_the_end_of_a_call_loses_no_money(session, monkeypatch):
    """Its traceback may keep the call's frames alive for long."""

    class Interrupted(Calls):
        def end(self, running):
            raise KeyboardInterrupt

    def send(request):
        yield Delta("Hello", finish="stop", usage=Usage(9, 1))

    stream = meter(session.ledger, None, Interrupted())(send)(session.request("Hi"))
    with pytest.raises(KeyboardInterrupt) as kept:
        list(stream)
    monkeypatch.setattr(store_rows, "_GRACE", 0.0)
    session.ledger.sweep()
    assert [row["status"] for row in rows(session)] == ["lost"]
    assert kept.value.__traceback__ is not None


def answers(request):
    yield Delta("Hello")
    yield Delta(" there", finish="stop", usage=Usage(9, 2))


def test_a_row_has_the_calls_tag_and_job(session):
    request = session.request("Hi")
    request.control.tag, request.control.job = "cell 4", "job-7"
    list(meter(session.ledger, None, session.calls)(answers)(request))
    list(meter(session.ledger, None, session.calls)(answers)(session.request("Hi")))
    assert [(row["tag"], row["job"]) for row in rows(session)] == [
        ("cell 4", "job-7"),
        (None, None),
    ]


@pytest.mark.parametrize("origin", ["cache", "cassette"])
def test_an_answer_from_a_cache_or_a_cassette_costs_nothing(session, origin):
    def send(request):
        for delta in answers(request):
            yield delta._replace(origin=origin)

    list(meter(session.ledger, None, session.calls)(send)(session.request("Hi")))
    (row,) = rows(session)
    assert (row["status"], row["origin"], row["cost_nanodollars"]) == ("ok", origin, 0)
    assert [spent.cost for spent in session.ledger.spent()] == [0]


def test_on_end_is_called_before_the_call_is_recorded(session):
    """A job writes its answer down first: otherwise a kill in between would ask for it again."""
    ends = []

    def on_end(completion):
        ends.append((completion.text, [row["status"] for row in rows(session)]))

    request = session.request("Hi")
    request.control.on_end = on_end
    list(meter(session.ledger, None, session.calls)(answers)(request))
    assert ends == [("Hello there", ["open"])]
    assert [row["status"] for row in rows(session)] == ["ok"]


def test_a_call_is_recorded_if_on_end_fails(session):
    def on_end(completion):
        raise OSError("the disk is full")

    request = session.request("Hi")
    request.control.on_end = on_end
    with pytest.raises(OSError, match="the disk is full"):
        list(meter(session.ledger, None, session.calls)(answers)(request))
    assert [row["status"] for row in rows(session)] == ["ok"]


def test_on_end_is_not_called_for_a_call_that_was_never_sent(session):
    def send(request):
        yield Delta(progress="waiting for a turn")

    ends = []
    request = session.request("Hi")
    request.control.on_end = ends.append
    stream = meter(session.ledger, None, session.calls)(send)(request)
    next(stream)
    stream.close()
    assert (ends, rows(session)) == ([], [])


def test_a_stream_that_is_left_open_does_not_keep_the_process_from_ending(together):
    """It is closed, and recorded, while the interpreter is going away."""
    together.plan = [Answer([frames(chunk("Hello"), done=False), HANG])]
    script = (
        "from mixmagic.sessions import Session\n"
        "session = Session()\n"
        "deltas = session.stream(session.request('Hi', model='together:8x7b'))\n"
        "print(next(filter(str, deltas)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "Hello\n"), ran.stderr
    session = Session()
    (status,) = session.ledger.database.rows("SELECT status FROM calls")[0]
    assert status == "stopped"
    session.close()


def test_what_never_left_this_machine_is_no_call(session, monkeypatch):
    """No key, a name that nobody serves, and a file that is not there."""
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    for model in ("8x7b", "together:8x7b", "disco", "gpt-6-luna", "local:nope.gguf"):
        with pytest.raises(MixmagicError):
            session.ask("Hi", model=model)
    assert session.ledger.spent() == []
