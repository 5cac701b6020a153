"""Attacks in whole notebooks and pages: opened, saved, exported, and streamed by a kernel."""

from __future__ import annotations

import functools
import re
import threading
import time
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import nbformat
import pytest
from attacks import ATTACKS, pages
from nbconvert import HTMLExporter
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_notebook, new_output
from server import Answer, together

from browser.chromium import Chromium
from browser.readers import ORACLE
from mixmagic.text.sanitize import sanitize

_OWN_FOOTER = re.compile(r"div style=opacity: [\d.]+; font-size: \d+%$")
_OUTPUTS = 45  # of a cell: Lab shows no more than fifty


@pytest.fixture(scope="module")
def attacked(readers_root, readers_home):
    """A trusted notebook whose outputs are all attacks, and what each was written as."""
    safe = [sanitize(attack) for attack in ATTACKS.values()]
    outputs = [new_output("display_data", data={"text/markdown": text}) for text in safe]
    cells = [
        new_code_cell(f"# {start}", outputs=outputs[start : start + _OUTPUTS], execution_count=1)
        for start in range(0, len(outputs), _OUTPUTS)
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    NotebookNotary(data_dir=str(readers_home / "data")).sign(notebook)
    nbformat.write(notebook, readers_root / "attacked.ipynb")
    return readers_root / "attacked.ipynb"


def _fetched(page) -> list[str]:
    """A list that fills with what a page fetches from elsewhere, or tries to."""
    fetched: list[str] = []

    def note(request):
        # The policy of a frame stops some only on their way; nothing of them is sent.
        ours = request.url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:", "about:"))
        if not ours and request.failure != "csp":
            fetched.append(request.url)

    page.on("requestfinished", note)
    page.on("requestfailed", note)
    return fetched


@contextmanager
def _watched(page):
    """Nothing acts on a page, and nothing of it is fetched from elsewhere, while the block runs."""
    page.evaluate("() => { window.acted = () => { window.hasActed = true } }")
    fetched = _fetched(page)
    yield
    page.wait_for_timeout(300)  # for what would be fetched a moment later
    assert page.evaluate("() => window.hasActed") is None
    assert fetched == []


def test_no_attack_acts_in_a_trusted_notebook(bare, readers_url, attacked):
    """It is shown, saved and opened again."""
    page = bare.new_page()
    with _opened(page, readers_url, attacked) as seen:
        assert seen["trusted"] == seen["count"] == len(ATTACKS)
        assert seen["formulas"] > 0
        assert seen["harm"] == []
        assert seen["text"].count("acted()") > len(ATTACKS) / 3
        for link in page.locator(".jp-RenderedMarkdown a").all()[::5]:
            link.dispatch_event("mouseover")
            link.dispatch_event("pointerenter")
    saved = nbformat.read(attacked, as_version=4)
    assert sum(len(cell.outputs) for cell in saved.cells) == len(ATTACKS)
    with _opened(page, readers_url, attacked) as again:
        assert again == seen
    page.close()


@contextmanager
def _opened(page, url, notebook):
    """A notebook opened in Lab, each output typeset; what is to be seen of it; then it is saved."""
    page.set_viewport_size({"width": 1280, "height": 60_000})  # Lab typesets what can be seen
    page.goto(f"{url}/lab/workspaces/attacked/tree/{notebook.name}")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.content?.rendermime")
    page.wait_for_function(
        "count => document.querySelectorAll('.jp-RenderedMarkdown').length >= count",
        arg=len(ATTACKS),
    )
    page.wait_for_selector("mjx-container")
    page.evaluate(ORACLE)
    with _watched(page):
        yield page.evaluate("() => oracle.outputs()")
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save').then(() => null)")


def test_no_attack_acts_on_the_exported_page(bare, attacked, tmp_path):
    """Nbconvert's own programs from elsewhere are left out."""
    urls = {f"{name}_url": "about:blank" for name in ("mathjax", "require_js", "jquery")}
    exporter = HTMLExporter(mermaid_js_url="about:blank", **urls)
    source, _ = exporter.from_filename(str(attacked))
    file = tmp_path / "attacked.html"
    file.write_text(source, "utf-8")
    page = bare.new_page()
    fetched = _fetched(page)
    page.add_init_script("window.acted = () => { window.hasActed = true }")
    page.goto(file.as_uri(), wait_until="load")
    page.evaluate(ORACLE)
    seen = page.evaluate("() => oracle.outputs()")
    assert seen["count"] == len(ATTACKS)
    assert seen["harm"] == []
    assert seen["text"].count("acted()") > len(ATTACKS) / 3
    assert fetched == []
    page.close()


def test_no_attack_acts_in_the_output_of_a_cell(lab, provider):
    """As a model streams it to the magic, in a kernel; by way of Playwright's own flags."""
    attacks = [*ATTACKS.values()][::12]
    attacks = [attack for attack in attacks if attack.isprintable() or "\n" in attack]
    provider.plan = [Answer(together(*attack.splitlines(keepends=True))) for attack in attacks]
    lab.open("hostile", f"for _ in range({len(attacks)}):\n    %mixtral -m 8x7b Attack me.")
    with _watched(lab.page):
        lab.run(120)
        lab.page.evaluate(ORACLE)
        seen = lab.page.evaluate("() => oracle.outputs()")
        assert seen["count"] == len(attacks)
        assert [each for each in seen["harm"] if not _OWN_FOOTER.match(each)] == []
    assert "acted()" in seen["text"]


def test_html_is_shown_in_a_frame_in_which_nothing_acts(lab, provider):
    provider.plan = [Answer(together(*pages.PAGE.splitlines(keepends=True)))]
    lab.open(
        "page", "%%mixtral -m 8x7b -f html -o page\nA page of our sales.", "print(page.finish)"
    )
    with _watched(lab.page):
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
    assert "Answer with HTML alone" in provider.received[-1].body["messages"][0]["content"]
    assert lab.text(2) == "stop"
    (saved,) = lab.saved().cells[1].outputs
    assert set(saved.data) == {"text/html", "text/plain"}


def test_chromium_logs_every_host_that_a_page_asks_for(chromium, playwright, tmp_path):
    """Else the tests above would prove nothing: of most of these a page's requests tell nothing."""
    started = Chromium(chromium, tmp_path)
    browser = playwright.chromium.connect_over_cdp(started.url)
    page = browser.contexts[0].new_page()
    (tmp_path / "page.html").write_text(pages.CONNECTING)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
        hosts = {f"{letter}.evil.test" for letter in "abcdefgh"}
        deadline = time.monotonic() + 60
        while not hosts <= started.hosts() and time.monotonic() < deadline:
            page.evaluate(
                "() => fetch('page.html').then(() => null)"
            )  # a log is written in batches
            page.wait_for_timeout(200)
        server.shutdown()
    browser.close()
    assert started.close() == hosts
