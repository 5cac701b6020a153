"""Answers are shown in full: headings, lists, tables, links, code, formulas and every word."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from attacks.ordinary import formulas
from attacks.shipped import documents, without_html

from mixmagic.text.sanitize import sanitize

pytestmark = pytest.mark.parametrize("readers", ["lab"], indirect=True)
_DELIMITERS = (("$", "$"), ("$$", "$$"), (r"\(", r"\)"), (r"\[", r"\]"))


def _folded(text: str) -> str:
    return "".join(text.split())


def test_documents_are_shown_as_they_were(readers):
    """Every document that installed packages ship; HTML and images become literal text."""
    shipped = documents()
    assert len(shipped) > 100
    kept, wanted, different = Counter(), Counter(), []
    for name, text in shipped.items():
        before, after = readers.made(without_html(text)), readers.made(sanitize(text))
        if _folded(before["text"]) != _folded(after["text"]):
            different.append(name)
        before["elements"].pop("formula")  # prices, for Lab
        wanted.update(before["elements"])
        kept.update(Counter(before["elements"]) & Counter(after["elements"]))
    assert {
        name: (kept[name], count) for name, count in wanted.items() if kept[name] < 0.99 * count
    } == {}
    assert min(wanted[name] for name in ("h2", "li", "td", "a", "code", "pre", "strong")) > 100
    # A no-break space in a heading's mark, `<name@host>`, `\(N-1\)`: what Lab reads otherwise.
    assert len(different) < 0.05 * len(shipped), different


@pytest.mark.parametrize("delimiters", _DELIMITERS, ids=lambda pair: pair[0])
@pytest.mark.parametrize("context", ["a {} b", "- a {}\n- b", "> {}"])
def test_formulas_are_typeset_as_they_were(readers, context, delimiters):
    """The MathML is the same, whatever the delimiters and the context."""
    opening, closing = delimiters
    known = "$" if opening in ("$", r"\(") else "$$"
    # Without any of TeX's signs, `\[1\]` and `\(optional\)` are brackets.
    some = [tex for tex in formulas() if opening[0] == "$" or re.search(r"[\\_^=]", tex)]
    assert len(some) > 200
    plain = "\n\n".join(f"a {known}{tex}{known} b" for tex in some)
    written = sanitize(
        "\n\n***\n\n".join(context.format(f"{opening}{tex}{closing}") for tex in some)
    )
    wanted = Counter(readers.made(plain)["formulas"])
    assert wanted.total() == len(some)
    lost = wanted - Counter(readers.made(written)["formulas"])
    assert lost.total() <= 0.01 * len(some), lost
