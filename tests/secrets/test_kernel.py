"""A key that every server echoes is neither in a real kernel's output nor in a saved notebook."""

from __future__ import annotations

import json
import os
import queue
from pathlib import Path

import nbformat
import pytest
from canary import ECHOES, HI, KEY, PASSWORD, USER, files, leaks, shown, streamed
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from kernels import Kernel, notebook_client
from proxies import Proxy
from server import Answer, Server, chunk, frames, whole

from mixmagic.errors import BadArguments
from mixmagic.sessions import Session

pytestmark = pytest.mark.kernel

SAYS = f"You sent {KEY}, thanks."
LISTING = Answer([json.dumps([{"id": f"ours/{KEY}", "type": KEY}]).encode()], 200, {"x-k": KEY})
WALK = """
import sys, traceback
def walk(error, seen=()):
    if error is None or error in seen:
        return
    for each in (error, *vars(error).values()):
        print(repr(each), str(each))
    trace = error.__traceback__
    print(*traceback.TracebackException(type(error), error, trace, capture_locals=True).format())
    while trace:
        print({name: repr(value) for name, value in trace.tb_frame.f_locals.items()})
        trace = trace.tb_next
    walk(error.__context__, (*seen, error))
    walk(error.__cause__, (*seen, error))
walk(sys.last_value)
"""


class Listened(Kernel):
    """A kernel that records every iopub message and all output of its process."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.written = folder / "streams.txt"
        self.manager = KernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        with self.written.open("wb") as file:
            self.manager.start_kernel(env=env, cwd=str(folder), stdout=file, stderr=file)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self._read = 0  # of what was written
        self._ear = self.manager.client()
        self._ear.start_channels(shell=False, stdin=False, hb=False, control=False)

    def close(self) -> None:
        self._ear.stop_channels()
        super().close()

    def said(self) -> list[str]:
        """Return all messages and process output since the last call."""
        heard = []
        while True:
            try:
                heard.append(repr(self._ear.get_iopub_msg(timeout=0.05)))
            except queue.Empty:
                break
        with self.written.open() as file:
            file.seek(self._read)
            written = file.read()
            self._read = max(file.tell() - 100, 0)  # a key may be written in two pieces
        return [*heard, written]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A kernel with full logs and verbose tracebacks, the server, and the folder."""
    server, folder = Server(), tmp_path_factory.mktemp("kernel")
    env = {
        "MIXMAGIC_HOME": str(folder / "home"),
        "TOGETHER_BASE_URL": server.url,
        "TOGETHER_API_KEY": KEY,
        "OLLAMA_HOST": "http://127.0.0.1:9",
        "MIXMAGIC_MODEL": "together:8x7b",  # who has set OLLAMA_HOST means Ollama by a bare name
        "OPENAI_BASE_URL": f"http://{USER}:{PASSWORD}@127.0.0.1:9/v1",
        "IPYTHONDIR": str(folder / "ipython"),
        "MIXMAGIC_MAX_RETRIES": "0",
    }
    kernel = Listened({**os.environ, **env}, folder)
    for line in ("%load_ext mixmagic", "%xmode Verbose",
                 "import logging; logging.basicConfig(level=logging.DEBUG)"):  # fmt: skip
        assert kernel.run(line).status == "ok"
    yield kernel, server, folder
    kernel.close()
    server.close()


def ask(place, line: str, *plan: Answer) -> str:
    """Run a cell; check that neither its messages nor the process output hold a key."""
    kernel, server, _ = place
    server.plan, server.received[:] = list(plan), []
    ran = kernel.run(line)
    if plan:
        assert server.received[0].headers["authorization"] == f"Bearer {KEY}", "it was planted"
    assert leaks(*kernel.said(), repr(ran.reply)) == []
    return ran.text


def test_every_echo_in_a_cell(place):
    """Each error, and each of IPython's ways to show it again."""
    for name, echo in ECHOES.items():
        said = ask(place, "%%mixtral\nHello", echo)
        assert "Hint: " in said, name
    for line in ("%tb", "%tb Verbose"):
        assert "Hint: " in ask(place, line)


def test_an_answer_with_the_key_in_it(place):
    end = frames(chunk("", "stop"))
    pieces = [*(frames(chunk(letter), done=False) for letter in SAYS), end]
    reasoning = frames({"choices": [{"delta": {"reasoning": SAYS}}]}, done=False)
    for answer in (Answer(pieces), Answer([reasoning, *pieces]), whole(SAYS)):
        assert "You sent [key], thanks." in ask(place, "%%mixtral -o answer\nHello", answer)
    for line in ("answer", "print(answer, answer.request, answer.reasoning)", "%whos",
                 "%xdel answer", "%history", "%config Mixmagic", "%mixmagic spend"):  # fmt: skip
        ask(place, line)


def test_listings_and_the_doctor(place):
    assert "ours/[key]" in ask(place, "%mixmagic models together --live", LISTING)
    said = ask(place, "%mixmagic models --live", LISTING)
    assert "openai: OpenAI" in said
    assert "cannot be reached at http://[key]@127.0.0.1:9/v1" in said
    assert "TOGETHER_API_KEY is set" in ask(place, "%mixmagic doctor", LISTING)
    assert "401" in ask(place, "%mixmagic models together --live", ECHOES["401"])
    assert "401" in ask(place, "%mixmagic models --live", ECHOES["401"])
    assert "401" in ask(place, "%mixmagic doctor", ECHOES["401"])


def test_ctrl_c_in_the_middle_of_an_answer(place):
    kernel, server, _ = place
    server.plan = [streamed(HI, frames(chunk(f"{KEY} is {KEY[:9]}"), done=False), "hang")]
    sent = kernel.send("%%mixtral -o answer\nHello")
    kernel.collect(sent, until=lambda ran: "[key] is" in ran.text)
    kernel.interrupt()
    ran = kernel.collect(sent)
    assert ran.reply["ename"] == "Stopped"
    for line in ("%tb", "answer", "print(repr(answer), answer.text)"):
        ask(place, line)


def test_ctrl_c_in_a_python_call(place):
    kernel, server, _ = place
    server.plan, server.received[:] = [streamed(HI, "hang")], []
    sent = kernel.send("import mixmagic; mixmagic.ask('Hello')")
    server.wait(lambda: server.received)
    kernel.interrupt()
    assert "Stopped" in kernel.collect(sent).text
    ask(place, WALK)


def test_what_the_kernel_wrote(place):
    """The ledger and all other files, IPython's history too; after the tests above."""
    _, _, folder = place
    for line in ("%mixmagic spend", "%history -g"):
        ask(place, line)
    names = [path.name for path in folder.rglob("*")]
    assert {"ledger.db", "ledger.db-wal", "history.sqlite", "streams.txt"} <= {*names}
    assert leaks(*files(folder)) == []


def test_a_saved_notebook_has_no_key(together, tmp_path, monkeypatch):
    """Its cells fail, answer and list, under nbclient."""
    proxy = Proxy(refuse=407, echo=True)
    # Together is asked directly; another one through a proxy that echoes all that it is sent.
    monkeypatch.setenv("HTTP_PROXY", proxy.url(f"{USER}:{PASSWORD}"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("FIREWORKS_BASE_URL", "http://fireworks.example/v1")
    monkeypatch.setenv("FIREWORKS_API_KEY", KEY)
    monkeypatch.setenv("MIXMAGIC_MODEL", "together:8x7b")
    together.plan = [whole(SAYS), *ECHOES.values(), LISTING]
    client = notebook_client(
        "%load_ext mixmagic\n%xmode Verbose", "%%mixtral -o answer\nHello", "answer",
        *["%%mixtral\nHello"] * len(ECHOES), "%tb", "%mixmagic models together --live",
        "%%mixtral -m fireworks:8x7b\nHello", "%mixmagic doctor", "%mixmagic login together",
    )  # fmt: skip
    client.allow_errors = True
    client.execute(cleanup_kc=True)
    path = tmp_path / "saved.ipynb"
    nbformat.write(client.nb, path)
    proxy.close()
    text = path.read_text()
    assert text.count("Hint: ") >= len(ECHOES)
    assert "You sent [key], thanks." in text
    assert any(each.credentials for each in proxy.received)
    assert leaks(text, *files(tmp_path)) == []


WRAPPED = """
import mixmagic
try:
    mixmagic.ask("Hello")
except mixmagic.errors.MixmagicError as error:
    raise ValueError("my own") from error
"""


@pytest.mark.parametrize("cell", ["%%mixtral\nHello", WRAPPED])
def test_the_frames_of_the_last_error(place, cell):
    """Verbose mode shows the variables of an error that another one came from."""
    for name in ("401", "500 page", "in the stream"):
        ask(place, cell, ECHOES[name])
        ask(place, WALK)


# What the libraries below raise, with the key at hand and in its words; mended afterwards.
BREAKS = """
import os, ssl, h11
def _failing(kind, sends=h11.Connection.send):
    def send(self, event):
        key = os.environ["TOGETHER_API_KEY"]
        try:
            raise LookupError(key)
        except LookupError as before:
            raise kind(key) from before
    h11.Connection.send = send
_sends = h11.Connection.send
_failing({})
"""
KINDS = {
    "RecursionError": "RecursionError",
    "MemoryError": "MemoryError",
    "SystemError": "SystemError",
    "SystemExit": "SystemExit",
    "SSLError": "lambda key: ssl.SSLError(1, key)",
    "UnicodeDecodeError": "lambda key: UnicodeDecodeError('utf-8', key.encode(), 0, 1, key)",
    "ExceptionGroup": "lambda key: ExceptionGroup(key, [ValueError(key)])",
    "BaseExceptionGroup": "lambda key: BaseExceptionGroup(key, [SystemExit(key)])",
}


THREAD = """
import threading, mixmagic
_thread = threading.Thread(target=mixmagic.ask, args=("Hello",))
_thread.start(); _thread.join()
"""


@pytest.mark.parametrize("name", KINDS)
def test_an_exception_of_any_kind_in_every_cell_that_calls(place, name):
    """IPython's verbose mode shows the variables of each frame."""
    assert "Error" not in ask(place, BREAKS.format(KINDS[name]))
    for cell in (
        "%%mixtral\nHello", "%mixmagic models together --live", "%mixmagic models --live",
        "%mixmagic doctor", "import mixmagic; mixmagic.ask('Hello')",
        "import mixmagic; list(mixmagic.stream('Hello'))",
        "import mixmagic; mixmagic.session().live_models('together')",
        THREAD,
    ):  # fmt: skip
        said = ask(place, cell)
        assert name in said or "Hint: " in said or name == "SystemExit", cell
        ask(place, "%tb Verbose")
        ask(place, WALK if cell is not THREAD else "1")
    ask(place, "h11.Connection.send = _sends; del _sends, _failing")


ROOM = """
import inspect, mixmagic, sys
_limit = sys.getrecursionlimit()
def _ask(room):
    sys.setrecursionlimit(len(inspect.stack(0)) + room)
    try:
        return mixmagic.ask("Hello")
    finally:
        sys.setrecursionlimit(_limit)
"""


def test_a_call_that_overflows_the_stack(place):
    """It ends in httpx, in h11, or in our own code."""
    kernel, server, _ = place
    ask(place, ROOM)
    server.plan = [whole("Hi")]
    said = []
    for room in range(24, 100, 4):
        ran = kernel.run(f"_ask({room})")
        assert leaks(*kernel.said(), repr(ran.reply)) == []
        said.append(ran.text)
    assert sum("RecursionError" in each for each in said) > 3
    assert "Hi" in ask(place, "_ask(300)", whole("Hi"))


def test_the_error_of_an_invalid_setting_does_not_show_the_environment(home, monkeypatch):
    """The first error that a call can meet."""
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    monkeypatch.setenv("MIXMAGIC_IDLE_TIMEOUT", "soon")
    with pytest.raises(BadArguments, match="idle_timeout") as caught:
        Session().ask("Hello")
    assert leaks(shown(caught.value)) == []
