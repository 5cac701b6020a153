"""Functions, classes, modules and exceptions: their source, their names, where they arose.

May import `cutting`.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import linecache
import reprlib
import sysconfig
import textwrap
import traceback
import types
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from mixmagic.prompting.truncate import Shown

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
    """The source of a function or class, a notebook's too; empty where none is known."""
    try:
        return textwrap.dedent(inspect.getsource(value)).rstrip()
    except (OSError, TypeError):
        return _of_cell(value) if inspect.isclass(value) else ""


def _of_cell(kind: type) -> str:
    """The source of a class that a notebook's cell defines; empty where it is not certain.

    Its methods say which cell that was. Without any it is the only definition that agrees with it.
    """
    if kind.__module__ != "__main__":
        return ""
    cells = [name for name, entry in linecache.cache.items() if len(entry) > 1 and not entry[1]]
    found = [each for cell in cells for each in _definitions(cell, kind.__name__)]
    for code in _codes(kind):
        for cell, node, source in found:
            last = node.end_lineno or 0
            if cell == code.co_filename and node.lineno <= code.co_firstlineno <= last:
                return source
    agreeing = {source for _, node, source in found if _agrees(node, kind)}
    return agreeing.pop() if len(agreeing) == 1 else ""


def _definitions(cell: str, name: str) -> Iterator[tuple[str, ast.ClassDef, str]]:
    """The classes of that name which a cell defines: the cell, the class parsed, its source."""
    lines = linecache.getlines(cell)
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            start = min([node.lineno, *(part.lineno for part in node.decorator_list)])
            source = textwrap.dedent("".join(lines[start - 1 : node.end_lineno])).rstrip()
            yield cell, node, source


def _codes(kind: type) -> Iterator[types.CodeType]:
    """The code of a class's methods and properties."""
    for part in vars(kind).values():
        made = part.fget if isinstance(part, property) else part
        made = made.__func__ if isinstance(made, staticmethod | classmethod) else made
        if isinstance(made, types.FunctionType):
            yield made.__code__


def _agrees(node: ast.ClassDef, kind: type) -> bool:
    """Whether a definition has a class's fields, and none of its plain values is another there."""
    own, fields = vars(kind), []
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and part.name not in own:
            return False
        if not isinstance(part, ast.Assign | ast.AnnAssign):
            continue
        targets = [part.target] if isinstance(part, ast.AnnAssign) else part.targets
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if isinstance(part, ast.AnnAssign):
            fields += names
        if part.value is None:
            continue
        with contextlib.suppress(ValueError, TypeError):  # no plain value
            value = ast.literal_eval(part.value)
            values = (own[name] for name in names if name in own)
            if any(type(other) is type(value) and other != value for other in values):
                return False
    return fields == list(_annotations(kind))


def _annotations(kind: type) -> dict[str, Any]:
    """A class's own annotations; none where they speak of what is not there."""
    try:
        return inspect.get_annotations(kind)
    except NameError:
        return {}


def _manual(value: Any) -> str:
    """The signature and docstring of what has no source that is known, and a class's fields."""
    try:
        signature = str(inspect.signature(value))
    except (TypeError, ValueError):
        signature = "(…)"
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", str(value))
    if inspect.isclass(value):
        about = vars(value).get("__doc__")  # its base's says what that is
        about = inspect.cleandoc(about) if isinstance(about, str) else ""
        return "\n".join(filter(None, (f"class {name}{signature}", about, _fields(value))))
    about = inspect.getdoc(value) or ""
    if hasattr(inspect.unwrap(value), "__code__"):
        return f"function {name}{signature}, whose source is not known\n{about}".rstrip()
    return f"built-in function {name}{signature}\n{about}".rstrip()


def _fields(kind: type) -> str:
    """A class's own fields, with the values that it has for them itself; empty without any."""
    hints = _annotations(kind)
    # What has `__get__` is a method or what a field is read by.
    values = {name: each for name, each in vars(kind).items() if not hasattr(each, "__get__")}
    names = [*hints, *(name for name in values if name[0] != "_" and name not in hints)]
    told = []
    for name in names:
        hint, typed = hints.get(name), ""
        if name in hints:
            typed = f": {hint if isinstance(hint, str) else inspect.formatannotation(hint)}"
        set_to = f" = {reprlib.repr(values[name])}" if name in values else ""
        told.append(name + typed + set_to)
    return f"Fields: {', '.join(told)}" if told else ""


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
