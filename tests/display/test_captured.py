"""Front ends without updates get the whole answer in one output: widgets, captures, consoles."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernels import Desk, Ran
from server import CUT, Answer, chunk, frames, together, usage

pytestmark = pytest.mark.kernel

_WORDS = [f"word{number} of an answer.\n\n" for number in range(800)]


def slowly(*texts: str) -> Answer:
    """An answer that takes long enough to be drawn several times."""
    return Answer([each for step in together(*texts) for each in (step, 0.04)])


def two() -> Answer:
    """Two answers to one question."""
    texts = ["word0 ", *["and "] * 4, "word799 ", *["Two "] * 6]
    chunks = [chunk(text) for text in texts]
    for at, each in enumerate(chunks):
        each["choices"][0]["index"] = int(at >= 6)
    ends = [chunk(None, "stop"), chunk(None, "stop", **usage(9, 12))]
    ends[1]["choices"][0]["index"] = 1
    return Answer(
        [each for made in chunks for each in (frames(made, done=False), 0.04)] + [frames(*ends)]
    )


LONG = Answer(together(*("".join(_WORDS[at : at + 8]) for at in range(0, 800, 8))))
# What is asked, and the answer: each begins with word0 and ends with word799.
ANSWERS = {
    "in pieces": ("%mixtral x", slowly("word0 ", *["and "] * 12, "word799 ")),
    "long": ("%mixtral x", LONG),
    "late": ("%mixtral x", Answer([1.3, *together("word0 ", "word799 ")])),
    "two": ("%mixtral -n 2 x", two()),
    "as JSON": ("%mixtral -f json x", slowly('["word0 ', '", "', 'word799 "', "]")),
    "thinking": (
        "%mixtral x",
        Answer(
            [
                frames({"choices": [{"index": 0, "delta": {"reasoning": "Hm. "}}]}, done=False),
                0.2,
                *together("word0 ", "word799 "),
            ]
        ),
    ),
}
WIDGETS = {
    "with": "with W.Output() as out:\n    {0}",
    "capture": "out = W.Output()\n@out.capture()\ndef ask():\n    {0}\nask()",
    "tab": "tab = W.Tab(children=[W.Output(), W.Output()])\nwith tab.children[1]:\n    {0}",
    "interact": "def ask(x):\n    {0}\nW.interact(ask, x=['a', 'b']);",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.run("import ipywidgets as W\nfrom IPython.utils.capture import capture_output")
    yield desk
    desk.close()


def answers(ran: Ran) -> list[dict[str, str]]:
    """Return the displayed outputs without widgets."""
    kinds = ("display_data", "update_display_data")
    datas = [m["content"]["data"] for _, m in ran.messages if m["msg_type"] in kinds]
    return [data for data in datas if "application/vnd.jupyter.widget-view+json" not in data]


def assert_is_one_output(ran: Ran) -> None:
    """One output with the whole answer and its footer, and nothing is updated."""
    assert "update_display_data" not in ran.kinds
    (data,) = answers(ran)
    for word in ("word0 ", "word799 ", "together:8x7b · "):
        assert data["text/plain"].replace("\n", " ").count(word) == 1, word


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("widget", WIDGETS)
def test_in_an_output_widget_an_answer_is_one_output(desk, widget, answer):
    magic, plan = ANSWERS[answer]
    ran = desk.run(WIDGETS[widget].format(magic), plan)
    assert ran.status == "ok", ran.text
    assert_is_one_output(ran)
    ran = desk.run("%mixtral x", ANSWERS["in pieces"][1])
    assert "update_display_data" in ran.kinds, "behind the widget's block, answers stream again"


def test_a_broken_answer_is_one_output_of_the_widget(desk):
    ran = desk.run(
        WIDGETS["with"].format("%mixtral x"),
        Answer([frames(chunk("word0 "), done=False), 0.3, frames(chunk("word799 ")), CUT]),
    )
    assert "update_display_data" not in ran.kinds


def callback(desk: Desk, name: str) -> Ran:
    """Click on a button of the kernel's, as a front end tells it."""
    (comm,) = [desk.value(f"{name}.comm.comm_id")]
    session = desk.kernel.client.session
    content = {"comm_id": comm, "data": {"method": "custom", "content": {"event": "click"}}}
    message = session.msg("comm_msg", content)
    desk.kernel.client.shell_channel.send(message)
    return desk.kernel.collect(
        message["header"]["msg_id"],
        until=lambda ran: (
            ran.kinds[-1:] == ["status"]
            and ran.messages[-1][1]["content"]["execution_state"] == "idle"
        ),
    )


@pytest.mark.parametrize("body", ["with out:\n        %mixtral x", "%mixtral x"])
def test_in_a_buttons_callback_an_answer_is_one_output(desk, body):
    desk.run(
        f"out, button = W.Output(), W.Button()\ndef click(_):\n    {body}\nbutton.on_click(click)"
    )
    desk.plan(ANSWERS["in pieces"][1])
    assert_is_one_output(callback(desk, "button"))


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("how", ["%%capture", "capture_output", "nested"])
def test_a_capture_gets_one_output_and_nothing_of_a_terminal(desk, how, answer):
    magic, plan = ANSWERS[answer]
    code = {
        "%%capture": f"%%capture cap\nprint('kept')\n{magic}",
        "capture_output": f"with capture_output() as cap:\n    print('kept')\n    {magic}",
        "nested": "with capture_output() as all:\n    with capture_output() as cap:\n"
        f"        print('kept')\n        {magic}",
    }[how]
    ran = desk.run(code, plan)
    assert ran.status == "ok", ran.text
    assert answers(ran) == []
    assert desk.value("cap.stdout") == "kept\n"
    assert desk.value("len(cap.outputs)") == 1
    text = desk.value("cap.outputs[0].data['text/plain']")
    for word in ("word0 ", "word799 ", "together:8x7b · "):
        assert text.replace("\n", " ").count(word) == 1, word
    shown = desk.run("from IPython.display import display\nfor each in cap.outputs: display(each)")
    assert len(answers(shown)) == 1


def test_jupyter_run_prints_the_whole_answer(together, tmp_path):
    together.plan = [ANSWERS["in pieces"][1]]
    script = tmp_path / "script.ipy"
    script.write_text("%load_ext mixmagic\n%mixtral x\n")
    command = [str(Path(sys.executable).parent / "jupyter-run"), str(script)]
    ran = subprocess.run(
        command,
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.startswith("word0 and "), ran.stdout
    assert "and word799\n\ntogether:8x7b · " in ran.stdout


def console(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a console; again if it hangs, as it does now and then without any extension."""
    lines = "%load_ext mixmagic\n\n%mixtral x\n\nexit\n\n"
    for _ in range(8):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return subprocess.run(
                command,
                input=lines,
                env=env,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
    raise AssertionError("the console hung each time")


@pytest.mark.parametrize("how", ["jupyter-console", "jupyter console", "-m jupyter_console"])
def test_jupyter_console_shows_the_whole_answer(together, tmp_path, how):
    together.plan = [ANSWERS["in pieces"][1]]
    program = [str(Path(sys.executable).parent / how.split()[0]), *how.split()[1:]]
    if how.startswith("-m"):
        program = [sys.executable, *how.split()]
    env = {**os.environ, "IPYTHONDIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)}
    env |= {"TERM": "dumb", "PROMPT_TOOLKIT_NO_CPR": "1"}
    ran = console([*program, "--simple-prompt"], env)
    assert "word0 and " in ran.stdout, ran.stdout + ran.stderr
    assert "and word799" in ran.stdout
    assert "together:8x7b · " in ran.stdout
