"""Two rounds of a question in a real kernel are one output."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import Answer, refusal
from server import together as pieces

ASK = """
from mixmagic.display.formats import FORMATS
from mixmagic.display.live import show
from mixmagic.display.rounds import Rounds
from mixmagic.display.screens import screen
from mixmagic.tasks.schemas import Schema
from mixmagic.tasks.structured import ask_structured
import mixmagic
session = mixmagic.session()
rounds = Rounds(screen(get_ipython(), live=None, owns_cell=True, form=FORMATS["json"]))
schema = Schema.of({"type": "object", "required": ["a"]}, "thing")
last = None
try:
    found = ask_structured(
        lambda asked: show(session, asked, rounds), session.request("Hi", model="8x7b"), schema
    )
    last = found.completion
except mixmagic.errors.MixmagicError as error:
    last = error.partial
    raise
finally:
    rounds.release(last)
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


@pytest.mark.parametrize("live", [True, False])
def test_two_rounds_are_one_output_with_what_both_took(desk, live):
    ran = desk.run(ASK, Answer(pieces("{}")), Answer(pieces('{"a"', ": 1}")), live=live)
    assert ran.status == "ok", ran.text
    assert [output["kind"] for output in ran.outputs] == ["display_data"]
    assert ran.text.startswith('{\n  "a": 1\n}\n\ntogether:8x7b · 18 → 3 tokens')
    assert "one repair round" in ran.text
    assert desk.value("found.instance") == {"a": 1}


@pytest.mark.parametrize("live", [True, False])
def test_where_the_second_round_fails_the_first_is_shown(desk, live):
    ran = desk.run(ASK, Answer(pieces("{}")), refusal(503, {"error": {}}), live=live)
    assert ran.status == "error"
    assert [output["kind"] for output in ran.outputs] == ["display_data", "error"]
    assert ran.outputs[0]["data"]["text/plain"].startswith("{}\n\ntogether:8x7b · 9 → 1 tokens")


def test_where_no_answer_came_nothing_is_shown(desk):
    ran = desk.run(ASK, refusal(503, {"error": {}}))
    assert [output["kind"] for output in ran.outputs] == ["error"]
