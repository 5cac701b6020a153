"""The magics in Notebook 7."""

from __future__ import annotations

from itertools import pairwise

import pytest
from server import HANG, Answer, chunk, frames, together

pytestmark = pytest.mark.parametrize("loaded", ["notebook"], indirect=True)

_WORDS = [f"word{number} " for number in range(60)]
_TABLE = "| way | n |\n|---|---:|\n| hand | 1 |\n| machine | 2 |"


def _code(*blocks: str) -> Answer:
    text = "\n".join(f"```python\n{each}\n```" for each in blocks)
    return Answer(together(text))


def _slowly(*texts: str) -> list[bytes | float]:
    """An answer in pieces, 20 ms apart."""
    steps = [frames(chunk(text), done=False) for text in texts]
    return [each for step in steps for each in (step, 0.02)]


def _run_cell(lab, index: int) -> None:
    """Run one cell, as with Ctrl-Enter, and wait for its end."""
    lab.page.evaluate(
        "at => { jupyterapp.shell.currentWidget.content.activeCellIndex = at }", index
    )
    lab.command("notebook:run-cell")
    lab.wait_for_end()


def test_an_answer_streams_and_the_stop_button_ends_run_all(lab, provider):
    table = Answer(together(_TABLE))
    first, endless = (Answer([*_slowly(*_WORDS), each]) for each in (together(*_WORDS)[-1], HANG))
    provider.plan = [table, first, endless]
    ask = "%%mixtral -m 8x7b\nGo on."
    lab.open("stream", "%%mixtral -m 8x7b -f table\nWays?", ask, ask, "print('not to be run')")
    lab.start()
    seen = [""]

    def ended() -> bool:
        if lab.prompt(2) == "[*]:" and lab.text(2) != seen[-1]:
            seen.append(lab.text(2))
        return lab.prompt(2) not in ("[*]:", "[ ]:")

    lab.wait(ended)
    grown = [each for each in seen[1:] if each.startswith("word0")]
    assert len(grown) > 5
    assert all(later.startswith(earlier) for earlier, later in pairwise(grown[:-1]))
    assert lab.text(2).startswith("".join(_WORDS).strip())
    assert "tokens · $0.0000" in lab.text(2)
    assert lab.outputs(2).count() == 1
    cells = lab.cell(1).locator(".jp-RenderedHTML td")
    assert cells.all_inner_texts() == ["hand", "1", "machine", "2"]

    lab.wait(lambda: "word20" in lab.text(3))
    lab.page.locator('[data-command="notebook:interrupt-kernel"]').click()
    lab.wait_for_end(5)
    assert lab.text(3).startswith("word0 word1 ")
    assert lab.text(3).endswith("The answer so far is in `_`.")
    assert lab.prompt(4) == "[ ]:"
    assert lab.outputs(4).count() == 0
    assert lab.saved().cells[3].outputs[-1].ename == "Stopped"


def test_code_and_a_fixed_cell_come_below(lab, provider):
    provider.plan = [_code("first = 1", "second = 2"), _code("1 / 1")]
    insert, fix = "%%mixtral -m 8x7b -i\nHow?", "%mixtral -m 8x7b fix"
    lab.open("cells", insert, "1 / 0", fix)
    lab.run()
    assert "added a cell below; another code block stays in the answer" in lab.text(1)
    _run_cell(lab, 2)
    _run_cell(lab, 3)
    assert "ZeroDivisionError" in lab.text(3)
    _run_cell(lab, 4)
    assert "ZeroDivisionError" in str(provider.received[-1].body["messages"])
    sources = [cell.source for cell in lab.saved().cells]
    assert sources[1:] == [insert, "first = 1", "1 / 0", fix, "1 / 1"]
    assert lab.prompt(5) == "[ ]:"


def test_options_are_completed(lab):
    lab.open("completed", "%%mixtral --ma")
    lab.run()
    lab.cell(1).locator(".cm-content").click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.press("Tab")
    lab.page.locator(".jp-Completer-item").filter(has_text="--max-tokens").wait_for()
    lab.page.keyboard.press("Enter")
    lab.wait(lambda: lab.saved().cells[1].source == "%%mixtral --max-tokens")
