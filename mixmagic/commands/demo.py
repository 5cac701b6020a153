"""`mixmagic demo`: the quickstart notebook in a real kernel, its answers shown as they come.

Part of the command: imported by `cli` alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mixmagic.core import files
from mixmagic.errors import MissingPackage, MixmagicError, StoreError, one_line

if TYPE_CHECKING:
    from nbformat import NotebookNode

_NAME = "quickstart.ipynb"


def lab(folder: Path, env: Mapping[str, str]) -> int:
    """Open the quickstart notebook in JupyterLab, in the environment `env`; return its status."""
    notebook = folder / _NAME
    if not notebook.exists():  # a person's own edits are not written over
        _write(notebook, _quickstart())
    command = [sys.executable, "-m", "jupyterlab", str(notebook)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    if subprocess.run(
        [sys.executable, "-c", "import jupyterlab"], check=False, stderr=subprocess.DEVNULL, env=env
    ).returncode:
        raise _missing("jupyterlab")
    return subprocess.run(command, check=False, env=env).returncode


def run(folder: Path, env: Mapping[str, str]) -> int:
    """Run the quickstart notebook; leave it and an HTML page in `folder`; return 0 or 1.

    Args:
        folder: Where the results are left.
        env: The environment of the kernel, which asks the embedded model and needs no keys.
    """
    try:
        import nbformat
        from nbclient.exceptions import CellExecutionError
        from nbconvert import HTMLExporter

        from mixmagic.commands.run_notebook import Follower
    except ImportError as error:
        raise _missing(str(error.name)) from None

    notebook: NotebookNode = nbformat.reads(_quickstart(), as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = Follower(notebook, timeout=600)
    failure: Exception | None = None
    try:
        client.execute(env={**env, "MIXMAGIC_LIVE": "1"})
    except CellExecutionError as error:
        failure = error
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(
        notebook, resources={"metadata": {"name": "mixmagic quickstart"}}
    )
    _write(folder / _NAME, nbformat.writes(notebook))
    _write(folder / "quickstart.html", page)
    print(f"\nThe notebook, as it ran: {folder.absolute() / _NAME}")
    print(f"The same as a page:      {folder.absolute() / 'quickstart.html'}")
    if failure is not None:
        print(f"A cell failed: {one_line(failure, 200)}", file=sys.stderr)
    return 1 if failure else 0


def _quickstart() -> str:
    """The notebook's JSON: beside this module in a wheel, in `notebooks/` in a checkout."""
    package = Path(__file__).parent
    for path in (package / _NAME, package.parent / "notebooks" / _NAME):
        if path.exists():
            return path.read_text("utf-8")
    raise StoreError("The quickstart notebook is missing.", "Install mixmagic again.")


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}.", "Name another folder with --dir."
        ) from None


def _missing(package: str) -> MixmagicError:
    return MissingPackage(
        f"The demo needs {package}, which is not installed.", 'Run `pip install "mixmagic[all]"`.'
    )
