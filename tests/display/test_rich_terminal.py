"""Typeset Markdown in a terminal: whole, once, and within the screen."""

from __future__ import annotations

import io
import random
import re
import sys
from decimal import Decimal

import pytest

from mixmagic.calls.completion import Completion
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Request
from mixmagic.display import rich_terminal
from mixmagic.display.formats import FORMATS
from mixmagic.display.renderers import TerminalRenderer, renderer
from mixmagic.display.rich_terminal import RichRenderer, _typeset, _whole_blocks

ANSWER = (
    """\
# A title

The **mean** of *x* is `np.mean(x)`: <b>html</b>, ![a picture](http://x/y.png).

- first
- second, which is long enough to be wrapped at the end of a narrow line
  - nested

| model | cost |
|---|---:|
| 8x7b | $0.60 |

```python
def f(x):
    return x  # a comment
```

"""
    + "\n".join(f"{i}. item" for i in range(1, 60))
    + "\n\nThe end.\n"
)
REQUEST = Request(Catalog().resolve("8x7b"), ())


def completion(text: str, **more) -> Completion:
    return Completion(text, Usage(9, 5), Decimal("0.01"), "stop", REQUEST, 1.0, 0.5, **more)


class Screen(io.StringIO):
    """A terminal: what it shows, of what was written to it."""

    encoding = "utf-8"

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._patch = patch

    def begin(self) -> None:
        """Become standard output: within a test, since pytest replaces it for each phase."""
        self._patch.setattr(sys, "stdout", self)

    def isatty(self) -> bool:
        return True

    def shown(self, height: int) -> list[str]:
        """The lines, with those that have scrolled out of it; the cursor cannot reach these."""
        lines, row = [""], 0
        for part in re.split(r"(\x1b\[\d*[A-Za-z]|\x1b\[[\d;]*m|\r|\n)", self.getvalue()):
            if part == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif up := re.fullmatch(r"\x1b\[(\d+)F", part):
                assert int(up[1]) < height, "into what has scrolled away"
                row -= int(up[1])
            elif part == "\x1b[J":
                assert row > len(lines) - height, "tmux would keep a copy"
                del lines[row:]
                lines.append("")
            elif part == "\x1b[K" or (part.endswith("m") and part[0] == "\x1b") or part == "\r":
                lines[row] = "" if part == "\x1b[K" else lines[row]
            else:
                lines[row] += part
        return [line.rstrip() for line in lines]


@pytest.fixture
def screen(monkeypatch):
    for name, value in (("COLUMNS", "60"), ("LINES", "20"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Screen(monkeypatch)


def stripped(text: str) -> list[str]:
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("seed", range(6))
def test_an_answer_in_any_pieces_is_shown_once_as_if_it_had_come_at_once(screen, seed):
    screen.begin()
    draw = random.Random(seed)
    view, rest = RichRenderer(), ANSWER
    while rest:
        size = draw.randint(1, 40)
        view.draw(rest[:size], "")
        rest = rest[size:]
    view.finish(completion(ANSWER), "$0.12")
    shown = [line for line in screen.shown(20) if line]
    *body, footer, total = shown
    assert body == stripped(_typeset(ANSWER))
    assert footer.startswith("together:8x7b · 9 → 5 tokens")
    assert max(map(len, shown)) <= 60
    assert f"{footer} {total}".endswith("session $0.12")


def test_nothing_of_an_answer_is_left_out(screen):
    screen.begin()
    text = " ".join(stripped(_typeset(ANSWER)))
    for part in ("<b>html</b>", "a picture", "http://x/y.png", "$0.60", "# a comment", "np.mean"):
        assert part in text
    assert "**" not in text
    assert "[red]" in _typeset("[red]no markup of rich's[/red]")
    assert "\x1b]8" not in _typeset("[a](http://x/y)"), "no hidden links"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", ""),
        ("One", ""),
        ("One\n\nTw", "One\n\n"),
        ("One\n\n```\nx\n\ny", "One\n\n"),
        ("- a\n\n- b\n\n", ""),
        ("- a\n\nb", "- a\n\n"),
        ("| a |\n|---|\n| 1 |", ""),
        ("Title\n---\n\nx", "Title\n---\n\n"),
        ("> a\n\nb\n\nc", "> a\n\nb\n\n"),
        ("a\u2028b\x85\n\n```\nx\u2029y\n```\nz", "a\u2028b\x85\n\n```\nx\u2029y\n```\n"),
    ],
)
def test_blocks_are_whole_when_another_one_has_begun(text, whole):
    assert text[: _whole_blocks(text)] == whole


def test_progress_makes_room_for_the_answer_and_several_answers_are_typeset(screen):
    screen.begin()
    view = RichRenderer()
    view.draw("", "waiting for together:8x7b …")
    view.draw("**One**", "")
    view.finish(completion("**One**", others=("**Two**",)), "")
    shown = [line for line in screen.shown(20) if line]
    assert shown[:3] == ["One", "Answer 2:", "Two"]
    assert "waiting" not in "".join(shown)


def test_an_answer_that_begins_anew_says_why(screen):
    screen.begin()
    view = RichRenderer()
    view.draw("First\n\nhalf", "")
    view.restart("Asking again …")
    view.draw("Second", "")
    view.finish(completion("Second"), "")
    shown = [line for line in screen.shown(20) if line]
    assert shown[:4] == ["First", "half", "Asking again …", "Second"]


def test_colors_are_left_out_on_demand(screen, monkeypatch):
    screen.begin()
    monkeypatch.setenv("NO_COLOR", "1")
    view = RichRenderer()
    view.draw(ANSWER, "")
    view.finish(completion(ANSWER), "")
    assert not re.search(r"\x1b\[(?:[\d;]*;)?(?:3[0-7]|38|9[0-7])m", screen.getvalue())


class Shell:
    kernel = None


@pytest.mark.parametrize(
    ("environment", "live", "form", "rich"),
    [
        ({}, None, "markdown", True),
        ({}, True, "code", True),
        ({}, False, "markdown", False),
        ({}, None, "text", False),
        ({}, None, "json", False),
        ({"TERM": "dumb"}, None, "markdown", False),
        ({"COLUMNS": "20"}, None, "markdown", False),
    ],
)
def test_it_is_used_where_a_terminal_can_show_it(  # noqa: PLR0917  # rows of the table
    screen, monkeypatch, environment, live, form, rich
):
    screen.begin()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    view = renderer(Shell(), live=live, form=FORMATS[form])
    assert isinstance(view, RichRenderer) == rich
    assert isinstance(view, TerminalRenderer)


def test_pipes_other_encodings_and_an_absent_rich_get_plain_text(screen, monkeypatch):
    screen.begin()
    assert rich_terminal.usable()
    with monkeypatch.context() as changed:
        changed.setattr(screen, "encoding", "latin-1", raising=False)
        assert not rich_terminal.usable()
    with monkeypatch.context() as changed:
        changed.setattr("importlib.util.find_spec", lambda name: None)
        assert not rich_terminal.usable()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not rich_terminal.usable()
