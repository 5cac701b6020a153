"""Several answers: tabs where a person can choose, else one under the other."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hostile import ATTACKS, TEXTS
from hypothesis import given, settings
from kernels import Desk
from markdown_it import MarkdownIt
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from server import Answer, chunk, frames, usage

from mixmagic.calls.completion import answer_titles, safe_bundle, with_headings
from mixmagic.display.bundles import in_tabs

_COMMONMARK = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
READERS = {"mistune": markdown2html_mistune, "markdown-it": _COMMONMARK.render}
_VOID = {"input", "br", "hr"}
_LONG = "Word after word, in *some* sentence or other.\n\n" * 200
# For each form, several answers and what a person reads of each; one MIME type that shows it.
FORMS = {
    "markdown": (["*One*", "- two\n  - three", "$x$"], "text/markdown"),
    "text": (["*One*", "two\n\n  three"], "text/html"),
    "code": (["So:\n```py\na = 1\n```", "```\nb\n```"], "text/markdown"),
    "json": (['{"a": 1}', "[2]"], "text/markdown"),
    "latex": (["\\[ x \\]", "\\[ y \\]"], "text/markdown"),
    "html": (["<h1>a</h1>", "<p>b</p>"], "text/html"),
    "table": (["| a |\n|---|\n| 1 |", "| b |\n|---|\n| 2 |"], "text/html"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def several(*texts: str) -> Answer:
    """Several answers to one question, as Together streams them."""

    def piece(index: int, text: str | None, finish: str | None = None, **more):
        each = chunk(text, finish, **more)
        each["choices"][0]["index"] = index
        return each

    steps = [
        piece(index, text[at : at + 500])
        for index, text in enumerate(texts)
        for at in range(0, len(text), 500)
    ]
    steps += [piece(index, None, "stop") for index in range(len(texts))]
    steps[-1] |= usage(9, 30)
    return Answer([frames(each, done=each is steps[-1]) for each in steps])


class _Panes(HTMLParser):
    """The texts of the panes of a page, and what stands in the form but in none of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.panes: list[str] = []
        self.astray: list[str] = []
        self.open: list[str] = []
        self.tabs: list[dict[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        if self.open == ["form"]:
            if tag == "div" and "hidden" not in dict(attrs):
                self.panes.append("")
            elif tag == "input":
                self.tabs.append(dict(attrs))
        self.open += [] if tag in _VOID else [tag]

    def handle_endtag(self, tag):
        if tag not in _VOID and (not self.open or self.open.pop() != tag):
            self.astray.append(tag)

    def handle_data(self, data):
        if self.open[:2] == ["form", "div"] and self.panes:
            self.panes[-1] += data
        elif "style" not in self.open and self.open[:1] == ["form"]:
            self.astray.append(data.strip())


def panes(page: str) -> list[str]:
    """Return the content of each pane."""
    read = _Panes(page)
    assert read.open == []
    assert not any(read.astray), read.astray
    assert [tab["aria-label"] for tab in read.tabs] == answer_titles(len(read.panes))
    assert ["checked" in tab for tab in read.tabs] == [True, *[False] * (len(read.panes) - 1)]
    assert all(tab["hidden"] for tab in read.tabs), "without the style nothing of them is left"
    return [" ".join(pane.split()) for pane in read.panes]


def tabs_of(*texts: str) -> str:
    return in_tabs(answer_titles(len(texts)), with_headings([safe_bundle(text) for text in texts]))[
        "text/markdown"
    ]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_answer_stays_in_its_pane(attack, reader):
    first, second, third = panes(READERS[reader](tabs_of(attack, "Next.", "</div></form>")))
    assert first.startswith("Answer 1 of 3")
    assert second == "Answer 2 of 3 Next."
    assert third == "Answer 3 of 3 </div></form>"


@settings(max_examples=300, deadline=None)
@given(first=TEXTS, second=TEXTS)
def test_any_answers_stay_in_their_panes(first, second):
    """For CommonMark's reader; nbconvert's lets mathematics go on beyond a blank line."""
    one, two, last = panes(READERS["markdown-it"](tabs_of(first, second, "Next.")))
    assert one.startswith("Answer 1 of 3")
    assert two.startswith("Answer 2 of 3")
    assert last == "Answer 3 of 3 Next."


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", ["```py\nx", "~~~~\n```", "- a\n  ```\n  b", "$$\nx", "<div>", ""])
def test_an_unclosed_construct_ends_with_its_pane(text, reader):
    found = panes(READERS[reader](tabs_of(text, text)))
    assert [pane[:13] for pane in found] == ["Answer 1 of 2", "Answer 2 of 2"]


@pytest.mark.parametrize("form", FORMS)
def test_every_format_has_tabs_in_a_live_notebook(desk, form):
    texts, kind = FORMS[form]
    ran = desk.run(f"%%mixtral -n {len(texts)} -f {form}\nHi", several(*texts))
    (output,) = [each for each in ran.outputs if each["kind"] != "error"]
    page = output["data"][kind]
    tabs, _, footer = page.rpartition("</form>")
    assert "9 → 30 tokens" in footer
    assert tabs.count("<input type=") == len(texts)
    read = READERS["markdown-it"](page) if kind == "text/markdown" else page
    assert len(panes(read)) == len(texts)
    for text, place in zip(texts, answer_titles(len(texts)), strict=True):
        plain = text if form not in ("code", "json") else ""
        assert f"{place}:\n{plain}" in output["data"]["text/plain"]


@pytest.mark.parametrize("form", FORMS)
def test_every_format_is_stacked_in_a_single_output(desk, form):
    texts, kind = FORMS[form]
    ran = desk.run(f"%%mixtral -n {len(texts)} -f {form}\nHi", several(*texts), live=False)
    (output,) = [each for each in ran.outputs if each["kind"] != "error"]
    places = [output["data"][kind].find(title) for title in answer_titles(len(texts))]
    assert -1 not in places
    assert places == sorted(places)
    assert "<form" not in output["data"][kind]
    assert output["data"][kind].count("9 → 30 tokens") == 1


def test_if_one_answer_is_not_in_the_format_all_are_shown_as_text(desk):
    ran = desk.run("%%mixtral -n 2 -f json\nHi", several('{"a":1}', "I cannot."))
    (output,) = ran.outputs
    first, second = panes(output["data"]["text/html"].partition("</form>")[0] + "</form>")
    assert first == 'Answer 1 of 2{"a":1}'
    assert second == "Answer 2 of 2I cannot."


@pytest.mark.parametrize("count", [2, 3])
def test_a_long_first_answer_stays_and_the_others_follow(desk, count):
    others = ["Short.", "Shorter."][: count - 1]
    ran = desk.run(f"print('kept')\n%mixtral -n {count} Hi", several(_LONG, *others))
    kept, *segments, last = ran.outputs
    assert kept["text"] == "kept\n"
    assert len(segments) > 1
    for kind in ("text/markdown", "text/plain"):
        whole = "".join(each["data"][kind] for each in segments)
        assert whole.count("Word after word") == 200, "it is shown once"
    assert "9 → 30 tokens" not in whole
    markdown = last["data"]["text/markdown"]
    assert "Word after word" not in markdown
    assert markdown.count("<input type=") == (2 if count == 3 else 0)
    for place, text in enumerate(others, 2):
        assert f"**Answer {place} of {count}**\n\n{text}" in markdown
    assert "9 → 30 tokens" in markdown


def test_one_answer_has_neither_tabs_nor_heading(desk):
    ran = desk.run("%%mixtral -n 1\nHi", several("One."))
    assert ran.markdown.startswith("One.\n\n<div style")
