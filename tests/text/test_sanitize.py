"""Nothing in sanitized Markdown acts in any parser, and no visible text is lost."""

from __future__ import annotations

import doctest
import random
import re
import sys

import pytest
from hostile import ATTACKS, IMG, TEXTS, harm, words
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from mixmagic.text import sanitize as module
from mixmagic.text.markdown import parse
from mixmagic.text.sanitize import Closed, Sanitizer, sanitize

_COMMONMARK = MarkdownIt("commonmark", {"html": True, "maxNesting": 100})
_COMMONMARK.enable(["table", "strikethrough"]).validateLink = lambda url: True
# nbconvert's reader, and VS Code's with all its caution off; JupyterLab's runs in tests/browser.
READERS = {"mistune": markdown2html_mistune, "markdown-it": _COMMONMARK.render}


def read(markdown: str) -> str:
    """Return the visible text of Markdown, with white space folded."""
    return " ".join(words(_COMMONMARK.render(markdown)).split())


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_acts(attack, reader):
    assert harm(READERS[reader](sanitize(attack))) == []


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_no_text_acts_and_what_is_sanitized_stays_as_it_is(text):
    once = sanitize(text)
    assert sanitize(once) == once
    for render in READERS.values():
        assert harm(render(once)) == []


@pytest.mark.parametrize("reader", READERS)
def test_the_watch_sees_what_acts(reader):
    """As it comes, most of it does: the tests above would fail without the sanitizer."""
    seen = [attack for attack in ATTACKS if harm(READERS[reader](attack))]
    assert len(seen) > len(ATTACKS) / 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Plain *text*, **bold**, ~~gone~~ and `code`.",
        "# Title\n\n## Part\n\n- a\n- b\n  + c\n\n1. d\n2. e",
        "- a\n\n- b\n\n  c",
        "| a | b |\n| --- | ---: |\n| 1 | 2 |",
        "> quoted\n> text",
        "[home](https://example.org/a_b?c=d#e), mail [us](mailto:a@b.co), [up](#title)",
        "$n^2$ and $x_1$",
        "$$x = y$$",
        "\\begin{align}a & = b\\end{align}",
        "```python\nprint(x[0](y))  # <b>\n```",
        "```html\n<b>bold</b>\n![x](y)\n```",
        "```\n$x$ ![a](b) @@ -1 +1 @@\n```",
        "````markdown\n```\nx\n```\n````",
        "- a\n  ```sh\n  ls\n  ```\n- b",
        "3. a\n4. b\n   ```sh\n   ls\n   ```",
        "Line one\nline two\\\nline three",
        "- [ ] to do\n- [x] done",
        "*__both__* and **a *b***",
        "***",
    ],
)
def test_ordinary_markdown_stays_as_it_is(text):
    assert sanitize(text) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a <b>c</b>", "a &lt;b>c&lt;/b>"),
        ("![a cat](https://x/y.png)", "[image: a cat](https://x/y.png)"),
        ("![](https://x/y.png)", "[image](https://x/y.png)"),
        ("![a](y.png)", "image: a (y.png)"),
        ("[![a](https://x/y.png)](https://z)", "[image: a](https://z)"),
        ("!![x](https://evil/?secret)", "&#33;[image: x](https://evil/?secret)"),
        ("[x](javascript:y)", "x (javascript:y)"),
        ("[x](local.md)", "x (local.md)"),
        ("[x](https://a:99999/..)", "x (https&#58;//a:99999/..)"),
        ("[Answer]: 42", "&#91;Answer&#93;: 42"),
        ("[a][b]\n\n[b]: https://x", "[a](https://x)"),
        ("see https://x.y/z_a.", "see [https&#58;//x.y/z_a](https://x.y/z_a)."),
        ("use `<div>`", "use `<div>`"),
        ("$a<b$", "$a< b$"),
        (r"\(x\), \[ E = mc^2 \]", r"$x$, $$E = mc^2$$"),
        (r"\(maybe\), \[1\]", "(maybe), &#91;1&#93;"),
        ("\\[ N-1 \\]\n\n\\[1\\]", "$$N-1$$\n\n&#91;1&#93;"),
        ("!.[](http://e)www.a", "!.www&#46;a"),
        ("$$\nx\n= y\n$$", "$$x = y$$"),
        (r"$\def\x{y}$", "<code>&#36;&#92;def&#92;x&#123;y&#125;&#36;</code>"),
        ("```mermaid\ngraph\n```", "```\ngraph\n```"),
        ("```c++ title=x\ny\n```", "```c++\ny\n```"),
        ("~~~\n```\n~~~", "````\n```\n````"),
        ("text\n```\ncode\n```\ntext", "text\n\n```\ncode\n```\n\ntext"),
        ("```\ncode", "```\ncode\n```"),
        ("# `<a class=x>`", "# <code>&#60;a class&#61;x&#62;</code>"),
        ("a ` b", "a <span>&#96;</span> b"),
        ("> ```\n> a\u2028b\n> ```", "> <code>a&#8232;b</code>"),
        ("costs $5", "costs <span>&#36;</span>5"),
        (r"a\\b C:\new", "a&#92;b C:&#92;new"),
        ("| a |\n|---|\n| 1 | 2 |", "| a |\n| --- |\n| 1 &#124; 2 |"),
        (".. include:: /etc/passwd", "&#46;.&#160;include:: /etc/passwd"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\x1b[31mb\x00\ud800", "ab\ufffd"),
        ("a&NewLine;# b", "a # b"),
    ],
)
def test_active_syntax_is_escaped(text, written):
    assert sanitize(text) == written


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "text",
    [
        "```\n{0}\n```",
        "- a\n  ```cpp\n  {0}\n\n  ```\n- b",
        "1. ```\n   {0}\n   ```",
        "- a\n    - b\n      ```\n      {0}\n      ```",
        "> ```\n> {0}\n> ```",
        "$$x$$\n\n```\n{0} $$\n```",
        "use `{0}` here",
        "use ``{0}`` here",
        "| a |\n|---|\n| `{0}` |",
        "```{0}```",
    ],
)
def test_code_is_read_as_it_was_written(text, reader):
    """Also where it must be written in another way."""
    code = "vector<int> v = {a[0](1)}; // <b> &amp; $x$ ![y](z)"
    page = READERS[reader](sanitize(text.format(code)))
    assert code in words(page)
    assert "<code" in page


@pytest.mark.parametrize(
    "code", [r"re.compile('\\(.*?\\)')", r"\begin{a}x\end{a}", "@@1@@", "$x$ @@1@@", "data-cite=x"]
)
def test_code_is_not_highlighted_or_no_block_if_a_formula_would_be_taken_out_of_it(code):
    """JupyterLab puts it back another way, or not at all."""
    written = sanitize(f"- x\n\n  ```python\n  {code}\n  ```\n")
    assert "```python" not in written
    assert code in read(written)


_PIECES = (
    "", "> ", "- ", "1. ", "  ", "    ", "\n", "\n\n", "# ", "**", "*", "~~", "_", "`", "``", "| ",
    "|---|---|\n", "```\n", "~~~\n", "$", "$$", "\\(", "\\)", "<b>", "</b>", "<!--", "!", "[", "]",
    "![", "\\", "&", "\\begin{a}", "\\end{a}", "\t", "===\n", "---\n", "- [ ] ", "\\\n", "  \n",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=40))
def test_no_word_is_lost(pieces):
    """The words stay in order, once each, at any depth."""
    text = "".join(f"{piece}w{number}x " for number, piece in enumerate(pieces))
    assert re.findall(r"w\d+x", read(sanitize(text))) == re.findall(r"w\d+x", text)


@pytest.mark.parametrize("depth", [5, 20, 100])
@pytest.mark.parametrize("opening", ["> ", "- ", "1. ", "> - ", "[", "![", "**", "*a **", "a ~~b"])
def test_nesting_loses_nothing(opening, depth):
    assert read(sanitize(opening * depth + "end")).endswith("end")


@pytest.mark.parametrize("text", ["x" + "`" * 50_000, "`a`` " * 10_000, "a`" * 30_000])
def test_code_has_no_line_of_which_jupyterlab_takes_too_long(text):
    """Its pattern for code spans takes as long as the backticks of a line times its length."""
    for written in (sanitize(text), sanitize(f"~~~\n{text}\n~~~")):
        assert max(line.count("`") * len(line) for line in written.split("\n")) <= 10**6
        assert read(written).count("`") == text.count("`")
        assert sanitize(written) == written


def test_an_answer_has_so_many_formulas():
    """A front end sets each of them; those beyond are shown as code."""
    written = sanitize("$x$ " * 1200 + "\n\n" + "$y$ " * 700)
    assert written.count("$x$") + written.count("$y$") == 1500
    assert written.count("<code>&#36;y&#36;</code>") == 400
    assert sanitize(written) == written
    long = "$$" + "x + " * 900 + "y$$\n\n"
    assert sanitize(long * 20).count("$$x") == 4


def test_an_answer_has_so_many_headings():
    """JupyterLab's table of contents takes long over each of them; the others are paragraphs."""
    written = sanitize("# a # b\n\n" * 600)
    assert written.count("\n# a &#35; b") == 499
    assert written.endswith("\n\na # b")
    assert sanitize(written) == written


def test_a_definition_of_any_size_is_shown_if_nothing_refers_to_it():
    assert sanitize("[a]:" * 25_000).count("[a]:") >= 24_000


def test_cells_beyond_the_columns_join_the_last_one():
    assert sanitize("| a | b |\n|--|--|\n| 1 | 2 | 3 \\| 4 | **5** |").endswith(
        "| 1 | 2 &#124; 3 &#124; 4 &#124; **5** |"
    )


# Each is a sign that some reader takes time for.
STORMS = [
    "*a ", "$a ", "~~a ", "_a**", "> ", "**a ", "[", "![", "`", "`a", "``a", "# h\n", "- a\n", "- ",
    "1. ", "a_b", "!", "\\", "\\(", "\\[ a", "$$\n", "\\[\n", "\\begin{a}\n", "[a]: b\n", "[a](",
    "a@b.c ", "http://x ", "|a", "| a |\n|---|\n", "|\n", "<a ", "&amp;", "<span>&#36;</span>",
    "```\n", "    a\n", "a  \n", "***", "a\n===\n", "{", "^", "@@0@@", "*a*", "[a][b]", "![a](b)",
    "![![", "](", "\x1b[31m", "\u200b", "> - ", "1) a\n2. b\n", "+ a\n- b\n", "$\\frac{", "$x$ ",
    "\\(x\\) ", "x\n\n", ")))))", "http://x))))", "..", "a\tb", "www.", "<style>", "\\x",
]  # fmt: skip


def _work(text: str) -> int:
    """Return the number of function calls that sanitizing a text takes."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        sanitize(text)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("storm", STORMS)
def test_a_storm_of_signs_is_work_in_proportion_and_stays_as_it_is(storm):
    short, long, longest = (storm * (size // len(storm)) for size in (500, 5_000, 10_000))
    assert _work(long) < 15 * _work(short) + 5_000
    once = sanitize(longest)
    assert len(once) < 15 * len(longest)
    assert sanitize(once) == once


@pytest.mark.parametrize("row", ["&", "|", "a|b", "*a"])
@pytest.mark.parametrize("container", ["", "- ", "> "])
def test_a_table_of_too_many_rows_is_literal_and_read_no_further(row, container):
    """It is a block of code in any case: not all of its cells are made."""
    inner = {"- ": "  "}.get(container, container)
    rows = [f"{inner}|---|---|", *[inner + row] * 20_000]
    table = "\n".join([f"{container}| a | b |", *rows])
    assert len(parse(table)) < 40_000
    assert sanitize(f"x\n\n{table}") == f"x\n\n```\n{table}\n```"


@pytest.mark.parametrize(
    "text",
    [
        "e\n&Tab;\u3000\\begin{align}x\\end{align}",
        "e\n&Tab;&nbsp;$$x$$",
        "e\n&Tab;&#32;&nbsp;&Tab;\\[ x^2 \\]",
        "- e\\\n  &Tab;&emsp;&thinsp;$$x$$",
        "> e\n> &NewLine;&nbsp;&Tab;$$x$$ *y*",
    ],
)
def test_blanks_before_a_displayed_formula_stay_as_they_are(text):
    once = sanitize(text)
    assert "x" in once
    assert sanitize(once) == once


def _documents():
    """Texts of several blocks, without definitions, whose uses may come before them."""
    generator = random.Random(7)
    blocks = [*ATTACKS, "# h", "- a\n- b", "para\ngraph", "| a |\n|---|\n| 1 |", "$$\nx\n$$", "> q"]
    for _ in range(150):
        text = "\n\n".join(generator.choices(blocks, k=generator.randint(1, 6)))
        if not re.search(r"^\W*\[[^\]]*\]:", text, re.MULTILINE):
            yield generator, text


def test_pieces_make_what_the_whole_makes():
    for generator, text in _documents():
        sanitizer, step = Sanitizer(), generator.choice([1, 7, 40])
        starts = range(0, len(text), step)
        parts = [sanitizer.feed(text[start : start + step]) for start in starts]
        whole = sum(parts, Closed()) + sanitizer.close()
        assert whole.markdown == sanitize(text)
        if not re.search(r"[\r\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text):
            assert whole.source == text, "each character is in one part"


@pytest.mark.parametrize("step", [1, 2, 3])
def test_control_sequences_are_found_across_pieces(step):
    text = "a\x1b[31mb\x1b]8;;http://x\x1b\\c\r\nd\re"
    sanitizer = Sanitizer()
    parts = [sanitizer.feed(text[at : at + step]) for at in range(0, len(text), step)]
    whole = sum(parts, Closed()) + sanitizer.close()
    assert whole == ("abc\nd\ne", "abc\nd\ne")


def test_a_closed_block_is_parsed_once():
    """Only the tail is read again: the work is linear in the answer's length."""
    sanitizer = Sanitizer()
    longest = 0
    for number in range(300):
        sanitizer.feed(f"Paragraph {number} of *some* length.\n\n- item\n\n")
        longest = max(longest, len(sanitizer.tail.source))
    assert longest < 200


@pytest.mark.parametrize(
    ("text", "rest", "tail"),
    [
        ("```py\na\nb", "\nc", "```py\nb\nc\n```"),
        ("> a\nb", "c", "bc"),
        ("```\na\n```\n", "b", "b"),
        ("words", " and more", "and more"),
    ],
)
def test_a_cut_closes_the_open_part_and_continues(text, rest, tail):
    sanitizer = Sanitizer()
    before = sanitizer.feed(text) + sanitizer.cut()
    behind = sanitizer.feed(rest) + sanitizer.close()
    assert behind.markdown == tail
    assert before.source + behind.source == text + rest


def test_examples_hold():
    assert doctest.testmod(module).failed == 0


def test_an_attack_is_one():
    assert harm(IMG) == ["img", ("img", "src", "x"), ("img", "onerror", "acted()")]
