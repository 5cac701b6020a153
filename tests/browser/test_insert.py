"""Inserted cells in JupyterLab: below, once, and never run automatically."""

from __future__ import annotations

from server import Answer, together

_BLOCKS = ["first = 1", "second = first + 1", "third = second + 1"]
_ANSWER = "Do this:\n\n" + "\n\nthen\n\n".join(f"```python\n{each}\n```" for each in _BLOCKS)
_SETUP = "%mixmagic use 8x7b"
_ASK = "%%mixtral -i\nHow?"


def sources(lab) -> list[str]:
    """Sources of the code cells after the setup, as they would be saved."""
    return [cell.source for cell in lab.saved().cells if cell.cell_type == "code"][2:]


def run_cell(lab, index: int) -> None:
    """Run one cell, as with Ctrl-Enter, and wait for its end."""
    lab.page.evaluate(
        "at => { jupyterapp.shell.currentWidget.content.activeCellIndex = at }", index
    )
    lab.command("notebook:run-cell")
    lab.wait_for_end()


def test_code_comes_below_once_and_does_not_run(lab, provider):
    provider.plan = [Answer(together(_ANSWER))]
    lab.open("insert", _SETUP, _ASK, "print('the last cell')")
    lab.run()  # the inserted cell is no part of Run All
    assert sources(lab) == [_ASK, _BLOCKS[0], "print('the last cell')"]
    assert lab.prompt(3) == "[ ]:"
    assert " · added a cell below; 2 more stay in the answer · session " in lab.text(2)

    run_cell(lab, 2)  # again: nothing is added
    assert " · the code is in a cell below already · session " in lab.text(2)
    assert sources(lab) == [_ASK, _BLOCKS[0], "print('the last cell')"]

    run_cell(lab, 3)
    lab.run()  # everything again
    assert sources(lab) == [_ASK, _BLOCKS[0], "print('the last cell')"]
    assert lab.prompt(3) != "[ ]:"


def test_a_restarted_kernel_inserts_nothing_again(lab, provider):
    provider.plan = [Answer(together(_ANSWER))]
    lab.open("restarted", _SETUP, _ASK)
    lab.run()
    whole = [_ASK, _BLOCKS[0]]
    assert sources(lab) == whole
    lab.page.evaluate(
        "() => jupyterapp.shell.currentWidget.sessionContext.restartKernel().then(() => null)"
    )
    lab.run()
    assert sources(lab) == whole
