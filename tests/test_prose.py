"""Docstrings, comments and messages are plain English: the worst patterns are kept out."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "mixmagic"

NOUN_CLAUSE = re.compile(r"(What|Whether|Who|Whom|Where|How)\b(?!.*\?)")
BANNED = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bmakes? no sense",
        r"(?<!there )\bis no (?!longer\b|more\b)",  # is not a
        r"\bmend(s|ed|ing)?\b",  # fix
        r"\bcure[sd]?\b",  # fix
        r"\bof one's own\b",
        r"\b(whoever|whomever)\b",
        r"\bwhere (it|there|that|none|one|nothing|they) (is|are|has|have|can|may|does)\b",  # if
        r"\bwhat (has come|had come|stands)\b",  # received
        r"\bwhat is no\b",
        r"\bnone is\b",
        r"\bsaid to\b",
        r"\bempty texts?\b",  # empty string
        r"\bin the place of\b",  # instead of
        r"\bfor ever\b",
        r"\byet to be\b",  # not yet
        r"\bas it stands\b",  # as is
        r"\bhanded out\b",  # returned
        r"\bside by side\b",  # concurrently
        r"\bnobody (has|knows|saw|sees)\b",
        r"\boutranks?\b",  # overrides
        r"\buntil then is kept\b",
        r"\b(has|have) come since\b",  # received
        r"\bwhat nobody\b",
    )
]


def prose(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the docstrings, other strings and comments: line, text, True for a docstring."""
    tree = ast.parse(source)
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and ast.get_docstring(node) is not None
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split()), node in docstrings
    comments = [
        (token.start[0], token.string.removeprefix("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    for line, text in comments:  # a sentence may go on in the next line
        following = "".join(more for other, more in comments if other == line + 1)
        yield line, " ".join((text + following).split()), False


def problems(source: str) -> list[str]:
    """Return lines with banned prose."""
    found = []
    for line, text, is_docstring in prose(source):
        found += [f"{line}: {match[0]!r}" for each in BANNED if (match := each.search(text))]
        if is_docstring and NOUN_CLAUSE.match(text):
            found.append(f"{line}: begins with {text.split()[0]!r}")
    return found


def sources() -> list[str]:
    return sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py"))


@pytest.mark.parametrize("name", sources())
def test_prose_is_plain(name):
    assert problems((SOURCE / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""What a call costs."""',
        'def f():\n    """Whether it is open."""',
        "x = 1  # this is no number",
        '"""Return `x`, or `None` where there is none."""',
        'raise ValueError("It makes no sense.")',
        "# one where it\n# is not known",
        'x = f"{y} to mend"',
        '"""Return a name, or an empty text."""',
        "# nobody knows this",
    ],
)
def test_banned_prose_is_found(source):
    assert len(problems(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""Return the cost."""',
        "# There is no limit.",
        '"""How much? See below."""',
        "x = 'secured'",
    ],
)
def test_plain_prose_passes(source):
    assert problems(source) == []
