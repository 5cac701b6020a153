"""Errors of every kind in a call: neither their frames nor their messages hold the key."""

from __future__ import annotations

import sys
import threading

import h11
import httpcore
import keyring
import pytest
from canary import KEY, leaks, shown
from keyring.backends import null
from raised import RAISED
from server import Answer, chunk, frames, whole

import mixmagic
from mixmagic.backends.http import network
from mixmagic.errors import MixmagicError, Stopped
from mixmagic.sessions import Session
from mixmagic.tasks.login import login

# Functions that have the request, its headers or the response.
PLACES = {
    "sending": (h11.Connection, "send"),
    "writing": (network.SocketStream, "write"),
    "reading": (network.SocketStream, "read"),
    "receiving": (h11.Connection, "next_event"),
    "handling": (httpcore.ConnectionPool, "handle_request"),
}
# What httpcore takes for the end of a connection, and we for an error of ours or a stop.
BECOME_OURS = ("TLS", "system", "decoding", "interrupt")


@pytest.fixture
def broken(together, monkeypatch):
    """Make a library raise an error at a point where the key is at hand."""
    together.plan = [Answer([frames(chunk("Hi"), chunk("", "stop"))])]

    def raising(place: str, name: str) -> None:
        kind, method = PLACES[place]

        def work(*args: object, **options: object) -> None:
            request = f"authorization: Bearer {KEY}"
            error = RAISED[name]()
            raise error from LookupError(request)

        monkeypatch.setattr(kind, method, work)

    return raising


def caught(work) -> BaseException:
    try:
        work()
    except BaseException as error:  # noqa: BLE001  # of any kind
        return error
    raise AssertionError("nothing was raised")


def calls(session: Session) -> dict[str, object]:
    """Return the ways to call a provider, by name."""
    return {
        "ask": lambda: session.ask("Hello", model="8x7b"),
        "ask for a whole answer": lambda: session.ask("Hello", model="8x7b", stream=False),
        "stream": lambda: list(session.stream(session.request("Hello", model="8x7b"))),
        "mixmagic.ask": lambda: mixmagic.ask("Hello", model="8x7b"),
        "mixmagic.stream": lambda: list(mixmagic.stream("Hello", model="8x7b")),
        "models": lambda: session.live_models("together"),
        "login": lambda: login(session.backends, session.catalog.provider("together"), KEY),
    }


@pytest.mark.parametrize("name", RAISED)
def test_no_exception_holds_the_key(session, broken, monkeypatch, name):
    monkeypatch.setattr(mixmagic.sessions, "_of_process", {"session": session})
    broken("sending", name)
    for way, call in calls(session).items():
        if (way, name) == ("login", "ours"):
            continue  # it keeps the key of a provider that it cannot reach
        error = caught(call)
        assert is_the_same(error, name), way
        assert leaks(shown(error)) == [], way


@pytest.mark.parametrize("name", ["value", "memory", "exit", "group", "recursion", "TLS"])
@pytest.mark.parametrize("place", PLACES)
def test_no_exception_from_any_other_place_holds_the_key(session, broken, place, name):
    broken(place, name)
    error = caught(calls(session)["ask"])
    assert is_the_same(error, name)
    assert leaks(shown(error)) == []


def is_the_same(error: BaseException, name: str) -> bool:
    """Return True if an error is the one raised, or ours for it."""
    if name in BECOME_OURS:
        return isinstance(error, (MixmagicError, Stopped, type(RAISED[name]())))
    if name == "stop":  # which no generator lets through
        return isinstance(error, (RuntimeError, StopIteration))
    return type(error) is type(RAISED[name]())


@pytest.mark.parametrize("name", ["value", "memory", "exit", "group of groups", "recursion"])
def test_no_exception_in_the_doctor_s_threads_holds_the_key(session, broken, name):
    broken("sending", name)
    error = caught(session.doctor)
    assert type(error) is type(RAISED[name]())
    assert leaks(shown(error)) == []


@pytest.mark.parametrize("name", ["value", "recursion", "group's own words", "decoding"])
def test_a_thread_that_fails_shows_no_key(session, broken, monkeypatch, name):
    """As seen by `threading.excepthook`, and by an error-collecting service."""
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    broken("reading", name)
    thread = threading.Thread(target=session.ask, args=("Hello",), kwargs={"model": "8x7b"})
    thread.start()
    thread.join(10)
    [args] = seen
    assert args.exc_value.__traceback__ is args.exc_traceback
    assert leaks(shown(args.exc_value)) == []


def test_a_deep_recursion_shows_no_key_wherever_it_ends(session, together):
    """At every depth at which a call may fail: in httpx, in h11, in our own code."""
    together.plan = [whole("Hi")]
    assert session.ask("Hello", model="8x7b").text == "Hi"

    def dive(depth: int) -> object:
        return dive(depth - 1) if depth else session.ask("Hello", model="8x7b")

    errors: list[BaseException] = []
    for depth in range(sys.getrecursionlimit(), 0, -1):
        try:
            dive(depth)
            break
        except (RecursionError, MixmagicError) as error:  # some libraries catch everything
            error.__traceback__ = last(error.__traceback__, 60)
            errors.append(error)
    assert len(errors) > 60
    assert [each for each in errors if leaks(shown(each))] == []
    if sys.version_info < (3, 12):  # newer ones count no calls of C: the deepest come before it
        assert len(together.received) > 2, "at least one failed after the question was sent"


def last(trace, count: int):
    """Return the last frames of a traceback: those of a recursion are all alike."""
    every = [trace]
    while every[-1].tb_next is not None:
        every.append(every[-1].tb_next)
    return every[max(0, len(every) - count)]


@pytest.mark.parametrize("name", [name for name in RAISED if name != "ours"])
@pytest.mark.parametrize("method", ["set_password", "get_password"])
def test_no_error_of_a_keyring_holds_the_key(session, monkeypatch, name, method):
    class Raises(null.Keyring):
        def fails(self, *words: str) -> None:
            kept = f"{KEY} of {words}"
            error = RAISED[name]()
            raise error from LookupError(kept)

    setattr(Raises, method, Raises.fails)
    monkeypatch.setattr(keyring.core, "_keyring_backend", Raises())
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    access, provider = session.backends.access, session.catalog.provider("together")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)  # so that it is known
    if method == "set_password":
        assert leaks(shown(caught(lambda: access.store(provider, KEY)))) == []
    elif not isinstance(RAISED[name](), Exception):
        error = caught(lambda: access.find(provider))
        assert isinstance(error, (type(RAISED[name]()), Stopped))
        assert leaks(shown(error)) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError, RecursionError, SystemExit])
def test_an_unreadable_env_file_shows_no_key(session, together, monkeypatch, tmp_path, kind):
    import dotenv

    def interrupted(stream, **_: object) -> None:
        text = stream.read()
        raise kind(text)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOGETHER_API_KEY")
    (tmp_path / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    monkeypatch.setattr(dotenv, "dotenv_values", interrupted)
    error = caught(lambda: session.backends.access.find(session.catalog.provider("together")))
    error.args = ()  # a foreign message, before the key is known
    assert isinstance(error, kind)
    assert leaks(shown(error)) == []
