"""The forms of an answer: what the model is told, and what is shown of what it says."""

from __future__ import annotations

import html
import json
import re
import sys
from dataclasses import replace

import pytest
from hostile import ATTACKS, IMG
from kernels import Desk
from server import Answer
from server import together as streamed

from mixmagic.calls.completion import Completion
from mixmagic.catalog import Catalog
from mixmagic.core.money import Usage
from mixmagic.core.values import Message, Request
from mixmagic.display.formats import FORMATS
from mixmagic.errors import AnswerUnusable, MissingPackage

WRAPPED = "white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere"
REQUEST = Request(Catalog().resolve("8x7b"), (Message("user", "Hi"),))


@pytest.fixture
def provider(together):
    """The scripted server, with a page for an answer."""
    together.plan = [Answer(streamed("<h1>a</h1>"))]
    return together


@pytest.fixture
def desk(provider, start_kernel):
    """A kernel that asks it."""
    return start_kernel()


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A kernel for several tests."""
    room = Desk(tmp_path_factory.mktemp("room"))
    yield room
    room.close()


def answered(text: str) -> Completion:
    return Completion(text, Usage(9, 5), None, "stop", REQUEST, 1.0, 0.5)


def framed(bundle: dict[str, str]) -> str:
    """The page inside the frame, without our own head."""
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', bundle["text/html"])[1])
    head, _, body = page.partition("<body>")
    assert "default-src 'none'" in head
    return body


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("<h1>a</h1>", "<h1>a</h1>"),
        ('<p class="a">"</b><script>', '<p class="a">"</p>'),
        ("<iframe src=x></IFRAME><object><b>", "<b></b>"),
        ("```html\n<h1>a</h1>\n```", "<h1>a</h1>"),
        ("```\n<h1>a</h1>\n", "<h1>a</h1>"),
        ("Here:\n```html\n<b>\n```\nIt shows b.", "<b></b>"),
        ("Here:\n~~~\n<b>\n~~~", "<b></b>"),
        ("```css\na {}\n```\n```HTML\n<b>\n```\n```html\n<i>\n```", "<b></b>"),
        ("```svg\n<svg/>\n```\nThat is all.", "<svg></svg>"),
        ("```css\na {}\n```\n```HTML5\n<b>\n```", "<b></b>"),
        ("<pre>\n```html\nx\n```\n</pre>", "<pre>```html\nx\n```\n</pre>"),
    ],
)
def test_a_page_stays_in_its_frame(text, page):
    bundle = FORMATS["html"].whole(answered(text), "$1")
    assert framed(bundle) == page
    assert bundle["text/html"].count("<iframe ") == 1
    assert " sandbox srcdoc=" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]
    assert bundle["text/html"].endswith("session <span>&#36;</span>1</div>")
    assert bundle["text/plain"].startswith(text.rstrip())
    assert FORMATS["html"].finished(answered(text)).value is None


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("html", "```css\na {}\n```\n```html\n<b>\n```", "the last of 2 code blocks"),
        ("code", "```py\nx\n```\n```py\ny\n```", "the first of 2 code blocks"),
        ("json", "```json\n1\n```\n```json\n2\n```", "the first of 2 JSON blocks"),
    ],
)
def test_omissions_are_noted_in_the_footer(form, text, said):
    assert f" · {said} · session " in FORMATS[form].whole(answered(text), "$1")["text/plain"]
    one = text[: text.index("```", 3)] + "```"
    assert " of " not in FORMATS[form].whole(answered(one), "$1")["text/plain"]


def test_a_models_name_stays_in_its_attribute():
    model = Catalog().resolve('openai:m" onload="acted()')
    answer = replace(answered("<b>"), request=Request(model, REQUEST.messages))
    assert (
        'title="openai:m&quot; onload=&quot;acted()'
        in FORMATS["html"].whole(answer, "")["text/html"]
    )


def test_progress_messages_are_not_markdown(desk, provider):
    """A model's name may be anything."""
    provider.plan = [Answer([1.3, *streamed("Hi")])]
    ran = desk.run("%%mixtral -m 'together:<img src=x>![y](http://z)'\nHi")
    datas = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    waiting = datas[0]["text/markdown"]
    assert "waiting for together:&lt;img src=x>&#33;&#91;y&#93;(http&#58;//z) …" in waiting
    assert waiting.startswith("<div ")


def test_the_markdown_format_equals_the_completions_own_bundle():
    answer = answered("*a* <b>")
    assert FORMATS["markdown"].whole(answer, "$1") == answer.bundle("$1")
    growing = FORMATS["markdown"].segments()
    assert growing.feed("*a* <b>\x1b[2J") == [{"text/markdown": "*a* &lt;b>"}]


def test_the_formats_instruction_follows_the_users_own(desk, provider):
    desk.run("%%mixtral -f html -s Briefly.\nHi")
    system = provider.received[-1].body["messages"][0]
    assert system["role"] == "system"
    assert system["content"] == f"Briefly.\n\n{FORMATS['html'].instruction}"
    desk.run("%%mixtral\nHi")
    assert [m["role"] for m in provider.received[-1].body["messages"]] == ["user"]


def test_a_page_is_counted_while_it_streams_and_framed_at_its_end(desk, provider):
    provider.plan = [Answer([*streamed("<h1>", "a")[:-1], 0.5, *streamed("</h1>")])]
    ran = desk.run("%%mixtral -f html\nHi")
    shown = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    assert any("5 characters …" in data.get("text/markdown", "") for data in shown)
    assert [output["kind"] for output in ran.outputs] == ["display_data"]
    assert framed(ran.outputs[0]["data"]) == "<h1>a</h1>"


def test_a_page_in_a_saved_notebook_is_one_output(desk, provider):
    ran = desk.run("%%mixtral -f html\nHi", live=False)
    assert set(ran.outputs[0]["data"]) == {"text/html", "text/plain"}
    assert len(ran.outputs) == 1


def test_an_unknown_format_is_refused_before_anything_is_sent(desk, provider):
    ran = desk.run("%%mixtral -f pdf\nHi")
    assert ran.reply["ename"] == "BadArguments"
    assert ran.traceback == [
        "BadArguments: There is no format 'pdf'.",
        "Hint: Formats are markdown, text, code, json, html, latex, table.",
    ]
    assert provider.received == []


def shown(form: str, text: str) -> dict[str, str]:
    """Return the bundle of an answer without its footer."""
    bundle = FORMATS[form].whole(answered(text), "$1")
    footer = answered(text).footer("$1")
    assert all("9 → 5 tokens" in each for each in bundle.values())
    bare = {
        kind: re.sub(r"\s*<div style.*", "", each, flags=re.DOTALL) for kind, each in bundle.items()
    }
    return {**bare, "text/plain": bundle["text/plain"].split(footer)[0].strip("\n")}


@pytest.mark.parametrize("form", FORMATS)
def test_the_instruction_is_one_line(form):
    told = FORMATS[form].instruction
    assert "\n" not in told
    assert bool(told) is (form != "markdown")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", ["", "\n", "I cannot."])
def test_an_answer_in_another_format_is_shown_as_text(form, text):
    """A stopped one too: it may be anything."""
    assert text.strip() in shown(form, text)["text/plain"]


def test_text_is_not_markdown_and_keeps_its_spaces():
    found = shown("text", "# a  *b*\n    c <b>\x1b[2J")
    assert found["text/html"] == f'<pre style="{WRAPPED}"># a  *b*\n    c &lt;b&gt;</pre>'
    assert found["text/plain"] == "# a  *b*\n    c <b>"
    (piece,) = FORMATS["text"].segments().feed("  *b* <\x07")
    assert piece == {"text/html": f'<pre style="{WRAPPED}">  *b* &lt;</pre>'}


@pytest.mark.parametrize(
    ("text", "body", "code"),
    [
        ("Sure:\n```python\nx = 1\n```\nDone.", "```python\nx = 1\n```", "x = 1"),
        ("x = 1", "```\nx = 1\n```", "x = 1"),
        ("~~~md\n```\na\n```\n~~~", "````md\n```\na\n```\n````", "```\na\n```"),
    ],
)
def test_the_code_format_shows_only_code(text, body, code):
    found = shown("code", text)
    assert found == {"text/markdown": body, "text/plain": code}
    assert FORMATS["code"].finished(answered(text)).value == code


def test_json_is_reformatted_and_parsed():
    text = 'Sure: {"b": [1, "é"], "a": 10000000000000000000001}'
    found = shown("json", text)
    pretty = '{\n  "b": [\n    1,\n    "é"\n  ],\n  "a": 10000000000000000000001\n}'
    assert found == {"text/markdown": f"```json\n{pretty}\n```", "text/plain": pretty}
    finished = FORMATS["json"].finished(answered(text))
    assert finished.value == {"b": [1, "é"], "a": 10000000000000000000001}
    assert finished.text == text


def test_json_with_lone_surrogates_is_escaped():
    assert "\\ud800" in shown("json", '["\\ud800 é"]')["text/markdown"]


def test_json_nested_too_deeply_is_shown_as_text():
    """Since Python 3.12 `json` reads deeper than it writes."""

    def endless(completion):
        return endless(completion)

    form = replace(FORMATS["json"], render=endless)
    assert form.whole(answered("[[1]]"), "")["text/plain"].startswith("[[1]]\n\ntogether")


def test_formulas_are_typeset():
    found = FORMATS["latex"].whole(answered(r"\[ x^2 \]"), "$0.5")
    assert set(found) == {"text/markdown", "text/plain"}
    assert found["text/markdown"].startswith("$$x^2$$\n\n<div")
    assert found["text/plain"].startswith(r"\[ x^2 \]")
    assert FORMATS["latex"].finished(answered(r"\(x\)")).value == "$x$"


def test_a_table_is_html_and_a_frame():
    text = "Sure:\n\n| a<b> | cost |\n|---|--:|\n| x \\| y | 5 |\n| $1 $2 | 7 |"
    found = FORMATS["table"].whole(answered(text), "")
    rows = re.findall("<tr>.*?</tr>", found["text/html"])
    assert rows == [
        "<tr><th>a&lt;b></th><th>cost</th></tr>",
        "<tr><td>x &#124; y</td><td>5</td></tr>",
        "<tr><td><span>&#36;</span>1 <span>&#36;</span>2</td><td>7</td></tr>",
    ]
    assert found["text/plain"].startswith(text)
    frame = FORMATS["table"].finished(answered(text)).value
    assert frame.cost.sum() == 12
    assert list(frame["a<b>"]) == ["x | y", "$1 $2"]


def test_a_long_table_is_shown_in_part_but_parsed_whole():
    text = "| a |\n|---|\n" + "\n".join(f"| {number} |" for number in range(1500))
    found = FORMATS["table"].whole(answered(text), "")["text/html"]
    assert found.count("<tr>") == 101
    assert "… and 1,400 more rows" in found
    assert len(FORMATS["table"].finished(answered(text)).value) == 1500


def test_omitted_tables_are_noted():
    text = "| a |\n|---|\n| 1 |\n\n| b |\n|---|\n| 2 |"
    assert "the first of 2 tables" in FORMATS["table"].whole(answered(text), "")["text/html"]
    finished = FORMATS["table"].finished(answered(text))
    assert finished.notes == ("the first of 2 tables",)
    assert list(finished.value.columns) == ["a"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_acts_in_html(attack):
    """In a cell of a table, in text, and where neither could be made of the answer."""
    row = attack.replace("\n", " ").replace("|", "\\|")
    for form, text in [("text", attack), ("table", f"| a |\n|---|\n| {row} |"), ("json", attack)]:
        found = shown(form, text).get("text/html", "")  # `[]` in an attack is JSON
        tags = re.findall(r"</?([A-Za-z!?]\w*)", found)
        assert set(tags) <= {"table", "thead", "tbody", "tr", "th", "td", "pre", "span"}


def test_a_fence_in_code_does_not_end_it():
    for form, text in [("code", f"~~~\n```\n{IMG}\n~~~"), ("json", json.dumps([f"\n```\n{IMG}"]))]:
        body = shown(form, text)["text/markdown"]
        fence = re.match("`+", body)[0]
        assert body.endswith(f"\n{fence}")
        assert body.count(fence) == 2


@pytest.mark.parametrize(
    ("form", "text"),
    [("json", '{"a": '), ("table", "none"), ("json", "[NaN]"), ("html", "I cannot."), ("html", "")],
)
def test_an_unreadable_answer_is_kept(form, text):
    answer = answered(text)
    with pytest.raises(AnswerUnusable) as caught:
        FORMATS[form].finished(answer)
    assert caught.value.partial is answer
    assert len(caught.value._render_traceback_()) == 2
    with pytest.raises(AnswerUnusable) as caught:
        FORMATS[form].finished(replace(answer, finish="length"))
    assert caught.value.message == "The answer was cut off at 5 tokens: it is not complete."
    assert caught.value.hint.startswith("Raise --max-tokens")
    zero = replace(answer, request=replace(answer.request, params={"temperature": 0}))
    with pytest.raises(AnswerUnusable) as caught:
        FORMATS[form].finished(zero)
    assert "-t 0" not in caught.value.hint, "it was given"


def test_a_table_without_pandas_is_shown_and_kept(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    answer = answered("| a |\n|---|\n| 1 |")
    assert "<td>1</td>" in FORMATS["table"].whole(answer, "")["text/html"]
    with pytest.raises(MissingPackage) as caught:
        FORMATS["table"].finished(answer)
    assert caught.value.partial is answer


@pytest.mark.parametrize("form", ["markdown", "text"])
def test_text_formats_have_no_value(form):
    assert FORMATS[form].finished(answered("a")) is not None
    assert FORMATS[form].finished(answered("a")).value is None


@pytest.mark.parametrize(
    ("form", "pieces", "kinds"),
    [
        ("text", ["*a*\n", "  b"], {"text/html", "text/plain"}),
        ("code", ["```py\nx", " = 1\n```"], {"text/markdown", "text/plain"}),
        ("json", ['{"a":', " 1}"], {"text/markdown", "text/plain"}),
        ("latex", ["\\[ x", " \\]"], {"text/markdown", "text/plain"}),
        ("table", ["| a |\n|---|\n", "| 1 |"], {"text/html", "text/plain"}),
        ("table", ["no ", "table"], {"text/html", "text/plain"}),
    ],
)
def test_every_format_is_one_output_of_a_cell(room, form, pieces, kinds):
    for live in (True, False):
        ran = room.run(f"%%mixtral -f {form}\nHi", Answer(streamed(*pieces)), live=live)
        (output,) = [each for each in ran.outputs if each["kind"] != "error"]
        assert output["kind"] == "display_data"
        assert set(output["data"]) == kinds
        assert "9 → 2 tokens" in output["data"]["text/plain"]


def test_cells_of_a_table_have_neither_formulas_nor_control_sequences():
    table = "| a |\n|---|\n| \x1b[2J$x$ |"
    page = FORMATS["table"].whole(answered(table), "")["text/html"]
    assert "\x1b" not in page
    assert '<table class="mathjax_ignore tex2jax_ignore">' in page
