"""`--insert`: the first program of an answer becomes a new cell below. It is never run from here.

A front end takes one new cell per execution, so further code blocks stay in the answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported when an answer is complete: `%load_ext` stays light
    from mixmagic.calls.completion import Completion
    from mixmagic.magics._shell.hooks import Hooks
    from mixmagic.sessions import Session
    from mixmagic.text.code_blocks import CodeBlock

# The languages whose programs can be cells, and the first line of such a cell.
_FIRST_LINES = {
    **dict.fromkeys(("python", "python3", "py", "ipython", "ipython3", "pycon"), ""),
    **dict.fromkeys(("bash", "sh", "shell", "zsh"), "%%bash\n"),
}


def code_cells(answer: Completion) -> list[str]:
    r"""Return the code of an answer as sources of cells: Python, and shell through `%%bash`.

    A block without a language counts as Python only if no block is marked as a program: beside
    marked ones it is mostly their output. A block that was cut off is left out.

    Example:
        >>> code_cells(mixmagic.ask("Two lines of Python, please."))
        ['x = 1\nprint(x)']
    """
    return sources(_blocks(answer))


def sources(blocks: list[CodeBlock]) -> list[str]:
    r"""Return the sources of the cells that code blocks become.

    Example:
        >>> sources([CodeBlock("bash", "ls"), CodeBlock("json", "{}")])
        ['%%bash\nls']
    """
    named = [
        (block.language.lower().strip("{.}"), block.source.strip("\n").rstrip()) for block in blocks
    ]
    marked = [(language, code) for language, code in named if language in _FIRST_LINES]
    chosen = marked or [(language, code) for language, code in named if not language]
    return [
        code if code.startswith("%%") else _FIRST_LINES.get(language, "") + code
        for language, code in chosen
    ]


def _blocks(answer: Completion) -> list[CodeBlock]:
    """Return the complete code blocks of an answer, in order."""
    from mixmagic.text.code_blocks import code_blocks
    from mixmagic.text.escape import plain

    text = plain(answer.text.replace("\r\n", "\n"))
    blocks = list(code_blocks(text))
    # Text that is added at the end lands in the last block if that is still open.
    if answer.finish != "stop" and blocks and list(code_blocks(f"{text}\n.")) != blocks:
        blocks.pop()
    return [block for block in blocks if block.code.strip()]


class NewCells:
    """Puts a new cell below the running one; the same code only once for each cell that asks."""

    def __init__(self, session: Session, hooks: Hooks) -> None:
        self._shell, self._session = hooks.shell, session
        self._running: Any = None  # IPython's information about the running cell
        self._added_by: Any = None  # that of the last cell that has got a new one
        self._added: dict[str, set[str]] = {}  # code by the identity of the cell that asked
        hooks.on("pre_run_cell", self._begins)

    def are_taken(self) -> bool:
        """Return True if the front end takes new cells: a script and nbclient do not."""
        from mixmagic.display.renderers import NotebookRenderer, renderer

        if getattr(self._shell, "kernel", None) is None:
            return bool(self._running and self._running.store_history)
        return isinstance(renderer(self._shell), NotebookRenderer)

    def insert(self, cells: list[str]) -> str:
        """Put the first of some sources into a new cell, unless it is in the notebook already.

        Returns:
            A note of what has been done.

        Example:
            >>> print(new_cells.insert(code_cells(completion)))
            added a cell below
        """
        if not cells:
            return "no code for a new cell in this answer"
        first, *others = cells
        info = self._running
        identity = getattr(info, "cell_id", None) or getattr(info, "raw_cell", None) or ""
        added = self._added.setdefault(identity, set())
        if first.strip() in added.union(self._saved()):
            return "the code is in a cell below already"
        if info is not None and self._added_by is info:
            return "this cell has added a cell already: the code stays in the answer"
        self._added_by = info
        added.add(first.strip())
        self._shell.set_next_input(first)
        if not others:
            return "added a cell below"
        rest = "another code block stays" if len(others) == 1 else f"{len(others)} more stay"
        return f"added a cell below; {rest} in the answer"

    def _begins(self, info: Any) -> None:
        self._running = info

    def _saved(self) -> set[str]:
        """Return the code cells of the notebook as it was last saved."""
        path = Path(self._session.notebook or "")
        if path.suffix != ".ipynb":
            return set()
        import json

        from mixmagic.core import files

        try:
            cells = json.loads(files.read(path))["cells"]
            return {"".join(c["source"]).strip() for c in cells if c["cell_type"] == "code"}
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return set()  # not a notebook of a format that we know
