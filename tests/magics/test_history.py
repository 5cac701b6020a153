"""`%mixmagic history`, in a real kernel."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import Answer, together


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def test_past_prompts_are_listed_found_and_shown(desk):
    assert desk.run("%mixmagic history").text == "No call was made in this session.\n"
    desk.run("%%mixtral\nWhat is a\nmedian?", Answer(together("The middle value.")))
    desk.run("import mixmagic; _a = mixmagic.ask('And a mean?')", Answer(together("A sum.")))
    desk.run("%mixtral Long {{ 'x ' * 200 }} needle {{ 'y ' * 200 }}", Answer(together("Yes")))
    listed = desk.run("%mixmagic history").text
    assert "What is a median?" in listed
    assert "The middle value." in listed
    assert "And a mean?" in listed
    assert "`mixmagic.session().history[NUMBER].answer`" in listed.replace("\n", " ")
    found = desk.run("%mixmagic history needle").text
    assert "needle" in found
    assert "median" not in found
    assert "The middle value." in desk.run("%mixmagic history the middle").text
    assert desk.run("%mixmagic history nowhere").text == "No call has 'nowhere' in it.\n"
    shown = desk.run("%mixmagic history --show 1").text
    assert "What is a\nmedian?" in shown
    assert "The middle value." in shown
    assert desk.value("mixmagic.session().history[2].answer") == "A sum."
    ran = desk.run("%mixmagic history --show 99")
    assert (ran.reply["ename"], len(ran.traceback)) == ("BadArguments", 2)
    assert "Calls are 1 to 3." in ran.traceback[1]
    assert len(desk.run("%mixmagic history --show x").traceback) == 2


def test_many_are_cut_and_said(desk):
    desk.run("for n in range(25):\n    mixmagic.ask(f'question {n}')", Answer(together("ok")))
    text = desk.run("%mixmagic history question").text
    assert "question 24" in text
    assert "question 4 " not in text
    assert "25 calls; --all lists all" in text
    assert "question 4 " in desk.run("%mixmagic history question --all").text
