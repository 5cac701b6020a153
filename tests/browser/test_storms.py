"""No answer of 100 KB blocks a front end, while it is shown or when its notebook is opened."""

from __future__ import annotations

import nbformat
import pytest
from attacks.storms import STORMS
from nbformat.v4 import new_code_cell, new_notebook, new_output

from mixmagic.text.sanitize import sanitize

# One of each kind of time that was measured to be quadratic, or worse, before.
_WORST = (
    "stars", "backticks-of-growing-length", "brackets", "dollars-apart", "large-formulas",
    "headings", "breaks", "quotes", "lists", "headings-with-formulas", "matrices",
    "backticks-of-growing-length-in-code",
)  # fmt: skip


@pytest.mark.parametrize("readers", ["lab"], indirect=True)
@pytest.mark.parametrize("name", _WORST)
def test_a_storm_becomes_bounded_work(readers, name):
    """Counts the elements that a front end builds; `benchmarks/storms.py` takes the time."""
    made = readers.load(sanitize(STORMS[name]))
    assert made["characters"] > 10_000
    _bounded(made)


@pytest.mark.slow
@pytest.mark.parametrize("readers", ["lab"], indirect=True)
def test_every_other_storm_does_so_too(readers):
    for name, storm in STORMS.items():
        if name not in _WORST and (text := sanitize(storm)):
            _bounded(readers.load(text), elements=70_000)


def _bounded(made: dict[str, float], elements: int = 25_000) -> None:
    assert made["elements"] < elements
    assert made["headings"] < 1000
    assert made["formulas"] < 2500
    assert made["signs"] < 100_000


@pytest.mark.slow
def test_a_notebook_of_storms_opens(bare, readers_url, readers_root):
    """Ten megabytes of storms in one notebook."""
    outputs = [
        new_output("display_data", data={"text/markdown": sanitize(storm)})
        for storm in STORMS.values()
    ]
    cells = [new_code_cell("1", outputs=outputs[i : i + 10]) for i in range(0, len(outputs), 10)]
    nbformat.write(new_notebook(cells=cells), readers_root / "storms.ipynb")
    page = bare.new_page()
    page.goto(f"{readers_url}/lab/workspaces/storms/tree/storms.ipynb")
    page.wait_for_function(
        "count => document.querySelectorAll('.jp-RenderedMarkdown').length >= count",
        arg=len(outputs),
        timeout=600_000,
    )
    page.close()
