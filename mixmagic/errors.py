"""The exceptions of mixmagic. Imports `text` alone; all but that may import it.

* `MixmagicError`
    * `BadArguments`
    * `MissingKey`
    * `MissingPackage`
    * `UnknownModel`
    * `ContextTooLong`
    * `BudgetExceeded`
    * `AnswerUnusable`
    * `UnreadableRecord`
    * `StoreError`
        * `StoreBusy`
        * `StoreDamaged`
    * `ProviderError`
        * `RateLimited`
        * `Unavailable`
        * `StreamBroken`
        * `TimedOut`
            * `ConnectTimedOut`
            * `FirstByteTimedOut`
            * `IdleTimedOut`
            * `TotalTimedOut`
* `Stopped` (a `KeyboardInterrupt`, so that no `except Exception` swallows it)
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mixmagic.core.terminal import encodable

_LONGEST = 600
# What a terminal would obey instead of showing, and what is no text.
_CONTROL = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]"  # compiled when it is used


def one_line(text: object, longest: int = _LONGEST) -> str:
    """Fold white space and control characters to single blanks; cut at `longest` characters."""
    folded = " ".join(re.sub(_CONTROL, " ", str(text)).split())
    return folded if len(folded) <= longest else folded[: longest - 1] + "…"


def did_you_mean(name: str, names: Iterable[str], most: int = 1, likeness: float = 0.6) -> str:
    """How a hint begins where a name is not known: with those that are like it, if any are.

    Args:
        name: What was said.
        names: What could have been, in any letters.
        most: How many are told.
        likeness: How like they must be, from 0 to 1.

    Example:
        >>> did_you_mean("temprature", ["seed", "temperature"])
        'Did you mean temperature? '
    """
    import difflib

    known = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), known, most, likeness)
    return f"Did you mean {' or '.join(known[each] for each in near)}? " if near else ""


class MixmagicError(Exception):
    """What happened, in one line, and one hint that cures it.

    In a notebook it shows as these two lines, without a traceback, and the cell fails.

    Args:
        message: What happened.
        hint: What to do about it.

    Attributes:
        partial: What had come of the answer, a `Completion`; `None` where nothing had.
        sent: Whether the provider may have read the question, and bill it.
        transmitted: True if the question left this machine, whatever became of it.
        usage: What the provider told with the error of tokens and charge, a `Usage`; `None` if it
            told nothing.
        status: The HTTP status; `None` if there was none.
        body: What the provider sent with the error, without keys: JSON, or a text; `None` if it
            sent none.
    """

    partial: object = None
    sent = False
    transmitted = False
    usage: object = None
    status: int | None = None
    body: object = None

    def __init__(self, message: str, hint: str) -> None:
        self.message = one_line(message)
        self.hint = one_line(hint)
        super().__init__(self.message)
        self.add_note(f"Hint: {self.hint}")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled with its hint, so that it comes home from a pool of processes."""
        return type(self), (self.message, self.hint), self.__dict__

    def _render_traceback_(self) -> list[str]:
        """The two lines that IPython shows instead of a traceback."""
        lines = f"{type(self).__name__}: {self.message}", f"Hint: {self.hint}"
        return list(map(encodable, lines))


class BadArguments(MixmagicError):
    """An option, a parameter or a settings file that makes no sense."""


class MissingKey(MixmagicError):
    """The provider needs an API key and there is none, or it is not accepted."""


class MissingPackage(MixmagicError):
    """An optional package is needed and is not installed."""


class UnknownModel(MixmagicError):
    """No catalog row has this name."""


class ContextTooLong(MixmagicError):
    """The prompt and the answer do not fit into the model's context."""


class BudgetExceeded(MixmagicError):
    """The call could cost more than a budget has left; nothing was sent.

    Args:
        message: What happened.
        hint: What to do about it.
        most: US dollars that the call could have cost; `None` where nothing bounds it.
        left: US dollars that the budget has left.
    """

    def __init__(
        self, message: str, hint: str, *, most: object = None, left: object = None
    ) -> None:
        super().__init__(message, hint)
        self.most = most
        self.left = left


class AnswerUnusable(MixmagicError):
    """The answer is whole, but not in the form that was asked for; `partial` has its text."""


class UnreadableRecord(MixmagicError):
    """A recorded request, answer or error is damaged, or written by a newer version of mixmagic."""


class StoreError(MixmagicError):
    """A file of the user's data folder cannot be read or written."""


class StoreBusy(StoreError):
    """A file of the user's data folder is locked by another process."""


class StoreDamaged(StoreError):
    """A file of the user's data folder was damaged, and has been moved aside: said once."""


class ProviderError(MixmagicError):
    """The provider refused the call or broke it off.

    Args:
        message: What happened.
        hint: What to do about it.
        status: The HTTP status, or `None` where there was none.
        retry_after: Seconds to wait before the next try, where the provider said so.
        retryable: Whether the same call may be sent again: it has not been answered, and the
            trouble may pass.
        limits: What the provider said of its limits, a `RateLimits`.
    """

    def __init__(
        self,
        message: str,
        hint: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
        limits: object = None,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.retry_after = retry_after
        self.retryable = retryable
        self.limits = limits


class RateLimited(ProviderError):
    """Too many requests or tokens in too short a time.

    Attributes:
        others_accepted: True if the provider accepts other calls: then this one succeeds later.
    """

    others_accepted = False


class Unavailable(ProviderError):
    """The provider cannot be reached, or cannot answer now."""


class StreamBroken(ProviderError):
    """The answer is not whole: it broke off, or it is no answer."""

    transmitted = True


class TimedOut(ProviderError):
    """The provider took longer than the settings allow."""


class ConnectTimedOut(TimedOut):
    """No connection within `connect_timeout`."""


class FirstByteTimedOut(TimedOut):
    """The question was sent, and nothing came within `first_byte_timeout`."""


class IdleTimedOut(TimedOut):
    """The answer began, and nothing more came within `idle_timeout`."""


class TotalTimedOut(TimedOut):
    """The call was not over within `total_timeout`, or the call's own `timeout`."""


class Stopped(KeyboardInterrupt):
    """The user stopped the call: Ctrl-C, the stop button, or `Stop.set`.

    Args:
        message: What became of the call, in one line.
        completion: What had come until then, a `Completion`, where it is known.
        sent: Whether the provider may have read the question, and bill it.
    """

    def __init__(
        self, message: str = "Stopped.", completion: object = None, *, sent: bool = True
    ) -> None:
        super().__init__(message)
        self.message = message
        self.completion = completion
        self.sent = sent

    def _render_traceback_(self) -> list[str]:
        """The one line that IPython shows instead of a traceback."""
        return [encodable(self.message)]
