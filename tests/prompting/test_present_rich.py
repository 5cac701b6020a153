"""Values that say how they are shown: `_ai_repr_`, Markdown, HTML."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import IPython.display
import pandas as pd
import pytest
from linear import is_linear

from mixmagic.errors import BadArguments
from mixmagic.prompting.interpolate import expand
from mixmagic.prompting.marks import Marks
from mixmagic.prompting.present import excerpts
from mixmagic.prompting.present.html_text import html_text


def shown(value, limit=100_000):
    """Return the text for a model; a character counts as a token."""
    return excerpts(value, "value").within(limit, len)


def inserted(text, **names):
    marks = Marks()
    (found,) = expand(
        [text], lambda e: eval(e, names), names=names, limit=9_999, count=len, marks=marks
    )
    return found.text, marks


def ai(result, *, is_async=False, kwargs=True):
    """Return a value whose `_ai_repr_` returns `result`."""

    class Kettle:
        hints: dict[str, object] | None = None

        if is_async:

            async def _ai_repr_(self, **hints):
                await asyncio.sleep(0)
                self.hints = hints
                return result

        elif kwargs:

            def _ai_repr_(self, **hints):
                self.hints = hints
                return result

        else:

            def _ai_repr_(self):
                return result

    return Kettle()


@pytest.mark.parametrize("kind", [{}, {"is_async": True}, {"kwargs": False}])
@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("A kettle.", "A kettle."),
        ({"text/plain": "A kettle."}, "A kettle."),
        ({"text/plain": "plain", "text/markdown": "**bold**"}, "**bold**"),
        ({"text/html": "<b>A</b> kettle<script>x()</script>"}, "A kettle"),
        ({"application/json": {"cups": 4}}, '{"cups": 4}'),
        ({"text/llm+plain": "A kettle."}, "A kettle."),
        ({"text/plain": "A kettle.", "image/png": "iVBORw0KGgo="}, "A kettle."),
        (({"text/plain": "A kettle."}, {}), "A kettle."),
    ],
)
def test_the_representation_for_models_of_jupyter_s_proposal(result, text, kind):
    value = ai(result, **kind)
    assert shown(value).text == text
    assert inserted("{{ value }}", value=value)[0] == text
    assert getattr(value, "hints", None) in (None, {"multimodal": False})


class Undecided:
    """Not every object of its class can be shown in each way."""

    def _repr_png_(self):
        raise NotImplementedError

    def _repr_html_(self):
        raise NotImplementedError

    def _repr_markdown_(self):
        return "**four cups**", {"isolated": True}


def test_a_way_that_is_not_implemented_is_passed_over():
    assert inserted("{{ value }}", value=Undecided())[0] == "**four cups**"


def test_an_object_that_claims_to_be_a_text_is_none():
    made = type("Liar", (), {"__class__": property(lambda self: str)})()
    with pytest.raises(BadArguments, match="does not tell its content"):
        inserted("{{ value }}", value=made)


def test_it_may_be_awaited_within_a_running_loop():
    async def main():
        return shown(ai({"text/plain": "A kettle."}, is_async=True)).text

    assert asyncio.run(main()) == "A kettle."


NEVER = """
import asyncio, _thread, threading
from mixmagic.prompting.present import excerpts

class Kettle:
    async def _ai_repr_(self, **hints):
        threading.Timer(0.1, _thread.interrupt_main).start()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

cancelled = threading.Event()
try:
    excerpts(Kettle(), "kettle")
except KeyboardInterrupt:
    print("interrupted", cancelled.wait(10))
"""


def test_one_that_never_returns_can_be_interrupted_and_holds_up_no_exit():
    ran = subprocess.run(
        [sys.executable, "-c", NEVER], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "interrupted True\n"), ran.stderr


def test_an_image_alone_is_sent_as_an_image():
    pillow = pytest.importorskip("PIL.Image")
    png = pillow.new("RGB", (30, 20))._repr_png_()
    text, marks = inserted("See {{ value }}", value=ai({"image/png": png}))
    assert [image.type for image in marks.images(text)] == ["image/png"]


@pytest.mark.parametrize("result", [None, 7, {}, {"video/mp4": b"x"}, {"text/plain": ""}])
def test_without_a_text_it_is_an_error_of_two_lines(result):
    with pytest.raises(BadArguments, match="_ai_repr_ returned no text"):
        inserted("{{ value }}", value=ai(result))


def test_our_own_method_takes_precedence():
    class Kettle:
        def _repr_prompt_(self):
            return "ours"

        def _ai_repr_(self, **hints):
            raise AssertionError

    assert shown(Kettle()).text == inserted("{{ value }}", value=Kettle())[0] == "ours"


def test_its_class_is_its_source_and_what_it_raises_is_named():
    class Kettle:
        def _ai_repr_(self, **hints):
            raise ValueError("no water")

    assert "raise ValueError" in shown(Kettle).text
    with pytest.raises(BadArguments, match="no water"):
        inserted("{{ value }}", value=Kettle())


def rich(**methods):
    """Return a value whose methods return these results."""
    return type(
        "Rich", (), {name: lambda self, data=data, **_: data for name, data in methods.items()}
    )()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (rich(_repr_markdown_="# Tea"), "# Tea"),
        (rich(_repr_markdown_=("# Tea", {})), "# Tea"),
        (rich(_repr_html_="<h2>Tea</h2><p>hot</p>"), "## Tea\n\nhot"),
        (rich(_repr_markdown_=None, _repr_html_="<p>hot</p>"), "hot"),
        (rich(_repr_latex_="$x^2$"), "$x^2$"),
        (rich(_repr_json_={"a": 1}), '{"a": 1}'),
        (rich(_repr_mimebundle_={"text/plain": "<Tea>", "text/html": "<i>hot</i>"}), "hot"),
        (rich(_repr_html_="<p>hot</p>", __str__="a kettle"), "a kettle"),
        (IPython.display.HTML("<p>a &amp; b</p>"), "a & b"),
        (IPython.display.Latex("$x$"), "$x$"),
        (IPython.display.Code("x = 1"), "x = 1"),
        (IPython.display.JSON({"a": 1}), "{'a': 1}"),
    ],
)
def test_what_only_a_notebook_shows(value, text):
    assert shown(value).text == text


@pytest.mark.parametrize("method", ["_repr_html_", "_repr_markdown_"])
def test_it_is_limited_in_tokens(method):
    excerpt = shown(rich(**{method: "word " * 9_000}), 500)
    assert len(excerpt.text) <= 500
    assert "characters" in excerpt.cut


def test_an_object_that_shows_nothing_is_refused():
    with pytest.raises(BadArguments, match="does not tell its content"):
        shown(rich(_repr_html_="<script>alert(1)</script>"))


def test_a_styled_table():
    text = shown(pd.DataFrame({"tea": [1, 2], "cup": ["a|b", "c"]}).style).text
    rows = ["|  | tea | cup |", "|---|---|---|", r"| 0 | 1 | a\|b |", "| 1 | 2 | c |"]
    assert text.splitlines() == rows


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<style>p{}</style><p>a<br>b</p><script>alert('<p>x</p>')</script>", "a\nb"),
        ("<ul><li>one</li><li>two <b>bold</b></li></ul>", "- one\n\n- two bold"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<p>one\n   two</p>\n\n<p>three</p>", "one two\n\nthree"),
        ("<div>a</div><div>b</div>", "a\n\nb"),
        (
            "<table><tr><td>a<td>b<tr><td>1<td>2</table>z",
            "| a | b |\n|---|---|\n| 1 | 2 |\n\nz",
        ),
        ("x <img alt='a cat' onerror='alert(1)'> &lt;y&gt;", "x a cat <y>"),
        ("<svg><text>no</text></svg>yes", "yes"),
        ("<script>never closed", ""),
        ("a<p hidden>no<b>no</b></p>b", "ab"),
        ("<div style='color: red; DISPLAY : none'>no<div>no</div>no</div><div>b</div>", "b"),
        ("<span style='visibility:hidden'>no</span>b<span style='display:nonesuch'>c</span>", "bc"),
        ("<p hidden>no<p>yes<input hidden> z", "yes z"),
        ("<ul><li hidden>no<li>b</ul><br hidden>z", "- b\n\nz"),
        (
            "<table><tr><th>a<th>b<tr hidden><td>no<tr><td>1<td><script>no</script>2</table>",
            "| a | b |\n|---|---|\n| 1 | 2 |",
        ),
        ("<pre>short</pre><div class='x' hidden><table><tr><td>long</table></div>", "short"),
        ("a < b", "a < b"),
        ("<head><title>t</title><body>the head has no end", "the head has no end"),
        ("<table><tbody hidden><tr><td>no</table><b hidden>no</b>b", "b"),
        ("<div hidden><br><img alt=no>no</div><img hidden alt=no>b", "b"),
        ("<p>a<![ <!DOCTYPE <?x \ud83d", "a"),
        ("<!-- no --><!DOCTYPE html><head><title>t</title></head><body>b", "b"),
    ],
)
def test_the_text_of_a_page(page, text):
    assert shown(IPython.display.HTML(page)).text == text


@pytest.mark.parametrize("piece", ["<td ", "<a x='", "<!--", "<p hidden>", "<tr><td>"])
def test_a_damaged_page_is_read_in_linear_time(piece):
    assert is_linear(html_text, lambda size: piece * (size // len(piece)), 200_000, 5)
