"""The page of a notebook: no network, the reader's colors, one left edge."""

from __future__ import annotations

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mixmagic.commands._page import page


def test_it_fetches_nothing_and_has_dark_colors_for_those_who_prefer_them():
    shown = new_output("display_data", {"text/markdown": "$x^2$ and `code`", "text/plain": "x"})
    cells = [new_markdown_cell("# Title\n\n$$y$$"), new_code_cell("1 + 1", outputs=[shown])]
    text = page(nbformat.from_dict(new_notebook(cells=cells)), "a title")
    assert "<script" not in text
    assert "cdnjs" not in text
    assert "<title>a title</title>" in text
    assert text.count('media="screen and (prefers-color-scheme: dark)"') == 1
