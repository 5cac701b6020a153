"""Twenty thousand random texts that try to act, and a thousand shown on screen."""

from __future__ import annotations

import pytest
from attacks.grammar import texts

from browser.examine import examine, least
from mixmagic.text.sanitize import sanitize

pytestmark = pytest.mark.slow
_AT_ONCE = 500


@pytest.mark.parametrize("first", range(0, 10_000, 2_500))
def test_no_text_acts(readers, first):
    """Two front ends, the same ten thousand texts in each."""
    before, alive = readers.state(), []
    for start in range(first, first + 2_500, _AT_ONCE):
        some = [*texts(10**6 + start, _AT_ONCE)]
        for text, wrong in zip(some, examine(readers, some), strict=True):
            alive += [(kind, least(readers, text, kind)) for kind in wrong if len(alive) < 10]
    assert alive == []
    assert readers.state() == before


@pytest.mark.parametrize("readers", ["lab"], indirect=True)
def test_no_text_acts_in_sight(readers):
    """Typeset on screen: nothing is oversized, slow or out of place, and no macro remains."""
    before, alive = readers.state(), {}
    for text in texts(2 * 10**6, 1000):
        safe = sanitize(text)
        if wrong := readers.show(safe):
            alive[safe] = wrong
    assert alive == {}
    assert readers.state() == before
