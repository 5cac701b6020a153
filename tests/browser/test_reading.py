"""Reading in JupyterLab while an answer streams: nothing on screen moves or is lost."""

from __future__ import annotations

import pytest
from server import HANG, Answer, chunk, frames, together, usage

_PARAGRAPHS = [f"Paragraph {number} says little, at some length.\n\n" for number in range(900)]
# Scrolls a paragraph into the middle of the page; returns where it is, and how far that scrolled.
_LOOK = """([text, scroll]) => {
  const all = [...document.querySelectorAll('.jp-RenderedMarkdown p')];
  const paragraph = all.find(each => each.textContent.startsWith(text));
  if (!paragraph) return null;
  let scroller = paragraph.parentElement;
  while (scroller && !(scroller.scrollHeight > scroller.clientHeight + 1
      && ['auto', 'scroll'].includes(getComputedStyle(scroller).overflowY)))
    scroller = scroller.parentElement;
  if (scroll) paragraph.scrollIntoView({block: 'center'});
  return [Math.round(paragraph.getBoundingClientRect().top), Math.round(scroller.scrollTop)];
}"""
_WIDGETS = """\
import ipywidgets as W
out = W.Output()
display(out)
def click(_):
    with out:
        %mixtral -m 8x7b Say it.
button = W.Button(description="Ask")
button.on_click(click)
display(button)"""


def _thought(text: str) -> bytes:
    made = chunk()
    made["choices"][0]["delta"]["reasoning_content"] = text
    return frames(made, done=False)


def _in_pieces(*texts: str) -> Answer:
    return Answer([each for step in together(*texts) for each in (step, 0.05)])


def _read(lab, number: int, *, scroll: bool = False) -> list[int] | None:
    return lab.page.evaluate(_LOOK, [f"Paragraph {number} ", scroll])


@pytest.mark.parametrize("cell", ["%%mixtral -m 8x7b\nGo on.", "%mixtral -m 8x7b Go on."])
@pytest.mark.parametrize("place", [20, 450, 700])
def test_the_page_does_not_scroll_when_a_long_answer_ends(lab, provider, place, cell):
    steps = [
        frames(chunk("".join(_PARAGRAPHS[at : at + 10])), done=False) for at in range(0, 890, 10)
    ]
    end = [frames(chunk("".join(_PARAGRAPHS[890:])), chunk("", "stop", **usage(9, 900)))]
    provider.plan = [Answer([*(each for step in steps for each in (step, 0.01)), 4.0, *end])]
    lab.open(f"reading-{place}", cell)
    lab.start()
    lab.wait(lambda: _read(lab, 889), 30)
    _read(lab, place, scroll=True)
    lab.page.wait_for_timeout(500)
    before = _read(lab, place)
    assert lab.prompt(1) == "[*]:"
    assert 0 < before[0] < 900
    lab.wait_for_end()
    lab.wait(lambda: "tokens · " in lab.text(1))
    lab.page.wait_for_timeout(500)
    assert _read(lab, place) == before


def test_in_output_widgets_the_whole_answer_is_seen(lab, provider):
    provider.plan = [_in_pieces("Well, ", *["and "] * 10, "said.")]
    lab.open(
        "widgets",
        _WIDGETS,
        "inner = W.Output()\ndisplay(W.Accordion(children=[inner], selected_index=0))\n"
        "with inner:\n    %mixtral -m 8x7b Say it.",
        "def ask(x):\n    %mixtral -m 8x7b Say {{ x }}.\nW.interact(ask, x=['a', 'b']);",
        "%mixtral -m 8x7b Say it.",
    )
    lab.run()
    for index in (2, 3, 4):
        lab.wait(lambda index=index: "together:8x7b · 9 → 12 tokens" in lab.text(index))
        assert "Well, and and" in lab.text(index)
        assert "and said." in lab.text(index)
    lab.cell(1).get_by_role("button", name="Ask").click()
    lab.wait(lambda: "together:8x7b · 9 → 12 tokens" in lab.text(1))
    assert "and said." in lab.text(1)
    provider.plan = [_in_pieces("Then ", "b ", "is ", "told.")]
    lab.cell(3).locator("select").select_option("b")
    lab.wait(lambda: "together:8x7b · 9 → 4 tokens" in lab.text(3))
    assert "Then b is told." in lab.text(3)
    assert "and said." not in lab.text(3), "interact shows the last answer alone"


def test_thoughts_fold_above_the_answer_and_open_at_a_click(lab, provider):
    ideas = [f"idea{number} " for number in range(40)]
    steps = [each for idea in ideas for each in (_thought(idea), 0.05)]
    provider.plan = [Answer([*steps, *together("So ", "it is.")])]
    lab.open("thoughts", "%%mixtral -m 8x7b\nWhy?")
    lab.start()
    seen = lab.wait(lambda: "thinking … " in lab.text(1) and lab.text(1))
    assert "idea" in seen
    lab.wait_for_end()
    fold = lab.cell(1).locator("details")
    lab.wait(fold.count)
    assert fold.count() == 1
    assert fold.locator("summary").inner_text().startswith("Thought for 2 s")
    assert not fold.get_by_text("idea7 ").is_visible()
    assert lab.text(1).index("idea39") < lab.text(1).index("So it is.")
    fold.locator("summary").click()
    assert fold.get_by_text("idea7 ").is_visible()


def test_a_stopped_answer_keeps_its_segments(lab, provider):
    steps = [
        frames(chunk("".join(_PARAGRAPHS[at : at + 10])), done=False) for at in range(0, 400, 10)
    ]
    provider.plan = [Answer([*steps, HANG])]
    lab.open("stopped", "print('kept')", "print('kept, too')\n%mixtral -m 8x7b Go on.")
    lab.start()
    lab.wait(lambda: _read(lab, 399), 30)
    lab.command("notebook:interrupt-kernel")
    lab.wait_for_end()
    lab.wait(lambda: "The answer so far" in lab.text(2))
    assert lab.text(2).startswith("kept, too Paragraph 0 ")
    assert "Paragraph 399 " in lab.text(2)
    assert " · stopped · session " in lab.text(2)
    lab.cell(2).get_by_text("The answer so far").scroll_into_view_if_needed()
