"""Talk to Mixtral and other language models from a notebook cell.

In a notebook: `%load_ext mixmagic`, then `%%mixtral?`. In Python: `mixmagic.ask("…")`.
Importing this module loads nothing but the standard library; names come when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator
    from decimal import Decimal

    from IPython.core.interactiveshell import InteractiveShell

    from mixmagic.calls.completion import Completion
    from mixmagic.core.money import Per
    from mixmagic.core.params import Prompt
    from mixmagic.core.values import Delta, Message
    from mixmagic.display.spend import Spend
    from mixmagic.sessions import Session, session
    from mixmagic.store.ledger.spend import By, Period

__version__ = "0.1.0"
__all__ = [
    "Completion",
    "Delta",
    "Message",
    "Session",
    "ask",
    "budget",
    "errors",
    "session",
    "spend",
    "stopped",
    "stream",
]

_HOMES = {
    "Completion": "mixmagic.calls.completion",
    "Delta": "mixmagic.core.values",
    "Message": "mixmagic.core.values",
    "Session": "mixmagic.sessions",
    "session": "mixmagic.sessions",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "errors":
        return importlib.import_module("mixmagic.errors")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mixmagic' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def ask(prompt: Prompt, *, model: str | None = None, **params: Any) -> Completion:
    """Ask a model and wait for the whole answer.

    Args:
        prompt: A text, or a conversation: `Message`s or dicts with `role` and `content`.
        model: A catalog name (`8x7b`, `fireworks:8x7b`, `local`) or `provider:API-string`;
            the session's model where `None`.
        **params: `system` (instructions), `temperature` (0 to 2), `max_tokens`, `top_p`,
            `seed`, `stop` (a text or a list), `schema` (a JSON Schema), …

    Returns:
        The answer: `text`, `usage` (tokens), `cost` (US dollars, `None` where unknown), …

    Raises:
        errors.MixmagicError: What went wrong, and a hint that cures it.

    Example:
        >>> mixmagic.ask("Name three colours.", model="local", temperature=0)
    """
    from mixmagic.sessions import session

    return session().ask(prompt, model=model, **params)


def stream(
    prompt: Prompt, *, model: str | None = None, **params: Any
) -> Generator[Delta, None, None]:
    """Ask a model and get the answer in pieces, as they come.

    Close the iterator if you leave it early, or use `contextlib.closing`: only then does the
    model stop at once.

    Args:
        prompt: As for `ask`.
        model: As for `ask`.
        **params: As for `ask`.

    Yields:
        Pieces of the answer; `str(piece)` is its text.

    Raises:
        errors.MixmagicError: What went wrong, and a hint that cures it.

    Example:
        >>> for piece in mixmagic.stream("Count to ten.", model="local"):
        ...     print(piece, end="")
    """
    from mixmagic.sessions import session

    current = session()
    return current.stream(current.request(prompt, model=model, **params))


def budget(limit: Decimal | float | str | None, *, per: Per = "session") -> None:
    """Set what may be spent at most. A call that could cost more than what is left is refused.

    What a call can cost at most is held before it is sent, so that threads, kernels and processes
    together never pass a budget. `mixmagic.session().budgets()` says what is left.

    Args:
        limit: US dollars; `None` takes the budget off.
        per: `session` (this one), `notebook` (this one, in all sessions), `day` or `month` (all
            sessions of this user together).

    Raises:
        errors.BadArguments: No amount, no such period, or the notebook is not known.
        errors.StoreError: The budget cannot be kept.

    Example:
        >>> mixmagic.budget("0.50", per="day")
        >>> mixmagic.ask("Write a novel.", model="8x22b")  # may raise errors.BudgetExceeded
    """
    from mixmagic.sessions import session

    session().budget(limit, per=per)


def spend(period: Period = "session", by: By = "model") -> Spend:
    """What calls have cost.

    Args:
        period: Which calls: of this `session`, of `today`, of this `month`, or `all`.
        by: What they are summed up by: `model`, `day`, `notebook` or `status`.

    Returns:
        The sums in US dollars. It shows itself as a table, with a plot where matplotlib is
        installed; `total`, `frame()` (pandas), `plot()` (matplotlib) and `to_csv()` give more.

    Raises:
        errors.BadArguments: There is no such period or grouping.
        errors.StoreError: The ledger cannot be read.

    Example:
        >>> mixmagic.spend("month", by="day").to_csv("month.csv")
    """
    from mixmagic.display.spend import read_spend
    from mixmagic.sessions import session

    return read_spend(session(), period, by)


def stopped() -> list[Completion]:
    """Return what had come of the calls that were stopped last, all those of one cell together.

    A cell that is interrupted stops every call that it has begun, in whatever thread.

    Example:
        >>> [answer.text for answer in mixmagic.stopped()]
    """
    from mixmagic.sessions import session

    return session().stopped


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics: what `%load_ext mixmagic` calls."""
    from mixmagic import magics
    from mixmagic.sessions import session

    magics.register(shell, session())


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away: what `%unload_ext mixmagic` calls."""
    from mixmagic import magics

    magics.unregister(shell)
