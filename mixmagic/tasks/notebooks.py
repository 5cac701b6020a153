"""Files of notebooks.

nbformat, which is an extra, is imported when it is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mixmagic.core import files, lazy
from mixmagic.core.extras import install
from mixmagic.errors import BadArguments, MissingPackage, one_line

if TYPE_CHECKING:
    from nbformat import NotebookNode


def read(path: Path) -> NotebookNode:
    """Return a notebook.

    Raises:
        BadArguments: It cannot be read, or is not a notebook.
        MissingPackage: nbformat is not installed.
    """
    try:
        nbformat = lazy.load("nbformat")
    except ImportError as error:
        raise missing(str(error.name)) from None
    try:
        text = files.read(path)
    except (OSError, ValueError) as error:
        raise BadArguments(
            f"{path} cannot be read: {files.reason(error)}.", "Name a notebook: NAME.ipynb."
        ) from None
    try:
        notebook: NotebookNode = nbformat.reads(text, as_version=4)
        _ = notebook.cells
    except Exception as error:  # noqa: BLE001  # its errors have no common base
        raise BadArguments(
            f"{path} is not a notebook: {one_line(error, 100)}", "Name a notebook: NAME.ipynb."
        ) from None
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all."""
    files.write(path, text_of(notebook), newline="\n")


def text_of(notebook: NotebookNode) -> str:
    """Return the text of a notebook's file."""
    text: str = lazy.load("nbformat").writes(notebook)
    return text if text.endswith("\n") else f"{text}\n"


def missing(package: str) -> MissingPackage:
    """Return the error of a command that needs an optional package."""
    return MissingPackage(
        f"Running a notebook needs {package}, which is not installed.",
        f"Run {install('lab')}.",
    )
