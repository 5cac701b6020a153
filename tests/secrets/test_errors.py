"""A key that a server echoes is neither in the error nor in the logs."""

from __future__ import annotations

import copy
import logging
import pickle

import keyring
import pytest
from canary import BASIC, ECHOES, HI, KEY, PASSWORD, USER, files, leaks, shown, streamed
from keyring.backends import null
from server import Answer, refusal, whole

from mixmagic.errors import MixmagicError, Stopped, StoreError
from mixmagic.keys.credentials import Credentials
from mixmagic.keys.redact import Secret
from mixmagic.tasks.login import login

# The frames of http.py and reading.py hold the response, and httpcore's the request.


@pytest.fixture
def logged():
    """Records that any handler receives, whether it was added before or after the first call."""
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(f"{self.format(record)} {record.__dict__}")

    names = ("", "httpx", "httpcore", "httpcore.http11", "httpcore.connection", "httpcore.proxy")
    handler = Handler(logging.DEBUG)
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    for logger, _ in before:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield seen
    for logger, level in before:
        logger.removeHandler(handler)
        logger.setLevel(level)


def failure(work) -> MixmagicError:
    with pytest.raises((MixmagicError, Stopped)) as caught:
        work()
    return caught.value


@pytest.mark.parametrize("name", ECHOES)
def test_an_echoed_key_is_in_nothing_that_is_shown_or_logged_or_written(
    session, together, home, logged, name
):
    together.plan = [ECHOES[name]]
    error = failure(lambda: session.ask("Hello", model="8x7b"))
    assert together.received[0].headers["authorization"] == f"Bearer {KEY}", "it was planted"
    assert len(error._render_traceback_()) == 2
    assert leaks(*error._render_traceback_(), repr(error), str(error.partial)) == []
    assert leaks(*logged) == []
    session.close()
    assert any(b"ledger.db" in each for each in files(home))
    assert leaks(*files(home)) == []


@pytest.mark.parametrize("name", [name for name in ECHOES if name != "cut"])
def test_no_frame_of_the_error_holds_an_echoed_key(session, together, name):
    """As shown by IPython's verbose mode, a debugger, or a service that collects errors."""
    together.plan = [ECHOES[name]]
    assert leaks(shown(failure(lambda: session.ask("Hello", model="8x7b")))) == []


@pytest.mark.parametrize("name", [name for name in ECHOES if name[:3].isdecimal()])
def test_no_frame_of_a_refused_listing_holds_the_key(session, together, logged, name):
    together.plan = [ECHOES[name]]
    assert leaks(shown(failure(lambda: session.live_models("together")))) == []
    assert leaks(*logged) == []


def test_no_frame_of_a_refused_login_holds_the_key(session, together, monkeypatch):
    monkeypatch.delenv("TOGETHER_API_KEY")
    together.plan = [ECHOES["401"]]
    assert (
        leaks(
            shown(
                failure(lambda: login(session.backends, session.catalog.provider("together"), KEY))
            )
        )
        == []
    )
    assert together.received[0].headers["authorization"] == f"Bearer {KEY}"


class Foreign(Exception):
    """An exception of a keyring plug-in, derived from none of the known classes."""


@pytest.mark.parametrize("kind", [Foreign, KeyboardInterrupt])
def test_no_frame_of_a_keyring_that_fails_holds_the_key(session, monkeypatch, kind):
    """Neither does its message, if the key was never sent before."""

    class Echoes(null.Keyring):
        def set_password(self, service, username, password):
            sent = password.encode()
            raise kind(sent.decode())

    monkeypatch.setattr(keyring.core, "_keyring_backend", Echoes())
    provider = session.catalog.provider("together")
    error = failure(lambda: session.backends.access.store(provider, KEY))
    assert isinstance(error, Stopped if kind is KeyboardInterrupt else StoreError)
    assert leaks(shown(error)) == []


def test_an_unreachable_provider_leaves_no_key_in_any_frame(session, together, monkeypatch):
    monkeypatch.setenv("TOGETHER_BASE_URL", "http://127.0.0.1:9/v1")
    assert leaks(shown(failure(lambda: session.ask("Hello", model="8x7b")))) == []
    assert leaks(shown(failure(lambda: session.live_models("together")))) == []


@pytest.mark.parametrize("echo", [PASSWORD, BASIC, f"{USER}:{PASSWORD}"])
def test_a_password_in_the_base_url_is_not_shown(session, together, monkeypatch, logged, echo):
    url = together.url.replace("://", f"://{USER}:{PASSWORD}@")
    monkeypatch.setenv("TOGETHER_BASE_URL", url)
    together.plan = [refusal(401, {"error": f"Who is {echo}?"})]
    error = failure(lambda: session.ask("Hello", model="8x7b"))
    assert together.received[0].headers["authorization"] == f"Basic {BASIC}", "it was planted"
    assert leaks(*error._render_traceback_(), *logged) == []
    [check] = [each for each in session.doctor() if each.name == "Together AI"]
    assert leaks(check.detail) == []


@pytest.mark.parametrize(
    "url",
    [f"https://{USER}:{PASSWORD}@127.0.0.1:9/v1", f"https://{USER}:{PASSWORD}@ex@mple:9/v1",
     f"https://{PASSWORD}@127.0.0.1:9/v1", f"ftp://{USER}:{PASSWORD}@host/v1",
     f"http://{USER}:{PASSWORD}@host:port/v1", f"https://{USER}:{PASSWORD}/x@127.0.0.1:9/v1"],
)  # fmt: skip
def test_a_password_in_an_unreachable_url_is_not_shown(session, together, monkeypatch, url):
    monkeypatch.setenv("TOGETHER_BASE_URL", url)
    error = failure(lambda: session.ask("Hello", model="8x7b"))
    assert leaks(*error._render_traceback_()) == []


@pytest.mark.parametrize("url", [f"http://{USER}:{PASSWORD}@127.0.0.1:9/v1", "http://h:port/v1"])
def test_no_frame_of_a_call_that_is_not_sent_holds_a_password(session, together, monkeypatch, url):
    monkeypatch.setenv("TOGETHER_BASE_URL", url)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:{PASSWORD}@127.0.0.1:9")
    assert leaks(shown(failure(lambda: session.ask("Hello", model="8x7b")))) == []


def test_a_listing_nested_too_deep_causes_no_traceback(session, together):
    raw = b'[{"id": "ours", "deep": %s}]' % (b"[" * 300 + b"]" * 300)
    together.plan = [Answer([raw], type="application/json")]
    [row] = session.live_models("together")
    assert row.id == "ours"


def test_a_stopped_call_leaves_no_key_in_any_frame(session, together):
    together.plan = [streamed(HI, "hang")]
    request = session.request("Hello", model="8x7b")

    def call():
        for delta in session.stream(request):
            if delta.text:
                request.control.stop.set()

    error = failure(call)
    assert isinstance(error, Stopped)
    assert leaks(shown(error)) == []


def test_no_object_with_the_key_shows_or_pickles_it(session, together):
    together.plan = [whole("Hi")]
    answer = session.ask("Hello", model="8x7b")
    access = session.backends.access
    backend = session.backends._made["http"]
    things = [session, session.backends, access, backend, backend.transport, answer]
    things += [answer.request, access.find(answer.model.provider), access.headers(answer.model)]
    for each in things:
        assert leaks(repr(each), str(each), repr(getattr(each, "__dict__", {}))) == []
    assert leaks(pickle.dumps(answer.request.model), pickle.dumps(access)) == []
    again = pickle.loads(pickle.dumps(access))
    assert again.find(answer.model.provider)[0] == KEY, "it finds the key for itself"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(access.headers(answer.model))
    with pytest.raises(TypeError):
        pickle.dumps(session)
    assert leaks(repr(copy.copy(access))) == []


def test_a_key_shows_itself_only_where_it_is_sent():
    key = Secret(KEY)
    shown = [repr(key), str(key), f"{key}", f"{key!r:>9}", "%s" % key, repr([key]), repr(key[:9])]  # noqa: UP031
    assert leaks(*shown) == []
    assert (key, key.reveal(), "Bearer " + key) == (KEY, KEY, f"Bearer {KEY}")
    assert type(key.reveal()) is str


def test_a_key_is_redacted_from_any_json(monkeypatch, tmp_path, session, together):
    together.plan = [whole("Hi")]
    session.ask("Hello", model="8x7b")
    access: Credentials = session.backends.access
    value = {"a": [f"x{KEY}y", 1, None, {KEY: f"https://u:{PASSWORD}@h/{KEY}"}]}
    assert access.redact(value) == {"a": ["x[key]y", 1, None, {"[key]": "https://[key]@h/[key]"}]}
