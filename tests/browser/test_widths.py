"""Commands in windows of several widths: tables fit, and lines break between words."""

from __future__ import annotations

import pytest

_WIDTHS = (1600, 1280, 1024)
# Rows that the browser draws, and lines that were printed.
_ROWS = """pre => [
    Math.round(pre.clientHeight / parseFloat(getComputedStyle(pre).lineHeight)),
    pre.textContent.trimEnd().split("\\n").length,
]"""


@pytest.fixture
def sidebar(lab):
    """The front end with its sidebar open; it gets its width back."""
    size = dict(lab.page.viewport_size)
    lab.command("filebrowser:activate")
    yield lab
    lab.page.set_viewport_size(size)


@pytest.mark.parametrize("command", ["models", "models --all", "models google", "prices 8x7b"])
def test_a_table_fits_into_its_cell(sidebar, command):
    sidebar.open("fits", "%load_ext mixmagic", f"%mixmagic {command}")
    sidebar.run()
    box = sidebar.cell(2).locator("div:has(> table)").first
    shown, before = [], max(_WIDTHS)
    for width in _WIDTHS:
        sidebar.page.set_viewport_size({"width": width, "height": 900})
        sidebar.wait(lambda last=before: box.evaluate("box => box.clientWidth") < last)
        before, needed = box.evaluate("box => [box.clientWidth, box.scrollWidth]")
        assert needed <= before
        shown.append(box.locator("th:visible").count())
    assert shown == sorted(shown, reverse=True)


@pytest.mark.parametrize("command", ["", "use local", "set -h", "login -h"])
def test_printed_lines_are_not_broken_inside_words(sidebar, command):
    sidebar.open("lines", "%load_ext mixmagic", f"%mixmagic {command}")
    sidebar.run()
    pre, before = sidebar.cell(2).locator("pre").first, max(_WIDTHS)
    for width in _WIDTHS:
        sidebar.page.set_viewport_size({"width": width, "height": 900})
        sidebar.wait(lambda last=before: pre.evaluate("pre => pre.clientWidth") < last)
        before = pre.evaluate("pre => pre.clientWidth")
        drawn, printed = pre.evaluate(_ROWS)
        assert drawn == printed
