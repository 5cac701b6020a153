"""Answers that try to act, in the readers of real front ends, in each output format."""

from __future__ import annotations

import re

import pytest
from attacks import ATTACKS, markup, pages
from attacks.grammar import texts

from browser.examine import examine
from mixmagic.calls.completion import Completion
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Message, Request
from mixmagic.display.formats import FORMATS

_REQUEST = Request(Catalog().resolve("8x7b"), (Message("user", "Hi"),))
_FOOTER = re.compile(r"\s*<div style.*", re.DOTALL)
# Of `-f text`, or of a page that is none; and of `-f table`.
_OURS = {
    "pre style=white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere",
    "table class=mathjax_ignore tex2jax_ignore",
}


_IN_LAB = pytest.mark.parametrize("readers", ["lab"], indirect=True)


def test_no_attack_acts(readers):
    """Neither in the front end, nor in nbconvert's HTML, nor in pandoc's output."""
    before = readers.state()
    found = examine(readers, [*ATTACKS.values()])
    assert {name: wrong for name, wrong in zip(ATTACKS, found, strict=True) if wrong} == {}
    assert readers.state() == before


def test_no_text_acts(readers):
    some = [*texts(4711, 750)]
    found = examine(readers, some)
    assert {text: wrong for text, wrong in zip(some, found, strict=True) if wrong} == {}


@_IN_LAB
def test_no_attack_acts_in_any_format(readers):
    """Each output is examined once, for most formats write most attacks alike."""
    attacks = [
        text
        for attack in ATTACKS.values()
        for text in (attack, f"| a |\n|---|\n| {attack.replace('|', '')} |", f"```\n{attack}\n```")
    ]
    html: dict[str, tuple[str, str]] = {}
    markdown: dict[str, tuple[str, str]] = {}
    for attack in attacks:
        answer = Completion(attack, Usage(9, 5), None, "stop", _REQUEST, 1.0, 0.5)
        for form in sorted({*FORMATS} - {"html"}):
            bundle = FORMATS[form].whole(answer, "$1")
            html.setdefault(_FOOTER.sub("", bundle.get("text/html", "")), (form, attack))
            markdown.setdefault(_FOOTER.sub("", bundle.get("text/markdown", "")), (form, attack))
    for source, harm in zip(html.values(), readers.look([*html]), strict=True):
        assert [each for each in harm if each not in _OURS] == [], source
    for source, verdict in zip(markdown.values(), readers.verdicts([*markdown]), strict=True):
        assert verdict == {}, source


@_IN_LAB
def test_no_page_reaches_another_host(readers):
    """Frames of `-f html`, with everything that could connect; Chromium's log is checked last."""
    answers = [
        Completion(text, Usage(9, 5), None, "stop", _REQUEST, 1.0, 0.5)
        for attack in [*markup.ATTACKS.values(), pages.CONNECTING, pages.PAGE]
        for text in (attack, f"<!DOCTYPE html><html><body>{attack}<p>a</p></body></html>")
    ]
    outputs = [FORMATS["html"].whole(answer, "$1")["text/html"] for answer in answers]
    seen = readers.frames(outputs, 2)
    assert seen["acted"] == 0
    assert set(seen["elements"]) <= {"iframe", "div", "span", "pre", "style"}
    assert len(seen["styles"]) <= 1  # ours
    assert seen["sandboxes"] == [""]
    assert seen["count"] > len(answers) / 2
