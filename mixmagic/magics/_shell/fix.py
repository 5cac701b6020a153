"""`%mixtral fix`: the last cell that failed, and its error, as a question to a model."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from mixmagic.errors import BadArguments, MixmagicError

if TYPE_CHECKING:
    from mixmagic.magics._shell.hooks import Hooks

INSTRUCTIONS = (
    "A notebook cell has failed. Say in a few sentences what went wrong and why. Then give the"
    " whole fixed cell in one code block, its magics included, changed no more than needed."
)
# The longest cell and traceback that are sent, in characters, and the most frames of one.
_LONGEST_CELL, _LONGEST_TRACEBACK, _MOST_FRAMES = 8_000, 4_000, 20

# IPython's functions that hand a cell over to Python: frames before them are left out.
_OWN = ("run_code", "ast_parse")
# Compiled when they are used: `%load_ext` stays light.
_SHELL = r"%%(?:bash|sh|script|cmd)\b"
_WORDS = r"\d+\.\d+|\w+|[^\w\s]"
_FIX = r"fix\s*(?:$|:\s*(.*))"


def wish(prompt: str) -> str | None:
    """Return what follows `fix:`, or an empty string for plain `fix`; `None` for other prompts.

    Example:
        >>> wish("fix: without pandas")
        'without pandas'
    """
    match = re.match(_FIX, prompt, re.DOTALL)
    return (match[1] or "") if match else None


class Failure(NamedTuple):
    """A cell that failed.

    Attributes:
        cell: Its source; empty if it is not known.
        traceback: Its traceback, as Python prints it.
    """

    cell: str
    traceback: str

    def prompt(self, wish: str = "", redact: Callable[[str], str] = str) -> str:
        """Return the failure as a question, of bounded length.

        Args:
            wish: A wish of the user's.
            redact: Removes keys from a text.

        Example:
            >>> Failure("1/0", "ZeroDivisionError: division by zero").prompt()
        """
        from mixmagic.text.code_blocks import fenced

        cell, traceback = redact(self.cell), redact(self.traceback)
        parts = [
            f"The cell:\n\n{fenced(_cut(cell, _LONGEST_CELL), 'python')}" if cell else "",
            f"The error:\n\n{fenced(_cut(traceback, _LONGEST_TRACEBACK))}",
            wish.strip(),
        ]
        return "\n\n".join(filter(None, parts))


class Failures:
    """Remembers the last cell that failed, neither by the user's stop nor by a call to a model.

    Only text is kept: frames would keep the cell's values in memory.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._shell = hooks.shell
        self._last: Failure | None = None
        hooks.on("post_run_cell", self._ran)

    def last(self) -> Failure:
        """Return the last cell that failed, even if that was before the extension was loaded.

        Raises:
            BadArguments: No cell has failed.

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
        """Keep the failure of a cell that has run."""
        error = result.error_before_exec or result.error_in_exec
        info = result.info
        # A front end's own code, as for a list of variables, is not in the history.
        if error is not None and info.store_history and _is_fixable(error):
            self._last = Failure(info.raw_cell or "", _formatted(error))

    def _earlier(self) -> Failure | None:
        """Return the failure that Python itself remembers."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if not isinstance(error, BaseException) or not _is_fixable(error):
            return None
        return Failure(self._cell(error), _formatted(error))

    def _cell(self, error: BaseException) -> str:
        """Return the source of the cell that raised an error; an empty string if not found."""
        files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
        files.append(str(getattr(error, "filename", "")))
        numbers = getattr(self._shell.compile, "_filename_map", {})
        sources = self._shell.user_ns.get("In", [])
        # The first frame is the cell that ran; it may call functions of other cells.
        number = next((numbers[file] for file in files if file in numbers), 0)
        return str(sources[number]) if 0 < number < len(sources) else ""


def _is_fixable(error: BaseException) -> bool:
    """Return True for a mistake in the cell: not a stop, nor an error of ours, which has a hint."""
    return isinstance(error, Exception) and not isinstance(error, MixmagicError)


def _formatted(error: BaseException) -> str:
    """Return an error's traceback: its last frames, without IPython's own."""
    shown = traceback.TracebackException.from_exception(error, limit=-_MOST_FRAMES, compact=True)
    own = [at for at, f in enumerate(shown.stack) if f.name in _OWN and "IPython" in f.filename]
    if own:
        del shown.stack[: own[-1] + 1]
    # It is cut again after keys are removed: half a key would not be recognized.
    return _cut("".join(shown.format()).rstrip(), 4 * _LONGEST_TRACEBACK)


def _cut(text: str, longest: int) -> str:
    """Cut a text to about `longest` characters: keep its beginning, and more of its end."""
    if len(text) <= longest:
        return text
    head = longest // 3
    omitted = len(text) - longest
    return f"{text[:head]}\n… {omitted:,} characters …\n{text[head + omitted :]}"


def fixed(sources: list[str], cell: str) -> list[str]:
    r"""Return the fixed cell among the sources of an answer, in a list, or an empty list.

    It is the source in the language of the cell that failed that is most like it without being the
    same. Others are output, or install packages.

    Args:
        sources: The sources of an answer's code, as `insert.code_cells` returns them.
        cell: The cell that failed.

    Example:
        >>> fixed(["1 / 1", "1.0", "%%bash\npip install numpy"], "1 / 0")
        ['1 / 1']
    """
    import difflib

    from mixmagic.text.code_blocks import installs

    shell = bool(re.match(_SHELL, cell))
    same_language = [source for source in sources if bool(re.match(_SHELL, source)) is shell]
    programs = [source for source in same_language if installs(cell) or not installs(source)]
    changed = [source for source in programs if source.strip() != cell.strip()] or programs
    # By the words in both, which takes linear time.
    matcher = difflib.SequenceMatcher(None, b=re.findall(_WORDS, cell), autojunk=False)

    def likeness(source: str) -> float:
        matcher.set_seq1(re.findall(_WORDS, source))
        return matcher.quick_ratio()

    return [max(changed, key=likeness)] if changed else []
