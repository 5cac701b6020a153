"""Formulas are rebuilt from an allow-list: what draws a sign passes, all else is shown as code."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.text import mathematics
from mixmagic.text.mathematics import formula, looks_like_mathematics


@pytest.mark.parametrize(
    "body",
    [
        r"\frac{a^{2}}{b_1} = \sqrt[3]{x}",
        r"\sum_{i=1}^{n} \int_0^\infty \lim_{x \to 0} \sin x",
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        r"\begin{array}{l|cr} a & b & c \\ \hline d & e & f \end{array}",
        r"\begin{alignat}{2} a & = b \end{alignat}",
        r"\left( \mathbf{x} \right)^\top \text{ if } x > 0, \; \operatorname*{arg\,max}_x",
        r"\{ a \mid b \} \# \% \& \_",
        "x' + é - 中",
        r"\$5",
    ],
)
def test_harmless_formulas_pass_unchanged(body):
    assert formula(body) in (body, body + "{}")


@pytest.mark.parametrize(
    "body",
    [
        r"\def\x{y}", r"\let\sum\prod", r"\newcommand{\x}{y}", r"\renewcommand{\le}{\ge}",
        r"\require{html}", r"\href{javascript:a()}{x}", r"\url{x}", r"\class{a}{x}",
        r"\style{color:red}{x}", r"\cssId{a}{x}", r"\data{a=b}{x}", r"\unicode{65}",
        r"\mmlToken{mi}{x}", r"\bbox[red]{x}", r"\color{red}{x}", r"\enclose{box}{x}",
        r"\rule{4000em}{4000em}", r"\kern{99em}", r"\hspace{99em}", r"\raise99em{x}", r"\Huge x",
        r"\label{a}", r"\ref{a}", r"\tag{a}", r"\DeclareMathOperator{\a}{b}", r"\toggle{a}{b}",
        r"\input{/etc/passwd}", r"\write18{id}", r"\immediate", r"\csname input\endcsname",
        r"\catcode`\@=11", r"\begin{filecontents*}{a}\end{filecontents*}", r"\begin{input}",
        r"\begin {align}\end{align}", r"\begin{array}{p{99em}}x\end{array}",
        r"\begin{array}{*{1000000}{c}}x\end{array}", r"\begin{alignat}{9999999}x\end{alignat}",
        r"\begin{array}x\end{array}", r"x^^5cinput{a}", r"x^ ^5c", "a`b", "a@b", "a~b", "a%b",
        "a$b", 'a"b', "http://x", "www.x", "data-cite=x", "a\u200bb", "a\u202eb", "a\x00b", "a\\",
        "{", "}", r"\begin{align}", r"\end{align}", r"\begin{align}\end{gather}", "", "  ", r"\\",
        r"\verb|x|", r"\@input", "{" * 40 + "}" * 40, "x" * 4001, r"a \\ " * 61 + "b",
        r"\begin{matrix}" * 7 + r"\end{matrix}" * 7, r"a \cr " * 61 + "b", r"\:" + "\\",
    ],
)  # fmt: skip
def test_other_commands_are_refused(body):
    assert formula(body) is None


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ("a<b", "a< b"),
        ("a&b", "a& b"),
        ("[a](b", "[a] (b"),
        ("x![y", "x! [y"),
        (r"a \\{b}", r"a \\ {b}"),
        (r"a \\[2pt] b \\*[1em] c", r"a \\ b \\ c"),
        (r"a \\ [9em] b", r"a \\ {} [9em] b"),
        ("a\n  b", "a b"),
        ("x\\ ", "x\\:"),
        (r"a \\ \\ ", "a"),
        (r"a = \$", r"a = \${}"),
    ],
)
def test_syntax_of_other_parsers_is_spaced_apart(body, written):
    assert formula(body) == written


def test_no_bar_is_in_a_table():
    assert formula("|x|", in_table=True) == r"\vert x\vert"
    assert formula(r"\|x\|", in_table=True) is None
    assert formula(r"\begin{array}{c|c}x\end{array}", in_table=True) is None


@given(
    st.lists(
        st.sampled_from(
            ["a", " ", "\\\\", "\\$", "\\ ", "{", "}", "<", "&", "![", "](", "\\frac", "\n", "^",
             "|",
             "\\begin{matrix}", "\\end{matrix}", "\\{", "[2pt]", "*", "\\cr", "\\:", "#", "\\#"]
        )
    ).map("".join)
)  # fmt: skip
def test_a_written_formula_is_stable_and_cannot_escape_its_delimiter(body):
    written = formula(body)
    if written is not None:
        assert formula(written) == written
        assert not written.endswith(("\\", "$", " "))
        assert "\n" not in written


@pytest.mark.parametrize(
    ("body", "inline", "display"),
    [
        ("x", True, False),
        ("x, y", True, False),
        ("N-1", True, False),
        ("1", True, False),
        ("E = mc^2", True, True),
        (r"\alpha", True, True),
        ("x_1", True, True),
        ("optional", False, False),
        ("see below", False, False),
    ],
)
def test_escaped_brackets_are_not_formulas(body, inline, display):
    assert looks_like_mathematics(body, display=False) is inline
    assert looks_like_mathematics(body, display=True) is display


def test_examples_hold():
    assert doctest.testmod(mathematics).failed == 0
