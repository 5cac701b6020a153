"""Run the quickstart notebook on the embedded model.

The answers are printed as they arrive; the notebook, as it ran, and an HTML page are left in a
folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.core import files
from mixmagic.core.extras import install
from mixmagic.errors import MissingPackage, StoreError, one_line

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from mixmagic.sessions import Session

ONLY_IN = "shell"
_NAME = "quickstart.ipynb"


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("--lab", action="store_true", help="open the notebook in JupyterLab instead")
    args.add(
        "--dir",
        type=Path,
        default=Path("mixmagic-demo"),
        metavar="DIR",
        help="default: %(default)s",
    )
    return args


def run(session: Session, options: Namespace, out: Out) -> int:
    """Fetch the weights, then run or open the notebook, in an environment without keys."""
    from mixmagic.commands import local

    needed = ["xllamacpp", "filelock", "pandas"]
    needed += ["jupyterlab"] if options.lab else ["nbclient", "nbconvert", "nbformat"]
    if absent := [package for package in needed if not find_spec(package)]:
        raise MissingPackage(
            f"The demo needs packages that are not installed: {', '.join(absent)}.",
            f"Run {install('all')}.",
        )
    local.install(session, out)
    env = session.backends.access.environment()
    return _lab(options.dir, env) if options.lab else _run(options.dir, env, out)


def _lab(folder: Path, env: Mapping[str, str]) -> int:
    """Open the quickstart notebook in JupyterLab; return its status."""
    notebook = folder / _NAME
    if not notebook.exists():  # never overwrite the user's edits
        _write_file(notebook, _quickstart())
    command = [sys.executable, "-m", "jupyterlab", str(notebook)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    return subprocess.run(command, check=False, env=env).returncode


def _run(folder: Path, env: Mapping[str, str], out: Out) -> int:
    """Run the quickstart notebook; leave it and an HTML page in `folder`; return 0 or 1."""
    import nbformat
    from nbclient.exceptions import CellExecutionError

    from mixmagic.commands._page import page
    from mixmagic.commands._run_notebook import NotebookRunner

    notebook: NotebookNode = nbformat.reads(_quickstart(), as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    failure = ""
    try:
        live = {"MIXMAGIC_LIVE": "1", "MIXMAGIC_CACHE": "0"}
        NotebookRunner(notebook, timeout=600).execute(env={**env, **live})
    except CellExecutionError as error:
        failure = one_line(f"{error.ename}: {error.evalue}", 200)
    _write_file(folder / _NAME, nbformat.writes(notebook))
    _write_file(folder / "quickstart.html", page(notebook, "mixmagic quickstart"))
    out.write(f"\nThe notebook, as it ran: {folder.absolute() / _NAME}")
    out.write(f"The same as a page:      {folder.absolute() / 'quickstart.html'}")
    if failure:
        print(f"A cell failed: {failure}", file=sys.stderr)
    return 1 if failure else 0


def _quickstart() -> str:
    """Return the notebook's JSON: from the package in a wheel, from `notebooks/` in a checkout."""
    package = Path(__file__).parents[1]
    for path in (package / _NAME, package.parent / "notebooks" / _NAME):
        if path.exists():
            return path.read_text("utf-8")
    raise StoreError("The quickstart notebook is missing.", "Install mixmagic again.")


def _write_file(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}.", "Name another folder with --dir."
        ) from None
