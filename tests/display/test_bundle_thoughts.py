"""Thoughts of a model: their last words while they come, then a fold above the answer."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hostile import ATTACKS
from kernels import Desk, Ran
from markdown_it import MarkdownIt
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from server import CUT, HANG, Answer, chunk, frames
from server import together as pieces

from mixmagic.calls.collector import Collector
from mixmagic.core.values import Delta
from mixmagic.display.bundles import thoughts_bundle
from mixmagic.display.live import thinking_progress
from mixmagic.sessions import Session

_COMMONMARK = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
READERS = {"mistune": markdown2html_mistune, "markdown-it": _COMMONMARK.render}
FOLDED = re.compile(r"<details[^>]*><summary>Thought for \d+ s</summary>", re.DOTALL)

FOLDED_UNTIMED = re.compile(r"<details[^>]*><summary>Thought[^<]*</summary>")

OPEN = ["</details>", "</summary>", "- a\n  ```\n  b", "$$\nx", "> <details>", "<!--"]


def thought(text: str) -> bytes:
    """A piece of reasoning, as DeepSeek and Together stream it."""
    made = chunk()
    made["choices"][0]["delta"]["reasoning_content"] = text
    return frames(made, done=False)


def thinking_first(*answer, words: int = 12) -> Answer:
    """A model that thinks for a while, in so many words, before its answer."""
    steps = [each for number in range(words) for each in (thought(f"idea{number} "), 0.05)]
    return Answer([*steps, *answer])


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def grown(ran: Ran) -> list[str]:
    """The Markdown that was shown, one after the other."""
    datas = [m["content"]["data"] for _, m in ran.messages if "data" in m["content"]]
    return [data["text/markdown"] for data in datas]


def test_last_words_show_while_it_thinks_and_all_thoughts_are_collapsed_above_the_answer(desk):
    ran = desk.run("%%mixtral -o answer\nHi", thinking_first(*pieces("Hello", " there")))
    assert ran.status == "ok", ran.text
    words = [re.sub(r"<[^>]*>", "", text) for text in grown(ran) if "thinking" in text]
    assert len(words) > 3
    assert all(re.match(r"thinking … \d+ s · .*idea\d+$", each) for each in words), words
    folded, answer = (output["data"] for output in ran.outputs)
    assert FOLDED.match(folded["text/markdown"])
    assert "idea0 idea1 " in folded["text/markdown"]
    assert folded["text/plain"] == "(Thought for 1 s.)"
    assert answer["text/markdown"].startswith("Hello there\n\n<")
    assert "idea" not in answer["text/markdown"]
    assert desk.value("answer.reasoning.split()[-1]") == "idea11"


def test_a_single_output_has_the_thoughts_above_the_answer(desk):
    ran = desk.run("%%mixtral\nHi", thinking_first(*pieces("Hello")), live=False)
    (output,) = ran.outputs
    markdown, text = output["data"]["text/markdown"], output["data"]["text/plain"]
    assert FOLDED.match(markdown)
    assert markdown.index("idea11") < markdown.index("</details>") < markdown.index("Hello")
    assert text.startswith("(Thought for 1 s.)\n\nHello\n\ntogether:8x7b · ")


@pytest.mark.parametrize("form", ["json", "table", "text"])
def test_each_format_has_the_thoughts_above_it(desk, form):
    answer = {"json": '{"a": 1}', "table": "|a|\n|---|\n|1|", "text": "Hello"}[form]
    ran = desk.run(f"%%mixtral -f {form}\nHi", thinking_first(*pieces(answer)), live=False)
    (output,) = ran.outputs
    for kind, text in output["data"].items():
        place = text.index("Thought for")
        assert place < text.index("1" if form == "table" else answer[-4:-2], place + 16), kind


@pytest.mark.parametrize("end", [[CUT], [HANG]], ids=["broken", "stopped"])
def test_the_thoughts_of_an_answer_that_never_came_are_shown(desk, end):
    desk.plan(thinking_first(*end, words=3))
    sent = desk.kernel.send("%%mixtral\nHi")
    if end == [HANG]:
        desk.kernel.collect(sent, until=lambda ran: "idea2" in ran.text)
        desk.kernel.interrupt()
        ran = desk.kernel.collect(sent)
        assert ran.reply["ename"] == "Stopped"
    else:
        ran = desk.kernel.collect(sent)
        assert ran.reply["ename"] == "StreamBroken"
    assert any(FOLDED.match(text) and "idea2" in text for text in grown(ran))
    assert "together:8x7b · " in grown(ran)[-1]


def test_thoughts_between_two_words_are_collapsed_at_the_end(desk):
    answer = [frames(chunk("Hello "), done=False), 0.2, thought("late idea"), 0.2]
    ran = desk.run("%%mixtral\nHi", thinking_first(*answer, *pieces("there"), words=2))
    folded, shown = (output["data"]["text/markdown"] for output in ran.outputs)
    assert "late idea" in folded
    assert shown.startswith("Hello there\n\n<")


def test_in_a_terminal_one_line_stands_above_the_answer(together, tmp_path):
    late = [frames(chunk("Hello "), done=False), thought("late idea")]
    together.plan = [thinking_first(*late, *pieces("there"), words=4)]
    path = tmp_path / "script.ipy"
    path.write_text("%mixtral Hi\n")
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "--ext", "mixmagic", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    line, answer, footer = ran.stdout.split("\n\n")
    assert line == "(Thought for 0 s.)"
    assert answer == "Hello there"
    assert footer.startswith("together:8x7b · ")


def test_long_thoughts_are_sent_once(desk):
    """Not with each piece: only their last words."""
    long = [thought("thinking at length, " * 20) for _ in range(200)]
    steps = [each for piece in long for each in (piece, 0.01)]
    ran = desk.run("%%mixtral\nHi", Answer([*steps, *pieces("Hello")]))
    assert ran.status == "ok"
    assert sum(text.count("thinking at length, thinking") > 20 for text in grown(ran)) == 1
    assert ran.bytes() < 3 * 200 * 20 * len("thinking at length, ")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "attack", [*ATTACKS, "</details>", "- a\n  ```\n  b", "$$\nx", "</summary>"]
)
def test_thoughts_stay_in_their_fold(attack, reader, home):
    collector = Collector(Session().request("Hi", model="local"))
    collector.add(Delta(reasoning=attack))
    bundle = thoughts_bundle(collector.completion(), ("text/markdown", "text/html"))
    page = READERS[reader](f"{bundle['text/markdown']}\n\nAnswer.")
    for text in (page, bundle["text/html"] + "<p>Answer.</p>"):
        fold = _Fold()
        fold.feed(text)
        assert fold.outside.strip() == "Answer.", text
        assert fold.count == 1


class _Fold(HTMLParser):
    """The text of a page that does not stand in a `details` element."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = self.count = 0
        self.outside = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.depth += tag == "details"
        self.count += tag == "details"

    def handle_endtag(self, tag) -> None:
        self.depth -= tag == "details"

    def handle_data(self, data) -> None:
        if not self.depth:
            self.outside += data


def test_the_last_words_are_short_and_begin_with_a_word():
    assert thinking_progress("First, the regions.", 12.3) == "thinking … 12 s · First, the regions."
    words = thinking_progress("word " * 1000 + "\nend", 3).partition(" · ")[2]
    assert len(words) <= 61
    assert words.startswith("…word ")
    assert words.endswith(" word end")
    assert len(thinking_progress("x" * 1000, 3)) < 90


@pytest.mark.parametrize("size", [100, 30_000])
def test_a_draft_that_ends_in_a_lone_tag_folds_when_the_answer_is_whole(desk, size):
    """Shown as text while it came: nothing told it apart."""
    draft = [f"draft{number} " * 5 + "\n\n" for number in range(size // 40)]
    ran = desk.run("%%mixtral -o answer\nHi", Answer(pieces(*draft, "</think>", "Hello there")))
    assert ran.status == "ok", ran.text
    assert len(ran.outputs) == 1 or size > 100
    assert len(ran.outputs) > 1 or size == 100
    first, *rest = (output["data"] for output in ran.outputs)
    assert FOLDED_UNTIMED.match(first["text/markdown"])
    assert "Hello there" in first["text/markdown"].partition("</details>")[2]
    assert first["text/plain"].startswith("(Thought")
    assert "draft" not in first["text/plain"]
    assert all(data == {"text/plain": ""} for data in rest)
    assert desk.value("answer.text") == "Hello there"


def test_text_received_before_a_stop_but_not_drawn_yet_is_shown(desk):
    """The renderer looks now and then; the call may have gone on since."""
    desk.run("%%mixtral -o answer\nHi", Answer(pieces("Hello")))
    ran = desk.run(
        "from dataclasses import replace\n"
        "from mixmagic.display.formats import FORMATS\n"
        "from mixmagic.display.renderers import NotebookRenderer\n"
        "text = ''.join(f'word{number} ' * 40 + '\\n\\n' for number in range(60))\n"
        "renderer = NotebookRenderer(FORMATS['markdown'])\n"
        "renderer.draw(text[:15_000], '')\n"
        "renderer.finish(replace(answer, text=text, finish='stopped'), '$0')"
    )
    assert len(ran.outputs) > 1
    assert re.findall(r"word\d+", ran.text) == [f"word{n}" for n in range(60) for _ in range(40)]
