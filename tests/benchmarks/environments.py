"""mixmagic beside versions and front ends that the tests do not install: Colab's, and Voila.

    python tests/benchmarks/environments.py [colab] [voila]

Each gets a virtual environment of its own in a temporary folder (a minute or two), asks the
scripted server in a provider's place, and prints what a person saw. Voila is opened in Chromium.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from kernels import Kernel
from server import HANG, Answer, Server, together

_PROJECT = Path(__file__).parents[2]
# What a Colab runtime has installed (2026), as far as it matters to a kernel.
_COLAB = ("ipython==7.34.0", "ipykernel==6.17.1", "traitlets==5.7.1", "jupyter-client==7.4.9")
_VOILA = ("voila>=0.5.8", "ipykernel", "ipywidgets")
_WORDS = ("The middle", " value.")
_CALLBACK = """
import ipywidgets
button, output = ipywidgets.Button(description="Ask"), ipywidgets.Output()
def ask(_):
    with output:
        %mixtral What is a median?
button.on_click(ask)
display(button, output)
"""


def _colab(python: Path, server: Server, folder: Path) -> Iterator[tuple[str, bool]]:
    kernel = Kernel(_environment(server), str(folder), python=str(python))
    kernel.run("%load_ext mixmagic")

    def ran(code: str, *answers: Answer, live: bool = True) -> list[dict[str, object]]:
        server.plan = list(answers)
        return kernel.run(code, live=live).outputs

    said = Answer(together(*_WORDS))
    shown = ran("%%mixtral\nWhat is a median?", said)
    yield "a cell shows its answer once", len(shown) == 1 and "middle value" in str(shown)
    shown = ran("%%mixtral\nWhat is a median?", said, live=False)
    yield "and without a person, too", len(shown) == 1 and "middle value" in str(shown)
    shown = ran("x = %mixtral What is a median?\nprint(type(x).__name__, x.text)", said)
    yield "a line's answer is bound", "Completion The middle value." in str(shown)
    ran("%%capture kept\n%mixtral What is a median?", said)
    shown = ran("print(len(kept.outputs), 'middle value' in str(kept.outputs[0].data))")
    yield "%%capture keeps one output", "1 True" in str(shown)
    shown = ran(
        "async def ask(): return mixmagic.ask('Hi').text\nimport mixmagic\nawait ask()", said
    )
    yield "an async cell", "middle value" in str(shown)
    server.plan = [Answer([*together("The")[:1], HANG])] * 3
    sent = kernel.send("import mixmagic\nfor _ in range(3): mixmagic.ask('Hi')")
    server.received.clear()
    server.wait(lambda: server.received, 10)
    kernel.interrupt()
    reply = kernel.collect(sent).reply
    yield "Ctrl-C ends a loop", reply.get("ename") == "Stopped" and len(server.received) == 1
    shown = ran("%%mixtral -m nobody:nothing\nHi")
    yield "an error is two lines", len(str(shown[0].get("traceback"))) < 400
    kernel.close()


def _voila(python: Path, server: Server, folder: Path) -> Iterator[tuple[str, bool]]:
    cells = ("%load_ext mixmagic", "%%mixtral\nWhat is a median?", _CALLBACK)
    page_of = folder / "page.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(each.strip()) for each in cells]), page_of)
    server.plan = [Answer(together(*_WORDS))] * 2
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        subprocess.Popen(
            [python.with_name("voila"), page_of, "--no-browser", f"--port={port}"],
            env=_environment(server),
            cwd=folder,
            stderr=subprocess.DEVNULL,
        ) as voila,
        sync_playwright() as playwright,
    ):
        try:
            url = f"http://127.0.0.1:{port}/"
            _wait_for(url)
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            page = browser.new_page()
            page.goto(url)
            page.get_by_text("The middle value.").first.wait_for(timeout=60_000)
            count = page.get_by_text("The middle value.").count()
            yield "a cell shows its answer once", count == 1
            page.get_by_role("button", name="Ask").click()
            page.wait_for_function(
                "() => document.body.innerText.split('The middle value.').length === 3",
                timeout=60_000,
            )
            yield "a button's answer stands below it", True
            browser.close()
        finally:
            voila.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}voila/static/", timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)


def _environment(server: Server) -> dict[str, str]:
    return {
        **os.environ,
        "TOGETHER_BASE_URL": server.url,
        "TOGETHER_API_KEY": "canary-key-4711",
        "MIXMAGIC_MODEL": "together:8x7b",
        "MIXMAGIC_MAX_RETRIES": "0",
    }


def _built(folder: Path, *packages: str) -> Path:
    """Return the Python of a new virtual environment with the project in it."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", *packages, str(_PROJECT)], check=True, timeout=600
    )
    return python


_PLACES: dict[str, tuple[Callable[..., Iterator[tuple[str, bool]]], tuple[str, ...]]] = {
    "colab": (_colab, _COLAB),
    "voila": (_voila, _VOILA),
}


def main(*names: str) -> None:
    """Build what is named, or all, and print what was seen."""
    for name in names or _PLACES:
        look, packages = _PLACES[name]
        with tempfile.TemporaryDirectory() as temporary:
            folder, server = Path(temporary), Server()
            os.environ["MIXMAGIC_HOME"] = str(folder / "home")
            for what, held in look(_built(folder, *packages), server, folder):
                print(f"{name}: {what}: {'yes' if held else 'NO'}", flush=True)
            server.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
