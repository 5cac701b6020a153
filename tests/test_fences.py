from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.fences import close_fence, open_fence, split

# Only text has digits: what a fence's own line says is said again behind a cut.
LINES = st.sampled_from(
    ["", "", " ", "1", "2 3 4 5 6 7 8 9", "9" * 70, "```", "```python", "   ~~~~", "~~~", "$$",
     "1 $$ 2", "$$1$$", "    ```", "``` `1` none", "````", "- 1"]
)  # fmt: skip
MARKDOWN = st.lists(LINES | st.text("a`~$ ", max_size=10), max_size=20).map("\n".join)
# No shorter than the line that opens a fence.
LIMITS = st.integers(12, 40)


def digits(markdown: str) -> str:
    return "".join(filter(str.isdigit, markdown))


@pytest.mark.parametrize(
    ("markdown", "marker"),
    [
        ("text", None),
        ("```", "```"),
        ("```python\nx", "```"),
        ("```\nx\n```", None),
        ("```\nx\n```  ", None),
        ("```\nx\n````", None),
        ("````\nx\n```", "````"),
        ("```\nx\n~~~", "```"),
        ("~~~\n```\n", "~~~"),
        ("```\n``` python", "```"),
        ("   ```\nx", "```"),
        ("    ```\nx", None),
        ("``", None),
        ("``` a `b` c", None),
        ("Use `echo $$` or ``a ` $$``", None),
        ("`$$` and $$", "$$"),
        ("`$$ not closed", "$$"),
        ("$$", "$$"),
        ("$$x$$", None),
        ("so $$\nx\n$$ and", None),
        ("$$\n```\n", "$$"),
        ("```\n$$\n```", None),
        ("costs $5", None),
    ],
)
def test_open_fence(markdown, marker):
    fence = open_fence(markdown)
    assert (fence and fence.marker) == marker


@given(MARKDOWN)
def test_closing_leaves_nothing_open_and_changes_nothing_else(markdown):
    closed = close_fence(markdown)
    assert open_fence(closed) is None
    assert closed.startswith(markdown.rstrip())
    if open_fence(markdown) is None:
        assert closed == markdown


@pytest.mark.parametrize(
    ("markdown", "limit", "halves"),
    [
        ("one\n\ntwo", 4, ("one\n\n", "two")),
        ("one\n\ntwo\n\nthree", 4, ("one\n\ntwo\n\n", "three")),
        ("one\n \t\ntwo", 4, ("one\n \t\n", "two")),
        ("one\ntwo", 4, ("", "one\ntwo")),
        ("one\n\n", 4, ("", "one\n\n")),
        ("one\n\n```\na\n\nb", 40, ("one\n\n", "```\na\n\nb")),
        ("```\na\n\nb\n```\n\nend", 4, ("```\na\n\nb\n```\n\n", "end")),
        ("$$\na\n\nb\n$$\n\nend", 4, ("$$\na\n\nb\n$$\n\n", "end")),
        ("```\na\n\nb\nc", 40, ("", "```\na\n\nb\nc")),
        ("```py\na\n\nb\nc", 4, ("```py\na\n\nb\n```\n", "```py\nc")),
        ("$$\na\nb\nc", 3, ("$$\na\nb\n$$\n", "$$\nc")),
        ("one two three", 3, ("one", " two three")),
        ("one\ntwo\nthree\n", 4, ("one\ntwo\n", "three\n")),
    ],
)
def test_split(markdown, limit, halves):
    assert split(markdown, limit) == halves


@given(MARKDOWN, LIMITS)
def test_an_unforced_cut_loses_nothing_and_stands_at_a_blank_line(markdown, limit):
    head, rest = split(markdown, limit)
    assert open_fence(head) is None
    if len(markdown) <= 2 * limit:
        assert head + rest == markdown
        assert not head or head.split("\n")[-2].strip() == ""


@given(MARKDOWN, LIMITS)
def test_a_fence_is_cut_only_beyond_twice_the_limit(markdown, limit):
    """Up to twice the limit, a text of one fence stays whole."""
    fenced = f"```\n{markdown.replace('`', '')}"
    head, rest = split(fenced, limit)
    if len(fenced) <= 2 * limit:
        assert (head, rest) == ("", fenced)
    else:
        assert rest.startswith("```\n")
        assert open_fence(head) is None


@given(MARKDOWN, LIMITS)
def test_both_halves_of_a_closed_text_are_closed(markdown, limit):
    whole = close_fence(markdown)
    for half in split(whole, limit):
        assert open_fence(half) is None


@given(MARKDOWN, LIMITS)
def test_a_forced_cut_keeps_the_text(markdown, limit):
    """Only a fence's marker is added; what stands in it comes out as it went in."""
    head, rest = split(markdown, limit)
    assert digits(head + rest) == digits(markdown)


@pytest.mark.parametrize("opening", ["```", "~~~~ json", "$$", ""])
@pytest.mark.parametrize("before", ["", "text\n", "text\n\n"])
def test_one_very_long_line_is_cut_down(opening, before):
    """Each forced cut takes something away: a display that cuts until it fits must end."""
    limit, line = 50, "z" * 1000
    rest = f"{before}{opening}\n{line}" if opening else before + line
    pieces = []
    while len(rest) > 2 * limit:
        head, shorter = split(rest, limit)
        assert len(shorter) < len(rest)
        pieces.append(head)
        rest = shorter
    assert "".join([*pieces, rest]).count("z") == 1000
    assert all(open_fence(piece) is None for piece in pieces)
