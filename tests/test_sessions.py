"""The session of a process: each of its parts is made once, when first needed."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
import threading
import time
from decimal import Decimal

import pytest
from programs import FORKING
from server import HANG, Answer, chunk, frames
from server import together as words

import mixmagic
from mixmagic import sessions
from mixmagic.core import lazy
from mixmagic.errors import BadArguments, BudgetExceeded
from mixmagic.sessions import Session
from mixmagic.structured.schema import Schema

PARTS = {
    "settings": "mixmagic.core.settings.Settings.load",
    "catalog": "mixmagic.catalog.Catalog",
    "ledger": "mixmagic.store.ledger.ledger.Ledger",
    "backends": "mixmagic.backends.Backends",
    "stream": "mixmagic.layers.stack",
}


def slowed(monkeypatch, name: str) -> list[str]:
    """Slow down the making of a part; the list grows with each one made."""
    head, _, last = PARTS[name].rpartition(".")
    try:
        owner = importlib.import_module(head)
    except ImportError:
        owner = importlib.import_module(head.rpartition(".")[0]).Settings
    make, made = getattr(owner, last), []

    def slow(*given):
        made.append(name)
        time.sleep(0.03)
        return make(*given)

    monkeypatch.setattr(owner, last, slow)
    return made


@pytest.mark.parametrize("name", PARTS)
def test_threads_that_need_a_part_at_once_share_it(home, monkeypatch, name):
    """Otherwise each would have a separate throttle, and the limit would not hold."""
    made = slowed(monkeypatch, name)
    session, gate, seen = Session(), threading.Barrier(8), []

    def need() -> None:
        gate.wait(timeout=60)
        seen.append(getattr(session, name))

    threads = [threading.Thread(target=need) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert made == [name]
    assert len(seen) == 8
    assert all(each is seen[0] for each in seen)


def test_a_part_that_could_not_be_made_is_made_again(home):
    session = Session()
    file = home / "config" / "config.toml"
    file.parent.mkdir()
    file.write_text("model = 5")
    for _ in range(2):
        with pytest.raises(BadArguments):
            _ = session.model
    file.write_text('model = "local"')
    assert session.model == "local"


def test_the_model_can_be_set_before_and_after_it_was_read(home):
    session = Session()
    session.model = "local"
    assert session.model == "local"
    other = Session()
    assert other.model == "8x7b"
    other.model = "8x22b"
    assert other.request("Hi").model.id.startswith("mistralai/Mixtral-8x22B")


def test_a_schema_is_sent_as_strict_mode_takes_it_or_not_as_strict(session):
    """As the magic sends it: OpenAI refuses an open object that is said to be strict."""
    opened = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    closed = {**opened, "additionalProperties": False}
    free = {"type": "object", "additionalProperties": {"type": "integer"}}
    for schema, sent, strict in ((opened, closed, True), (free, free, False)):
        asked = session.request("Hi", model="local", schema=schema)
        named = {"name": "answer", "schema": sent, "strict": strict}
        assert asked.params == {
            "response_format": {"type": "json_schema", "json_schema": named},
        }
        written = Schema.of(schema, "answer").response_format()
        assert asked.params["response_format"] == written


def test_the_parts_are_documented():
    for name in (*PARTS, "model"):
        assert getattr(Session, name).__doc__


def test_threads_that_need_the_session_at_once_share_it(home):
    seen, gate = [], threading.Barrier(8)

    def need() -> None:
        gate.wait(timeout=60)
        seen.append(mixmagic.session())

    threads = [threading.Thread(target=need) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(seen) == 8
    assert len(set(seen)) == 1


FORK = """
import os, signal, sys, threading, time
import mixmagic
inside = threading.Event()
def slow():
    inside.set()
    time.sleep(0.2)
def ask():
    assert mixmagic.ask("Hello", model="8x7b").text == "Hi"
def fork_in_the_middle_of_a_call():
    thread = threading.Thread(target=ask)
    thread.start()
    assert inside.wait(10)
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        ask()
        os._exit(0)
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0, "the child waits for a thread that it does not have"
"""
IMPORTING = """
class Slow:
    def find_spec(self, name, *rest):
        if name == sys.argv[1]:
            slow()
mixmagic.session()
sys.meta_path.insert(0, Slow())
fork_in_the_middle_of_a_call()
"""
MAKING = """
import mixmagic.catalog
make = mixmagic.catalog.Catalog
mixmagic.catalog.Catalog = lambda *given: slow() or make(*given)
fork_in_the_middle_of_a_call()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
@pytest.mark.parametrize(
    ("script", "module"),
    [
        (MAKING, ""),
        (IMPORTING, "mixmagic.calls.completion"),
        (IMPORTING, "mixmagic.core.params"),
        (IMPORTING, "mixmagic.catalog"),
        (IMPORTING, "mixmagic.store.sqlite.database"),
        (IMPORTING, "psutil"),
        (IMPORTING, "mixmagic.layers.throttle"),
        (IMPORTING, "mixmagic.backends.http.backend"),
        (IMPORTING, "httpx._client"),
    ],
)
def test_a_fork_in_the_middle_of_another_thread_s_first_call(together, tmp_path, script, module):
    """The child finds whole what that thread was importing or making."""
    together.plan = [Answer(words("Hi"))]
    ran = subprocess.run(
        [*FORKING, FORK + script, module],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(together.received) == 2


def test_a_first_call_imports_nothing_without_the_lock_that_forks_wait_for(together, tmp_path):
    """A child never waits for the import of a thread that it does not have."""
    together.plan = [Answer(words("Hi"))]
    script = """
import sys
import mixmagic
from mixmagic.core import lazy as forks
import mixmagic.sessions
alone = []
class Spy:
    def find_spec(self, name, *rest):
        if not forks.lock._is_owned():
            alone.append(name)
sys.meta_path.insert(0, Spy())
mixmagic.ask("Hello", model="8x7b")
print(alone)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert ran.stdout == "[]\n"


def test_a_notebook_whose_path_is_no_text_has_budgets_too(home, together, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/tmp/\udcff.ipynb")
    together.plan = [Answer(words("Hi"))]
    session = Session()
    session.budget("0.00001", per="notebook")
    with pytest.raises(BudgetExceeded, match="this notebook's budget"):
        session.ask("Hi", model="together:8x7b", max_tokens=100)
    session.budget(1, per="notebook")
    assert session.ask("Hi", model="together:8x7b", max_tokens=100).text == "Hi"
    assert [row.name for row in session.ledger.spent(by="notebook")] == ["/tmp/?.ipynb"]


def test_a_notebook_without_a_name_is_none(home, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "")
    assert Session().notebook is None


@pytest.mark.parametrize("timeout", [0, 0.0, -0.0, -1, float("nan"), True, "5"])
def test_a_timeout_is_a_time(session, timeout):
    with pytest.raises(BadArguments, match="timeout cannot be"):
        session.request("Hi", model="local", timeout=timeout)
    assert session.request("Hi", model="local", timeout=0.5).control.timeout == 0.5


def test_a_number_asks_the_same_question_in_every_form(session):
    one, other = (session.request("Hi", model="local", temperature=zero) for zero in (0, -0.0))
    assert repr(one.params) == repr(other.params) == "{'temperature': 0}"


def test_a_retry_waits_without_a_slot_of_its_own(session, together, monkeypatch):
    """Retry is above throttle: another call has the only slot while the first one waits."""
    monkeypatch.setattr("mixmagic.layers.retry._FIRST", 0.0)
    order = []
    stack = importlib.import_module("mixmagic.layers").stack

    def spied(layers, stream):
        order.extend(layer.__qualname__.partition(".")[0] for layer in layers)
        return stack(layers, stream)

    monkeypatch.setattr("mixmagic.layers.stack", spied)
    assert session.stream
    order_of_layers = [
        "remember",
        "notes",
        "replay",
        "resolve",
        "cache",
        "fit",
        "meter",
        "retry",
        "throttle",
    ]
    assert order == order_of_layers


def test_closing_closes_the_ledger_and_the_connections(session, together):
    together.plan = [Answer(words("Hi"))] * 2
    session.ask("Hi", model="together:8x7b")
    closed = []
    for name in ("ledger", "backends"):
        part = getattr(session, name)
        close = part.close
        part.close = lambda name=name, close=close: (closed.append(name), close())
    session.close()
    assert sorted(closed) == ["backends", "ledger"]
    assert session.ask("Hi", model="together:8x7b").text == "Hi", "it can still be used"
    Session().close()  # which has made nothing yet


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_a_forked_child_makes_what_has_locks_sockets_or_answers_anew(session, together):
    together.plan = [Answer(words("Hi"))]
    session.ask("Hi", model="together:8x7b")
    names = ("backends", "stream", "available", "calls")
    _ = session.available
    assert all(name in vars(session) for name in names)
    pid = os.fork()
    if pid == 0:
        os._exit(sum(name in vars(session) for name in names))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert all(name in vars(session) for name in names), "the parent goes on with its own"


@pytest.mark.parametrize("timeout", [0, -1, 0.0, float("nan"), True, "5"])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(session, timeout):
    with pytest.raises(BadArguments, match="timeout cannot be"):
        session.request("Hi", timeout=timeout)


def test_who_stops_a_move_of_the_notebook_keeps_nobody_waiting(session, tmp_path, monkeypatch):
    """Another call goes on under the old path while the ledger takes its time."""
    notebook = tmp_path / "old.ipynb"
    notebook.touch()
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    assert session.notebook == str(notebook)
    inside, free = threading.Event(), threading.Event()
    monkeypatch.setattr(session.ledger, "rename_notebook", lambda *_: (inside.set(), free.wait(20)))
    notebook.rename(tmp_path / "new.ipynb")
    mover = threading.Thread(target=lambda: session.notebook)
    mover.start()
    assert inside.wait(10)
    assert session.notebook == str(notebook)
    assert lazy.lock.acquire(timeout=5)
    lazy.lock.release()
    free.set()
    mover.join(10)
    assert session.notebook == str(tmp_path / "new.ipynb")


def test_its_repr_tells_model_calls_cost_and_budget(session, together):
    assert repr(session) == "<Session: 8x7b, no calls yet>"
    assert "ledger" not in vars(session), "it reads nothing"
    together.plan = [Answer(words("Hello"))]
    session.ask("Hi")
    assert re.fullmatch(r"<Session: 8x7b, 1 call, \$0\.0\d+>", repr(session))
    session.budget("0.50")
    session.model = "local"
    assert re.fullmatch(r"<Session: local, 1 call, \$0\.0\d+ of \$0\.50>", repr(session))
    together.plan = [Answer([frames(chunk("Half"), done=False), HANG])]
    with contextlib.closing(session.stream(session.request("Hi", model="8x7b"))) as deltas:
        next(deltas)
        assert repr(session).endswith(", 1 under way>")


def test_its_repr_raises_nothing(session, home, together):
    together.plan = [Answer(words("Hello"))]
    session.ask("Hi")
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "config.toml").write_text("this is not TOML")
    assert repr(session) == "<Session>"


def test_a_bare_budget_returns_the_balances(session, together, monkeypatch):
    monkeypatch.setattr(sessions, "_of_process", {"session": session})
    assert mixmagic.budget() == ()
    assert "No budget is set" in repr(mixmagic.budget())
    assert mixmagic.budget("0.50") is None
    (balance,) = mixmagic.budget()
    assert balance.remaining == Decimal("0.50")
    together.plan = [Answer(words("Hello"))]
    session.ask("Hi")
    left = mixmagic.budget()
    assert left[0].spent > 0
    assert "$0.50" in repr(left)
    assert "<table" in left._repr_mimebundle_()["text/html"]
    mixmagic.budget(None)
    assert mixmagic.budget() == ()
    with pytest.raises(BadArguments):
        mixmagic.budget("much")
