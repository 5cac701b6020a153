"""The magics in JupyterLab: the rendered page and the saved notebook."""

from __future__ import annotations

import re
from itertools import pairwise, product
from string import ascii_lowercase

from kernels import unfolded
from server import HANG, Answer, chunk, frames, together

from browser.front_ends import error_lines

_CODE = """\
def count(n):
    return list(range(n))"""
_ANSWER = f"""\
## Three ways to count

- by **hand**
- by machine

1. first
2. second

```python
{_CODE}
```

| way | speed |
| --- | ---: |
| hand | 1 |
| machine | 1000 |

There are $n^2$ more."""
_LONG = "".join(f"Paragraph {number} says nothing, at some length.\n\n" for number in range(500))


def _pieces(text: str, size: int = 12) -> list[str]:
    """A text as a provider streams it."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def _watch(lab, index: int) -> list[str]:
    """Return the successive texts below a cell while it ran."""
    seen = [""]

    def ended() -> bool:
        text, prompt = lab.text(index), lab.prompt(index)
        if prompt == "[*]:" and text != seen[-1]:
            seen.append(text)
        return prompt not in ("[*]:", "[ ]:")

    lab.wait(ended, 120)
    return seen[1:]


def _footer(lab, index: int) -> str:
    """Return the footer as the user sees it."""
    last = lab.cell(index).locator(".jp-RenderedMarkdown > :last-child")
    line = last.filter(has_text="tokens · ")
    line.scroll_into_view_if_needed()
    return line.inner_text()


def _saved_answer(lab, index: int):
    """The data of the only output that a cell has in the saved notebook."""
    outputs = lab.saved().cells[index].outputs
    assert [output.output_type for output in outputs] == ["display_data"]
    assert set(outputs[0].data) == {"text/markdown", "text/plain"}
    return outputs[0].data


def test_the_embedded_model_answers_word_by_word(lab):
    lab.open(
        "embedded", "%mixmagic use local", "%%mixtral -t 0 --max-tokens 60\nWhat is a histogram?"
    )
    lab.start()
    seen = _watch(lab, 2)
    lab.wait_for_end()

    footer, whole = _footer(lab, 2), lab.text(2)
    grown = [text for text in seen if text and whole.startswith(text)]
    assert len(grown) > 2  # a busy machine shows fewer
    assert all(later.startswith(earlier) for earlier, later in pairwise(grown))
    assert re.search(r"^local · \d+ → \d+ tokens · free · first token ", footer)
    assert lab.cell(2).locator(".jp-RenderedMarkdown > p").first.is_visible()
    assert lab.outputs(2).count() == 1
    assert lab.text(1).startswith("Using local in this session")
    saved = _saved_answer(lab, 2)
    assert saved["text/plain"].endswith(f"\n\n{footer}")
    assert whole == " ".join(saved["text/plain"].split())


def test_an_answer_is_rendered_as_markdown(lab, provider):
    provider.plan = [Answer(together(*_pieces(_ANSWER)))]
    lab.open("markdown", "%%mixtral -m 8x7b\nHow do people count?")
    lab.run()

    answer = lab.cell(1).locator(".jp-RenderedMarkdown")
    formulas = answer.locator("mjx-container")
    lab.wait(formulas.count)
    assert formulas.count() == 1  # the footer's dollars are none
    footer = _footer(lab, 1)
    tokens = len(_pieces(_ANSWER))
    assert footer.startswith(f"together:8x7b · 9 → {tokens} tokens · $0.0000")
    assert re.search(r" · session \$0\.0000\d+$", footer)
    assert answer.locator("h2").inner_text().startswith("Three ways to count")
    assert answer.locator("ul > li").all_inner_texts() == ["by hand", "by machine"]
    assert answer.locator("strong").inner_text() == "hand"
    assert answer.locator("ol > li").all_inner_texts() == ["first", "second"]
    assert answer.locator("pre").inner_text().rstrip() == _CODE
    assert answer.locator("table td").all_inner_texts() == ["hand", "1", "machine", "1000"]
    assert _saved_answer(lab, 1)["text/markdown"].startswith(_ANSWER)


def test_a_long_fast_answer_ends_in_segments_with_one_footer(lab, provider):
    quick = [each for step in together(*_pieces(_LONG, 40)) for each in (step, 0.001)]
    provider.plan = [Answer(quick)]
    lab.open("long", "%%mixtral -m 8x7b\nGo on.")
    lab.start()
    counts = []

    def ended() -> bool:
        counts.append(lab.outputs(1).count())
        return lab.prompt(1) not in ("[*]:", "[ ]:")

    lab.wait(ended, 60)

    assert _footer(lab, 1).startswith("together:8x7b · 9 → ")
    shown = lab.cell(1).locator(".jp-RenderedMarkdown > p").all_text_contents()
    assert "".join(f"{each}\n\n" for each in shown) == _LONG
    assert len(_LONG) > 20_000
    outputs = lab.saved().cells[1].outputs
    assert len(outputs) == lab.outputs(1).count() >= max(counts)
    assert len(outputs) > 2
    assert all(set(each.data) == {"text/markdown", "text/plain"} for each in outputs)
    for kind in ("text/markdown", "text/plain"):
        whole = "\n\n".join(each.data[kind] for each in outputs)
        assert whole.startswith(_LONG.rstrip())
        assert whole.count("together:8x7b · ") == 1


def test_the_stop_button_keeps_what_has_come_and_ends_run_all(lab, provider):
    words = ["".join(letters) for letters in product(ascii_lowercase, repeat=2)]
    frame = [frames(chunk(f"{word} "), done=False) for word in words]
    provider.plan = [Answer([*(each for step in frame for each in (step, 0.01)), HANG])]
    before = len(provider.received)
    lab.open("stopped", "%%mixtral -m 8x7b\nGo on.", "print('not to be run')")
    lab.start()
    lab.wait(lambda: words[100] in lab.text(1))
    assert lab.prompt(2) == "[*]:"
    lab.page.locator('[data-command="notebook:interrupt-kernel"]').click()
    lab.wait_for_end(5)

    footer = _footer(lab, 1)
    answer, error = lab.outputs(1).all()
    line = error.inner_text().strip()
    assert line == "The answer so far is in `_`."
    shown = answer.locator("p").inner_text().split()
    assert 100 < len(shown) < len(words)
    assert shown == words[: len(shown)]
    assert re.search(r"→ [\d,]+ tokens · ≈ \$0\.000\d+ · ", footer)
    assert " · stopped · session $0.000" in footer
    assert error.is_visible()
    assert lab.prompt(2) == "[ ]:"
    assert lab.outputs(2).count() == 0
    (received,) = provider.received[before:]
    provider.wait(lambda: received.closed_at)
    saved_answer, saved_error = lab.saved().cells[1].outputs
    assert saved_answer.data["text/markdown"].startswith(" ".join(shown))
    assert saved_error.ename == "Stopped"
    assert saved_error.traceback == [line]


def test_an_error_is_two_lines_without_a_traceback(lab):
    lab.open("error", "%%mixtral -m 8x77b\nHello?", "print('not to be run')")
    lab.run()

    (shown,) = lab.outputs(1).all()
    what, hint = error_lines(shown)
    assert what.startswith("UnknownModel: ")
    assert "8x77b" in what
    assert hint.startswith("Hint: ")
    assert shown.is_visible()
    assert lab.prompt(2) == "[ ]:"
    (saved,) = lab.saved().cells[1].outputs
    assert unfolded(saved.traceback) == [what, hint]


def test_a_notebook_that_is_renamed_keeps_its_budget(lab, provider):
    provider.plan = [Answer(together("Hello"))]
    lab.open(
        "before",
        "import mixmagic",
        "if not mixmagic.session().budgets():\n"
        "    mixmagic.budget('0.5', per='notebook'); print('set')",
        "%mixtral -m 8x7b Hi",
        "[left] = mixmagic.session().budgets(); print(left.limit.key, left.limit.dollars)",
    )
    lab.run()
    assert lab.text(2) == "set"
    assert lab.text(4).endswith("/before.ipynb 0.5")
    for name in ("after", "last"):
        lab.rename(name)
        lab.run()
        assert lab.text(2) == "", "it is still set"
        assert lab.text(4).endswith(f"/{name}.ipynb 0.5")
        assert len(lab.saved().cells) == 5
