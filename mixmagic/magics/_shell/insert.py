"""`--insert`: an answer's code blocks become new cells below it. They are never run from here.

A front end takes one new cell of an execution: JupyterLab the first `set_next_input` of a reply,
IPython's terminal one next input. So the first block comes at once, and each further one below
the one before it, when that has run: in order, whatever the front end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported when an answer is there: `%load_ext` stays light
    from collections.abc import Sequence

    from mixmagic.calls.completion import Completion
    from mixmagic.sessions import Session
    from mixmagic.text.code_blocks import CodeBlock

# What a cell of a language begins with. What is no program for a cell is not here.
_BEGINS = {
    **dict.fromkeys(("python", "python3", "py", "ipython", "ipython3", "pycon"), ""),
    **dict.fromkeys(("bash", "sh", "shell", "zsh"), "%%bash\n"),
}
# What the footer says where `Cells.taken` says no.
NOBODY = "no new cells: nobody is here to take them"
_MOST_CHAINS = 20


def blocks(answer: Completion) -> list[CodeBlock]:
    r"""The code blocks of an answer, in order; one that was cut off is left out.

    Example:
        >>> blocks(mixmagic.ask("Two lines of Python, please."))
        [CodeBlock(language='python', code='x = 1\nprint(x)')]
    """
    from mixmagic.text.code_blocks import code_blocks
    from mixmagic.text.escape import plain

    text = plain(answer.text.replace("\r\n", "\n"))
    found = list(code_blocks(text))
    # What is put behind the text is in its last block where that one is still open.
    if answer.finish != "stop" and found and list(code_blocks(f"{text}\n.")) != found:
        found.pop()
    return [block for block in found if block.code.strip()]


def cells(found: Sequence[CodeBlock]) -> list[str]:
    r"""The sources of the cells that blocks become: Python, and shell through `%%bash`.

    A block without a language is taken for Python only where no block is marked as a program:
    beside marked ones it is mostly what they print.

    Example:
        >>> cells([CodeBlock("bash", "ls"), CodeBlock("json", "{}")])
        ['%%bash\nls']
    """
    named = [
        (block.language.lower().strip("{.}"), block.source.strip("\n").rstrip()) for block in found
    ]
    marked = [each for each in named if each[0] in _BEGINS]
    chosen = marked or [each for each in named if not each[0]]
    return [
        code if code.startswith("%%") else _BEGINS.get(name, "") + code for name, code in chosen
    ]


@dataclass(eq=False)
class _Chain:
    """Cells that follow one another.

    Attributes:
        shown: The source of the last one that is in the notebook; empty before the first.
        rest: The sources that are still to come.
        id: That cell's identity, once it has run.
    """

    shown: str
    rest: list[str]
    id: str = field(default="")


class Cells:
    """Puts new cells below the one that runs, each code once for each cell that asks.

    Args:
        shell: IPython's shell.
        session: Knows the notebook's path, where there is one.
    """

    def __init__(self, shell: Any, session: Session) -> None:
        self._shell, self._session = shell, session
        self._running: Any = None  # what IPython says of the cell that runs
        self._known: set[str] = set()  # cells that have run
        self._given: dict[str, set[str]] = {}  # a cell's identity, and the codes offered for it
        self._chains: list[_Chain] = []
        self._current: _Chain | None = None  # the one that the running cell has begun
        shell.events.register("pre_run_cell", self._begins)
        shell.events.register("post_run_cell", self._ran)

    def taken(self) -> bool:
        """Whether somebody takes new cells: nobody does in a script, nor under nbclient.

        Example:
            >>> if not self._cells.taken():
            ...     notes.append(NOBODY)
        """
        from mixmagic.display.renderers import NotebookRenderer, renderer

        if getattr(self._shell, "kernel", None) is None:
            return bool(self._running and self._running.store_history)
        return isinstance(renderer(self._shell), NotebookRenderer)

    def insert(self, sources: list[str]) -> str:
        """Let sources become cells below the one that runs, as far as they are not there already.

        Args:
            sources: What `cells` says; nothing of it is run.

        Returns:
            What became of them, in one line.

        Example:
            >>> print(self._cells.insert(cells(blocks(completion.text))))
            new cell below
        """
        if not sources:
            return "no code for a new cell in this answer"
        identity = _identity(self._running)
        given = self._given.setdefault(identity, set()) if identity else set()
        there = given.union(map(str.strip, self._saved()))
        new = next((at for at, each in enumerate(sources) if each.strip() not in there), None)
        if new is None:
            return "its code is in a cell below already"
        given.update(map(str.strip, sources))
        rest = [each for each in sources[new:] if each.strip() not in there]
        if self._current is not None:
            self._current.rest += rest
            return _said(0, len(rest))
        chain = _Chain(sources[new - 1] if new else "", rest)
        self._chains = [*self._chains, chain][-_MOST_CHAINS:]
        if new:  # below the one that is there, when that has run
            return _said(0, len(rest))
        self._current = chain
        self._next(chain)
        return _said(1, len(chain.rest))

    def close(self) -> None:
        """Insert no more."""
        self._shell.events.unregister("pre_run_cell", self._begins)
        self._shell.events.unregister("post_run_cell", self._ran)

    def _next(self, chain: _Chain) -> None:
        """Put a chain's next cell below the one that runs."""
        chain.shown, chain.id = chain.rest.pop(0), ""
        self._shell.set_next_input(chain.shown)

    def _begins(self, info: Any) -> None:
        """A cell begins to run."""
        self._running, self._current = info, None

    def _ran(self, result: Any) -> None:
        """A cell has run: if it is the last of a chain, the next one comes below it."""
        info = result.info
        if not info.store_history:  # a front end's own code, as of a list of variables
            return
        identity, source = _identity(info), info.raw_cell or ""
        for chain in self._chains:
            # A cell that ran before the code was offered is another one, however alike.
            ours = chain.id == identity if chain.id else identity not in self._known
            if chain is self._current or not chain.shown or not ours:
                continue
            if not chain.id and not _alike(source, chain.shown):
                continue
            chain.id = identity
            if result.success and chain.rest:
                self._next(chain)
            break
        self._chains = [chain for chain in self._chains if chain.rest]
        if getattr(info, "cell_id", None):
            self._known.add(identity)

    def _saved(self) -> list[str]:
        """The sources of the notebook's code cells, as it was last saved."""
        path = Path(self._session.notebook or "")
        if path.suffix != ".ipynb":
            return []
        from mixmagic.core import files

        try:
            saved = json.loads(files.read(path))["cells"]
            return ["".join(each["source"]) for each in saved if each["cell_type"] == "code"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return []  # no notebook, or not one that we know


def _identity(info: Any) -> str:
    """A cell's identity: the front end's word, else its source."""
    return getattr(info, "cell_id", None) or getattr(info, "raw_cell", None) or ""


def _alike(ran: str, shown: str) -> bool:
    """Whether what ran is what was shown, perhaps after a person has changed it."""
    import difflib

    if ran.strip() == shown.strip():
        return True
    # In order where they are short; without, which takes linear time, where they are not.
    if len(ran) + len(shown) < 1000:
        likeness = difflib.SequenceMatcher(None, ran, shown, autojunk=False)
        return likeness.quick_ratio() > 0.6 and likeness.ratio() > 0.6
    lines = difflib.SequenceMatcher(None, ran.splitlines(), shown.splitlines(), autojunk=False)
    return lines.quick_ratio() > 0.6


def _said(now: int, later: int) -> str:
    """What a person is told."""
    if not later:
        return "new cell below"
    follow = "one more follows" if later == 1 else f"{later} more follow"
    if now:
        return f"new cell below; {follow}, each when the one above it has run"
    return f"{follow}, each when the one above it has run"
