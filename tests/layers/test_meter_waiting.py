"""Under a budget calls wait for each other's money, or get less; nobody waits for nothing."""

from __future__ import annotations

import platform
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from patience import soon
from server import HANG, Answer, Raw, Received, chunk, chunked, frames, head, usage
from server import together as pieces

from mixmagic.core.values import Delta
from mixmagic.display.live import session_total
from mixmagic.errors import BudgetExceeded, MixmagicError, Stopped, StoreBusy
from mixmagic.sessions import Session
from mixmagic.store.ledger import reservations
from mixmagic.store.sqlite import network_filesystem

TOKEN = Decimal("600e-9")  # of 8x7b, in and out
PROMPT = 9 + 24 + 96  # "Hi", with what a provider's own template may have more
WHOLE = 32_768  # tokens of 8x7b's context: what a call reserves that asks for no less
TINY = Answer(pieces("Hello", " there"))


def enough(tokens: int, calls: int = 1) -> Decimal:
    """Dollars that calls with answers of so many tokens can cost."""
    return calls * (PROMPT + tokens) * TOKEN


def rows(session: Session) -> list:
    return session.ledger.database.rows("SELECT * FROM calls ORDER BY id")


def sent(received: Received) -> int:
    return received.body["max_tokens"]


class Caller(threading.Thread):
    """Makes a call, and keeps what comes of it."""

    def __init__(self, session: Session, request) -> None:
        super().__init__(daemon=True)
        self.session, self.request = session, request
        self.deltas: list[Delta] = []
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            with closing(self.session.stream(self.request)) as deltas:
                for delta in deltas:
                    self.deltas.append(delta)
        except BaseException as error:  # noqa: BLE001  # looked at by the test
            self.error = error

    @property
    def waits(self) -> bool:
        return any(delta.progress.startswith("waiting: ") for delta in self.deltas)

    @property
    def text(self) -> str:
        return "".join(map(str, self.deltas))


def until(look: Callable[[], object], timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Held:
    """An answer that goes on, a word every tenth of a second, until it is let go."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, received: Received) -> Raw:
        return Raw(self._steps())

    def _steps(self):
        yield head(content_type="text/event-stream", transfer_encoding="chunked")
        yield chunked(frames(chunk("first "), done=False))
        while not self.over.wait(0.1):
            yield chunked(frames(chunk("word "), done=False))
        yield chunked(frames(chunk("end", "stop", **usage(9, 3)))) + chunked(b"")


@pytest.fixture
def held():
    answer = Held()
    yield answer
    answer.over.set()


def test_a_small_budget_lets_a_small_question_through(session, together):
    """Its answer could have cost twice the budget, and costs next to nothing of it."""
    together.plan = [TINY]
    session.budget("0.01")
    for number in range(1, 4):
        assert session.ask("Hi").text == "Hello there"
        assert len(together.received) == number
    first = sent(together.received[0])
    assert enough(first) <= Decimal("0.01") < enough(first + 1)


def test_under_a_budget_a_limit_is_always_sent_that_leaves_room_for_the_prompt(session, together):
    """The real context may be larger than the catalog's."""
    together.plan = [TINY]
    session.ask("Hi")
    assert "max_tokens" not in together.received[-1].body
    session.budget(1)
    session.ask("Hi")
    assert sent(together.received[-1]) == WHOLE - PROMPT
    session.ask("Hi", max_tokens=7)
    assert sent(together.received[-1]) == 7
    session.ask("Hi", model="together:disco", n=2, system="Be brief.")
    assert 30_000 < sent(together.received[-1]) < WHOLE - 14
    assert [row["status"] for row in rows(session)] == ["ok"] * 4
    assert rows(session)[1]["held_nanodollars"] == WHOLE * 600


def test_sixty_four_threads_under_a_dollar_finish_all_of_their_calls(session, together):
    """Their worst cases are six dollars."""
    together.plan = [lambda _: Answer([frames(chunk("Hi"), done=False), 0.01,
                                       frames(chunk("!", "stop", **usage(9, 2)))])]  # fmt: skip
    session.budget(1)
    failed, numbers = [], iter(range(300))

    def work() -> None:
        while next(numbers, None) is not None:
            try:
                session.ask("Hi")
            except MixmagicError as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert Counter(row["status"] for row in rows(session)) == {"ok": 300}
    assert {sent(each) for each in together.received} == {WHOLE - PROMPT}


def test_a_call_waits_for_money_that_another_gives_back_and_says_so(session, together, held):
    together.plan = [held, TINY]
    session.budget(enough(WHOLE - PROMPT) + enough(50))
    first = Caller(session, session.request("Hi"))
    until(lambda: first.deltas)
    second = Caller(session, session.request("Hi", max_tokens=1000))
    until(lambda: second.waits)
    (said,) = {delta.progress for delta in second.deltas}
    assert said == ("waiting: $0.020 of this session's budget is reserved by other calls …")
    assert len(together.received) == 1
    assert len(rows(session)) == 1, "who waits holds nothing"
    held.over.set()
    second.join(10)
    assert (second.error, second.text) == (None, "Hello there")
    assert sent(together.received[1]) == 1000


def test_a_stop_ends_the_wait_at_once_and_leaves_no_row(session, together, held):
    together.plan = [held, TINY]
    session.budget(enough(100))
    first = Caller(session, session.request("Hi", max_tokens=100))
    until(lambda: first.deltas)
    request = session.request("Hi", max_tokens=100)
    second = Caller(session, request)
    until(lambda: second.waits)
    stopped = time.monotonic()
    request.control.stop.set()
    second.join(10)
    took = time.monotonic() - stopped
    print(f"stopped within {took * 1000:.1f} ms")
    assert took < soon(0.5)
    assert isinstance(second.error, Stopped)
    assert not second.error.sent
    assert len(rows(session)) == 1


def test_a_wait_ends_with_the_calls_own_time_in_a_refusal(session, together, held):
    together.plan = [held]
    session.budget(enough(100))
    first = Caller(session, session.request("Hi", max_tokens=100))
    until(lambda: first.deltas)
    started = time.monotonic()
    with pytest.raises(BudgetExceeded, match="is reserved for calls under way") as caught:
        session.ask("Hi", max_tokens=100, timeout=0.7)
    assert 0.5 < time.monotonic() - started < soon(10)
    assert len(caught.value._render_traceback_()) == 2
    assert len(rows(session)) == 1


@pytest.mark.parametrize(
    ("asked", "left", "gets"),
    [
        ({}, 500, 500),
        ({"max_tokens": 2000}, 500, 500),
        ({"max_tokens": 100}, 500, 100),
        ({"max_tokens": 2000}, 64, 64),
        ({"max_tokens": 2000}, 63, None),
        ({"max_tokens": 20}, 20, 20),
        ({"max_tokens": 20}, 19, None),
    ],
)
def test_if_nothing_can_be_waited_for_the_answer_gets_what_is_left(
    session, together, asked, left, gets
):
    together.plan = [Answer([frames(chunk("Hi", "length", **usage(9, 5)))])]
    session.budget(enough(left))
    if gets is None:
        with pytest.raises(BudgetExceeded, match="too little for a useful answer"):
            session.ask("Hi", **asked)
        assert together.received == rows(session) == []
        return
    answer = session.ask("Hi", **asked)
    assert sent(together.received[0]) == gets
    said = f"this session's budget had room for {gets:,} tokens"
    assert (said in answer.footer()) == (asked.get("max_tokens") != gets)
    assert rows(session)[0]["held_nanodollars"] == enough(gets) * 10**9


def test_a_shortened_answer_that_ends_by_itself_is_not_spoken_of(session, together):
    together.plan = [TINY]
    session.budget(enough(500))
    assert session.ask("Hi").notes == ()


def test_the_tightest_of_all_budgets_decides(session, together):
    together.plan = [Answer([frames(chunk("Hi", "length", **usage(9, 5)))])]
    session.budget(enough(900))
    session.budget(enough(300), per="day")
    answer = session.ask("Hi", budget=enough(700))
    assert sent(together.received[0]) == 300
    assert (
        "its own budget had room for 300 tokens" in answer.footer() or "today's" in answer.footer()
    )


def test_the_floor_is_a_setting(home, together, monkeypatch):
    monkeypatch.setenv("MIXMAGIC_BUDGET_FLOOR", "10")
    together.plan = [TINY]
    with closing(Session()) as session:
        session.budget(enough(12))
        session.ask("Hi")
        assert sent(together.received[0]) == 12


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        ({"max_tokens": 5000}, {"max_tokens"}),
        ({"max_completion_tokens": 5000}, {"max_tokens", "max_completion_tokens"}),
        ({"max_tokens": 5000, "max_completion_tokens": 9000, "n": 2},
         {"max_tokens", "max_completion_tokens"}),
    ],
)  # fmt: skip
def test_limits_in_extra_body_are_lowered_too(session, together, extra, names):
    together.plan = [TINY]
    session.budget("0.002")
    session.ask("Hi", extra_body=extra)
    body = together.received[0].body
    limits = {name: body[name] for name in names}
    assert len(set(limits.values())) == 1
    most = rows(session)[0]["held_nanodollars"]
    assert limits["max_tokens"] * 600 * extra.get("n", 1) < most <= 2_000_000


def test_a_dialects_own_name_for_the_limit_is_sent(session, together):
    together.plan = [TINY]
    session.budget("0.002")
    request = session.request("Hi", extra_body={"max_tokens": 9000})
    dialect = replace(request.model.provider.dialect, rename={"max_tokens": "max_output"})
    provider = replace(request.model.provider, dialect=dialect)
    model = replace(request.model, provider=provider)
    with closing(session.stream(replace(request, model=model))) as deltas:
        list(deltas)
    body = together.received[0].body
    assert body["max_output"] == body["max_tokens"] < 0.002 / 600e-9


def test_a_model_of_unknown_context_gets_what_the_budgets_buy(session, together, home):
    (home / "config" / "catalog").mkdir(parents=True)
    (home / "config" / "catalog" / "t.toml").write_text(
        'name = "together"\n[[models]]\nid = "new"\nprice = { input = "0.6", output = "0.6" }\n'
    )
    together.plan = [TINY]
    session.budget("0.01")
    session.ask("Hi", model="together:new")
    got = sent(together.received[0])
    assert 16_000 < got < 0.01 / 600e-9
    assert 0 <= 10_000_000 - rows(session)[0]["held_nanodollars"] < 600


def test_whoever_asks_while_its_own_answer_comes_does_not_wait_for_it(session, together):
    words = [frames(chunk(f"{n} "), done=False) for n in range(4)]
    together.plan = [Answer([*words, frames(chunk("", "stop", **usage(9, 4)))])]
    session.budget(enough(WHOLE - PROMPT) + enough(200))
    started = time.monotonic()
    with closing(session.stream(session.request("Hi"))) as deltas:
        asked = [session.ask("Hi", max_tokens=40).text for delta in deltas if delta.text]
    assert asked == ["0 1 2 3 "] * 4
    assert time.monotonic() - started < reservations._STILL
    assert {sent(each) for each in together.received[1:]} == {40}


def test_two_threads_that_each_hold_a_stream_and_ask_inside_it_both_get_through(
    session, together, monkeypatch
):
    """Each would wait for the other's money: neither stream moves."""
    monkeypatch.setattr(reservations, "_STILL", 0.5)
    words = [frames(chunk(f"{n} "), done=False) for n in range(4)]
    together.plan = [Answer([*words, frames(chunk("", "stop", **usage(9, 4)))])]
    session.budget(2 * enough(WHOLE - PROMPT) + enough(400))
    gate, done = threading.Barrier(2, timeout=10), []

    def work() -> None:
        with closing(session.stream(session.request("Hi"))) as deltas:
            next(deltas)
            gate.wait(timeout=60)
            done.append(session.ask("Hi", max_tokens=1000).text)
            list(deltas)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert done == ["0 1 2 3 "] * 2
    assert {row["status"] for row in rows(session)} == {"ok"}


def test_nobody_waits_for_a_call_that_has_not_moved(session, together, monkeypatch):
    """As a stream that lies open in some variable of another thread's."""
    monkeypatch.setattr(reservations, "_STILL", 0.4)
    together.plan = [Answer([frames(chunk("Half"), done=False), HANG]), TINY]
    session.budget(enough(1000) + enough(300))
    left_open = []
    thread = threading.Thread(
        target=lambda: (
            left_open.append(session.stream(session.request("Hi", max_tokens=1000)))
            or next(left_open[0])
        )
    )
    thread.start()
    thread.join(10)
    assert session.ask("Hi", max_tokens=1000).text == "Hello there"
    assert sent(together.received[1]) == 300
    left_open[0].close()


def test_nobody_waits_for_what_a_job_has_reserved(session, together):
    together.plan = [TINY]
    session.budget(enough(1000))
    taken = int(enough(800) * 10**9)
    with session.ledger.database.transaction() as connection:
        connection.execute(
            "INSERT INTO reservations (job, created_at, day, session, provider, model,"
            " held_nanodollars) VALUES ('nightly', ?, date('now', 'localtime'), ?, 'x', 'm', ?)",
            (time.time(), session.id, taken),
        )
    session.ledger.sweep()  # it outlives the process that made it
    (left,) = session.budgets()
    assert (left.reserved * 10**9, left.returning) == (taken, 0)
    started = time.monotonic()
    session.ask("Hi", max_tokens=1000)
    assert time.monotonic() - started < reservations._STILL
    assert sent(together.received[0]) == 1000 - 800 - PROMPT
    (reserved,) = (row for row in session.ledger.spent() if row.name == "x:m")
    assert (reserved.calls, reserved.open, reserved.held * 10**9) == (0, 0, taken)


def test_who_came_first_is_served_first_though_others_would_fit(session, together, held):
    """The large one is not starved by small ones; another budget's calls are not held up."""
    together.plan = [held, TINY]
    session.budget(enough(2000), per="day")
    first = Caller(session, session.request("Hi", max_tokens=1000))
    until(lambda: first.deltas)
    large = Caller(session, session.request("Large", max_tokens=1500))
    until(lambda: large.waits)
    small = [Caller(session, session.request(f"Small {n}", max_tokens=10)) for n in range(3)]
    until(lambda: all(each.waits for each in small))
    session.ask("Free", model="local", max_tokens=1)
    assert len(together.received) == 1
    held.over.set()
    for caller in (large, *small):
        caller.join(10)
        assert caller.error is None
    # In the order of their reservations: the server may hear of two at once in any order.
    held_of = [row["held_nanodollars"] for row in rows(session) if row["provider"] != "local"]
    assert held_of[1] > max(held_of[2:])


def test_a_waiter_whose_reader_is_away_holds_nobody_up(session, together, held):
    together.plan = [held, TINY]
    session.budget(enough(1000))
    first = Caller(session, session.request("Hi", max_tokens=1000))
    until(lambda: first.deltas)
    away = session.stream(session.request("Hi", max_tokens=1000))
    assert next(away).progress.startswith("waiting")
    behind = Caller(session, session.request("Hi", max_tokens=1000))
    until(lambda: behind.waits)
    held.over.set()
    behind.join(10)
    assert (behind.error, behind.text) == (None, "Hello there")
    assert "".join(map(str, away)) == "Hello there"


def test_a_budget_that_is_raised_lets_those_go_on_who_wait(session, together, held):
    together.plan = [held, TINY]
    session.budget(enough(1000))
    first = Caller(session, session.request("Hi", max_tokens=1000))
    until(lambda: first.deltas)
    second = Caller(session, session.request("Hi", max_tokens=1000))
    until(lambda: second.waits)
    session.budget(enough(5000))
    second.join(10)
    assert (second.error, second.text) == (None, "Hello there")


def test_a_waiting_call_finds_the_money_of_a_process_that_was_killed(session, together):
    """It is spent then: the call is refused, and does not wait for the dead."""
    together.plan = [TINY]
    session.budget(enough(1000))
    with session.ledger.database.transaction() as connection:
        connection.execute(
            "INSERT INTO calls (started_at, day, session, provider, model, status, owner, moved_at,"
            " held_nanodollars) VALUES (?, date('now', 'localtime'), ?, 'x', 'm', 'open', ?, ?, ?)",
            (time.time(), session.id, f"{platform.node()}/999999999@1.00",
             time.time() + 3, int(enough(1000) * 10**9)),
        )  # fmt: skip
    with pytest.raises(BudgetExceeded):
        session.ask("Hi")
    assert [row["status"] for row in rows(session)] == ["lost"]


@contextmanager
def locked(session: Session, *begin: str):
    """Keep the ledger locked, as another process that hangs."""
    session.ledger.sweep()
    path = session.ledger.database.path
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        for statement in begin or ("BEGIN EXCLUSIVE",):
            other.execute(statement).fetchone()
        try:
            yield other
        finally:
            if other.in_transaction:
                other.execute("ROLLBACK")


WRITES, READS = ("BEGIN EXCLUSIVE",), ("BEGIN", "SELECT * FROM calls")


@pytest.fixture(params=[("wal", WRITES), ("delete", WRITES), ("delete", READS)])
def lock(request, home, tmp_path, monkeypatch):
    """On a network folder a writer keeps readers away, too, and a reader writers."""
    journal, begin = request.param
    if journal == "delete":
        table = tmp_path / "mountinfo"
        table.write_text(f"27 1 0:9 / {home / 'data'} rw - nfs4 server:/ rw\n")
        monkeypatch.setattr(network_filesystem, "_MOUNT_TABLE", table)
    return journal, begin


def test_a_locked_ledger_stalls_calls_without_a_budget_a_little_and_once(lock, session, together):
    together.plan = [TINY]
    journal, begin = lock
    assert session.ledger.database.journal == journal
    session.ask("Hi")  # imports what calls need
    with locked(session, *begin):
        started = time.monotonic()
        answer = session.ask("Hi")
        session_total(session)  # as it stands below a cell
        first = time.monotonic() - started
        assert first < 1.0
        assert "not in the ledger yet: " in answer.footer()
        assert "locked by another process" in answer.footer()
        started = time.monotonic()
        for _ in range(5):
            assert session.ask("Hi").text == "Hello there"
            session_total(session)
        rest = time.monotonic() - started
        assert rest < 0.6, "the lock is remembered"
        print(f"{first:.2f} s for the first, {rest / 5:.3f} s for each of the others")
    until(lambda: len(rows(session)) == 7)  # by themselves
    until(lambda: {row["status"] for row in rows(session)} == {"ok"})
    assert session.ledger.spent()[0].calls == 7


def test_a_call_under_way_is_in_the_ledger_as_soon_as_the_lock_is_gone(session, together, held):
    together.plan = [held]
    with locked(session):
        caller = Caller(session, session.request("Hi"))
        until(lambda: caller.text)
    until(lambda: rows(session))
    assert [row["status"] for row in rows(session)] == ["open"]
    assert session.ledger.spent()[0].held == (WHOLE + 24 + 96) * TOKEN
    held.over.set()
    caller.join(10)
    assert [row["status"] for row in rows(session)] == ["ok"]


def test_under_a_budget_a_call_waits_for_a_locked_ledger_and_says_so(lock, session, together):
    together.plan = [TINY]
    session.budget(1)
    with locked(session, *lock[1]) as other:
        caller = Caller(session, session.request("Hi"))
        until(lambda: caller.waits)
        assert caller.deltas[0].progress == "waiting: another process keeps the ledger locked …"
        assert together.received == []
        other.execute("ROLLBACK")
        caller.join(10)
    assert (caller.error, caller.text) == (None, "Hello there")
    assert [row["status"] for row in rows(session)] == ["ok"]


def test_under_a_budget_a_locked_ledger_refuses_in_the_end_and_can_be_stopped(
    lock, session, together
):
    together.plan = [TINY]
    session.budget(1)
    with locked(session, *lock[1]):
        with pytest.raises(StoreBusy) as caught:
            session.ask("Hi", timeout=0.5)
        assert len(caught.value._render_traceback_()) == 2
        request = session.request("Hi")
        caller = Caller(session, request)
        until(lambda: caller.waits)
        request.control.stop.set()
        caller.join(0.5)
        assert isinstance(caller.error, Stopped)
    assert together.received == rows(session) == []


READER = """
import sys, threading
from contextlib import closing
import mixmagic

def read():
    with closing(mixmagic.stream("Hi", model="8x7b", max_tokens=1000)) as deltas:
        for number, delta in enumerate(deltas):
            print(number, flush=True)
            if sys.argv[1] == "still":
                threading.Event().wait()

threading.Thread(target=read, daemon=True).start()
sys.stdin.readline()
"""


@contextmanager
def reader(how: str):
    """Another process with a call under way, that reads its answer or not."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "0\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_a_call_of_another_process_that_goes_on_is_waited_for(session, together, held, monkeypatch):
    """For as long as it goes on: the other process tells of it every two seconds."""
    monkeypatch.setattr(reservations, "STILL_ELSEWHERE", 4.0)
    together.plan = [held, TINY]
    session.budget(enough(1000), per="day")
    with reader("on"):
        caller = Caller(session, session.request("Hi", max_tokens=1000))
        until(lambda: caller.waits)
        (row,) = rows(session)
        until(lambda: rows(session)[0]["moved_at"] > row["moved_at"] + 4.5)
        assert caller.is_alive()
        held.over.set()
        caller.join(10)
    assert (caller.error, caller.text) == (None, "Hello there")
    assert sent(together.received[1]) == 1000 - 12, "what the other one has cost"


def test_a_call_of_another_process_that_lies_still_is_not(session, together, held, monkeypatch):
    monkeypatch.setattr(reservations, "STILL_ELSEWHERE", 1.0)
    together.plan = [held, TINY]
    session.budget(enough(1000) + enough(300), per="day")
    with reader("still"):
        started = time.monotonic()
        assert session.ask("Hi", max_tokens=1000).text == "Hello there"
        assert time.monotonic() - started < soon(10)
    assert sent(together.received[1]) == 300


def test_a_call_that_goes_on_is_told_of_only_under_a_budget_and_seldom(session, together, held):
    """Twice in five seconds, for all calls of the process together."""
    together.plan = [held]
    session.ledger.sweep()
    changes = []
    with closing(sqlite3.connect(session.ledger.database.path)) as other:
        for budget in (None, "1"):
            session.budget(budget)
            callers = [Caller(session, session.request("Hi", max_tokens=99)) for _ in range(3)]
            for caller in callers:
                while not caller.text:
                    caller.join(0.01)
            seen = {other.execute("PRAGMA data_version").fetchone()[0]}
            over = time.monotonic() + 5
            while time.monotonic() < over:
                seen.add(other.execute("PRAGMA data_version").fetchone()[0])
                time.sleep(0.01)
            changes.append(len(seen) - 1)
            for caller in callers:
                caller.request.control.stop.set()
                caller.join(10)
    assert changes[0] == 0
    assert 1 <= changes[1] <= 3
