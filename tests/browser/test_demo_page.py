"""The page of the demo in a browser."""

from __future__ import annotations

from nbformat.v4 import new_code_cell, new_notebook, new_output

from browser.conftest import _FLAGS
from mixmagic.catalog import Catalog
from mixmagic.commands._page import page
from mixmagic.display.prices import models_table


def test_a_table_has_the_width_of_the_page(playwright, chromium, tmp_path):
    rows = [row for row in Catalog().models if row.provider.name == "together"]
    table = models_table(rows, None, "below")._repr_mimebundle_()
    cell = new_code_cell("%mixmagic models", outputs=[new_output("display_data", table)])
    (tmp_path / "page.html").write_text(page(new_notebook(cells=[cell]), "demo"), "utf-8")
    browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
    shown = browser.new_page(viewport={"width": 1200, "height": 800})
    shown.goto((tmp_path / "page.html").as_uri())
    left, right = shown.locator("main").evaluate(
        "each => { const box = each.getBoundingClientRect(); return [box.left, box.right]; }"
    )
    for head in ("model", "$ out / M", "status"):
        box = shown.locator("th", has_text=head).first.bounding_box()
        assert left <= box["x"]
        assert box["x"] + box["width"] <= right, head
    width = shown.locator("table").locator("..").bounding_box()["width"]
    assert width > 0.9 * (right - left - 48)
    browser.close()
