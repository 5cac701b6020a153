"""The errors of the session's cells, for `%mixtral fix` and `{{ error }}`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from mixmagic.errors import BadArguments, MixmagicError, Stopped, counted

if TYPE_CHECKING:
    from mixmagic.magics._shell.hooks import Hooks

# The longest cell and traceback that are sent, in characters.
_LONGEST_CELL, _LONGEST_TRACEBACK = 8_000, 4_000
# Starts of messages, with their hints.
_NO_FAILURE, _TO_FIX = (
    "There is nothing to fix:",
    "Run the cell that fails, then `%mixtral fix` in another one.",
)
_NO_ERROR, _TO_INSERT = (
    "There is no `{{ error }}`:",
    "Run the cell that fails first, or insert a variable of your own.",
)


class Failure(NamedTuple):
    """A cell that failed.

    Attributes:
        cell: Its source; empty if it is not known.
        traceback: Its traceback, with the user's own frames.
        shapes: The shapes of the values in the line that failed, one a line.
    """

    cell: str
    traceback: str
    shapes: str = ""

    def prompt(self, wish: str = "", redact: Callable[[str], str] = str) -> str:
        """Return the failure as a question, of bounded length.

        Args:
            wish: A wish of the user's.
            redact: Removes keys from a text.

        Example:
            >>> Failure("1/0", "ZeroDivisionError: division by zero").prompt()
        """
        from mixmagic.text.code_blocks import fenced

        cell = _without_keys(self.cell, redact)
        shapes = _without_keys(self.shapes, redact)
        parts = [
            f"The cell:\n\n{fenced(_cut(cell, _LONGEST_CELL), 'python')}" if cell else "",
            f"The error:\n\n{fenced(self.shown_traceback(redact))}",
            f"In the line that failed:\n\n{fenced(shapes)}" if shapes else "",
            wish.strip(),
        ]
        return "\n\n".join(filter(None, parts))

    def shown_traceback(self, redact: Callable[[str], str] = str) -> str:
        """Return the traceback, of bounded length and without keys."""
        return _cut(_without_keys(self.traceback, redact), _LONGEST_TRACEBACK)


class LastError:
    """The last error of the session, as `{{ error }}` presents it.

    Args:
        failures: The errors of the shell.
        redact: Removes keys from a text.
    """

    def __init__(self, failures: Failures, redact: Callable[[str], str]) -> None:
        self._failures, self._redact = failures, redact

    def _repr_prompt_(self) -> str:
        """Return its traceback.

        Raises:
            BadArguments: There has been no error.
        """
        return self._failures.last_error().shown_traceback(self._redact)

    __str__ = _repr_prompt_


class _Memory:
    """The errors of one shell's cells; it outlives `%reload_ext`.

    Only text is kept: frames would keep the cell's values in memory.

    Attributes:
        failure: The last cell that failed, neither by the user's stop nor by an error of ours.
        error: The last error that is not ours; a stop is one.
        ours: The type and the hint of our last error, unless another one followed it.
    """

    def __init__(self) -> None:
        self.failure: Failure | None = None
        self.error: Failure | None = None
        self.ours: tuple[str, str] | None = None


_memories: WeakKeyDictionary[Any, _Memory] = WeakKeyDictionary()


class Failures:
    """Remembers the errors of a shell's cells, also the last one before the extension was loaded.

    Args:
        hooks: Hooks in the shell.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._shell = hooks.shell
        if hooks.shell in _memories:
            self._memory = _memories[hooks.shell]
        else:
            self._memory = _memories[hooks.shell] = _Memory()
            if (error := _last_of_python()) is not None:
                self._remember(error, self._cell(error))
        self._seen = id(_last_of_python())
        hooks.on("pre_run_cell", self._begins)
        hooks.on("post_run_cell", self._ran)

    def last(self) -> Failure:
        """Return the last cell that failed by an error that is neither a stop nor ours.

        Raises:
            BadArguments: No cell has failed.

        Example:
            >>> failures.last().traceback.splitlines()[-1]
            'ZeroDivisionError: division by zero'
        """
        return self._known(self._memory.failure, _NO_FAILURE, _TO_FIX)

    def last_error(self) -> Failure:
        """Return the last error that is not ours; the user's stop is one.

        Raises:
            BadArguments: There has been none.
        """
        return self._known(self._memory.error, _NO_ERROR, _TO_INSERT)

    def _known(self, failure: Failure | None, message: str, hint: str) -> Failure:
        """Return a failure if there is one."""
        if failure is not None:
            return failure
        if self._memory.ours is None:
            raise BadArguments(f"{message} no cell of this session has failed.", hint)
        kind, hint = self._memory.ours
        raise BadArguments(
            f"{message} the only errors were mixmagic's own, the last one {kind}.", hint
        )

    def _begins(self, info: object = None) -> None:
        """Note which exception Python remembers: code that no one sees may have raised it."""
        self._seen = id(_last_of_python())

    def _ran(self, result: Any) -> None:
        """Remember the error of a cell that has run."""
        error = result.error_before_exec or result.error_in_exec
        info = result.info
        shown = _last_of_python()  # magics such as %run show an error, and do not fail
        if error is None and id(shown) != self._seen:
            error = shown
        # A front end's own code, as for a list of variables, is not in the history.
        if error is not None and info.store_history:
            self._remember(error, info.raw_cell or "")

    def _remember(self, error: BaseException, cell: str) -> None:
        memory = self._memory
        if isinstance(error, MixmagicError):
            if not error.message.startswith((_NO_FAILURE, _NO_ERROR)):
                memory.ours = type(error).__name__, error.hint
        elif not isinstance(error, Stopped):
            from mixmagic.magics._shell.failing_line import shapes
            from mixmagic.prompting.present.code import traceback_text

            # It is cut again after keys are removed: half a key would not be recognized.
            text = _cut(traceback_text(error), 4 * _LONGEST_TRACEBACK)
            memory.error, memory.ours = Failure(cell, text, "\n".join(shapes(error))), None
            if isinstance(error, Exception):
                memory.failure = memory.error

    def _cell(self, error: BaseException) -> str:
        """Return the source of the cell that raised an error; an empty string if not found."""
        files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
        files.append(str(getattr(error, "filename", "")))
        numbers = getattr(self._shell.compile, "_filename_map", {})
        sources = self._shell.user_ns.get("In", [])
        # The first frame is the cell that ran; it may call functions of other cells.
        number = next((numbers[file] for file in files if file in numbers), 0)
        return str(sources[number]) if 0 < number < len(sources) else ""


def _last_of_python() -> BaseException | None:
    """Return the last exception that was shown, as Python remembers it."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error if isinstance(error, BaseException) else None


def _without_keys(text: str, redact: Callable[[str], str]) -> str:
    """Return a text without the keys that `redact` knows, and without what is written like one."""
    from mixmagic.keys.likely import redact_likely

    return redact_likely(redact(text))


def _cut(text: str, longest: int) -> str:
    """Cut a text to about `longest` characters: keep its beginning, and more of its end."""
    if len(text) <= longest:
        return text
    head = longest // 3
    omitted = len(text) - longest
    return f"{text[:head]}\n… {counted(omitted, 'character')} …\n{text[head + omitted :]}"
