"""pandoc and nbconvert write no TeX, directives or attributes of an answer."""

from __future__ import annotations

import re

import pytest
from attacks import ATTACKS, pandoc
from attacks.grammar import texts
from attacks.tex import foreign
from nbconvert import LatexExporter, MarkdownExporter, RSTExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output
from programs import required

from mixmagic.text.sanitize import sanitize

required("pandoc")

_DOCUMENTS = {name: text for name, text in ATTACKS.items() if name.startswith("documents/")}
# What pandoc and nbconvert write of their own around text, code, lists, links, tables, outputs.
_OWN = frozenset(
    r"""
    textbf emph texttt sout textbackslash textgreater textless textbar textasciitilde
    textasciicircum textquotesingle textquotedbl textdollar textcompwordmark ldots href url
    item itemize enumerate quote verbatim Shaded Highlighting begin end hypertarget label section
    subsection subsubsection paragraph subparagraph tightlist def labelenumi arabic setcounter
    enumi enumii enumiii enumiv labelenumii labelenumiii labelenumiv longtable endhead
    endfirsthead endlastfoot endfoot toprule midrule bottomrule noalign tabularnewline raggedright
    raggedleft centering arraybackslash minipage linewidth columnwidth real tabcolsep textwidth
    square boxtimes (
    ) [ ] { } _ % $ & # ~ ^ - , ; : ! ' ` = . " / @ \ | newline leavevmode vadjust nobreak phantom
    boxspacing prompt rule passthrough strut textemdash textendash textquotedblleft textquoteright
    textquoteleft
    """.split()  # noqa: SIM905
)
_COMMAND = re.compile(r"\\([A-Za-z]+|.)")


def _exported(exporter, safe: list[str]) -> str:
    """A notebook of these outputs, exported."""
    outputs = [new_output("display_data", data={"text/markdown": text}) for text in safe]
    return exporter.from_notebook_node(new_notebook(cells=[new_code_cell("", outputs=outputs)]))[0]


def test_no_attack_acts_behind_pandoc():
    found = pandoc.read([sanitize(text) for text in ATTACKS.values()])
    assert {name: wrong for name, wrong in zip(ATTACKS, found, strict=True) if wrong} == {}


def test_no_text_acts_behind_pandoc():
    some = [*texts(815, 1000)]
    found = pandoc.read([sanitize(text) for text in some])
    assert {text: wrong for text, wrong in zip(some, found, strict=True) if wrong} == {}


def test_most_attacks_act_if_nothing_is_sanitized():
    """Those of documents: the tests above see what they look for."""
    found = pandoc.read([*_DOCUMENTS.values()])
    unseen = [name for name, wrong in zip(_DOCUMENTS, found, strict=True) if not wrong]
    assert len(unseen) < len(_DOCUMENTS) / 10, unseen


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a **b** `c_d` [e](http://f.test) $x^2$", ["textbf{b}", "texttt{c\\_d}", "x^2"]),
        ("```python\nx = {}\n```", ["Highlighting", "\\{\\}"]),
        ("$$\\begin{align}a &= b\\end{align}$$", ["a &= b"]),
        ("costs $5 or `$6`, \\input{a}", ["\\$", "5 or ", "\\textbackslash input\\{a\\}"]),
        ("| a | b |\n|---|---|\n| 1 | $y$ |", ["toprule", "y"]),
    ],
)
def test_ordinary_answers_reach_latex(text, words):
    (body,) = re.findall(
        r"maketitle(.*)\\end\{document\}", _exported(LatexExporter(), [sanitize(text)]), re.S
    )
    assert [word for word in words if word not in body] == []


def test_nbconvert_writes_no_tex_of_an_answer():
    """Every command in the file is pandoc's own, or one that formulas may have."""
    source = _exported(LatexExporter(), [sanitize(text) for text in _DOCUMENTS.values()])
    (body,) = re.findall(r"\\maketitle(.*)\\end\{document\}", source, re.DOTALL)
    body = re.sub(r"\\begin\{(verbatim|Highlighting)\}.*?\\end\{\1\}", "", body, flags=re.DOTALL)
    commands = {match[1] for match in _COMMAND.finditer(body)}
    assert {each for each in commands - _OWN if foreign(f"\\{each}")} == set()
    assert "^^" not in body
    assert "/etc/passwd" in body


def test_nbconvert_writes_no_directive_of_an_answer():
    """But for what begins code, which is indented, and may say anything."""
    source = _exported(RSTExporter(), [sanitize(text) for text in _DOCUMENTS.values()])
    text = re.sub(r"^( *)(.*::(?: .*)?)\n(?:\n|\1   .*\n)+", r"\1\2\n", source, flags=re.MULTILINE)
    directives = set(re.findall(r"^[ |]*\.\. ([a-z-]+):", text, re.MULTILINE))
    assert directives <= {"code", "math", "rubric"}
    assert "/etc/passwd" in text


def test_nbconvert_writes_markdown_as_it_is():
    safe = [sanitize(text) for text in _DOCUMENTS.values()]
    source = _exported(MarkdownExporter(), safe)
    assert [text for text in safe if text not in source] == []
