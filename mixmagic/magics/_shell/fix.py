"""`%mixtral fix`: the last cell that failed, and why, as a question to a model."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mixmagic.errors import BadArguments, MixmagicError

INSTRUCTIONS = (
    "A notebook's cell has failed. Say in a few sentences what went wrong and why. Then give the"
    " whole mended cell in one code block, its magics included, changed no more than needed."
)
# Characters of a cell and of a traceback that are sent; frames that are read.
_LONGEST_CELL, _LONGEST_TRACEBACK, _MOST_FRAMES = 8_000, 4_000, 20

# Where IPython hands a cell over to Python: what stands before is no part of the failure.
_OWN = ("run_code", "ast_parse")
_SHELL = re.compile(r"%%(?:bash|sh|script|cmd)\b")
_WORDS = re.compile(r"\d+\.\d+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that failed.

    Attributes:
        cell: Its source; empty where it is not known.
        traceback: What Python said.
    """

    cell: str
    traceback: str

    def prompt(self, wish: str = "", redact: Callable[[str], str] = str) -> str:
        """The failure as a question, of bounded length.

        Args:
            wish: What the user says about it.
            redact: Takes keys out of what is sent.

        Example:
            >>> Failure("1/0", "ZeroDivisionError: division by zero").prompt()
        """
        from mixmagic.text.code_blocks import fenced

        cell, told = redact(self.cell), redact(self.traceback)
        parts = [
            f"The cell:\n\n{fenced(_cut(cell, _LONGEST_CELL), 'python')}" if cell else "",
            f"The error:\n\n{fenced(_cut(told, _LONGEST_TRACEBACK))}",
            wish.strip(),
        ]
        return "\n\n".join(filter(None, parts))


class Failures:
    """Remembers the last cell that failed by itself: not by the user's stop, not for a model.

    It keeps text alone, no frames: what a cell held in memory is let go.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._last: Failure | None = None
        shell.events.register("post_run_cell", self._ran)

    def close(self) -> None:
        """Remember no more."""
        self._shell.events.unregister("post_run_cell", self._ran)

    def last(self) -> Failure:
        """The last cell that failed, also before the extension was loaded.

        Raises:
            BadArguments: None has.

        Example:
            >>> failures.last().traceback.splitlines()[-1]
            'ZeroDivisionError: division by zero'
        """
        failure = self._last or self._earlier()
        if failure is None:
            raise BadArguments(
                "There is nothing to fix: no cell of this session has failed.",
                "Run the cell that fails, then `%mixtral fix` in another one.",
            )
        return failure

    def _ran(self, result: Any) -> None:
        """A cell has run: keep why it failed."""
        error = result.error_before_exec or result.error_in_exec
        info = result.info
        # A front end's own code, as of a list of variables, is in no history.
        if error is not None and info.store_history and _is_fixable(error):
            self._last = Failure(info.raw_cell or "", _told(error))

    def _earlier(self) -> Failure | None:
        """What Python itself has kept of a failure."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if not isinstance(error, BaseException) or not _is_fixable(error):
            return None
        return Failure(self._cell(error), _told(error))

    def _cell(self, error: BaseException) -> str:
        """The source of the cell that an error came through; empty where it is not found."""
        files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
        files.append(str(getattr(error, "filename", "")))
        numbers = getattr(self._shell.compile, "_filename_map", {})
        sources = self._shell.user_ns.get("In", [])
        # The first of its frames is the cell that ran; it may call what other cells define.
        number = next((numbers[file] for file in files if file in numbers), 0)
        return str(sources[number]) if 0 < number < len(sources) else ""


def _is_fixable(error: BaseException) -> bool:
    """Whether it is a mistake of the cell, and no stop, nor an error that names its own cure."""
    return isinstance(error, Exception) and not isinstance(error, MixmagicError)


def _told(error: BaseException) -> str:
    """An error as Python tells it: its last frames, without IPython's own."""
    told = traceback.TracebackException.from_exception(error, limit=-_MOST_FRAMES, compact=True)
    own = [at for at, f in enumerate(told.stack) if f.name in _OWN and "IPython" in f.filename]
    if own:
        del told.stack[: own[-1] + 1]
    # Cut again when keys have been taken out: half a key would not be known for one.
    return _cut("".join(told.format()).rstrip(), 4 * _LONGEST_TRACEBACK)


def _cut(text: str, longest: int) -> str:
    """A text of at most about `longest` characters: its beginning, and more of its end."""
    if len(text) <= longest:
        return text
    head = longest // 3
    left_out = len(text) - longest
    return f"{text[:head]}\n… {left_out:,} characters …\n{text[head + left_out :]}"


def mended(sources: list[str], cell: str) -> list[str]:
    r"""The mended cell, of the sources of an answer's cells; nothing where none is.

    It is in the language of the cell that failed, and the most like it that is not the same:
    others are what is printed, or what is to be installed.

    Args:
        sources: What `_insert.cells` says.
        cell: The cell that failed.

    Example:
        >>> mended(["1 / 1", "1.0", "%%bash\npip install numpy"], "1 / 0")
        ['1 / 1']
    """
    import difflib

    from mixmagic.text.code_blocks import installs

    same = [each for each in sources if bool(_SHELL.match(each)) is bool(_SHELL.match(cell))]
    fitting = [each for each in same if installs(cell) or not installs(each)]
    changed = [each for each in fitting if each.strip() != cell.strip()] or fitting
    # By the words that both have: in linear time, whatever a model has written.
    like = difflib.SequenceMatcher(None, b=_WORDS.findall(cell), autojunk=False)

    def likeness(source: str) -> float:
        like.set_seq1(_WORDS.findall(source))
        return like.quick_ratio()

    return [max(changed, key=likeness)] if changed else []
