"""Functions, classes, modules and exceptions: their source, their names, where they arose.

May import `cutting`.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import sysconfig
import textwrap
import traceback
import types
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePath
from typing import Any

from mixmagic.tasks.cutting import Shown

# Frames of a traceback, and the exceptions that led to one.
_FRAMES, _CAUSES = 12, 5


def forms(value: Any) -> Iterator[Shown] | None:
    """The forms of a function, class, module or exception; `None` for everything else."""
    if isinstance(value, BaseException):
        return iter([Shown(_traceback(value))])
    if isinstance(value, types.ModuleType):
        return iter([Shown(_module(value))])
    if inspect.isclass(value) or inspect.isroutine(value):
        return iter([Shown(_source(value) or _manual(value))])
    return None


def _source(value: Any) -> str:
    """The source of a function or class, a notebook's too; empty where there is none."""
    try:
        return textwrap.dedent(inspect.getsource(value)).rstrip()
    except (OSError, TypeError):
        return _of_cell(value) if inspect.isclass(value) else ""


def _of_cell(kind: type) -> str:
    """The source of a class that a notebook's cell defines: Python 3.11 and 3.12 look for a file.

    The cell is that of one of its methods; a class without any is looked for in the cells, the
    last one first.
    """
    if kind.__module__ != "__main__":
        return ""
    methods = [part for part in vars(kind).values() if isinstance(part, types.FunctionType)]
    files = [method.__code__.co_filename for method in methods]
    cells = [name for name, entry in linecache.cache.items() if len(entry) > 1 and not entry[1]]
    for file in chain(files, reversed(cells)):
        lines = linecache.getlines(file)
        try:
            tree = ast.parse("".join(lines))
        except SyntaxError:
            continue
        for node in reversed(list(ast.walk(tree))):
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                start = min([node.lineno, *(part.lineno for part in node.decorator_list)])
                return textwrap.dedent("".join(lines[start - 1 : node.end_lineno])).rstrip()
    return ""


def _manual(value: Any) -> str:
    """The signature and docstring of what has no source in Python."""
    try:
        signature = str(inspect.signature(value))
    except (TypeError, ValueError):
        signature = "(…)"
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", str(value))
    kind = "class" if inspect.isclass(value) else "built-in function"
    return f"{kind} {name}{signature}\n{inspect.getdoc(value) or ''}".rstrip()


def _module(module: types.ModuleType) -> str:
    """A module's docstring and public names."""
    public = vars(module).get("__all__") or [n for n in dir(module) if not n.startswith("_")]
    about = inspect.cleandoc(module.__doc__ or "")
    names = f"Names: {', '.join(map(str, public)) or 'none'}"
    return "\n\n".join(filter(None, (f"module {module.__name__}", about, names)))


def _traceback(error: BaseException) -> str:
    """An exception with its traceback: the user's own frames, and the one where it arose."""
    told = traceback.TracebackException.from_exception(error, compact=True)
    _shorten(told, _CAUSES)
    return "".join(told.format()).rstrip()


def _shorten(told: traceback.TracebackException, causes: int) -> None:
    """Take the libraries' frames out of a traceback and its causes', and causes beyond some."""
    frames = list(told.stack)
    own = [frame for frame in frames[:-1] if not _of_library(frame.filename)] + frames[-1:]
    if len(own) > _FRAMES:
        own = own[: _FRAMES // 2] + own[-_FRAMES // 2 :]
    told.stack = traceback.StackSummary.from_list(own)
    if causes <= 0:
        told.__cause__ = told.__context__ = None
    for cause in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        if cause is not None:
            _shorten(cause, causes - 1)


def _of_library(file: str) -> bool:
    """Whether a file is Python's own, or was installed."""
    installed = not {"site-packages", "dist-packages"}.isdisjoint(PurePath(file).parts)
    return installed or file.startswith((sysconfig.get_path("stdlib"), "<frozen"))
