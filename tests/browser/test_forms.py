"""Each output format as a user sees it in JupyterLab."""

from __future__ import annotations

import io

import pytest
from server import Answer, together

from browser.front_ends import error_lines

_CODE = 'So:\n\n```python\nprint("<b>not bold</b>", 1 < 2)\n```\n\nDone.'
_TABLE = "Here:\n\n| way | price in $ |\n|---|---:|\n| hand & foot | 1.5 |\n| machine | 1000 |"


@pytest.mark.parametrize(
    "case",
    [
        ("markdown", "A **bold** word, for $5 or $10.", "strong", "bold"),
        ("text", "A **plain** <i>word</i>,\n   kept.", "pre", "A **plain** <i>word</i>,\n   kept."),
        ("code", _CODE, "pre", 'print("<b>not bold</b>", 1 < 2)'),
        ("json", '{"a": [1, "<b>x</b>"]}', "pre", '"<b>x</b>"'),
        ("latex", r"\frac{a}{b} = c^2", "mjx-container", None),
        ("table", _TABLE, "td", "hand & foot"),
    ],
    ids=lambda case: case[0],
)
def test_a_form_is_seen(lab, provider, case):
    form, text, selector, seen = case
    provider.plan = [Answer(together(*[text[i : i + 9] for i in range(0, len(text), 9)]))]
    lab.open(f"form-{form}", f"%%mixtral -m 8x7b -f {form} -o value\nHow?", "value")
    lab.run()
    shown = lab.cell(1).locator(f".jp-OutputArea-output {selector}")
    lab.wait(shown.count)
    assert shown.first.is_visible()
    if seen is not None:
        assert seen in shown.first.inner_text()
    assert "tokens · $0.0000" in lab.text(1)
    assert lab.outputs(1).count() == 1
    assert lab.cell(1).locator("b, i").count() == 0, "what a model writes is text"
    if form == "table":
        assert lab.cell(2).locator("table.dataframe td").count() == 4


def test_a_page_without_colors_is_dark_in_a_dark_theme(lab, provider):
    from PIL import Image

    def brightness() -> int:
        shown = Image.open(io.BytesIO(lab.cell(1).locator("iframe").screenshot()))
        return shown.convert("L").getpixel((shown.width - 40, 20))

    provider.plan = [Answer(together("<h1>Plain</h1>"))]
    lab.open("dark", "%%mixtral -m 8x7b -f html\nA page?")
    lab.run()
    assert lab.cell(1).frame_locator("iframe").locator("h1").inner_text() == "Plain"
    assert brightness() > 240
    try:
        change_theme(lab, "JupyterLab Dark")
        lab.wait(lambda: brightness() < 40)
    finally:
        change_theme(lab, "JupyterLab Light")
    lab.wait(lambda: brightness() > 240)


def change_theme(lab, theme: str) -> None:
    """Change the theme, and wait for the end of the splash: Lab fails to remove two of them."""
    lab.command("apputils:change-theme", theme=theme)
    lab.page.wait_for_selector("#jupyterlab-splash", state="detached")


def test_a_text_that_is_not_in_the_format_breaks_between_words(lab, provider):
    provider.plan = [Answer(together("unbroken " * 40))]
    lab.open("breaks", "%%mixtral -m 8x7b -f json\nA text?")
    lab.run()
    pre = lab.cell(1).locator(".jp-OutputArea-output pre").first
    assert pre.evaluate("each => getComputedStyle(each).wordBreak") == "normal"


def test_several_answers_and_an_instance(lab, provider):
    person = "from dataclasses import dataclass\n@dataclass\nclass Person:\n    name: str"
    lab.open(
        "several",
        "%%mixtral -m local -n 2 -t 1 --max-tokens 20\nName a colour.",
        person,
        "%%mixtral -m local -t 0 --schema Person -o who\nWho wrote Emma?",
        "type(who).__name__",
        "%%mixtral -m local -t 0 --max-tokens 20\n{{ whoo }}",
    )
    lab.run()
    assert "Answer 1 of 2" in lab.text(1)
    assert "Answer 2 of 2" in lab.text(1)
    assert lab.text(4) == "'Person'"
    first, second = error_lines(lab.outputs(5))
    assert first == "BadArguments: `{{ whoo }}`: there is no variable 'whoo'."
    assert second.startswith("Hint: Did you mean who")
