"""Background cells in JupyterLab and Notebook 7: the rendered page, and the saved notebook."""

from __future__ import annotations

import pytest
from server import Answer, chunk, frames, together

from browser.front_ends import FRONT_ENDS

pytestmark = pytest.mark.parametrize("loaded", list(FRONT_ENDS), indirect=True, scope="package")

_TEXT = "## {0}\n\n| part | of |\n| --- | --- |\n| {0} | the answer |\n\n"


def _slow(name: str) -> Answer:
    """Return an answer that begins at once, and goes on some seconds later."""
    begun = frames(chunk(_TEXT.format(name)), done=False)
    return Answer([begun, 3.0, *together(f"The end of {name}.")])


def test_two_background_cells_fill_in_while_others_run(lab, provider):
    provider.plan = [
        lambda received: _slow(received.body["messages"][-1]["content"].strip().title())
    ]
    lab.open(
        "background",
        "%%mixtral --bg -o first\nfirst",
        "%%mixtral --bg -o second\nsecond",
        "for number in range(5): print('work', number)",
        "%mixmagic running",
        "first",
        "first.text[-17:], second.text[-18:]",
    )
    lab.start()
    lab.wait(lambda: lab.prompt(5) == "[6]:")
    assert lab.text(3) == "work 0 work 1 work 2 work 3 work 4"
    assert "together:8x7b" in lab.text(4)
    assert "second" in lab.text(4)
    assert "so far>" in lab.text(5)
    lab.wait(lambda: "the answer" in lab.text(1) and "the answer" in lab.text(2))
    assert lab.prompt(6) == "[*]:", "it waits, the answers go on"
    assert "The end" not in lab.text(1) + lab.text(2)
    lab.wait_for_end()
    assert "The end of First" in lab.text(6)
    for index, name in ((1, "First"), (2, "Second")):
        lab.wait(lambda index=index: "tokens" in lab.text(index))
        assert lab.text(index).count(f"The end of {name}.") == 1
        assert lab.cell(index).locator("table").count() == 1
    assert lab.text(3) == "work 0 work 1 work 2 work 3 work 4"
    cells = lab.saved().cells
    for index, name in ((1, "First"), (2, "Second")):
        (output,) = cells[index].outputs
        assert set(output.data) == {"text/markdown", "text/plain"}
        assert f"The end of {name}." in output.data["text/markdown"]
    lab.reload()
    lab.wait(lambda: "The end of Second." in lab.text(2))
    assert "The end of First." in lab.text(1)


def test_a_page_that_is_loaded_again_meanwhile_can_show_the_answer(lab, provider):
    provider.plan = [_slow("Slow")]
    lab.open("reloaded", "%%mixtral --bg -o answer\nslow")
    lab.run()
    lab.wait(lambda: "the answer" in lab.text(1))
    lab.saved()
    lab.reload()
    lab.wait(lambda: "the answer" in lab.text(1))
    lab.wait_until_ready()
    lab.command("notebook:change-cell-to-code")
    lab.page.evaluate(
        "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute("
        "{code: 'answer.wait(20)'}).done.then(() => null)"
    )
    lab.page.evaluate(
        "() => { jupyterapp.shell.currentWidget.content.model.cells.get(0)"
        ".sharedModel.setSource('answer') }"
    )
    lab.page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 0 }")
    lab.command("notebook:run-cell")
    lab.wait(lambda: "The end of Slow." in lab.text(0))
