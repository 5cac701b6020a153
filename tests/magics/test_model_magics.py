"""A magic that asks a model needs only its own options: a small one, on the base."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import HANG, Answer, chunk, frames, together

SHOUT = """
from dataclasses import replace
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand
from mixmagic.magics._shell.model_magics import ModelMagics

@magics_class
class Shout(ModelMagics):
    name = "shout"
    manual = "Ask loudly."

    @no_var_expand
    @line_cell_magic
    def shout(self, line, cell=None):
        return self.answer(line, cell)

    @classmethod
    def add_options(cls, parser):
        parser.add("--marks", to="prompt", type=int, choices=(1, 2, 3), default=1)

    def question(self, asked):
        return replace(asked, prompt=f"Shout: {asked.prompt.strip()}{'!' * asked.own.marks}")
"""
LOAD = """
import sys, types, mixmagic.magics as magics
module = sys.modules["mixmagic.magics.shout"] = types.ModuleType("mixmagic.magics.shout")
exec({source!r}, vars(module))
kinds = magics._kinds
magics._kinds = lambda: [*kinds(), module.Shout]
get_ipython().run_line_magic("reload_ext", "mixmagic")
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    assert desk.run(LOAD.format(source=SHOUT)).status == "ok"
    yield desk
    desk.close()


def test_it_asks_shows_and_keeps(desk):
    desk.run("who = 'you'")
    ran = desk.run("%%shout --marks 2 -t 0 -o answer\nhow are {{ who }}", Answer(together("Fine.")))
    assert ran.status == "ok", ran.text
    assert "together:8x7b" in ran.text
    assert desk.sent["temperature"] == 0
    assert desk.value("answer.text") == "Fine."
    assert desk.sent["messages"] == [{"role": "user", "content": "Shout: how are you!!"}]


def test_it_plans_exports_and_refuses(desk):
    desk.plan()
    assert "cost at most" in desk.run("%shout --dry-run hi").text
    code = desk.run("%shout --as curl --marks 3 hi").text
    assert "Shout: hi" in code
    ran = desk.run("%%shout --mark 2\nhi")
    assert len(ran.traceback) == 2
    assert "Did you mean --marks?" in ran.traceback[1]
    assert "`%shout -h`" in ran.traceback[1]
    assert desk.run("%shout --budget 0 hi").reply["ename"] == "BudgetExceeded"
    assert desk.server.received == []


def test_its_help_names_its_own_and_the_shared_options(desk):
    for text in (
        desk.run("%shout -h").text,
        desk.run("%%shout?").reply["payload"][0]["data"]["text/plain"],
    ):
        assert "Ask loudly." in text
        for option in ("--marks", "--model", "--dry-run", "--out"):
            assert option in text
        assert "--template" not in text


def test_it_is_completed_and_may_end_with_a_question_mark(desk):
    client = desk.kernel.client

    def completed(code: str) -> list[str]:
        sent = client.complete(code)
        while True:
            reply = client.get_shell_msg(timeout=30)
            if reply["parent_header"]["msg_id"] == sent:
                return reply["content"]["matches"]

    assert completed("%%shout --marks ") == ["1", "2", "3"]
    assert completed("%shout --mark") == ["--marks"]
    assert completed("%shout f") != ["fix"]
    ran = desk.run("%shout What is it?", Answer(together("A test.")))
    assert desk.sent["messages"][-1]["content"] == "Shout: What is it?!"
    assert "execute_result" not in ran.kinds, "it has been shown already"


def test_a_stopped_answer_is_kept(desk):
    desk.plan(Answer([frames(chunk("Half an"), done=False), HANG]))
    sent = desk.kernel.send("%%shout -o half\nhi")
    desk.kernel.collect(sent, until=lambda ran: "Half an" in ran.text)
    desk.kernel.interrupt()
    ran = desk.kernel.collect(sent)
    assert ran.reply["ename"] == "Stopped"
    assert desk.value("half.text") == "Half an"
