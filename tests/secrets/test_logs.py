"""A Python process that logs everything: neither its output nor its files have the key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from canary import KEY, PASSWORD, USER, files, leaks
from proxies import Proxy
from server import CUT, Answer, chunk, frames, refusal, whole

TALKS = """
import faulthandler, logging, os, sys, threading, traceback
from logging import StreamHandler
logging.basicConfig(level=logging.DEBUG)
import mixmagic
from mixmagic.errors import MixmagicError

def handlers():
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "httpcore.proxy"):
        logging.getLogger(name).addHandler(StreamHandler(sys.stdout))

if "before" in sys.argv:
    handlers()
session = mixmagic.session()
works = [lambda: session.ask("Hello", model="8x7b")] * int(sys.argv[1])
works += [lambda: session.live_models("together"), lambda: print(session.doctor())]
for number, work in enumerate(works):
    if number == 1 and "after" in sys.argv:
        handlers()
    if number == 3:
        session.close()
    try:
        print(repr(work()))
    except MixmagicError as error:
        traceback.print_exception(error)
        print(*error._render_traceback_(), error.partial)
faulthandler.dump_traceback()
logging.getLogger().debug("the last word")
session.ask("Hello", model="8x7b")
"""


def run(script: str, *words: str, cwd: Path, **env: str) -> list[str]:
    """Return the output of a separate process, both streams."""
    ran = subprocess.run(
        [sys.executable, "-c", script, *words],
        env={**os.environ, **env}, cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return [ran.stdout, ran.stderr]


def plan() -> list[Answer]:
    head = {"x-echo": f"Bearer {KEY}", "set-cookie": f"key={KEY}"}
    listing = Answer([b'[{"id": "a", "name": "%s"}]' % KEY.encode()], 200, head, "application/json")
    hi = frames(chunk(f"You sent {KEY}"), done=False)
    return [
        refusal(401, {"error": f"Incorrect API key: {KEY}"}, x_echo=KEY),
        Answer([hi, frames(chunk("", "stop"))], 200, head),
        Answer([hi, CUT], 200, head),
        Answer([hi, frames({"error": KEY})], 200, head),
        Answer([b""], 307, {"location": f"http://127.0.0.1:9/?key={KEY}"}),
        *[listing] * 2,
        refusal(500, f"<html>{KEY}</html>".encode()),
    ]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_logs_at_debug(together, home, tmp_path, when):
    """The last call fails uncaught: Python prints its traceback."""
    together.plan = plan()
    said = run(TALKS, "5", when, cwd=tmp_path)
    assert "the last word" in said[1]
    assert "receive_response_headers.complete" in said[0]
    assert "receive_response_headers.complete" in said[1]
    assert "x-echo" in said[1], "the headers were logged"
    assert "Unavailable" in said[1]
    assert {each.headers["authorization"] for each in together.received} == {f"Bearer {KEY}"}
    assert len(together.received) == 8
    assert leaks(*said) == []
    assert leaks(*files(home)) == []


@pytest.mark.parametrize("secure", [True, False])
def test_a_process_that_logs_at_debug_behind_a_proxy(  # noqa: PLR0917  # fixtures
    server, tls_server, authority, home, tmp_path, secure
):
    """A proxy that echoes the request in its status line, headers and page."""
    proxy = Proxy(refuse=407, echo=True)
    origin = tls_server if secure else server
    origin.plan = [whole("Hi")]
    said = run(
        TALKS, "2", "before", cwd=tmp_path,
        TOGETHER_API_KEY=KEY, TOGETHER_BASE_URL=origin.url, SSL_CERT_FILE=str(authority.pem),
        HTTPS_PROXY=proxy.url(f"{USER}:{PASSWORD}"), HTTP_PROXY=proxy.url(f"{USER}:{PASSWORD}"),
    )  # fmt: skip
    proxy.close()
    assert "407" in said[1]
    assert any(each.credentials == f"{USER}:{PASSWORD}" for each in proxy.received)
    assert origin.received == []
    assert leaks(*said) == []
    assert leaks(*files(home)) == []


def test_an_uncaught_keyboard_interrupt(together, tmp_path):
    """Return Python's traceback of an error."""
    together.plan = [Answer([frames(chunk("Hi"), done=False), "hang"])]
    script = """
import mixmagic, os, signal, threading, time
def stop():
    while not any(call.collector.begun for call in mixmagic.session().running):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=stop, daemon=True).start()
try:
    mixmagic.ask("Hello", model="8x7b")
except BaseException as error:
    import sys, traceback
    chain = [error, error.__context__, error.__cause__]
    for each in filter(None, chain):
        told = traceback.TracebackException.from_exception(each, capture_locals=True)
        print(*told.format())
    raise
"""
    said = run(script, cwd=tmp_path)
    assert "Stopped" in said[1]
    assert leaks(*said) == []
