"""A thousand stopped calls, in every phase and at random times, leave nothing behind."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server import HANG, Answer, chunk, frames, refusal, whole
from unreachable import blackhole, hung_name

from mixmagic.errors import Stopped
from mixmagic.sessions import Session

HI = frames(chunk("Hi"), done=False)
CALLS, AT_ONCE = 1000, 8


def resident() -> int:
    """This process's resident memory, in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 // 2**20


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextlib.contextmanager
def silent():
    """The port of a server that accepts connections and never answers."""
    taken = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], taken
        listener.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()


def answer(request):
    """Answer as the question says."""
    if request.body is None:  # it was stopped while it was sent
        return Answer([HANG])
    phase = request.body["messages"][-1]["content"]
    if phase == "retry":
        return refusal(503, {"error": {"message": "later"}}, retry_after="30")
    return Answer([HANG] if phase == "head" else [HI, 0.005, HI, HANG])


@pytest.fixture
def provider(server, monkeypatch):
    """A server that never ends an answer, and two that never begin one."""
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "5")
    for name in ("TOGETHER", "MISTRAL", "FIREWORKS", "OPENROUTER"):
        monkeypatch.setenv(f"{name}_API_KEY", "canary-key-4711")
    with silent() as (port, taken), blackhole() as full, hung_name(monkeypatch):
        monkeypatch.setenv("TOGETHER_BASE_URL", server.url)
        monkeypatch.setenv("MISTRAL_BASE_URL", "http://hung.example/v1")
        monkeypatch.setenv("FIREWORKS_BASE_URL", f"http://127.0.0.1:{full[1]}/v1")
        monkeypatch.setenv("OPENROUTER_BASE_URL", f"https://127.0.0.1:{port}/v1")
        server.plan = [answer]
        yield server, taken


ASKED = "together:8x7b"
PHASES = {
    "head": ASKED,
    "answer": ASKED,
    "retry": ASKED,
    "name": "mistral:8x7b",
    "connection": "fireworks:8x7b",
    "handshake": "openrouter:8x7b",
}


def stop_one(session: Session, number: int) -> float:
    """Stop a call somewhere in its life; return the seconds from the stop to its end."""
    phase = list(PHASES)[number % len(PHASES)]
    request = session.request(phase, model=PHASES[phase], stream=number % 7 != 0)
    at = [0.0]

    def stop():
        at[0] = time.monotonic()
        request.control.stop.set()

    timer = threading.Timer(random.uniform(0, 0.06), stop)
    timer.start()
    with pytest.raises(Stopped):
        list(session.stream(request))
    ended = time.monotonic()
    timer.join(timeout=60)
    return ended - at[0]


def at_rest(session: Session, taken: list[socket.socket]) -> tuple[int, int, int]:
    """Threads, descriptors and memory, not counting idle connections.

    Not counting the thread in which the system's resolver hangs, either.
    """
    connections = session.backends._made["http"].transport.connections
    assert all(connection.is_idle() for connection in connections)
    session.close()
    while taken:
        taken.pop().close()
    deadline, seen = time.monotonic() + 15, []
    while time.monotonic() < deadline and (len(seen) < 5 or len(set(seen[-5:])) > 1):
        names = [thread.name for thread in threading.enumerate()]
        hung = names.count("mixmagic-names")
        assert hung <= 2  # before `close` and after it
        seen.append((len(names) - hung, descriptors()))
        time.sleep(0.2)
    gc.collect()
    return *seen[-1], resident()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
def test_a_thousand_stopped_calls_leave_nothing(provider, session):
    server, taken = provider
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda number: stop_one(session, number), range(60)))
        before = at_rest(session, taken)
        times = sorted(pool.map(lambda number: stop_one(session, number), range(CALLS)))
        after = at_rest(session, taken)
    took = [times[int(CALLS * share)] * 1000 for share in (0.5, 0.99)] + [times[-1] * 1000]
    print("\nended after (median, 99 %, last):", ", ".join(f"{each:.0f} ms" for each in took))
    print("threads, descriptors, MiB:", before, "→", after)
    assert after[0] <= before[0]
    assert after[1] <= before[1]
    assert after[2] - before[2] < 40
    # Those that had left this machine by then.
    (row,) = session.ledger.database.rows("SELECT status, COUNT(*) FROM calls GROUP BY status")
    assert row[0] == "stopped"
    assert CALLS / 10 < row[1] < CALLS
    assert not session.ledger._writer._under_way
    # Every slot is free again: as many calls as may be in flight are, at once.
    server.plan = [whole("Hi")]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: session.ask("Hi", model=ASKED).text, range(32)))
    assert answers == ["Hi"] * 32
