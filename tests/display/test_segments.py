"""An answer that grows in segments is all there, whatever its pieces."""

from __future__ import annotations

import random

import pytest

from mixmagic.display.formats import FORMATS

LONG = {
    "display math": "$$\n" + "a + " * 10_000 + "a\n$$",
    "one line of math": "$$" + "a + " * 10_000 + "a$$",
    "code": "```" + "z" * 40_000,
    "one word": "x" * 40_000,
    "paragraphs": "".join(f"word{number} " * 40 + "\n\n" for number in range(100)),
}


@pytest.mark.parametrize("form", ["markdown", "text"])
@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("seed", range(6))
def test_each_character_is_shown_once(form, name, seed):
    """Also if a segment ends where a piece does: what follows takes another display."""
    text, pick, segments = LONG[name], random.Random(seed), FORMATS[form].segments()
    shown: list[dict[str, str]] = [{}]
    start = 0
    while start < len(text):
        piece = text[start : start + pick.choice([200, 800, 3000, 9000, 20_000, 60_000])]
        start += len(piece)
        first, *more = segments.feed(piece)
        shown[-1] = first
        shown += more
    shown[-1] = segments.last()
    said = "".join(bundle["text/plain"] for bundle in shown)
    assert "".join(said.split()) == "".join(text.split())
