"""JupyterLab and Notebook 7: their server, and a user's actions in their pages."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

_NUMBERS = itertools.count()
# No popup with news; without the debugger, whose state cannot be restored in a fresh workspace.
_DISABLED = ("@jupyterlab/apputils-extension:announcements", "@jupyterlab/debugger-extension")
_READY = """() => {
  const shown = jupyterapp.shell.currentWidget?.sessionContext;
  return shown?.isReady && shown.session?.kernel?.status === 'idle';
}"""


@contextmanager
def served(home: Path, root: Path, **environment: str) -> Iterator[str]:
    """Serve the notebooks of a folder; yield the server's address.

    Args:
        home: A folder for all that Jupyter knows of its user, which is nothing.
        root: The folder with the notebooks.
        environment: More of the kernels' environment.
    """
    config = home / "config" / "labconfig"
    config.mkdir(parents=True)
    disabled = {"disabledExtensions": dict.fromkeys(_DISABLED, True)}
    (config / "page_config.json").write_text(json.dumps(disabled))
    env = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    env |= {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        **environment,
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}"]
    command += ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    command += [f"--{each}.expose_app_in_browser=True" for each in ("LabApp", "JupyterNotebookApp")]
    log = home / "lab.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=env, cwd=root, stdout=sink, stderr=sink)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for_server(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=60)


def _wait_for_server(process: subprocess.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}/api/status", timeout=5):
                return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                told = log.read_text()[-2000:]
                raise RuntimeError(f"JupyterLab did not start:\n{told}") from error
            time.sleep(0.1)


def error_lines(output) -> list[str]:
    """Return the lines of an error, not folded."""
    return output.inner_text().strip().replace("\n  ", " ").splitlines()


class Lab:
    """The page of a running JupyterLab with one notebook open in it."""

    # The front end's own, whatever is in the notebook: it was being saved when it was closed.
    own_errors: tuple[str, ...] = ("Disposed",)

    def __init__(self, page, url: str, root: Path) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.refused: list[str] = []  # what a frame inside an answer was not allowed
        self._root = root
        self._path = root / "none.ipynb"
        self._workspace = f"mixmagic-{next(_NUMBERS)}"  # else it would open what another page has
        page.on("console", self._heard)
        page.on("pageerror", self._thrown)

    def load(self) -> None:
        """Show Lab, without a notebook."""
        self.page.goto(f"{self.url}/lab/workspaces/{self._workspace}")
        self.page.wait_for_function("() => window.jupyterapp")  # the splash may not be there yet
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")
        self.page.evaluate("() => jupyterapp.restored.then(() => null)")

    def _thrown(self, error) -> None:
        if str(error) not in self.own_errors:
            self.complaints.append(f"pageerror: {error}")

    def _heard(self, message) -> None:
        if message.type == "error":
            url = message.location.get("url", "")
            if "404" in message.text and "/api/contents?" in url:
                return  # the file browser lists the folder while a notebook in it is renamed
            framed = url.startswith("about:srcdoc") or "default-src 'none'" in message.text
            (self.refused if framed else self.complaints).append(f"{message.text} ({url})")

    def command(self, name: str, **arguments: str) -> None:
        """Run one of Lab's commands and wait for its end."""
        self.page.evaluate(
            "([name, args]) => jupyterapp.commands.execute(name, args).then(() => null)",
            [name, arguments],
        )

    def open(self, name: str, *cells: str) -> None:
        """Open a new notebook whose first cell loads the extension, and wait for its kernel."""
        self._path = self._root / f"{name}.ipynb"
        made = new_notebook(cells=[new_code_cell(each) for each in ("%load_ext mixmagic", *cells)])
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
        nbformat.write(made, self._path)
        self._show()
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the notebook's kernel is connected and idle."""
        self.page.wait_for_function(_READY)

    def reload(self) -> None:
        """Load the page again, and wait until the notebook is shown and is the current one."""
        self.page.reload()
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        self.page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context")

    def rename(self, name: str) -> None:
        """Give the notebook another name, as the file browser does."""
        before, self._path = self._path, self._path.with_name(f"{name}.ipynb")
        self.page.evaluate(
            "([from, to]) => jupyterapp.serviceManager.contents.rename(from, to).then(() => null)",
            [before.name, self._path.name],
        )

    def close(self) -> None:
        """Close the notebook and end its kernel."""
        self.command("docmanager:save")
        self._hide()
        for session in self._api("sessions"):
            self._api(f"sessions/{session['id']}", "DELETE")

    def _show(self) -> None:
        """Show the notebook."""
        self.command("docmanager:open", path=self._path.name)

    def _hide(self) -> None:
        """Close the notebook's tab."""
        self.command("application:close")
        self.page.wait_for_selector(".jp-NotebookPanel", state="detached")

    def start(self) -> None:
        """Run All, without waiting for its end."""
        self.page.evaluate("() => { void jupyterapp.commands.execute('notebook:run-all-cells') }")
        self.wait(lambda: self.prompt(0) != "[ ]:")

    def run(self, timeout: float = 60.0) -> None:
        """Run All, and wait for its end."""
        self.start()
        self.wait_for_end(timeout)

    def wait_for_end(self, timeout: float = 60.0) -> None:
        """Wait until no cell is running or queued."""
        prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt")
        self.wait(lambda: not any("*" in each for each in prompts.all_text_contents()), timeout)

    def wait(self, look, timeout: float = 20.0):
        """Wait until `look()` is true; return it."""
        deadline = time.monotonic() + timeout
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise TimeoutError("the page did not show what was expected")
            self.page.wait_for_timeout(10)
        return seen

    def cell(self, index: int):
        """Return a cell; number 0 loads the extension."""
        return self.page.locator(".jp-CodeCell").nth(index)

    def prompt(self, index: int) -> str:
        """Return a cell's prompt: `[ ]:` not run, `[*]:` running, `[7]:` done."""
        return self.cell(index).locator(".jp-InputPrompt").text_content()

    def outputs(self, index: int):
        """The outputs of a cell."""
        return self.cell(index).locator(".jp-OutputArea-output")

    def text(self, index: int) -> str:
        """Return the text of all outputs of a cell, with white space folded."""
        return " ".join(" ".join(self.outputs(index).all_text_contents()).split())

    def saved(self):
        """Save the notebook as a user would, and read the file."""
        before = self._path.stat().st_mtime_ns
        self.command("docmanager:save")
        self.wait(lambda: self._path.stat().st_mtime_ns > before)
        return nbformat.read(self._path, as_version=4)

    def _api(self, path: str, method: str = "GET"):
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.loads(reply.read() or "null")


class Notebook(Lab):
    """A page of Notebook 7, which shows one notebook."""

    own_errors = (
        *Lab.own_errors,
        "Cannot read properties of undefined (reading 'schema')",
        "Command 'filebrowser:open-path' not registered.",  # of a page that is loaded again
    )

    def load(self) -> None:
        """Do nothing: there is no page without a notebook."""

    def _show(self) -> None:
        self.page.goto(f"{self.url}/notebooks/{self._path.name}")
        self.page.wait_for_function("() => window.jupyterapp")

    def _hide(self) -> None:
        self.page.goto("about:blank")


FRONT_ENDS = {"lab": Lab, "notebook": Notebook}
