"""No answer of 100 KB stops a front end, while it is shown or when its notebook is opened."""

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
_SECONDS, _QUIET, _AT_ONCE = 2.0, 1.6, 6


@pytest.mark.parametrize("readers", ["lab"], indirect=True)
@pytest.mark.parametrize("name", _WORST)
def test_a_storm_becomes_bounded_work(readers, name):
    """By counting what a front end has to make of it."""
    made = readers.load(sanitize(STORMS[name]))
    assert made["characters"] > 10_000
    assert made["elements"] < 25_000
    assert made["headings"] < 1000
    assert made["formulas"] < 2500
    assert made["signs"] < 100_000


@pytest.mark.slow
def test_every_storm_is_shown_in_two_seconds(readers):
    """With what it does behind it: it looks for headings, for one."""
    safe = {name: sanitize(storm) for name, storm in STORMS.items()}
    unseen = [name for name, text in safe.items() if not text]
    assert all(not STORMS[name].strip("\u3000\u200b") for name in unseen)
    seen = [name for name in safe if name not in unseen]
    late = {}
    for start in range(0, len(seen), _AT_ONCE):
        some = seen[start : start + _AT_ONCE]
        if readers.load(*(safe[name] for name in some), quiet=_QUIET)["seconds"] < _SECONDS:
            continue
        for name in some:  # something else may have had the processor
            tries = (readers.load(safe[name], quiet=_QUIET)["seconds"] for _ in range(3))
            if all(seconds >= _SECONDS for seconds in tries):
                late[name] = len(safe[name])
    assert late == {}


@pytest.mark.slow
def test_a_notebook_of_storms_opens(bare, readers_url, readers_root):
    """Ten megabytes of them, in one notebook."""
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
        timeout=240_000,
    )
    page.close()
