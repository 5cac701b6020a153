"""Several answers in JupyterLab: tabs if the notebook is trusted, else a stack."""

from __future__ import annotations

import nbformat
import pytest
from hostile import ATTACKS
from nbconvert import HTMLExporter
from server import Answer, chunk, frames, usage

_FIRST = "The **mean** is $\\frac{a+b}{2}$.\n\n```python\nprint(1)\n```"
_SECOND = "# Title\n\n- one\n- two\n\n$$x^2 = 4$$\n\nIt costs $5 or $10."
_THIRD = "1. first\n2. second\n   ```sh\n   ls -l\n   ```"
# What stands in each pane, and whether it does so alone.
_PANES = """area => [...area.querySelectorAll('form')].map(form => ({
  inside: [...form.children].map(each => each.tagName).join(' '),
  heads: [...form.querySelectorAll(':scope > div:not([hidden])')]
    .map(each => each.firstElementChild.textContent),
}))"""


def _several(*texts: str) -> Answer:
    """Several answers to one question."""
    steps = []
    for finish in (None, "stop"):
        for index, text in enumerate(texts):
            step = chunk(None if finish else text, finish)
            step["choices"][0]["index"] = index
            steps.append(step)
    steps[-1] |= usage(9, 30)
    return Answer([frames(*steps)])


def _focus(lab) -> str | None:
    return lab.page.evaluate("() => document.activeElement.getAttribute('aria-label')")


def _visible(lab, text: str) -> bool:
    return lab.cell(1).get_by_text(text).is_visible()


def _show(lab, name: str) -> None:
    """Open an existing notebook."""
    lab.command("docmanager:open", path=name)
    lab.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    lab.wait(lambda: "Answer 1 of 3" in lab.text(1))


@pytest.fixture(scope="module")
def kept():
    """The notebook that the first test made."""
    return {}


def test_tabs_are_chosen_with_the_mouse_and_with_keys_that_touch_no_cell(lab, provider, kept):
    provider.plan = [_several(_FIRST, _SECOND, _THIRD)]
    lab.open("tabs", "%%mixtral -m 8x7b -n 3\nWhat is a mean?", "print('last')")
    lab.run()
    lab.wait(lab.page.locator("mjx-container").count)
    assert lab.outputs(1).count() == 1
    assert _visible(lab, "The mean is")
    assert lab.cell(1).locator("pre span").count() > 0, "code is highlighted"
    assert not _visible(lab, "Title")
    assert not _visible(lab, "Answer 1 of 3"), "the tab says it"
    tabs = lab.cell(1).get_by_role("radio")
    assert tabs.count() == 3
    kept["notebook"] = lab.saved()

    tabs.nth(1).click()
    assert _visible(lab, "It costs $5 or $10.")
    assert not _visible(lab, "The mean is")
    cells, url = lab.page.locator(".jp-Cell").count(), lab.page.url
    lab.page.keyboard.press("ArrowRight")
    assert _focus(lab) == "Answer 3 of 3"
    assert _visible(lab, "second")
    for key in "bxdd":
        lab.page.keyboard.press(key)
    lab.page.keyboard.press("Enter")
    lab.page.keyboard.press("ArrowLeft")
    lab.page.wait_for_timeout(200)
    assert _focus(lab) == "Answer 2 of 3"
    assert lab.page.locator(".jp-Cell").count() == cells
    assert lab.page.url == url


def test_each_copy_of_an_output_has_a_choice_of_its_own(lab, provider):
    provider.plan = [_several("Heads", "Tails")]
    lab.open("copies", *["%%mixtral -m 8x7b -n 2\nWhich?"] * 2)
    lab.run()
    lab.cell(2).get_by_role("radio").nth(1).click()
    assert lab.cell(1).get_by_text("Heads").is_visible()
    assert lab.cell(2).get_by_text("Tails").is_visible()
    assert not lab.cell(2).get_by_text("Heads").is_visible()


def test_a_notebook_that_is_trusted_has_its_tabs_again(lab, kept):
    _show(lab, "tabs.ipynb")
    lab.wait(lambda: lab.cell(1).get_by_role("radio").count() == 3)
    assert not _visible(lab, "Title")
    lab.cell(1).get_by_role("radio").nth(1).click()
    assert _visible(lab, "Title")


def test_a_notebook_that_is_not_trusted_shows_one_answer_under_the_other(lab, root, kept):
    notebook = kept["notebook"]
    for cell in notebook.cells:
        cell.metadata.pop("trusted", None)
    notebook.cells[1].source += " "  # no longer what was signed
    nbformat.write(notebook, root / "untrusted.ipynb")
    _show(lab, "untrusted.ipynb")
    assert lab.cell(1).locator("input:visible").count() == 0
    seen = lab.outputs(1).inner_text()
    order = ["Answer 1 of 3", "The mean is", "Answer 2 of 3", "Title", "Answer 3 of 3", "second"]
    assert [seen.find(each) for each in order] == sorted(seen.find(each) for each in order)
    assert -1 not in [seen.find(each) for each in order]
    assert "mixmagic-tabs" not in seen


def test_an_exported_page_shows_one_answer_under_the_other(loaded, kept, tmp_path):
    file = tmp_path / "tabs.html"
    file.write_text(HTMLExporter().from_notebook_node(kept["notebook"])[0], "utf-8")
    page = loaded.page.context.browser.new_page()
    page.goto(file.as_uri(), wait_until="domcontentloaded")
    assert page.locator("form input").count() == 3
    assert page.locator("form input:visible").count() == 0
    for text in ("Answer 1 of 3", "Title", "Answer 3 of 3", "second"):
        assert page.get_by_text(text).is_visible()
    page.close()


def test_no_answer_leaves_its_pane(lab, provider):
    half = len(ATTACKS) // 2  # Lab shows no more than fifty outputs of a cell
    provider.plan = [_several(attack, attack, "Next.") for attack in ATTACKS]
    loops = [
        f"for _ in range({times}):\n    %mixtral -m 8x7b -n 3 Attack me."
        for times in (half, len(ATTACKS) - half)
    ]
    lab.open("panes", *loops)
    lab.run(120)
    lab.wait(lambda: lab.outputs(1).count() + lab.outputs(2).count() == len(ATTACKS))
    lab.wait(lambda: lab.cell(2).locator("form").count() == len(ATTACKS) - half)
    for number in (1, 2):
        for each in lab.cell(number).locator(".jp-OutputArea").first.evaluate(_PANES):
            assert each["inside"] == "DIV INPUT DIV INPUT DIV INPUT DIV"
            assert each["heads"] == [f"Answer {place} of 3" for place in (1, 2, 3)]
