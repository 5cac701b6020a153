"""The magics: one module each, found by looking.

May import everything but `cli`. A module of this room, `NAME.py`, holds the
magic `NAME` in one `Magics` class, made with the shell and the session.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics

from mixmagic.magics._shell import interrupts
from mixmagic.sessions import Session


def register(shell: InteractiveShell, session: Session) -> None:
    """Give `shell` the magics, all on one session."""
    interrupts.Interrupts(shell, session)
    for name in _modules():
        module = importlib.import_module(f"{__name__}.{name}")
        for each in vars(module).values():
            own = isinstance(each, type) and each.__module__ == module.__name__
            if own and issubclass(each, Magics):
                shell.register_magics(each(shell, session))


def unregister(shell: InteractiveShell) -> None:
    """Take the magics from `shell`."""
    interrupts.release(shell)
    for registered in shell.magics_manager.magics.values():
        for name in _modules():
            registered.pop(name, None)
    for callbacks in (*shell.events.callbacks.values(), shell.Completer.custom_matchers):
        callbacks[:] = [each for each in callbacks if not each.__module__.startswith(__name__)]
    transformers = shell.input_transformer_manager.token_transformers
    transformers[:] = [each for each in transformers if not each.__module__.startswith(__name__)]
    objects: list[list[Any]] = [shell.configurables, shell.ast_transformers]
    for kept in objects:
        kept[:] = [each for each in kept if not type(each).__module__.startswith(__name__)]


def _modules() -> Iterator[str]:
    """The modules of this room that hold a magic."""
    return (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
