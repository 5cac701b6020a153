"""The magics, one module each: `NAME.py` holds the magic `NAME`, in a class of `Magics`.

May import everything but `cli`. To add a magic: one module here; if it asks a model, its class is a
`_shell.model_magics.ModelMagics`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics

from mixmagic.magics._shell import calling, tab_completion
from mixmagic.magics._shell.failures import Failures
from mixmagic.magics._shell.hooks import Hooks
from mixmagic.magics._shell.interrupts import Interrupts
from mixmagic.magics._shell.model_magics import ModelMagics
from mixmagic.sessions import Session

_hooks: WeakKeyDictionary[InteractiveShell, Hooks] = WeakKeyDictionary()


def register(shell: InteractiveShell, session: Session) -> None:
    """Give `shell` the magics, all on one session."""
    unregister(shell)
    hooks = _hooks[shell] = Hooks(shell)
    Interrupts(shell, session, hooks)
    calling.number_cells(hooks, session)
    failures = Failures(hooks)
    asking, ours = {}, set()
    for kind in _kinds():
        magics = kind(shell, session, hooks)
        shell.register_magics(magics)
        hooks.at_close(_forget, shell, magics)
        hooks.at_close(shell.configurables.remove, magics)  # IPython has added it
        ours |= magics.magics["line"].keys()
        if isinstance(magics, ModelMagics):
            magics.failures = failures
            asking[magics.name] = magics
    calling.add_transformers(hooks, asking, ours)
    tab_completion.add_completer(hooks, session, asking)


def unregister(shell: InteractiveShell) -> None:
    """Take the magics from `shell`."""
    if (hooks := _hooks.pop(shell, None)) is not None:
        hooks.close()


def _kinds() -> Iterator[type]:
    """Yield the classes of the magics."""
    folder = os.path.dirname(__file__)  # noqa: PTH120  # `%load_ext` stays light
    for file in sorted(os.listdir(folder)):  # noqa: PTH208
        name, ending = os.path.splitext(file)  # noqa: PTH122
        if ending == ".py" and name[0] != "_":
            module = importlib.import_module(f"{__name__}.{name}")
            for kind in vars(module).values():
                own = isinstance(kind, type) and kind.__module__ == module.__name__
                if own and issubclass(kind, Magics):
                    yield kind


def _forget(shell: InteractiveShell, magics: Magics) -> None:
    """Remove magics from IPython's registry."""
    manager = shell.magics_manager
    for kind, names in magics.magics.items():
        for name in names:
            manager.magics[kind].pop(name, None)
    manager.registry.pop(type(magics).__name__, None)
