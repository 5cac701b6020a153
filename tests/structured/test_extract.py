"""Code, JSON and formulas are extracted from answers."""

from __future__ import annotations

import contextlib
import json
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import soon

from mixmagic.errors import AnswerUnusable
from mixmagic.structured import extract

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("Sure:\n\n~~~\n  x\n\ny\n~~~\nand\n```\nz\n```", "  x\n\ny"),
        ("x = 1\n", "x = 1"),
        ("\n    indented", "    indented"),
        ("```py\nx = [", "x = ["),
        ("", ""),
        ("```bash\npip install x\n```\n```python\nimport x\n```", "import x"),
    ],
)
def test_code_is_the_first_block_or_all(answer, code):
    assert extract.code(answer) == code


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("x = 1", ""),
        ("```\nx\n```", ""),
        ("```py\nx\n```\n```py\ny\n```", "the first of 2 code blocks"),
        ("```sh\npip install x\n```\n```py\ny\n```", "the last of 2 code blocks"),
        ("```sh\ncd x\n```\n```py\ny\n```\n```\nz\n```", "number 2 of 3 code blocks"),
    ],
)
def test_omitted_blocks_are_noted(answer, said):
    assert extract.other_blocks_note(answer) == said


@given(VALUES)
def test_json_is_found_anywhere_in_an_answer(value):
    text = json.dumps(value, ensure_ascii=False, indent=1)
    assert extract.loads(text) == value
    assert extract.loads(f"Sure:\n\n```json\n{text}\n```\nAnything else?") == value
    if isinstance(value, (dict, list)):
        assert extract.loads(f'It is 5" wide: {text} (see the note).') == value


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("42", 42),
        ('\ufeff {"a": 1}\n', {"a": 1}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("[12345678901234567890123456789]", [12345678901234567890123456789]),
        ('Here [1]: {"a": {"b": "}"}} - done', {"a": {"b": "}"}}),
        ('{"a": "```json\\n1\\n```"}', {"a": "```json\n1\n```"}),
        ('```\n{"a": 1}\n```\n```json\n{"b": 1}\n```', {"b": 1}),
        ('```json\n{"a": 1}', {"a": 1}),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('```jsonl\n{"a": 1}\n{"a": 2}\n```', [{"a": 1}, {"a": 2}]),
        ('{\n"a": 1\n},\n{\n"a": 2\n}', [{"a": 1}, {"a": 2}]),
        ('First {"a": 1}, then {"a": 200}.', {"a": 200}),
        ('{\n    "a": 1,\n    "b": 2\n} or {"a": 200}', {"a": 1, "b": 2}),
        ('{"a": 1}\n\nNote: the [values] are {approximate, as you know}.', {"a": 1}),
        ('The interval [0, 1) gives {"a": 1}', {"a": 1}),
        ('Lists begin with a [ in it: {"a": 1}', {"a": 1}),
        ('Of {1, 2, 3, 4, 5} and \\frac{a}{b}: {"a": 1}', {"a": 1}),
        ("[true]", [True]),
        ('1. {"a": 1}\n2. {"b": 22}', [{"a": 1}, {"b": 22}]),
        ('- {"a": 1}\n- {"b": 22}\n', [{"a": 1}, {"b": 22}]),
        (
            '```json\n{"a": "http://x", // why\n"b": /* two */ 2}\n```',
            {"a": "http://x", "b": 2},
        ),
        ('```json\n{"a": 1}\n```\n```json\n{"b": 22}\n```', {"a": 1}),
    ],
)
def test_json_that_is_not_alone(answer, value):
    assert extract.loads(answer) == value


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("42", ""),
        ("none", ""),
        ('{"a": 1}\n{"b": 2}', ""),
        ('See [page 1]: {"a": 1}', ""),
        ('First {"a": 1}, then {"a": 200}.', "the longest of 2 JSON values"),
        ("```json\n1\n```\n```json\n2\n```", "the first of 2 JSON blocks"),
        ("```json\n1\n```\n```\n[2]\n```", ""),
    ],
)
def test_omitted_json_is_noted(answer, said):
    assert extract.other_values_note(answer) == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I cannot do that.", "has no JSON in it"),
        ("", "has no JSON in it"),
        ('{\n  "a": 1,\n  b: 2\n}', "in line 3, column 3 of the JSON, near '{ \"a\": 1, b: 2 }'"),
        ("So: {'a': 1}", "in line 1, column 2"),
        ('{"a": {"x": 1}, "b": [', "Expecting value in line 1, column 23"),
        ('{b: {"y": 2}}', "in line 1, column 2"),
        ('[red, {"y": 2}]', "in line 1, column 2"),
        ('{"x": [0, 1), "y": {"z": 1}}', "in line 1, column 12"),
        ('{"long": 1}\n{b: 2}', "near '{b: 2}'"),
        ("It is [red, green].", "has no JSON in it"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": -Infinity}', "-Infinity is not a JSON number"),
        ('{"a": 1e999}', "1e999 is not a JSON number"),
        (f'{{"a": {"1" * 5000}}}', "4300 digits"),
        ("[" * 20_000, "nested too deeply"),
        ("__import__('os').getcwd()", "has no JSON in it"),
    ],
)
def test_invalid_json_is_reported_with_its_position(answer, said):
    """A piece of a broken value is never taken for the value."""
    with pytest.raises(AnswerUnusable) as caught:
        extract.loads(answer)
    assert said in caught.value.message
    assert caught.value.hint == extract.ASK_AGAIN


@pytest.mark.parametrize("part", ['\\"', "[a ", "{ ", '{"a": ', '["[', "[0, 1)", '{"a": 1} '])
def test_json_is_found_in_linear_time(part):
    began = time.perf_counter()
    with contextlib.suppress(AnswerUnusable):
        extract.loads('So: {"' + part * (200_000 // len(part)))
    with contextlib.suppress(AnswerUnusable):
        extract.loads("So: " + part * (200_000 // len(part)))
    assert time.perf_counter() - began < soon(10)


@pytest.mark.parametrize(
    ("answer", "latex"),
    [
        (r"\[ x^2 \]", "$$\nx^2\n$$"),
        (r"So \(x\) and $y$, \$5.", r"So $x$ and $y$, \$5."),
        ("$$a\n\nb$$", "$$\na\nb\n$$"),
        ("n(n + 1)/2", "$$\nn(n + 1)/2\n$$"),
        ("42", "$$\n42\n$$"),
        ("x > 3", "$$\nx > 3\n$$"),
        (r"\frac{1}{2}", "$$\n\\frac{1}{2}\n$$"),
        ("x^2 + y^2 = z^2", "$$\nx^2 + y^2 = z^2\n$$"),
        ("```latex\nx_1\n```", "$$\nx_1\n$$"),
        (r"\begin{equation} x \end{equation}", "$$\nx\n$$"),
        (r"\begin{align*} a &= b \end{align*}", "$$\n\\begin{aligned}\na &= b\n\\end{aligned}\n$$"),
        (r"\[\begin{align} a \end{align}\]", "$$\n\\begin{align} a \\end{align}\n$$"),
        (r"x = 1 \text{ if the cell is empty}", "$$\nx = 1 \\text{ if the cell is empty}\n$$"),
    ],
)
def test_formulas_get_dollars_as_delimiters(answer, latex):
    assert extract.latex(answer) == latex


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "There is no formula.",
        "…",
        "$5",
        "Нет.",
        "It costs $5 or $6",
        "The mean is the sum of all values divided by n = 12, written as x_bar.",
        "Use the \\LaTeX command for a square root of the number, as in y = x.",
        "```latex\nThe answer is a sentence with x_1 in it\n```",
    ],
)
def test_prose_has_no_formula(answer):
    with pytest.raises(AnswerUnusable, match="no formula"):
        extract.latex(answer)


def test_a_number_is_exact_on_request():
    answer = "Here: [0.1, 0.10, 1e3, 12345678901234567890.12, 7]"
    exact = extract.loads(answer, exact=True)
    assert exact == [0.1, 0.1, 1000.0, Decimal("12345678901234567890.12"), 7]
    assert [type(each) for each in exact] == [float, float, float, Decimal, int]
    assert [type(each) for each in extract.loads(answer)] == [float] * 4 + [int]
    assert extract.loads("1e-9999999999999999999", exact=True) == 0
