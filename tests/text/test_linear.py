"""Reading any answer takes time linear in its length: the kernel waits for it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear import is_linear
from nasty import TEXTS, UNITS

from mixmagic.calls.completion import Completion
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Request
from mixmagic.display import formats
from mixmagic.errors import AnswerUnusable
from mixmagic.magics._shell import failures
from mixmagic.magics._shell import fix as _fix
from mixmagic.magics._shell import insert as _insert
from mixmagic.structured import extract, tables
from mixmagic.text import code_blocks

ASKED = Request(Catalog().resolve("8x7b"), ())


def completion(text: str) -> Completion:
    return Completion(text, Usage(1, 1), None, "length", ASKED, 1.0, 0.5)


def blocks(text: str) -> None:
    """Everything that is done with code blocks, those that were found and the text as one."""
    found = completion(text).code_blocks
    for each in (found, [code_blocks.CodeBlock("sh", text)] * 2):
        if each:
            code_blocks.main_block(each)
        for block in each:
            assert block.source is not None
            code_blocks.installs(block.code)


def insert(text: str) -> None:
    _insert.code_cells(completion(text))


def values(text: str) -> None:
    with contextlib.suppress(AnswerUnusable):
        extract.loads(text, exact=True)
    extract.other_values_note(text)


def table(text: str) -> None:
    with contextlib.suppress(AnswerUnusable):
        tables.text_table(text)


def latex(text: str) -> None:
    with contextlib.suppress(AnswerUnusable):
        extract.latex(text)


def fix(text: str) -> None:
    _fix.fixed([text, "x"], "1 / 0")
    _fix.fixed(["x = 1"], text)
    failures.Failure(text, text).prompt()


READERS = {
    "blocks": blocks,
    "insert": insert,
    "json": values,
    "latex": latex,
    "table": table,
    "html": formats._find_html,
    "fix": fix,
}


def afresh(name: str):
    """A reader that remembers nothing."""

    def read(text: str) -> None:
        code_blocks.code_blocks.cache_clear()
        READERS[name](text)

    return read


@pytest.mark.parametrize("name", READERS)
def test_each_reader_is_linear(name):
    chosen = TEXTS if name != "fix" else dict(list(TEXTS.items())[::4])
    read = afresh(name)
    assert [what for what, make in chosen.items() if not is_linear(read, make, 30_000, 6)] == []


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "text",
    [
        "'- ' and a fence",
        "'- a\\n+ a\\n' and a fence",
        repr("```\n"),
        repr("- ```\n"),
        repr("\\["),
        repr("\\(a"),
        repr("[a "),
        repr("|a|b|\n|-|-|\n"),
        "growing `",
        "growing lines of '> '",
        repr("pip -a "),
        repr(("|a|\n|- ", " ", "|x")),
    ],
)
def test_a_long_text_takes_seconds_at_most(name, text):
    assert is_linear(afresh(name), TEXTS[text], 300_000, 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(UNITS), min_size=1, max_size=3).map("".join),
    st.lists(st.sampled_from(UNITS), max_size=2).map("".join),
    st.lists(st.sampled_from(UNITS), max_size=2).map("".join),
)
def test_what_is_put_together_at_random_is_read_in_linear_time(unit, before, after):
    def make(size: int) -> str:
        return before + unit * (size // len(unit)) + after

    for name in ("blocks", "json", "latex", "table"):
        assert is_linear(afresh(name), make, 60_000, 2), name
