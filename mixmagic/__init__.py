"""Talk to Mixtral and other language models from a notebook cell.

In a notebook: `%load_ext mixmagic`, then `%%mixtral?`. In Python: `mixmagic.ask("…")`.
Importing this module loads nothing but the standard library; names are imported at first use.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Unpack, overload

from mixmagic.core.keywords import Parameters, listed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from decimal import Decimal

    from IPython.core.interactiveshell import InteractiveShell

    from mixmagic.calls.completion import Completion
    from mixmagic.core.money import Per
    from mixmagic.core.params import Prompt
    from mixmagic.core.values import Delta, Image, Message, Text
    from mixmagic.display.budget import Budgets
    from mixmagic.display.spend import Spend
    from mixmagic.sessions import Session, session
    from mixmagic.store.ledger.spend import By, Period
    from mixmagic.tasks.bulk.job import Job
    from mixmagic.tasks.bulk.options import OnError, Repeats
    from mixmagic.tasks.bulk.preview import Preview
    from mixmagic.tasks.translation.documents import Outputs

__version__ = "0.1.0"
# Without `map`: `from mixmagic import *` must not replace Python's own.
__all__ = [
    "Completion",
    "Delta",
    "Image",
    "Message",
    "Session",
    "Text",
    "aask",
    "ask",
    "astream",
    "budget",
    "errors",
    "session",
    "spend",
    "stopped",
    "stream",
    "translate",
]

_HOMES = {
    "Completion": "mixmagic.calls.completion",
    "Delta": "mixmagic.core.values",
    "Image": "mixmagic.core.values",
    "Message": "mixmagic.core.values",
    "Session": "mixmagic.sessions",
    "Text": "mixmagic.core.values",
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
    return sorted([*__all__, "__version__", "map"])


@listed
def ask(prompt: Prompt, **params: Unpack[Parameters]) -> Completion:
    """Ask a model and wait for the whole answer.

    Args:
        prompt: A text; a list of texts and images, such as `["What is this?", fig]`; or a
            conversation: `Message`s or dicts with `role` and `content`, which may be parts.
        **params: `model` (`8x7b`, `local`, `provider:API-string`, …), `system` (the system
            prompt), `task` (such as `code`), `temperature` (0 to 2), `max_tokens`, `top_p`, `seed`,
            `stop` (a text or a list), `schema` (a JSON Schema), `budget` (US dollars), `timeout`
            (seconds), `cache` (`auto`, `use`, `off` or `refresh`), …: all are described in
            `mixmagic.core.keywords.Parameters`.

    Returns:
        The answer: `text`, `usage` (tokens), `cost` (US dollars, `None` if unknown), …

    Raises:
        errors.MixmagicError: The call failed; the message is followed by a hint.

    Example:
        >>> mixmagic.ask("Name three colours.", model="local", temperature=0)
    """
    from mixmagic.sessions import session

    return session().ask(prompt, **params)


@listed
def stream(prompt: Prompt, **params: Unpack[Parameters]) -> Generator[Delta, None, None]:
    """Ask a model and get the answer in pieces, as they arrive.

    Close the iterator if you leave it early, or use `contextlib.closing`: only then does the
    model stop at once.

    Args:
        prompt: As for `ask`.
        **params: As for `ask`.

    Yields:
        Pieces of the answer; `str(piece)` is its text. One that is `restarted` comes only if the
        answer of another call was shared, and that call has failed: the answer begins again.

    Raises:
        errors.MixmagicError: The call failed; the message is followed by a hint.

    Example:
        >>> for piece in mixmagic.stream("Count to ten.", model="local"):
        ...     print(piece, end="")
    """
    from mixmagic.sessions import session

    current = session()
    request = current.request(prompt, **params)  # first: it sees that settings have changed
    return current.stream(request)


@listed
async def aask(prompt: Prompt, **params: Unpack[Parameters]) -> Completion:
    """Ask a model in a coroutine of asyncio; the event loop stays free meanwhile.

    The parameters, the answer and its exceptions are those of `ask`. Cancel the task, or leave an
    `asyncio.timeout`, and the connection is closed at once: what was received is priced, and kept
    in `mixmagic.stopped()`. An event loop makes 100 calls at the same time; others wait.

    Raises:
        asyncio.CancelledError: The task was cancelled, or the call was stopped.
        errors.MixmagicError: The call failed; the message is followed by a hint.

    Example:
        >>> answers = await asyncio.gather(*(mixmagic.aask(question) for question in questions))
    """
    from mixmagic.core import lazy
    from mixmagic.sessions import session

    current = session()
    request = current.request(prompt, **params)
    answer: Completion = await lazy.load("mixmagic.calls.awaiting").ask(
        current.stream, request, current.calls
    )
    return answer


@listed
async def astream(prompt: Prompt, **params: Unpack[Parameters]) -> AsyncGenerator[Delta, None]:
    """Ask a model in a coroutine of asyncio and get the answer in pieces, as they arrive.

    The parameters and pieces are those of `stream`, cancellation and exceptions those of `aask`.
    Close the generator if you leave it early, or use `contextlib.aclosing`: only then does the
    model stop at once.

    Example:
        >>> async for piece in mixmagic.astream("Count to ten.", model="local"):
        ...     print(piece, end="")
    """
    from contextlib import aclosing

    from mixmagic.core import lazy
    from mixmagic.sessions import session

    current = session()
    request = current.request(prompt, **params)
    made = lazy.load("mixmagic.calls.awaiting").deltas(current.stream, request, current.calls)
    async with aclosing(made) as pieces:
        async for piece in pieces:
            yield piece


@overload
def map(  # noqa: A001  # as below
    rows: Any,
    prompt: str,
    *,
    preview: None = None,
    out: str | os.PathLike[str] | None = None,
    name: str = "",
    in_flight: int = 64,
    repeats: Repeats = "once",
    on_error: OnError = "keep",
    wait: bool = True,
    **params: Unpack[Parameters],
) -> Job: ...
@overload
def map(  # noqa: A001  # as below
    rows: Any,
    prompt: str,
    *,
    preview: int,
    out: str | os.PathLike[str] | None = None,
    name: str = "",
    in_flight: int = 64,
    repeats: Repeats = "once",
    on_error: OnError = "keep",
    **params: Unpack[Parameters],
) -> Preview: ...
@listed
def map(  # noqa: A001  # the name that every library has for it
    rows: Any,
    prompt: str,
    *,
    preview: int | None = None,
    out: str | os.PathLike[str] | None = None,
    name: str = "",
    in_flight: int = 64,
    repeats: Repeats = "once",
    on_error: OnError = "keep",
    wait: bool = True,
    **params: Unpack[Parameters],
) -> Any:
    """Ask a prompt about each row of a table, and show the progress.

    Equal rows are asked once, and each answer is stored as soon as it is there. After a stop, an
    error or a restart, the same call pays for no finished row again.

    Args:
        rows: A Series or DataFrame of pandas or polars, a Table of pyarrow, the path of a file
            (`.csv`, `.tsv`, `.jsonl`, `.parquet`), or an iterable of texts or dicts.
        prompt: The prompt, with the rows' columns as expressions: `Classify: {{ text }}`.
        preview: Ask about so many rows of all lengths, such as 20, show their answers and what all
            rows would cost. The next preview shows the same rows, with the words that have changed.
        out: A file (`.parquet`, `.csv`, `.tsv`, `.jsonl`) that the rows are written to at the end,
            with their results, or a folder that gets parts as rows are over.
        name: The job's name, for `%mixmagic jobs`; made of the prompt if empty.
        in_flight: Calls at the same time.
        repeats: `once` asks equal rows once, `ask` asks each of them: for samples.
        on_error: `keep` goes on after a row that fails, `raise` stops.
        wait: False to return at once; an interrupt does not stop the job then, `job.stop()` does.
        **params: As for `ask`; `budget` is what the job may cost in all its runs, and `schema` may
            also be a pydantic model, a dataclass or a TypedDict.

    Returns:
        The job: `result()` has the answers in the order and the kind of the rows, `errors` the rows
        that failed, `progress` the counts and the cost. For a preview, its rows and its `cost`.

    Raises:
        errors.BadArguments: The rows cannot be read, or the prompt names no column.
        errors.Stopped: Ctrl-C; what was received is kept, and the same call goes on.
        errors.MixmagicError: No row can be asked, or an error ended the job.

    Example:
        >>> mixmagic.map(df["review"], "Positive or negative? {{ text }}", preview=20)
        >>> job = mixmagic.map(df["review"], "Positive or negative? {{ text }}", model="local")
        >>> df["label"] = job.result()
    """
    from mixmagic.core import lazy
    from mixmagic.sessions import session

    job = session().jobs.prepare(
        rows,
        prompt,
        out=out,
        name=name,
        in_flight=in_flight,
        repeats=repeats,
        on_error=on_error,
        background=not wait,
        params=params,
    )
    return lazy.load("mixmagic.display.jobs").run(job, preview=preview, wait=wait)


@listed
def translate(
    source: Any,
    *,
    to: str,
    source_language: str = "",
    tone: str = "",
    glossary: str | os.PathLike[str] = "",
    out: str | os.PathLike[str] | None = None,
    columns: Sequence[str] = (),
    comments: bool = False,
    strings: bool = False,
    outputs: Outputs = "keep",
    in_flight: int = 64,
    **params: Unpack[Parameters],
) -> Any:
    r"""Translate a text, a file, a notebook or columns; check that only the language changed.

    Code, mathematics, links, placeholders, numbers and structure must stay as they are. A
    translation in which one of them has changed, or that is not in the language or not whole, is
    asked for once more; if that does not help, it is returned with its faults.

    A file is written beside its source, `lesson.fr.ipynb`, with a memory, `lesson.fr.po`: only
    what has changed is translated again, and what a person corrects there is kept.

    Args:
        source: A text; the path of a file (`.md`, `.txt`, `.ipynb`, `.po`, `.csv`); a Series or
            DataFrame of pandas or polars; or a list of texts.
        to: The language, such as `fr` or `French`.
        source_language: The language of the source; detected if empty.
        tone: `formal` or `informal`.
        glossary: The name or the file of a glossary, whose terms must be used.
        out: The file to write for a file.
        columns: The columns of a table to translate.
        comments: True to translate the comments and docstrings of a notebook's code.
        strings: True to translate the strings of its code that people read.
        outputs: `keep` or `drop` the outputs of its code.
        in_flight: Calls at the same time.
        **params: As for `ask`; `budget` is what the whole translation may cost.

    Returns:
        For a text, a `str` with `faults`; for a list, a list of them; for a file, its `path` and
        `faults`; for a Series or a DataFrame, the same kind. A text of a list or a table that was
        not translated is missing.

    Raises:
        errors.BadArguments: There is no such language or file, or it is in that language already.
        errors.Unfinished: A budget, or the server, paused it; the same call goes on.
        errors.Stopped: Ctrl-C; what was received is kept, and the same call goes on.
        errors.MixmagicError: Nothing can be asked, or an error ended it.

    Example:
        >>> mixmagic.translate("The mean of `x` is $\bar{x}$.", to="fr")
        >>> mixmagic.translate("lesson.ipynb", to="de", glossary="terms.csv").faults
        >>> df["text_en"] = mixmagic.translate(df["text"], to="en")
    """
    from mixmagic.core import lazy
    from mixmagic.sessions import session

    translation = session().translation(
        source,
        to=to,
        source_language=source_language,
        tone=tone,
        glossary=glossary,
        out=out,
        columns=columns,
        comments=comments,
        strings=strings,
        outputs=outputs,
        in_flight=in_flight,
        **params,
    )
    if translation.job is not None:
        lazy.load("mixmagic.display.jobs").follow(translation.job)
    result = translation.finish()
    if translation.document.mixed and (faults := translation.report().faults):
        import warnings

        place, fault = faults[0]
        more = f"; {len(faults) - 1:,} more" * (len(faults) > 1)
        warnings.warn(f"{place}: {fault.message[:-1]}{more}.", stacklevel=2)
    return result


@overload
def budget() -> Budgets: ...
@overload
def budget(limit: Decimal | float | str | None, *, per: Per = "session") -> None: ...
def budget(limit: Any = ..., *, per: Per = "session") -> Budgets | None:
    """Set a spending limit, or return the budgets that are set, with what remains of them.

    A call that could cost more than the rest of a budget is refused: its worst case is reserved
    before it is sent, so that threads, kernels and processes together never pass a budget.

    Args:
        limit: US dollars; `None` removes the budget. Without it, nothing is changed.
        per: `session` (this one), `notebook` (this one, in all sessions), `day` or `month` (all
            sessions of this user together).

    Returns:
        Without a limit, the balances: each has a `limit`, `spent`, `reserved` and `remaining`, and
        together they display as a table.

    Raises:
        errors.BadArguments: The amount or the period is invalid, or the notebook is unknown.
        errors.StoreError: The budget cannot be stored, or the ledger cannot be read.

    Example:
        >>> mixmagic.budget("0.50", per="day")
        >>> mixmagic.ask("Write a novel.", model="8x22b")  # may raise errors.BudgetExceeded
        >>> mixmagic.budget()[0].remaining
    """
    from mixmagic.sessions import session

    if limit is not ...:
        session().budget(limit, per=per)
        return None
    from mixmagic.display.budget import read_budgets

    return read_budgets(session())


def spend(period: Period = "session", by: By = "model") -> Spend:
    """Return what calls have cost.

    Args:
        period: The calls of this `session`, this `notebook`, `today`, this `month`, or `all`.
        by: Grouping: `model`, `day`, `notebook` or `status`.

    Returns:
        The sums in US dollars. It displays as a table, with a plot if matplotlib is
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
    """Return what was received of the calls that were stopped last, in one cell or at once.

    Interrupting a cell stops every call that it has begun, in any thread.

    Example:
        >>> [answer.text for answer in mixmagic.stopped()]
    """
    from mixmagic.sessions import session

    return session().stopped


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics, for `%load_ext mixmagic`."""
    if os.environ.get("MIXMAGIC_BLOCK_NETWORK"):
        from mixmagic.backends.http import guard

        guard.install()
    from mixmagic import magics
    from mixmagic.sessions import session

    magics.register(shell, session())


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove the magics, for `%unload_ext mixmagic`."""
    from mixmagic import magics

    magics.unregister(shell)
