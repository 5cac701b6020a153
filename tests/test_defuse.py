"""What a model writes cannot act, whoever reads its Markdown; what it means to say is all there."""

from __future__ import annotations

import doctest
import time

import pytest
from hostile import ATTACKS, IMG, TEXTS, harm, words
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from mixmagic import defuse
from mixmagic.defuse import markdown, plain

_COMMONMARK = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_COMMONMARK.validateLink = lambda url: True
# nbconvert's reader, and VS Code's with all its caution off; JupyterLab's runs in tests/browser.
READERS = {"mistune": markdown2html_mistune, "markdown-it": _COMMONMARK.render}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_acts(attack, reader):
    assert harm(READERS[reader](markdown(attack))) == []


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_no_text_acts(reader, text):
    assert harm(READERS[reader](markdown(text))) == []


@pytest.mark.parametrize("reader", READERS)
def test_the_watch_sees_what_acts(reader):
    """As it comes, most of it does: the tests above would fail without the defusing."""
    seen = [attack for attack in ATTACKS if harm(READERS[reader](attack))]
    assert len(seen) > len(ATTACKS) / 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Plain *text*, **bold**, ~~gone~~ and `code`.",
        "# Title\n\n## Part\n\n- a\n- b\n    - c\n\n1. d\n2. e",
        "| a | b |\n|---|---:|\n| 1 | 2 |",
        "> quoted\n> text",
        "1 < 2, a <- b, x <= y, <3 and `a < b`",
        "[home](https://example.org/a_(b)?c=d#e) and https://example.org, mail [us](mailto:a@b.c)",
        '[home](https://example.org "Home")',
        "$n^2$ and $$\nx = y\n$$\n\n\\begin{align}\na\n\\end{align}",
        "```python\nprint(x[0](y))  # <b>\n```",
        "```html\n<b>bold</b>\n![x](y)\n```",
        "~~~\n```\n~~~",
        "````markdown\n```\nx\n```\n````",
        "- a\n  ```sh\n  ls\n  ```\n- b",
        "1. a\n   ```sh\n   ls\n   ```",
        "- ```sh\n  ls\n  ```",
        "- a\n    - b\n\n        ```sh\n        ls\n        ```",
        "Line one\nline two  \nline three",
        "array[0] and f(x) [not a link] (nor this)",
        "- [ ] to do\n- [x] done",
    ],
)
def test_what_does_no_harm_stays_as_it_is(text):
    assert markdown(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a <b>c</b>", "a &lt;b>c&lt;/b>"),
        ("![a cat](https://x/y.png)", "[image: a cat](https://x/y.png)"),
        ("[x](javascript:y)", "[x]&#40;javascript:y)"),
        ("[x](local.md)", "[x]&#40;local.md)"),
        ("[a]: https://x", "[a]\\: https://x"),
        ("use `<div>`", "use <code>&#60;div&#62;</code>"),
        ("$a<b$ and [x](y)", "$a< b$ and [x] (y)"),
        ("> <b>", "> < b>"),
        (
            "1. a\n   ```\n   <b>\n    c\n   ```",
            "1. a\n   <pre><code>&#60;b&#62;&#10; c</code></pre>",
        ),
        ("```mermaid\ngraph\n```", "```\ngraph\n```"),
        ("```c++ title=x\ny\n```", "```c++\ny\n```"),
        ("text\n```\ncode\n```\ntext", "text\n\n```\ncode\n```\n\ntext"),
        ("```\ncode", "```\ncode\n```\n"),
        ("$$\nx", "$$\nx\n$$\n"),
        ("costs $5", "costs <span>&#36;</span>5"),
        ("$5. Set `$A` and `$B`.", "<span>&#36;</span>5. Set `$A` and `$B`."),
        ("$5 | `$$` | $6", "<span>&#36;</span>5 | `$$` | <span>&#36;</span>6"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\x1b[31mb\x00", "ab"),
    ],
)
def test_what_could_act_is_shown_as_text(text, shown):
    assert markdown(text).rstrip("\n") == shown.rstrip("\n")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "text",
    [
        "```\n{0}\n```",
        "- a\n  ```cpp\n  {0}\n\n  ```\n- b",
        "1. ```\n   {0}\n   ```",
        "- a\n    - b\n      ```\n      {0}\n      ```",
        "$$x$$\n\n```\n{0} $$\n```",
        "use `{0}` here",
        "use ``{0}`` here",
        "```{0}```",
    ],
)
def test_code_is_read_as_it_was_written(text, reader):
    """Also where it must be written in another way."""
    code = "vector<int> v = {a[0](1)}; // <b> &amp; $x$ ![y](z)"
    page = READERS[reader](markdown(text.format(code)))
    assert code in words(page)
    assert "<code" in page


@given(st.lists(st.sampled_from([IMG, "<", "](", "]:", "![", "`", "$", "\\", "> ", "\n", "\n\n"])))
def test_no_word_is_lost(signs):
    """Signs are broken up; the words between them stay, in their order."""
    text = "".join(f"{sign}word{number} " for number, sign in enumerate(signs))
    found = [markdown(text).find(f"word{number} ") for number in range(len(signs))]
    assert found == sorted(found)
    assert -1 not in found


def test_a_terminal_is_told_nothing():
    assert plain("\x1b[2J\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x9b31m \x08\ttab\nline") == (
        "link31m \ttab\nline"
    )


def test_it_takes_time_in_proportion_to_the_text():
    """No pattern runs away: twenty times the text takes less than two hundred times as long."""

    def seconds(text: str) -> float:
        started = time.perf_counter()
        markdown(text)
        return time.perf_counter() - started

    units = [*ATTACKS, "[", "`", "a", "://", "`://`", "://$", "[x]: ", "- ", "> ", "\\", "$", "<"]
    for unit in units:
        for apart in ("", " ", "\n", "\n\n", "\n   "):
            text = f"{unit}{apart}"
            short, long = text * (2_000 // len(text)), text * (20_000 // len(text))
            assert seconds(long) < 60 * max(seconds(short), 2e-3), text


def test_examples_hold():
    assert doctest.testmod(defuse).failed == 0


def test_an_attack_is_one():
    assert harm(IMG) == ["img", ("img", "src", "x"), ("img", "onerror", "acted()")]
