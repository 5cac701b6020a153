"""The progress of a job: in a notebook, in a terminal, and where nobody watches."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from server import Answer, refusal, whole

CALL = "import mixmagic\njob = mixmagic.map([f'{n}' for n in range(100)], 'Say {{ text }}'"


def echo(request) -> Answer:
    """Answer with the prompt in capitals, the 50th after a while."""
    prompt = request.body["messages"][-1]["content"]
    answer = whole(prompt.upper(), completion=3)
    return Answer([0.5, *answer.steps], type=answer.type) if prompt == "Say 50" else answer


@pytest.fixture
def echoing(together):
    together.plan = [echo]
    return together


def progress(ran) -> list[str]:
    """The texts of the progress, one after the other."""
    shown = ("display_data", "update_display_data")
    return [
        message["content"]["data"]["text/plain"]
        for _, message in ran.messages
        if message["msg_type"] in shown
    ]


def test_a_notebook_shows_one_output_that_ends_with_the_whole(echoing, kernel):
    ran = kernel.run(f"{CALL}, model='8x7b')\njob.state")
    assert ran.status == "ok", ran.text
    *before, last, state = ran.outputs
    assert before == []
    assert last["data"]["text/plain"].startswith("100 rows in ")
    assert "$0.00072" in last["data"]["text/plain"]
    assert 'role="status"' in last["data"]["text/html"]
    assert state["data"]["text/plain"] == "'done'"
    lines = progress(ran)
    assert any(re.match(r"\d+ of 100 rows · .* left$", line) for line in lines[:-1]), lines
    assert len(lines) < 20
    assert kernel.run(f"{CALL}, model='8x7b')").text.endswith("100 answered before")


def test_nobody_who_watches_gets_one_output_at_the_end(echoing, kernel):
    ran = kernel.run(f"{CALL}, model='8x7b')", live=False)
    assert ran.kinds.count("update_display_data") == 0
    assert progress(ran)[0].startswith("100 rows in")


def test_a_job_that_is_not_waited_for_goes_on_below_its_cell(echoing, kernel):
    started = kernel.run(f"{CALL}, model='8x7b', wait=False)\njob.state")
    assert started.outputs[-1]["data"]["text/plain"] == "'running'"
    assert "of 100 rows" in started.outputs[0]["data"]["text/plain"]
    ran = kernel.run("job.wait(30), job.result()[99]")
    assert ran.text.endswith("(True, 'SAY 99')")
    kernel.run("import time; time.sleep(0.5)")
    assert "display_data" not in ran.kinds, "no output of another cell"


def test_an_interrupt_of_a_kernel_stops_all_calls_and_says_in_one_line_what_is_kept(
    together, kernel
):
    def slow(request):
        number = int(request.body["messages"][-1]["content"].split()[-1])
        return echo(request) if number < 40 else Answer([30.0, b""])

    together.plan = [slow]
    sent = kernel.send(f"{CALL}, model='8x7b', in_flight=16, max_tokens=20)")
    together.wait(lambda: len(together.received) == 56)
    interrupted = time.monotonic()
    kernel.manager.interrupt_kernel()
    ran = kernel.collect(sent)
    assert ran.replied_at - interrupted < 2.0
    (line,) = ran.traceback
    assert line.startswith("Stopped after 40 of 100 rows, which are kept · $0.00")
    assert line.endswith("The same call goes on.")
    assert [text for text in progress(ran) if "topped" in text] == [], "the error alone says it"
    shown = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    for last in shown[-1:]:  # it may have ended before its first update
        assert last["text/plain"] == ""
        assert '<progress value="40" max="100"' in last["text/html"]
    together.plan = [echo]
    assert kernel.run(f"{CALL}, model='8x7b', max_tokens=20)").text.endswith("40 answered before")
    assert len(together.received) == 56 + 60


def test_a_pause_says_why_and_an_error_that_all_rows_share_is_raised(together, kernel):
    together.plan = [echo, refusal(503, {"error": {"message": "overloaded"}})]
    text = kernel.run(f"{CALL}, model='8x7b', in_flight=2)\njob.state").text
    assert "Paused after" in text
    assert "overloaded" in text
    assert "The same call goes on." in text
    assert text.endswith("'paused'")
    assert kernel.run(f"{CALL}, model='8x70b')").reply["ename"] == "UnknownModel"


def test_rows_that_failed_are_told_at_the_end_by_kind(together, kernel):
    def refusing(request):
        prompt = request.body["messages"][-1]["content"]
        broken = {"error": {"message": "no such <b>thing</b>"}}
        return refusal(400, broken) if prompt.endswith("7") else echo(request)

    together.plan = [refusing]
    (output,) = kernel.run(f"{CALL}, model='8x7b')").outputs
    first, second = output["data"]["text/plain"].split("\n")
    assert "10 failed" in first
    assert second.startswith("10 rows (7, 17, 27, 37, 47, …): Together AI answered 400: no such")
    assert "<b>" not in output["data"]["text/html"]


def test_an_error_that_ends_a_job_is_told_once_with_the_rows_that_are_kept(together, kernel):
    broken = refusal(400, {"error": {"message": "no such thing"}})
    together.plan = [echo, echo, broken]
    ran = kernel.run(f"{CALL}, model='8x7b', in_flight=1, on_error='raise')")
    line = progress(ran)[-1].split("\n")[0]
    assert line.startswith("Stopped after 3 of 100 rows, which are kept · ")
    assert "no such" not in line
    assert "no such thing" in ran.reply["evalue"]


def test_a_job_in_the_background_that_is_stopped_says_so_in_its_output(together, kernel):
    together.plan = [echo, Answer([30.0, b""])]
    ending = "import threading\nfor t in threading.enumerate():\n"
    ending += "    if t.name == 'mixmagic-progress': t.join(30)"
    ran = kernel.run(f"{CALL}, model='8x7b', in_flight=2, wait=False)\njob.stop()\n{ending}")
    assert ran.status == "ok"
    assert progress(ran)[-1].startswith("Stopped after 1 of 100 rows, which are kept")


def in_terminal(code: str, interrupt_at: str = "", *of_python: str) -> tuple[str, str, int]:
    """Run code with standard error in a terminal; return stdout, the terminal's text, the code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *of_python, "-c", code], stdout=subprocess.PIPE, stderr=theirs,
        text=True, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    seen = ""
    while True:
        try:
            part = os.read(ours, 10000).decode()
        except OSError:  # Linux, at the end
            break
        if not part:
            break
        seen += part
        if interrupt_at and interrupt_at in seen:
            process.send_signal(signal.SIGINT)
            interrupt_at = ""
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    return out, seen, process.returncode


def test_a_terminal_gets_one_line_on_standard_error(echoing):
    out, seen, code = in_terminal(f"{CALL}, model='8x7b')\nprint(job.result()[50])")
    assert (out, code) == ("SAY 50\n", 0)
    *drawn, last = seen.replace("\r\n", "\n").strip().split("\r")
    assert last.removeprefix("\x1b[K").startswith("100 rows in ")
    assert any(re.match(r"\d+% · \d+ of 100 rows · ", line) for line in drawn), seen
    assert seen.count("\n") == 1


def test_a_script_is_stopped_by_ctrl_c_and_writes_nothing_to_a_file(together):
    together.plan = [lambda request: Answer([0.3, *echo(request).steps], type="application/json")]
    _, seen, code = in_terminal(f"{CALL}, model='8x7b', in_flight=4)", interrupt_at="of 100 rows")
    assert "Stopped after" in seen
    assert "The same call goes on." in seen
    assert code != 0
    together.plan = [echo]
    ran = subprocess.run(
        [sys.executable, "-c", f"{CALL}, model='8x7b')"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def test_an_interrupt_in_ipython_says_one_line_and_the_same_call_goes_on(together):
    together.plan = [lambda request: Answer([0.3, *echo(request).steps], type="application/json")]
    ipython = ("-m", "IPython", "--no-banner", "--colors=nocolor")
    code = (
        f"get_ipython().run_line_magic('load_ext', 'mixmagic')\n{CALL}, model='8x7b', in_flight=4)"
    )
    out, seen, _ = in_terminal(code, "of 100 rows", *ipython)
    line = next(line for line in (out + seen).splitlines() if "Stopped after" in line)
    assert line.endswith("The same call goes on.")
    assert (out + seen).count("Stopped after") == 1
    assert "Traceback" not in out + seen
    before = len(together.received)
    assert before < 100
    together.plan = [echo]
    assert " answered before" in in_terminal(code, "", *ipython)[1]
