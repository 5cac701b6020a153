"""The exceptions of mixmagic. Every module may import them.

* `MixmagicError`
    * `BadArguments`
    * `MissingKey`
        * `KeyRejected`
    * `MissingPackage`
    * `UnknownModel`
    * `ContextTooLong`
    * `ImagesUnsupported`
    * `BudgetExceeded`
    * `Unfinished`
    * `AnswerUnusable`
    * `CassetteMiss`
    * `NetworkBlocked`
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
from typing import Any

from mixmagic.core.terminal import encodable, fold, text_width

_LONGEST = 600
# Control characters, which a terminal obeys, and halves of surrogate pairs, which are not text.
_CONTROL = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]"  # compiled when it is used


def one_line(text: object, longest: int = _LONGEST) -> str:
    """Fold white space and control characters to single blanks; cut at `longest` characters."""
    folded = " ".join(re.sub(_CONTROL, " ", str(text)).split())
    return folded if len(folded) <= longest else folded[: longest - 1] + "…"


def counted(number: int, noun: str) -> str:
    """Return a number of things in words.

    Example:
        >>> counted(1, "answer"), counted(2000, "answer")
        ('1 answer', '2,000 answers')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def did_you_mean(name: str, names: Iterable[str], most: int = 1, likeness: float = 0.6) -> str:
    """Return the start of a hint for an unknown name: the closest known names, or nothing.

    Args:
        name: The unknown name.
        names: The known names; case does not matter.
        most: The largest number of names in the hint.
        likeness: The least similarity, from 0 to 1.

    Example:
        >>> did_you_mean("temprature", ["seed", "temperature"])
        'Did you mean temperature? '
    """
    import difflib

    known = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), known, most, likeness)
    return f"Did you mean {' or '.join(map(known.__getitem__, near))}? " if near else ""


class MixmagicError(Exception):
    """An error with a message of one line, and a hint of one line that helps to fix it.

    A notebook shows these two lines, without a traceback, and the cell fails.

    Args:
        message: The problem.
        hint: A way to fix it.

    Attributes:
        partial: The answer so far, a `Completion`; `None` if there is none.
        sent: True if the provider may have received (and will bill) the request.
        transmitted: True if the request left this machine, received or not.
        usage: The `Usage` that the provider reported with the error; `None` if it reported none.
        status: The HTTP status; `None` if there was none.
        body: The provider's response, redacted: JSON or a text; `None` if there was none.
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
        """Pickle with the hint, so that the error can leave a process pool."""
        return type(self), (self.message, self.hint), self.__dict__

    def _render_traceback_(self) -> list[str]:
        """Return the two lines that IPython shows instead of a traceback, folded between words."""
        lines = f"{type(self).__name__}: {self.message}", f"Hint: {self.hint}"
        return [encodable(fold(line, text_width(), "  ")) for line in lines]


class BadArguments(MixmagicError):
    """An option, a parameter or a settings file is invalid."""


class MissingKey(MixmagicError):
    """The provider needs an API key and there is none."""


class KeyRejected(MissingKey):
    """The provider does not accept the API key that was sent."""


class MissingPackage(MixmagicError):
    """An optional package is needed and is not installed."""


class UnknownModel(MixmagicError):
    """No catalog row has this name."""


class ContextTooLong(MixmagicError):
    """The prompt and the answer do not fit into the model's context."""


class ImagesUnsupported(MixmagicError):
    """The prompt has an image, and the model does not see images."""


class BudgetExceeded(MixmagicError):
    """The call could cost more than remains of a budget; nothing was sent.

    Args:
        message: The problem.
        hint: A way to fix it.
        most: US dollars that the call could have cost; `None` if nothing limits it.
        remaining: US dollars that remain of the budget.
    """

    def __init__(
        self, message: str, hint: str, *, most: object = None, remaining: object = None
    ) -> None:
        super().__init__(message, hint)
        self.most = most
        self.remaining = remaining


class Unfinished(MixmagicError):
    """A job paused before all of a document was done; the same call goes on."""


class AnswerUnusable(MixmagicError):
    """The answer is complete, but not in the requested format; `partial` has its text."""


class CassetteMiss(MixmagicError):
    """A cassette is in use, and has no answer to the request; nothing was sent."""


class NetworkBlocked(MixmagicError):
    """`MIXMAGIC_BLOCK_NETWORK` is set, and something tried to reach another machine."""


class UnreadableRecord(MixmagicError):
    """A recorded request, answer or error is damaged, or written by a newer version of mixmagic."""


class StoreError(MixmagicError):
    """A file of the user's data folder cannot be read or written."""


class StoreBusy(StoreError):
    """A file of the user's data folder is locked by another process."""


class StoreDamaged(StoreError):
    """A file of the user's data folder was damaged and is quarantined now; raised once."""


class ProviderError(MixmagicError):
    """The provider refused the call or broke it off.

    Args:
        message: The problem.
        hint: A way to fix it.
        status: The HTTP status; `None` if there was none.
        retry_after: Seconds to wait before the next try; `None` if the provider did not say.
        retryable: True if the same call may be made again: it was not answered, and the problem may
            be temporary.
        limits: The `RateLimits` that the provider reported.
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
    """The answer is incomplete, or is not an answer."""

    transmitted = True


class TimedOut(ProviderError):
    """The provider took longer than the settings allow."""


class ConnectTimedOut(TimedOut):
    """No connection within `connect_timeout`."""


class FirstByteTimedOut(TimedOut):
    """The request was sent, and nothing was received within `first_byte_timeout`."""


class IdleTimedOut(TimedOut):
    """The answer began, and nothing more was received within `idle_timeout`."""


class TotalTimedOut(TimedOut):
    """The call was not over within `total_timeout`, or the call's own `timeout`."""


class Stopped(KeyboardInterrupt):
    """The user stopped the call: Ctrl-C, the stop button, or `Stop.set`.

    Args:
        message: The outcome of the call, in one line.
        completion: The answer so far, a `Completion`; `None` if unknown.
        sent: True if the provider may have received (and will bill) the request.
    """

    def __init__(
        self, message: str = "Stopped.", completion: object = None, *, sent: bool = True
    ) -> None:
        super().__init__(message)
        self.message = message
        self.completion = completion
        self.sent = sent

    def _render_traceback_(self) -> list[str]:
        """Return the one line that IPython shows instead of a traceback."""
        return [encodable(self.message)]


def received(error: BaseException) -> Any:
    """Return the answer so far of a call that failed or was stopped; `None` if there is none."""
    return getattr(error, "completion" if isinstance(error, Stopped) else "partial", None)
