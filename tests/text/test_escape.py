"""Characters that mean nothing to any reader, and addresses that mean the same to all of them."""

from __future__ import annotations

import doctest
import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.text import escape
from mixmagic.text.escape import address, addresses, as_code, as_text, plain


def test_a_terminal_is_told_nothing():
    assert plain("\x1b[2J\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x9b31m \x08\ttab\nline") == (
        "link31m \ttab\nline"
    )


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.booleans(), st.booleans())
def test_a_text_reads_as_it_was_written(text, starts_line, heading):
    written = as_text(text, starts_line=starts_line, heading=heading)
    read = html.unescape(written.replace("<span>", "").replace("</span>", ""))
    assert read.replace("\xa0", " ").rstrip() == text.replace("\xa0", " ").rstrip()
    assert not set("`*[]~^{@|") & set(written)
    code = as_code(text).replace("<span>", "").replace("</span>", "")
    assert html.unescape(code).replace("\xa0", " ") == text.replace("\xa0", " ")


def test_code_has_no_sign_left():
    signs = "".join(map(chr, range(33, 127))).replace("`", "")
    assert as_code("`") == "<span>&#96;</span>"
    assert not set(as_code(signs)) - set("&#;0123456789,") - set(filter(str.isalnum, signs))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("snake_case and _x_", "snake_case and &#95;x&#95;"),
        ("a & b &amp; c &", "a & b &amp;amp; c &amp;"),
        ("1. a", "1&#46; a"),
        ("iv. a", "iv&#46; a"),
        ("Yes. No.", "Yes. No."),
        ("- a", "&#45; a"),
        ("-1", "-1"),
        ("= a", "&#61; a"),
        ("http://x www.y", "http&#58;//x www&#46;y"),
        ("a .. b", "a ..&#160;b"),
        (r"\begin \( \d C:\x", "<span>&#92;</span>begin <span>&#92;</span>( &#92;d C:&#92;x"),
        ("data-cite", "data&#45;cite"),
        ("a\u2003b\u200bc", "a&#8195;b&#8203;c"),
    ],
)
def test_signs_are_written_as_entities_where_they_would_act(text, written):
    assert as_text(text) == written


@pytest.mark.parametrize(
    ("url", "to"),
    [
        ("https://example.org/a_(b)?c=d&e#f", "https://example.org/a_%28b%29?c=d&amp;e#f"),
        ("HTTP://EXAMPLE.org", "HTTP://EXAMPLE.org"),
        ("http://127.0.0.1:8000/x", "http://127.0.0.1:8000/x"),
        ("http://x/$a\\b`c\"d'e<f", "http://x/%24a%5Cb%60c%22d%27e%3Cf"),
        ("http://x/100%", "http://x/100%25"),
        ("http://x/?a&lt;b&c", "http://x/?a%26lt;b&amp;c"),
        ("http://x/@@0@@", "http://x/%40%400%40%40"),
        ("mailto:a.b+c@d.org?subject=x", "mailto:a.b+c@d.org?subject=x"),
        ("#part-1", "#part-1"),
    ],
)
def test_addresses_of_the_web_are_percent_encoded_once(url, to):
    assert address(url) == to
    assert address(html.unescape(to)) == to


@pytest.mark.parametrize(
    "url",
    [
        "javascript:x",
        "JAVASCRIPT:x",
        " http://x",
        "data:text/html,x",
        "vbscript:x",
        "file:///x",
        "ftp://x",
        "//x",
        "/lab/api",
        "x.md",
        "../x",
        "command:x",
        "http:x",
        "http:///x",
        "http://",
        "http://u@x",
        "http://u:p@x",
        "http://[::1]",
        "http://]/",
        "http://%5D/x",
        "http://x:99999/..",
        "http://1.2.3.999/x",
        "http://1.2.3/x",
        "http://0x7f/x",
        "http://www.1/x",
        "http://01.2.3.4",
        "http://-x",
        "http://x.-y",
        "http://a..b",
        "http://xn--a/x",
        "http://é.org",
        "http://" + "a" * 64,
        "http://" + "a." * 127 + "b",
        "http://x/" + "a" * 2000,
        "http://x/data-cite",
        "mailto:x",
        "#a b",
        "http://a\u3002b/",
        "http://x\\y/",
        "http://x\t.y/",
        "",
    ],
)
def test_any_other_address_is_no_link(url):
    """JupyterLab takes what a browser cannot go to for a file of its own."""
    assert address(url) is None


def test_addresses_in_a_text_end_where_readers_end_them():
    text = "(see https://a.org/x_(y)), www.b.org. or c@d.org! http://e.org/f?g;"
    found = [(text[start:end], to) for start, end, to in addresses(text)]
    assert found == [
        ("https://a.org/x_(y)", "https://a.org/x_%28y%29"),
        ("www.b.org", "http://www.b.org"),
        ("c@d.org", "mailto:c@d.org"),
        ("http://e.org/f?g", "http://e.org/f?g"),
    ]


def test_examples_hold():
    assert doctest.testmod(escape).failed == 0
