"""The forms of an answer: what the model is told, and what is shown of what it says."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from server import Answer
from server import together as streamed

from mixmagic.catalog import Catalog
from mixmagic.completion import Completion
from mixmagic.display.formats import FORMATS
from mixmagic.money import Usage
from mixmagic.values import Message, Request

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


def answered(text: str) -> Completion:
    return Completion(text, Usage(9, 5), None, "stop", REQUEST, 1.0, 0.5)


def framed(bundle: dict[str, str]) -> str:
    """The page inside the frame, without our own head."""
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', bundle["text/html"])[1])
    head, _, rest = page.partition('content="off">')
    assert "default-src 'none'" in head
    return rest


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("<h1>a</h1>", "<h1>a</h1>"),
        ('<p class="a">"</b><script>', '<p class="a">"</b><script>'),
        ("<iframe src=x></IFRAME><object><b>", "&lt;iframe src=x>&lt;/IFRAME>&lt;object><b>"),
        ("```html\n<h1>a</h1>\n```", "<h1>a</h1>"),
        ("```\n<h1>a</h1>\n", "<h1>a</h1>"),
        ("Here:\n```html\n<b>\n```", "Here:\n```html\n<b>\n```"),
        ("", ""),
    ],
)
def test_a_page_stays_in_its_frame(text, page):
    bundle = FORMATS["html"].whole(answered(text), "$1")
    assert framed(bundle) == page
    assert bundle["text/html"].count("<iframe sandbox ") == 1
    assert "<script" not in bundle["text/html"]
    assert bundle["text/html"].endswith("session <span>&#36;</span>1</div>")
    assert bundle["text/plain"].startswith(text.rstrip())


def test_a_models_name_stays_in_its_attribute():
    model = Catalog().resolve('openai:m" onload="acted()')
    answer = replace(answered("<b>"), request=Request(model, REQUEST.messages))
    assert (
        'title="openai:m&quot; onload=&quot;acted()'
        in FORMATS["html"].whole(answer, "")["text/html"]
    )


def test_what_is_said_before_an_answer_is_no_markdown(desk, provider):
    """A model's name may be anything."""
    provider.plan = [Answer([1.3, *streamed("Hi")])]
    ran = desk.run("%%mixtral -m 'together:<img src=x>![y](http://z)'\nHi")
    datas = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    waiting = datas[0]["text/markdown"]
    assert "waiting for together:&lt;img src=x&gt;![y](http://z) …" in waiting
    assert waiting.startswith("<div ")


def test_markdown_is_what_the_answer_shows_of_itself():
    answer = answered("*a* <b>")
    assert FORMATS["markdown"].whole(answer, "$1") == answer.bundle("$1")
    piece = FORMATS["markdown"].piece("*a* <b>\x1b[2J")
    assert piece == {"text/markdown": "*a* &lt;b>", "text/plain": "*a* <b>"}


def test_the_model_is_told_the_form_behind_the_users_own_instructions(desk, provider):
    desk.run("%%mixtral -f html -s Briefly.\nHi")
    system = provider.received[-1].body["messages"][0]
    assert system["role"] == "system"
    assert system["content"] == f"Briefly.\n\n{FORMATS['html'].instruction}"
    desk.run("%%mixtral\nHi")
    assert [m["role"] for m in provider.received[-1].body["messages"]] == ["user"]


def test_a_page_is_counted_while_it_comes_and_framed_at_its_end(desk, provider):
    provider.plan = [Answer([*streamed("<h1>", "a")[:-1], 0.5, *streamed("</h1>")])]
    ran = desk.run("%%mixtral -f html\nHi")
    shown = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    assert any(data["text/plain"] == "5 characters …" for data in shown)
    assert [output["kind"] for output in ran.outputs] == ["display_data"]
    assert framed(ran.outputs[0]["data"]) == "<h1>a</h1>"


def test_a_page_in_a_saved_notebook_is_one_output(desk, provider):
    ran = desk.run("%%mixtral -f html\nHi", live=False)
    assert set(ran.outputs[0]["data"]) == {"text/html", "text/plain"}
    assert len(ran.outputs) == 1


def test_an_unknown_form_is_refused_before_anything_is_sent(desk, provider):
    ran = desk.run("%%mixtral -f pdf\nHi")
    assert ran.reply["ename"] == "BadArguments"
    assert ran.traceback == [
        "BadArguments: There is no format 'pdf'.",
        "Hint: Formats are markdown, html.",
    ]
    assert provider.received == []
