"""Exceptions of every kind, with a key in their messages."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from canary import KEY

from mixmagic.errors import Unavailable

HIDDEN = f"It was {KEY}."


class Slotted(Exception):
    """Keeps its message in a slot, which `vars` does not show."""

    __slots__ = ("words",)

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words

    def __str__(self) -> str:
        return f"slotted: {self.words}"


@dataclass
class Fields(Exception):  # as people write them
    words: str

    def __str__(self) -> str:
        return self.words


class Unruly(Exception):
    """An exception whose message cannot be changed."""

    @property
    def args(self):
        return ("fixed",)


def noted(error: BaseException) -> BaseException:
    error.add_note(HIDDEN)
    return error


RAISED: dict[str, Callable[[], BaseException]] = {
    "recursion": lambda: RecursionError("maximum recursion depth exceeded"),
    "memory": MemoryError,
    "value": lambda: ValueError(HIDDEN),
    "several words": lambda: ValueError(HIDDEN, 7, {"authorization": [HIDDEN]}, HIDDEN.encode()),
    "key": lambda: KeyError(KEY),
    "system": lambda: OSError(5, HIDDEN, HIDDEN),
    "TLS": lambda: ssl.SSLError(1, HIDDEN),
    "decoding": lambda: UnicodeDecodeError("utf-8", HIDDEN.encode(), 0, 1, HIDDEN),
    "import": lambda: ImportError(HIDDEN, name=KEY, path=KEY),
    "syntax": lambda: SyntaxError(HIDDEN, (HIDDEN, 1, 1, HIDDEN)),
    "attribute": lambda: AttributeError(HIDDEN, name=KEY, obj=HIDDEN),
    "note": lambda: noted(ValueError("x")),
    "exit": lambda: SystemExit(HIDDEN),
    "interrupt": lambda: KeyboardInterrupt(HIDDEN),
    "generator": lambda: GeneratorExit(HIDDEN),
    "stop": lambda: StopIteration(HIDDEN),
    "cancelled": lambda: asyncio.CancelledError(HIDDEN),
    "process": lambda: subprocess.CalledProcessError(1, [KEY], HIDDEN, HIDDEN.encode()),
    "slots": lambda: Slotted(HIDDEN),
    "fields": lambda: Fields(HIDDEN),
    "unruly": lambda: Unruly("x"),
    "group": lambda: ExceptionGroup("x", [ValueError(HIDDEN), SystemError(HIDDEN)][:1]),
    "group's own words": lambda: ExceptionGroup(HIDDEN, [noted(ValueError(HIDDEN))]),
    "group of groups": lambda: BaseExceptionGroup(
        "x", [ExceptionGroup(HIDDEN, [OSError(5, HIDDEN)]), KeyboardInterrupt(HIDDEN)]
    ),
    "ours": lambda: Unavailable("It is away.", "Come again."),
}
