"""`{{ expression }}`: what is replaced, what is not, and what goes wrong in two lines."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.errors import BadArguments, BudgetExceeded, MixmagicError
from mixmagic.prompting.expressions import LITERAL_BRACES_HINT
from mixmagic.prompting.interpolate import expand, similar_variables, values_limit
from mixmagic.prompting.marks import Marks

LIMIT = 100_000
FLAT = st.text() | st.integers() | st.sampled_from(["{{", "}}", "'", '"', "\\", "#", "\n"])
NESTED = st.recursive(
    FLAT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def expanded(text, limit=LIMIT, **names):
    """Expand with these names as the notebook's namespace; a character is a token."""
    (found,) = expand(
        [text], lambda e: eval(e, names), names=names, limit=limit, count=len, marks=Marks()
    )
    return found


def refused(text, **names):
    """Check that it fails in two lines; return both, and the error."""
    with pytest.raises(MixmagicError) as caught:
        expanded(text, **names)
    lines = caught.value._render_traceback_()
    assert len(lines) == 2
    assert not any("\n" in line for line in lines)
    return *lines, caught.value


@given(st.text() | st.text("{}\\$%ab'\"# \n"))
def test_a_text_without_two_braces_comes_back_as_it_is(text):
    text = text.replace("{{", "{ {")
    assert expanded(text) == (text, ())


@pytest.mark.parametrize(
    "text",
    [
        '{{}} println!("{{}}")',
        "{{ }} {{\n}}",
        "{{ x",
        "$x^{{a}_b}$ \\frac{{a}{b}}",
        "int m[2][2] = {{1,2},{3,4}};",
        'f"{{{x}}}" {{{x}}}',
        "}} {{",
        '{"a": {"b": {}}}',
        "{{ ( }",
        "{{ { # }} \n" * 20_000,  # in linear time: the square of it would take minutes
        "{{ ' " * 20_000 + "}",
        "{{a} " * 20_000 + "}}",
    ],
)
def test_braces_without_an_expression_are_literal(text):
    assert expanded(text, x="never", a="never") == (text, ())


@pytest.mark.parametrize("unit", ["{{ # ", "{{\\'"])
def test_unclosed_braces_are_read_in_linear_time(unit):
    text = unit * 6_000 + "\n" + "() '' " * 6_000
    begun = time.process_time()
    assert expanded(text) == (text, ())
    assert time.process_time() - begun < 2, "0.1 s; the square of it takes 4 s and a minute"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{ x }}", "7"),
        ("{{x}}{{x}}", "77"),
        ("a {{ x\n}} b", "a 7 b"),
        ("{{ '}}' }}", "}}"),
        ("{{ '''}}\n''' }}", "}}\n"),
        (r"{{ '\'}}' }}", "'}}"),
        (r"{{ r'\}}' }}", r"\}}"),
        ('{{ {"a": {1}} }}', "{'a': {1}}"),
        ("{{ {'a': {'b': {}}}['a'] }}", "{'b': {}}"),
        ('{{ f"{ {1: x}[1] }" }}', "7"),
        ('{{ f"{{{x}}}" }}', "{7}"),
        ("{{ (lambda a: {a})(x) }}", "{7}"),
        ("{{ [x,  # }} not yet\n x] }}", "[7, 7]"),
        ("{{ x # the end }} and on", "7 and on"),
        ("{{ x # one }} and {{ x # two }}", "7 and 7"),
        ("{{ x\n + x }}", "14"),
        ("{{ y := x }}{{ y }}", "77"),
        ("{{ '" + "}}" * 50_000 + "'[x] }}", "}"),
        ("{{ x, x }}", "(7, 7)"),
        ("{{ [a for a in (x,)][0] }}", "7"),
        (r"\{{ x }} {{ x }}", "{{ x }} 7"),
        (r"\{{ x }} \{ \\ \}}", r"{{ x }} \{ \\ \}}"),
        ("{{a} {{ x }}", "{{a} 7"),
        ("{{ ( {{ x }}", "{{ ( 7"),
        ("${{ x }} $", "$7 $"),
        ("{{ 'a' if x else '{{' }}", "a"),
    ],
)
def test_an_expression_ends_where_python_would_end_it(text, result):
    assert expanded(text, x=7).text == result


def test_a_warning_of_pythons_comes_once_when_it_is_evaluated():
    text = r"{{ '\d' }}"  # warnings are errors here
    (found,) = expand([text], lambda e: e, names=(), limit=LIMIT, count=len, marks=Marks())
    assert found.text == r"'\d'"


@given(NESTED, st.sampled_from(["{{%s}}", "{{ %s }}", "{{\n%s\n}}"]))
def test_any_literal_is_found_whole(value, form):
    seen = []
    written = repr(value)
    if form == "{{%s}}" and written.startswith("{"):
        written = f" {written} "  # three braces in a row are literal
    text = f"<{form % written}>"
    expand([text], lambda e: seen.append(eval(e)), names=(), limit=LIMIT, count=len, marks=Marks())
    assert seen == [value]


@given(st.text() | st.sampled_from(["{{ x }}", r"\{{", "}}", "{{"]))
def test_values_are_data(value):
    assert expanded("a{{ x }}b{{x}}", x=value).text == f"a{value}b{value}"


def test_each_is_evaluated_once_and_in_order():
    items = []
    result = expanded(
        "{{ items.append(1) or items }} {{ items.append(2) or items }} {{ items }}", items=items
    )
    assert result.text == "[1] [1, 2] [1, 2]"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("{{ .Name }}", "`{{ .Name }}` in line 2 is not valid Python: invalid syntax"),
        ("{{#if x}}", "`{{ #if x }}` in line 2"),
        ("{{ f(x }}", "'(' was never closed"),
        ("{{ don't }}", "unterminated string"),
        ("{{ a) + (b }}", "unmatched ')'"),
        ("{{ x = 1 }}", "invalid syntax"),
        ("{{ await x }}", "'await' outside function"),
        ("{{ '\0' }}", "null bytes"),
        ("{{ %s }}" % ("(" * 500 + ")" * 500), "too many nested parentheses"),
    ],
)
def test_nothing_is_evaluated_if_an_expression_is_invalid(wrong, says):
    calls = []
    message, hint, error = refused(f"{{{{ calls.append(1) }}}}\n{wrong}", calls=calls)
    assert isinstance(error, BadArguments)
    assert says in message
    assert r"`\{{`" in hint
    assert "--raw" in hint
    assert calls == []


@pytest.mark.parametrize(
    ("wrong", "right", "text"),
    [
        ("{{ x:.2f }}", '{{ f"{x:.2f}" }}', "7.00"),
        ("{{x!r}}", '{{ f"{x!r}" }}', "7"),
        ('{{ {"a": x}["a"]:03 }}', '{{ f\'{ {"a": x}["a"]:03}\' }}', "007"),
    ],
)
def test_a_format_is_written_as_pythons_own(wrong, right, text):
    hint = refused(wrong, x=7)[1]
    assert hint.startswith(f"Hint: Formats need an f-string: `{right}`. ")
    assert r"`\{{`" in hint
    assert expanded(right, x=7).text == text


@pytest.mark.parametrize(
    "latex", [r"{{x^{\alpha}}}", r"\frac{{\pi}}{2}", "{{ {a b} }}", "{{ a b }}"]
)
def test_a_backslash_makes_braces_literal(latex):
    hint = refused(latex)[1]
    assert hint == f"Hint: {LITERAL_BRACES_HINT}"
    assert expanded(latex.replace("{{", r"\{{", 1)).text == latex


def test_nothing_is_evaluated_if_another_text_of_the_call_is_invalid():
    calls = []
    with pytest.raises(BadArguments, match="not valid Python"):
        expand(
            ["{{ 1 }}", "{{ * }}"], calls.append, names=(), limit=LIMIT, count=len, marks=Marks()
        )
    assert calls == []


def test_an_unknown_name_is_named_with_the_nearest_ones():
    message, hint, error = refused("{{ len(framw) }}", frame=1, frames=2, other=3)
    assert message == "BadArguments: `{{ len(framw) }}`: there is no variable 'framw'."
    assert hint.startswith("Hint: Did you mean frame or frames? ")
    assert "--raw" in hint
    assert isinstance(error, BadArguments)
    assert "Did you mean print" in refused("{{ pritn(1) }}")[1]
    assert "Did you mean" not in refused("{{ qqqqqqqqqq }}")[1]


def calls_unknown(x):
    return unknown_within + x  # noqa: F821


def test_an_unknown_name_inside_a_function_is_the_functions_failure():
    message, hint, _ = refused("{{ call(2) }}", call=calls_unknown)
    assert "failed: NameError: name 'unknown_within' is not defined" in message
    assert "a cell of its own" in hint
    # The same name in the expression: it is there, in the notebook.
    names = {"call": calls_unknown, "unknown_within": 1}
    assert "failed: NameError" in refused("{{ call(unknown_within) }}", **names)[0]


def test_the_limit_is_the_context_without_the_answer_and_the_texts():
    assert values_limit(["abc", "de"], context=1000, answer=100, count=len) == 1000 - 100 - 128 - 5
    assert values_limit([], context=1000, answer=None, count=len) == 1000 - 250 - 128
    assert values_limit([], context=1000, answer=10**6, count=len) == 1000 - 500 - 128
    assert values_limit(["x" * 900], context=1000, answer=100, count=len) == 0
    assert values_limit([], context=None, answer=None, count=len) == 24_448


def test_similar_variables():
    names = ["df", "Frame", "_dff", "x"]
    assert similar_variables("dff", names) == "Did you mean df? "
    assert similar_variables("_dfg", names).startswith("Did you mean _dff")
    assert similar_variables("frame", names) == "Did you mean Frame? "
    assert similar_variables("zzz", names) == ""


class Broken:
    def __repr__(self):
        raise ZeroDivisionError("no\nrepr")


class Typeless:
    """A lazy object that has nothing to stand for yet."""

    @property
    def __class__(self):
        raise RuntimeError("no application")


class BrokenError(Exception):
    def __str__(self):
        raise ValueError


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ 1 / 0 }}", "`{{ 1 / 0 }}` failed: ZeroDivisionError: division by zero"),
        ("{{ {}['k'] }}", "failed: KeyError: 'k'"),
        ("{{ fail(NameError('x')) }}", "failed: NameError: x"),
        ("{{ fail(BrokenError()) }}", "BrokenError"),
        ("{{ Broken() }}", "`{{ Broken() }}` cannot be inserted: ZeroDivisionError: no repr"),
        ("{{ [Broken()] }}", "cannot be inserted: ZeroDivisionError"),
        ("{{ 10 ** 5000 }}", "cannot be inserted: ValueError"),
        ("{{ Typeless() }}", "cannot be inserted: RuntimeError: no application"),
    ],
)
def test_an_exception_of_an_expression_or_of_its_value_is_two_lines(text, says):
    names = {"fail": fail, "Broken": Broken, "BrokenError": BrokenError, "Typeless": Typeless}
    message, hint, error = refused(text, **names)
    assert says in message
    assert ("a cell of its own" in hint) is ("failed: " in message)
    assert ("Its type is" in hint) is ("inserted: " in message)
    assert "direct cause" not in "".join(traceback.format_exception(error))
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize(
    "name", ["missing.png", "a b/MISSING.JPG", "https://example.org/a.webp", "scan.tif", "a.svg"]
)
def test_a_name_of_an_image_that_is_not_sent_as_one_is_noted(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan.tif").write_bytes(b"II*\0")
    note = "sent as text: it names no PNG, JPEG, GIF or WebP file that is there"
    PIL.Image.new("L", (9, 9)).save("there.png")
    for value in (name, Path(name), [name], ["there.png", name]):
        assert expanded("See {{ x }}.", x=value) == (f"See {value}.", (f"x {note}",))
    assert expanded(f"See {name}.")[1] == ()
    loop = [name]
    loop.append(loop)
    for text in ("notes.md", f"{name} is lost", f"line\n{name}", [name, "a"], {"a": name}, loop):
        assert note not in "".join(expanded("See {{ x }}.", x=text)[1])


def test_our_own_errors_and_stops_pass_unchanged():
    over = BudgetExceeded("It could cost up to $2.", "Raise it.")
    assert refused("{{ fail(over) }}", fail=fail, over=over)[2] is over
    with pytest.raises(KeyboardInterrupt):
        expanded("{{ fail(KeyboardInterrupt()) }}", fail=fail)


def test_large_values_are_cut_and_small_ones_stay_whole():
    text, notes = expanded(
        "{{ a }}|{{ b }}|{{ c }}", limit=1000, a="a" * 5000, b="b" * 50, c="c" * 900
    )
    first, second, third = text.split("|")
    assert second == "b" * 50
    assert len(first) + len(second) + len(third) <= 1000
    kept = first.count("a", 0, first.index("\n"))
    assert first.endswith(f"\n[cut to the first {kept} of 5,000 characters]")
    assert kept > 350
    assert notes[0] == f"a cut to the first {kept} of 5,000 characters"
    assert [note.split()[0] for note in notes] == ["a", "c"]


def test_texts_of_one_call_share_the_limit():
    names = {"a": "a" * 5000}
    found = expand(
        ["{{ a }}", "{{ a }}!"],
        lambda e: eval(e, names),
        names=names,
        limit=1000,
        count=len,
        marks=Marks(),
    )
    assert [one.text[-1] for one in found] == ["]", "!"]
    assert sum(len(one.text) for one in found) <= 1001
    assert all(len(one.notes) == 1 for one in found)


@given(st.lists(NESTED, min_size=1, max_size=5), st.integers(400, 3000))
def test_values_never_exceed_the_limit(values, limit):
    names = {f"v{n}": value for n, value in enumerate(values)}
    text, notes = expanded("".join(f"{{{{ {name} }}}}" for name in names), limit=limit, **names)
    assert len(text) <= limit
    whole = "".join(value if isinstance(value, str) else repr(value) for value in values)
    assert bool(notes) == (text != whole)


def test_with_a_limit_of_zero_only_the_cut_is_noted():
    assert expanded("{{ a }}", limit=0, a="abc").text == "[cut to the first 0 of 3 characters]"
    assert expanded("{{ a }}", limit=-5, a="").text == ""


class Lines:
    """A value of two lines."""

    def _repr_prompt_(self):
        return "one\ntwo"


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("Analyse {{ x }} and plot it.", "Analyse\n\none\ntwo\n\nand plot it."),
        ("What is {{ x }}?", "What is\n\none\ntwo\n\n?"),
        ("<a>{{ x }}</a>", "<a>\n\none\ntwo\n\n</a>"),
        ("{{ x }}{{ x }}", "one\ntwo\n\none\ntwo"),
        ("{{ x }} {{ n }} is", "one\ntwo\n\n7 is"),
        ("{{ n }} {{ x }}", "7\n\none\ntwo"),
        ("Data: {{ x }} \nPlot it.", "Data:\n\none\ntwo \nPlot it."),
        ("{{ x }}", "one\ntwo"),
        ("Data:\n{{ x }}\nPlot it.", "Data:\none\ntwo\nPlot it."),
        ("- a\n  {{ x }}\n- b", "- a\n  one\ntwo\n- b"),
        ("Is {{ n }} odd, {{ s }}?", "Is 7 odd, a\nstring?"),
        ("A {{ s }} {{ x }} {{ s }}", "A a\nstring\n\none\ntwo\n\na\nstring"),
    ],
)
def test_a_value_of_several_lines_is_set_apart_unless_it_is_a_string(prompt, sent):
    assert expanded(prompt, x=Lines(), n=7, s="a\nstring").text == sent


@pytest.mark.parametrize(
    ("prompt", "end"),
    [
        ("{{ df }}\nPlot it.", "| 7 |\n\nPlot it."),
        ("Data:\n{{ df }} \n  and {{ n }}", "| 7 | \n\n  and 7"),
        ("{{ df }}\n{{ n }}", "| 7 |\n\n7"),
        ("{{ df }}\n{{ s }}", "| 7 |\n\na\nstring"),
        ("{{ df }}\r\nPlot it.", "| 7 |\r\n\nPlot it."),
        ("{{ df }}\n \nPlot it.", "| 7 |\n \nPlot it."),
        ("{{ df }}\n\nPlot it.\nNow.", "| 7 |\n\nPlot it.\nNow."),
        ("```\n{{ df }}\n```\nPlot it.", "| 7 |\n```\nPlot it."),
        ("{{ df }}\n", "| 7 |\n"),
        ("{{ df }}\n{{ x }}\nPlot it.", "| 7 |\n\none\ntwo\nPlot it."),
    ],
)
def test_the_line_below_a_table_is_not_one_of_its_rows(prompt, end):
    frame = pytest.importorskip("pandas").DataFrame({"a": [7]})
    sent = expanded(prompt, df=frame, n=7, s="a\nstring", x=Lines()).text
    assert sent.endswith(f"| a |\n|---|\n{end}")


def test_two_tables_one_below_the_other():
    frame = pytest.importorskip("pandas").DataFrame({"a": [7]})
    assert "| 7 |\n\npandas DataFrame" in expanded("{{ df }}\n{{ df }}", df=frame).text


def test_a_table_in_a_sentence_is_whole():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [7]})
    sent = expanded("Mean of {{ df }}, please.", df=frame).text
    assert sent.startswith("Mean of\n\npandas DataFrame: 1 row, 1 column\n")
    assert sent.endswith("\n\n| a |\n|---|\n| 7 |\n\n, please.")
