"""An answer is shown and kept in any encoding, and whatever becomes of its display."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import pytest
from kernels import Desk
from server import HANG, Answer, refusal, together

TEXT = "Grüße → 世界 · ≈ 5 € 😀"
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp437": {"PYTHONIOENCODING": "cp437"},
    "shift_jis": {"PYTHONIOENCODING": "shift_jis"},
    "locale C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
# Writes down what a cell has kept.
KEPT = """
import json
chat = mixmagic.session().chats.exchanges("talk")
with open("kept.json", "w") as file:
    json.dump([answer.text, _.text, *(each.answer for each in chat)], file)
"""


def script(source: str, tmp_path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """IPython run on a script, its output in a pipe."""
    path = tmp_path / "script.ipy"
    path.write_text(source, "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "--ext", "mixmagic", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
        cwd=tmp_path,
    )


def statuses(home) -> list[str]:
    """Return the statuses of the calls in the ledger."""
    with sqlite3.connect(home / "data" / "ledger.db") as connection:
        found = [status for (status,) in connection.execute("SELECT status FROM calls")]
    connection.close()
    return found


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_answer_is_shown_and_kept_in_any_encoding(together, tmp_path, home, encoding):
    together.plan = [Answer(_pieces(TEXT))]
    source = f"import mixmagic\n%mixtral -o answer -c talk Hi\n{KEPT}"
    ran = script(source, tmp_path, **ENCODINGS[encoding])
    name = encoding if encoding in ("cp1252", "latin-1", "cp437", "shift_jis") else "ascii"
    shown = ran.stdout.decode(name)
    assert ran.returncode == 0, shown + ran.stderr.decode(name)
    assert json.loads((tmp_path / "kept.json").read_text()) == [TEXT] * 3
    assert statuses(home) == ["ok"]
    answer, footer = shown.strip().split("\n\n")
    assert answer.startswith("Gr")
    assert "9 > 3 tokens - $0." in footer.replace("·", "-").replace("→", ">")
    for letter in TEXT:
        try:
            letter.encode(name)
        except UnicodeEncodeError:
            continue
        assert letter in answer, "what the encoding has is shown"


def _pieces(text: str) -> list[bytes]:
    return together(text[:4], text[4:9], text[9:])


SHOWN = {
    "%mixmagic models": "8x7b",
    "%mixmagic models --for code": "8x7b",
    "%mixmagic use 8x7b": "Using together:8x7b in this session (",
    "%mixmagic doctor": "a terminal: answers stream",
    "%mixmagic spend": "together:8x7b",
    "%mixmagic budget 1": "session",
    "%mixmagic prices": "8x7b",
    "%mixmagic chats show talk": "you: Hi",
    "print(repr(answer))": "<Completion ",
    "answer": "tokens",
    "%%mixtral --dry-run\nHi": "tokens",
    "%mixtral --as curl Grüße 世界": "curl",
    "%mixtral -m nonsense世界 Hi": "UnknownModel",
    "mixmagic.ask('Hi', model='世界')": "UnknownModel",
}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_all_that_is_shown_in_a_terminal_can_be_written_in_any_encoding(
    together, tmp_path, encoding
):
    together.plan = [Answer(_pieces(TEXT))]
    cells = [f"get_ipython().run_cell({cell!r})" for cell in SHOWN]
    source = "\n".join(["import mixmagic", "%mixtral -o answer -c talk Hi", *cells, "print('end')"])
    ran = script(source, tmp_path, PYTHONIOENCODING=encoding)
    shown = ran.stdout.decode(encoding)
    for expected in SHOWN.values():
        assert expected in shown, shown
    assert "UnicodeEncodeError" not in shown + ran.stderr.decode(encoding)
    assert shown.rstrip().endswith("end")


def test_an_error_of_the_provider_is_shown_in_any_encoding(together, tmp_path):
    together.plan = [refusal(500, {"error": {"message": "zu groß → 世界"}})]
    ran = script("%mixtral Hi\n", tmp_path, PYTHONIOENCODING="ascii")
    said = (ran.stdout + ran.stderr).decode("ascii")
    assert "Unavailable: Together AI answered 500" in said
    assert "UnicodeEncodeError" not in said


GONE = f"""
import sys, mixmagic
class Broken:
    encoding = "utf-8"
    def __init__(self, error): self.error = error
    def write(self, text): raise self.error
    def flush(self): raise self.error
    def isatty(self): return False
before = sys.stdout
sys.stdout = DISPLAY
try:
    get_ipython().run_line_magic("mixtral", "-o answer -c talk Hi")
except mixmagic.errors.MixmagicError as error:
    message = error.message
finally:
    sys.stdout = before
print(message)
{KEPT}"""
DISPLAYS = {
    "closed": "open(__import__('os').devnull, 'w')\nsys.stdout.close()",
    "nobody reads": "Broken(BrokenPipeError(32, 'Broken pipe'))",
    "full": "Broken(OSError(28, 'No space left on device'))",
    "of its own": "Broken(RuntimeError('no such window'))",
}


@pytest.mark.parametrize("display", DISPLAYS)
def test_an_answer_is_kept_though_its_terminal_is_gone(together, tmp_path, home, display):
    together.plan = [Answer(_pieces(TEXT))]
    ran = script(GONE.replace("DISPLAY", DISPLAYS[display]), tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert b"could not be shown" in ran.stdout
    assert json.loads((tmp_path / "kept.json").read_text()) == [TEXT] * 3
    assert statuses(home) == ["ok"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.run(
        "import mixmagic\n"
        "publish = get_ipython().display_pub.publish\n"
        "def broken(*args, **options): raise RuntimeError('no such window')\n"
        "def interrupted(*args, **options):\n"
        "    for _ in range(presses): __import__('signal').raise_signal(2)\n"
    )
    yield desk
    desk.close()


BREAK = "get_ipython().display_pub.publish = broken\n{0}"
AGAIN = "get_ipython().display_pub.publish = publish"
JSON = '{"a": 1}'


@pytest.mark.parametrize("live", [True, False], ids=["live", "static"])
@pytest.mark.parametrize("options", ["", "-f json", "--schema schema"])
def test_an_answer_is_kept_though_its_display_fails(desk, options, live):
    desk.run("schema = {'type': 'object', 'required': ['a']}\nanswer = None")
    cell = BREAK.format(f"%mixtral {options} -o answer -c talk Hi")
    steps = [each for step in together('{"a"', ": 1", "}") for each in (step, 0.1)]
    ran = desk.run(cell, Answer(steps), live=live)
    desk.run(AGAIN)
    assert ran.reply["ename"] == "AnswerUnusable"
    assert "RuntimeError: no such window" in ran.traceback[0]
    assert len(desk.server.received) == 1
    assert desk.value("(answer.text, _.text)") == (JSON, JSON)
    assert desk.value("mixmagic.session().chats.exchanges('talk')[-1].answer") == JSON
    assert set(statuses(desk.home)) == {"ok"}


@pytest.mark.parametrize("presses", [1, 2])
@pytest.mark.parametrize("options", ["", "-f json", "--schema schema"])
def test_an_answer_is_kept_though_ctrl_c_comes_while_it_is_shown(desk, options, presses):
    desk.run(f"schema = {{'type': 'object', 'required': ['a']}}\nanswer, presses = None, {presses}")
    cell = BREAK.replace("broken", "interrupted").format(f"%mixtral {options} -o answer Hi")
    ran = desk.run(cell, Answer(together(JSON)), live=False)
    desk.run(AGAIN)
    assert ran.reply["ename"] == "Stopped"
    assert desk.value("(answer.text, _.text)") == (JSON, JSON)
    assert desk.value("__import__('signal').getsignal(2).__qualname__") == "Interrupts._interrupted"


def test_a_stopped_answer_is_kept_though_its_display_fails(desk):
    desk.plan(Answer([*together("One ")[:-1], HANG]))
    sent = desk.kernel.send(BREAK.format("%mixtral -o answer Hi"))
    desk.server.wait(lambda: desk.server.received)
    desk.kernel.interrupt()
    ran = desk.kernel.collect(sent)
    desk.run(AGAIN)
    assert ran.reply["ename"] == "Stopped"
    assert desk.value("answer.finish") == "stopped"
