"""An answer is one guest among a cell's outputs: it takes nothing away that others have shown."""

from __future__ import annotations

import nbformat
import pytest
from kernels import Desk
from nbformat.v4 import new_code_cell, new_notebook
from server import Answer, refusal, together

# Several segments' worth.
_WORDS = [f"word{number} of a long answer.\n\n" for number in range(800)]
LONG = Answer(together(*("".join(_WORDS[at : at + 8]) for at in range(0, 800, 8))))
SHORT = Answer(together("word0", " word799 "))
MAGIC = "get_ipython().run_cell_magic('mixtral', '', {})"
# A cell, and how many answers it shows; each prints "important: 42" beside them.
CELLS = {
    "print('important: 42')\n" + MAGIC.format("'x'"): 1,
    "print('important: 42')\nfor q in 'ab':\n    " + MAGIC.format("q"): 2,
    "%%twice\nx": 2,
    "print('important: 42')\n%mixtral x\n%mixtral y": 2,
    "print('important: 42')\nget_ipython().run_cell('%%mixtral\\nx');": 1,
    "%%mixtral\n{{ said() }}": 1,
    "%%hooked\nx": 1,
    "from IPython.display import HTML, display\n"
    "display(HTML('<b>important: 42</b>'))\n" + MAGIC.format("'x'"): 1,
    "%run other.ipynb": 2,
}
SETUP = f"""
from IPython.core.magic import register_cell_magic

@register_cell_magic
def twice(line, cell):
    print("important: 42")
    for _ in range(2):
        {MAGIC.format("cell")}

@register_cell_magic
def hooked(line, cell):
    def hook(info):
        print("important: 42")
    get_ipython().events.register("pre_run_cell", hook)
    get_ipython().run_cell("%%mixtral\\n" + cell)
    get_ipython().events.unregister("pre_run_cell", hook)

def said():
    print("important: 42")
    return "x"
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    cells = ["print('important: 42')", "%%mixtral\nx", "%%mixtral\ny"]
    other = new_notebook(cells=[new_code_cell(each) for each in cells])
    nbformat.write(other, folder / "other.ipynb")
    desk = Desk(folder, MIXMAGIC_MAX_RETRIES="1")
    assert desk.run(SETUP).status == "ok"
    yield desk
    desk.close()


@pytest.mark.parametrize("answer", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("cell", CELLS)
def test_printed_text_of_a_cell_stays_beside_each_answer(desk, cell, answer):
    ran = desk.run(cell, answer)
    assert ran.status == "ok", ran.text[-500:]
    assert "important: 42" in str(ran.outputs)
    assert "clear_output" not in ran.kinds
    for kind in ("text/plain", "text/markdown"):
        shown = "\n".join(each["data"].get(kind, "") for each in ran.outputs if "data" in each)
        for word in ("word0 ", "word799 "):
            assert shown.replace("\n", " ").count(word) == CELLS[cell], (kind, word)
        assert shown.count("together:8x7b · ") == CELLS[cell]


def test_printed_text_of_a_cell_stays_beside_an_error_after_a_wait(desk):
    busy = refusal(503, {"error": {"message": "busy"}}, retry_after="1")
    ran = desk.run("print('important: 42')\n" + MAGIC.format("'x'"), busy)
    assert ran.reply["ename"] == "Unavailable"
    assert "important: 42" in ran.outputs[0]["text"]
    assert "clear_output" not in ran.kinds
    assert "next try" not in ran.text, "what it waited for is over"
    assert "no answer from together:8x7b" in ran.text
