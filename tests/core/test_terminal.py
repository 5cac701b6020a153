"""Lines for standard output: wrapped between words, below where they begin."""

from __future__ import annotations

import pytest

from mixmagic.core import terminal


@pytest.fixture
def columns(monkeypatch):
    """Set the width of standard output."""
    return lambda width: monkeypatch.setattr(terminal, "text_width", lambda: width)


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("one two three four five", ["one two three four", "five"]),
        ("  one two three four five", ["  one two three four", "  five"]),
        ("ok  one two three four five", ["ok  one two three", "    four five"]),
        ("  --all  one two three four", ["  --all  one two", "         three four"]),
        ("a-name-of-12  one two three", ["a-name-of-12  one", "two three"]),
        ("/a/path/that/has/no/blanks", ["/a/path/that/has/no/blanks"]),
        ("  /a/path/that/has/no/blanks is long", ["  /a/path/that/has/no/blanks", "  is long"]),
        ("", [""]),
        ("      ", ["      "]),
    ],
)
def test_a_line_goes_on_below_its_second_column_or_its_beginning(columns, line, lines):
    columns(20)
    assert [each.rstrip() for each in terminal.wrapped(line).split("\n")] == [
        each.rstrip() for each in lines
    ]


def test_text_for_a_file_is_not_wrapped(columns):
    columns(None)
    assert terminal.wrapped("ok  " + "word " * 99) == "ok  " + "word " * 99
