"""`%mixtral` in a real IPython at a real terminal, and in scripts."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest
from server import HANG, Answer, chunk, frames, refusal
from server import together as pieces

# Makes the pty its controlling terminal, so that Ctrl-C reaches it, and becomes IPython.
LAUNCH = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execv(sys.executable, [sys.executable, '-m', 'IPython', *sys.argv[1:]])"
)
OPTIONS = ["--no-banner", "--no-term-title", "--colors=NoColor", "--ext", "mixmagic"]
# What is ours (taking progress away) and IPython's (the cursor's shape).
OWN = re.compile(rb"\r\x1b\[K|\x1b\[\?12l|\x1b\[\?25h")


class Terminal:
    """IPython in a pseudo-terminal."""

    def __init__(self, *words: str, size: tuple[int, int] = (50, 200), **environment: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *OPTIONS, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **environment},
        )
        os.close(slave)
        self.seen = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, text: str, timeout: float = 30.0) -> float:
        """Wait until `text` has been shown; return when that was, and forget all before it."""
        deadline = time.monotonic() + timeout
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown, but {self.seen[-2000:]!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65536)
        _, _, self.seen = self.seen.partition(text.encode())
        return time.monotonic()

    def rest(self, timeout: float = 30.0) -> bytes:
        """All that comes until IPython ends."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:  # Linux: the other side is closed
                    break
        self.process.wait(timeout)
        return self.seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)
        os.close(self.master)


@pytest.fixture
def terminal(together):
    opened = []

    def open_terminal(*words: str, **environment: str) -> Terminal:
        environment = {"MIXMAGIC_LIVE": "0"} | environment
        opened.append(Terminal(*words, **environment))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def script(*words: str) -> subprocess.CompletedProcess[str]:
    """IPython run with pipes instead of a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "IPython", *OPTIONS, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_text_streams_then_the_footer_and_ctrl_c_stops_the_next_one(terminal, together):
    first, *rest = pieces("First part", ", second part.")
    together.plan = [Answer([first, 1.0, *rest])]
    ipython = terminal()
    ipython.expect("In [1]")
    ipython.type("%mixtral Say {something}?\r")
    began = ipython.expect("First part")
    ipython.expect(", second part.")
    ended = ipython.expect("together:8x7b · 9 → 2 tokens")
    assert ended - began > 0.5, "the text came before the answer was whole"
    assert together.received[0].body["messages"][0]["content"] == "Say {something}?"

    together.plan = [Answer([frames(chunk("Endless"), done=False), HANG])]
    ipython.expect("In [2]")
    ipython.type("%mixtral Hi\r")
    ipython.expect("Endless")
    at = time.monotonic()
    ipython.type("\x03")
    ipython.expect("The answer so far is in")
    took = ipython.expect("In [3]") - at
    print(f"\nterminal: stopped, and a prompt again, after {took * 1000:.0f} ms")
    closed = together.wait(lambda: together.received[-1].closed_at, timeout=1)
    assert closed - at < 0.5
    ipython.type("exit\r")
    ipython.rest()
    assert ipython.process.returncode == 0


def test_what_a_terminal_would_obey_is_not_shown(terminal, together, tmp_path):
    evil = "\x1b[2Ja\x1b]0;owned\x07b\x9b31mc\x1bPq\x1b\\d\re\x08f\x07g\x1bch"
    texts = [evil, *"\x1b[31mred\x1b[0m", "\ttab\nline 世界"]
    together.plan = [Answer(pieces(*texts))]
    path = tmp_path / "script.ipy"
    path.write_text("%mixtral Hi\n")
    shown = OWN.sub(b"", terminal(str(path)).rest())
    assert b"together:8x7b" in shown
    text = shown.decode()
    left = {c for c in text if (ord(c) < 32 or 127 <= ord(c) < 160) and c not in "\r\n\t"}
    assert left == set(), text
    assert "\r" not in text.replace("\r\n", "\n"), "no line is written over"
    assert "\ttab\r\nline 世界" in text


def test_errors_of_the_provider_cannot_steer_the_terminal_either(terminal, together, tmp_path):
    together.plan = [refusal(500, {"error": {"message": "a\x1b[2Jb\x1b]0;owned\x07c\x9b1m"}})]
    path = tmp_path / "script.ipy"
    path.write_text("%mixtral Hi\n")
    shown = OWN.sub(b"", terminal(str(path)).rest())
    assert b"Unavailable: Together AI answered 500" in shown
    assert b"\x1b" not in shown
    assert b"\x07" not in shown


def test_a_script_prints_text_and_footer_and_nothing_else(together, tmp_path):
    together.plan = [Answer(pieces("Hello", " there"))]
    path = tmp_path / "script.ipy"
    path.write_text("%mixtral Hi\nprint('after')\n")
    ran = script(str(path))
    assert ran.returncode == 0
    answer, footer, after = re.fullmatch(r"(.*)\n\n(.*)\n(after)\n", ran.stdout).groups()
    assert answer == "Hello there"
    assert footer.startswith("together:8x7b · 9 → 2 tokens · $0.0000066 · ")
    assert after == "after"
    assert "\x1b" not in ran.stdout


def test_a_script_of_one_cell_magic_sends_its_lines(together, tmp_path):
    together.plan = [Answer(pieces("Hello"))]
    path = tmp_path / "script.ipy"
    path.write_text("%%mixtral -t 0\nOne {line}\n  and $another\n")
    assert "Hello\n\ntogether:8x7b" in script(str(path)).stdout
    sent = together.received[0].body["messages"][0]["content"]
    assert sent == "One {line}\n  and $another\n"


def test_an_error_in_a_script_is_two_lines_and_ends_it(together, tmp_path):
    together.plan = [refusal(401, {"error": {"message": "no"}})]
    path = tmp_path / "script.ipy"
    path.write_text("%mixtral Hi\nprint('after')\n")
    ran = script(str(path))
    said = (ran.stdout + ran.stderr).strip().splitlines()
    assert [line.partition(":")[0] for line in said] == ["KeyRejected", "Hint"]
