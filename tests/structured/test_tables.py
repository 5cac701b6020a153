"""The table of an answer: cells, columns of numbers, what is ambiguous."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.errors import AnswerUnusable, MissingPackage
from mixmagic.structured.tables import data_frame, text_table

CELL = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="\\"),
    min_size=1,
)


def markdown(*rows: list[str]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


def column(*texts: str) -> pd.Series:
    return data_frame(markdown(["a", "b"], *([text, "x"] for text in texts))).a


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=4))
def test_the_text_of_cells_is_exact(rows):
    found = text_table("Here:\n\n" + markdown(["a", "b"], *map(list, rows)) + "\n\nDone | so.")
    assert found.columns == ("a", "b")
    assert found.rows == tuple(rows)


@pytest.mark.parametrize(
    "answer",
    [
        "| a | b |\n|:--|--:|\n| 1 | 2 |\n| 3 | 4 |",
        "a | b\n--- | :-:\n1 | 2\n3 | 4\nThat is all.",
        "```markdown\r\n| a | b |\r\n| - | - |\r\n| 1 | 2 |\r\n| 3 | 4 |\r\n```",
        "> Look:\n> | a | b |\n> |---|---|\n> | 1 | 2 |\n> | 3 | 4 |",
        "> > a | b\n> > --|--\n> > 1 | 2\n> > 3 | 4",
        "Here:\n| a | b |\n| 1 | 2 |\n| 3 | 4 |\nDone.",
        "| a | b |\n|—|—|\n| 1 | 2 |\n| 3 | 4 |",
        "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+\n| 3 | 4 |\n+---+---+",
        "```\na,b\n1,2\n3,4\n```",
        "Sure:\n~~~text\na; b\n1; 2\n3; 4\n~~~",
        "1. So:\n\n   ```CSV\n   a,b\n   1,2\n\n   3,4\n   ```",
        'Here you are, my friend:\n\n```csv\n"a",b\n1,"2"\n3,4\n```\n\nBye.',
        "```csv\na, b\n1,2,\n3,4\n```",
        "```tsv\na\tb\n1\t2\n3\t4\n```",
        "```\na\tb\n1\t2\n3\t4\n```",
    ],
)
def test_markdown_and_csv_are_tables(answer):
    pd.testing.assert_frame_equal(data_frame(answer), pd.DataFrame({"a": [1, 3], "b": [2, 4]}))


@pytest.mark.parametrize(
    "answer",
    [
        "", "No.", "a | b", "x\n---", "Dear a, b\nc, d, e", "one,two", "```csv\na\n```",
        "I'm sorry, but I can't do that.\nPlease, ask again.",
        "Dear Sir, I\nremain, yours\ntruly, Ann",
        "Roses are red,\nViolets are blue,\nSugar is sweet,",
        "SELECT a, b\nFROM t, u",
        "x, y = 1, 2\na, b = 3, 4\nc, d = 5, 6",
        "x,y=1,2\na,b=3,4\nc,d=5,6",
        "a,b\n1,2\n3,4",
        "a;b\n1;2\n3;4",
        "a\tb\n1\t2\n3\t4",
        "```\na,b\n1\n```",
        "```\na\nb\n```",
        "print(a,b)\nprint(c,d)\nprint(e,f)",
        "```python\na,b\nc,d\ne,f\n```",
        "- a,b\n- c,d\n- e,f",
        "    a,b\n    c,d\n    e,f",
        "name: Ann, age: 3\nname: Bob, age: 4\nname: Cid, age: 5",
        "It took 1,234\nor perhaps 5,678\nand then 9,999",
        "Ann,3\nBob,4",
        "1,2\n3,4\n5,6",
        "Here it is:\n\na,b\n1,2\n3,4",
        "|x|\n|y|",
        "|---|---|\n| 1 | 2 |",
    ],
)  # fmt: skip
def test_an_answer_without_a_table_is_refused(answer):
    with pytest.raises(AnswerUnusable, match="has no table in it"):
        data_frame(answer)


@pytest.mark.parametrize(
    ("answer", "columns"),
    [
        ("```\n,a,b\n0,1,2\n1,3,4\n```", ("column 1", "a", "b")),
        ("```\nname, city\nBob, Bonn\nAnn, Köln\n```", ("name", "city")),
        ("```\nname,age\nBob,3\n```", ("name", "age")),
    ],
)
def test_a_code_block_with_rows_of_equal_length_is_csv(answer, columns):
    assert text_table(answer).columns == columns


@pytest.mark.parametrize(
    ("csv", "said"),
    [
        (
            "city,people\nUlm,1\nBerlin, Germany,3",
            "has 3 cells in row 2 (Berlin,Germany,3), and 2 in its head",
        ),
        ("name\nDoe, Ann", "has 2 cells in row 1 (Doe,Ann), and 1 in its head"),
        ('a,b\n"x,1\ny,2', "cannot be read: unexpected end of data"),
    ],
)
def test_csv_that_would_be_a_wrong_table_is_refused(csv, said):
    with pytest.raises(AnswerUnusable) as caught:
        text_table(f"```csv\n{csv}\n```")
    assert said in caught.value.message


def test_csv_that_is_cut_off_is_padded():
    assert text_table("```csv\na,b\n1,2\n3").rows == (("1", "2"), ("3", ""))


def test_csv_of_one_column_is_a_table():
    assert text_table("```csv\nname\nAnn\nBob\n```").rows == (("Ann",), ("Bob",))


def test_a_cell_over_two_lines_keeps_its_line_end():
    assert text_table('```csv\na,b\r\n"likes\r\ntea", 2\n```').rows == (("likes\ntea", "2"),)


def test_a_mark_of_a_quotation_in_a_cell_is_kept():
    assert text_table("a | b\n--|--\n> 5 | 2").rows == (("> 5", "2"),)


def test_the_first_of_several_tables_is_used():
    found = text_table("\n\n".join([markdown(["a"], ["1"]), markdown(["b"], ["2"]), "|c|\n|-|"]))
    assert (found.columns, found.rows, found.others) == (("a",), (("1",),), 2)
    assert text_table("```csv\na,b\n1,2\n```\n```csv\nc,d\n3,4\n```").others == 1


def test_every_cell_has_a_column_and_every_column_a_name():
    found = text_table("|a|a||\n|-|-|-|\n|1|\n|1|2|3|4|")
    assert found.columns == ("a", "a.1", "column 3", "column 4")
    assert found.rows == (("1", "", "", ""), ("1", "2", "3", "4"))


def test_a_table_without_rows_has_its_columns():
    assert list(data_frame("|a|b|\n|-|-|").columns) == ["a", "b"]
    assert len(data_frame("|a|b|\n|-|-|")) == 0


@pytest.mark.parametrize(
    ("texts", "numbers", "dtype"),
    [
        (["1", "-2", "+3"], [1, -2, 3], "int64"),
        (["1", "2.5"], [1.0, 2.5], "float64"),
        (["\N{MINUS SIGN}1", "1e3"], [-1.0, 1000.0], "float64"),
        ([".05", "1.", "-.5"], [0.05, 1.0, -0.5], "float64"),
        (["1.5", "", "n/a"], [1.5, None, None], "float64"),
        (["9007199254740993", "-"], [9007199254740993, None], "Int64"),
        (["1" * 25], [int("1" * 25)], "object"),
        (["9223372036854775807"], [2**63 - 1], "int64"),
        (["9223372036854775808", "1"], [2**63, 1], "object"),
        (["1,234,567", "12,000"], [1234567, 12000], "int64"),
        (["1,234.50", "7"], [1234.5, 7.0], "float64"),
    ],
)
def test_columns_of_numbers_are_numbers(texts, numbers, dtype):
    pd.testing.assert_series_equal(
        column(*texts), pd.Series(numbers, dtype=dtype, name="a"), check_exact=True
    )


@pytest.mark.parametrize(
    "texts",
    [
        ["1,234", "5"],  # a thousand, or a decimal comma
        ["1,5", "2,5"],
        ["007", "008"],
        ["$5", "6"],
        ["5 %", "6"],
        ["1", "two"],
        ["-", ""],
        ["1.234,56", "1"],
        ["1" * 200, "2"],
        [".", "1"],
    ],
)
def test_ambiguous_columns_stay_text(texts):
    assert list(column(*texts)) == texts


def test_the_cells_can_be_read_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackage) as caught:
        data_frame(markdown(["a"], ["1"]))
    assert "[data]" in caught.value.hint
    assert text_table(markdown(["a"], ["1"])).rows == (("1",),)


def test_equal_heads_are_told_apart_in_linear_time():
    """As a small model in a loop writes them."""
    head = "|a" * 4000 + "\n" + "|-" * 4000
    names = text_table(head).columns
    assert len(set(names)) == 4000
    assert names[:3] == ("a", "a.1", "a.2")
    assert text_table("|a|a.1|a|\n|-|-|-|").columns == ("a", "a.1", "a.2")
    with pytest.raises(AnswerUnusable):
        text_table(" " * 100_000 + "x")


def test_padding_of_a_table_is_limited():
    with pytest.raises(AnswerUnusable, match="1,001 rows, one of 1,000 cells"):
        text_table("|a" * 1000 + "\n|-|" + "\n|" * 1000)
