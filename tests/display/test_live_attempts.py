"""Two rounds of a question in a real kernel are one output."""

from __future__ import annotations

import subprocess
import sys

import pytest
from kernels import Desk
from server import Answer, refusal
from server import together as pieces

ASK = """
from mixmagic.display.formats import FORMATS
from mixmagic.display.live import show
from mixmagic.display.live import AttemptsRenderer
from mixmagic.display.renderers import renderer
from mixmagic.structured.schema import Schema
from mixmagic.structured.attempts import ask_structured
import mixmagic
session = mixmagic.session()
schema = Schema.of({"type": "object", "required": ["a"]}, "thing")
place = renderer(get_ipython(), form=FORMATS["json"])
attempts = AttemptsRenderer(place, schema)
last = None
try:
    found = ask_structured(
        lambda asked: show(session, asked, attempts), session.request("Hi", model="8x7b"), schema
    )
    last = found.completion
except mixmagic.errors.MixmagicError as error:
    last = error.partial
    raise
finally:
    attempts.release(last)
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


@pytest.mark.parametrize("live", [True, False])
def test_two_attempts_are_one_output_with_the_cost_of_both(desk, live):
    ran = desk.run(ASK, Answer(pieces("{}")), Answer(pieces('{"a"', ": 1}")), live=live)
    assert ran.status == "ok", ran.text
    assert [output["kind"] for output in ran.outputs] == ["display_data"]
    assert ran.text.startswith('{\n  "a": 1\n}\n\ntogether:8x7b · 18 → 3 tokens')
    assert "repaired once" in ran.text
    assert desk.value("found.instance") == {"a": 1}


def test_the_problem_is_shown_between_two_attempts(desk):
    second = Answer([0.3, *pieces('{"a"', ": 1}")])
    ran = desk.run(ASK, Answer(pieces("{}")), second)
    datas = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    shown = "\n".join(data["text/markdown"] for data in datas).replace("<span>&#36;</span>", "$")
    wrong = "The answer does not match thing: $: 'a' is a required property. Asking again:"
    assert shown.index("2 characters …") < shown.index(wrong) < shown.index('"a": 1')


def test_a_terminal_shows_a_line_between_two_attempts(together, tmp_path):
    together.plan = [Answer(pieces("{", "}")), Answer(pieces('{"a"', ": 1}"))]
    path = tmp_path / "script.ipy"
    path.write_text(ASK)
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    first, said, second, footer = ran.stdout.split("\n\n")
    assert first == "{}"
    assert said == "The answer does not match thing: $: 'a' is a required property. Asking again:"
    assert second == '{"a": 1}'
    assert "18 → 4 tokens" in footer


@pytest.mark.parametrize("live", [True, False])
def test_if_the_second_attempt_fails_the_first_is_shown(desk, live):
    ran = desk.run(ASK, Answer(pieces("{}")), refusal(503, {"error": {}}), live=live)
    assert ran.status == "error"
    assert [output["kind"] for output in ran.outputs] == ["display_data", "error"]
    assert ran.outputs[0]["data"]["text/plain"].startswith("{}\n\ntogether:8x7b · 9 → 1 tokens")


def test_without_an_answer_nothing_is_shown(desk):
    ran = desk.run(ASK, refusal(503, {"error": {}}))
    assert [output["kind"] for output in ran.outputs] == ["error"]
