"""Functions, classes, modules and exceptions: their source, public names or traceback."""

from __future__ import annotations

import ast
import contextlib
import inspect
import linecache
import os
import re
import reprlib
import sysconfig
import textwrap
import traceback
import types
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from mixmagic.prompting.truncate import Excerpt

# Frames of a traceback, and its chained exceptions.
_FRAMES, _CAUSES = 12, 5
# The file of a notebook's cell, as IPython or ipykernel names it; it changes with each kernel.
_CELL_FILE = r"<ipython-input-\d+-\w+>|.*[\\/]ipykernel_\d+[\\/]\d+\.py"
_OURS = str(Path(__file__).parents[2])
# Sources of compiled modules, which tracebacks name by a path within their package.
_COMPILED = (".pyx", ".pxi", ".pxd")
# IPython's functions that hand a cell over to Python.
_RUNNERS = ("run_code", "ast_parse")


def code_excerpts(value: Any) -> Iterator[Excerpt] | None:
    """Return the excerpts of a function, class, module or exception; `None` for other values."""
    if isinstance(value, BaseException):
        return iter([Excerpt(traceback_text(value))])
    if isinstance(value, types.ModuleType):
        return iter([Excerpt(_module(value))])
    is_routine = inspect.isroutine(value) and hasattr(value, "__name__")  # not a mere descriptor
    if inspect.isclass(value) or is_routine:
        return iter([Excerpt(_source(value) or _manual(value))])
    return None


def _source(value: Any) -> str:
    """Return the source of a function or class, also of a notebook's; empty if unknown."""
    try:
        return textwrap.dedent(inspect.getsource(value)).rstrip()
    except (OSError, TypeError):
        return _source_in_cell(value) if inspect.isclass(value) else ""


def _source_in_cell(kind: type) -> str:
    """Return the source of a class that a notebook's cell defines; empty if it is not certain.

    The methods tell which cell it was. Without methods, it is the only definition that matches.
    `inspect` finds no class of a cell before Python 3.13, which has `__firstlineno__`.
    """
    if kind.__module__ != "__main__":
        return ""
    cells = [name for name, entry in linecache.cache.items() if len(entry) > 1 and not entry[1]]
    definitions = [one for cell in cells for one in _definitions(cell, kind.__name__)]
    for code in _codes(kind):
        for cell, node, source in definitions:
            last = node.end_lineno or 0
            if cell == code.co_filename and node.lineno <= code.co_firstlineno <= last:
                return source
    matching = {source for _, node, source in definitions if _matches(node, kind)}
    return matching.pop() if len(matching) == 1 else ""


def _definitions(cell: str, name: str) -> Iterator[tuple[str, ast.ClassDef, str]]:
    """Yield the classes of that name in a cell: the cell, the syntax tree, the source."""
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
    """Yield the code of a class's methods and properties."""
    for part in vars(kind).values():
        function = part.fget if isinstance(part, property) else part
        function = getattr(function, "__func__", function)  # of a static or class method
        if isinstance(function, types.FunctionType):
            yield function.__code__


def _matches(node: ast.ClassDef, kind: type) -> bool:
    """Return True if a definition has the same fields as a class, and the same literal values."""
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
        with contextlib.suppress(ValueError, TypeError):  # not a literal
            value = ast.literal_eval(part.value)
            values = (own[name] for name in names if name in own)
            if any(type(other) is type(value) and other != value for other in values):
                return False
    return fields == list(_annotations(kind))


def _annotations(kind: type) -> dict[str, Any]:
    """Return a class's own annotations; none if they use names that are not defined."""
    try:
        return inspect.get_annotations(kind)
    except NameError:
        return {}


def _manual(value: Any) -> str:
    """Return the signature and docstring of a value without source, and a class's fields."""
    try:
        signature = str(inspect.signature(value))
    except (TypeError, ValueError):
        signature = "(…)"
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", str(value))
    if inspect.isclass(value):
        about = vars(value).get("__doc__")  # an inherited docstring describes the base
        about = inspect.cleandoc(about) if isinstance(about, str) else ""
        return "\n".join(filter(None, (f"class {name}{signature}", about, _class_fields(value))))
    about = inspect.getdoc(value) or ""
    if hasattr(inspect.unwrap(value), "__code__"):
        return f"function {name}{signature}, whose source is not known\n{about}".rstrip()
    return f"built-in function {name}{signature}\n{about}".rstrip()


def _class_fields(kind: type) -> str:
    """Return a class's own fields with their default values; empty if it has none."""
    hints = _annotations(kind)
    # Methods, properties and slots have `__get__`.
    values = {name: own for name, own in vars(kind).items() if not hasattr(own, "__get__")}
    names = [*hints, *(name for name in values if name[0] != "_" and name not in hints)]
    fields = []
    for name in names:
        hint, typed = hints.get(name), ""
        if name in hints:
            typed = f": {hint if isinstance(hint, str) else inspect.formatannotation(hint)}"
        default = f" = {reprlib.repr(values[name])}" if name in values else ""
        fields.append(name + typed + default)
    return f"Fields: {', '.join(fields)}" if fields else ""


def _module(module: types.ModuleType) -> str:
    """Return a module's docstring and public names."""
    public = vars(module).get("__all__") or [n for n in dir(module) if not n.startswith("_")]
    about = inspect.cleandoc(module.__doc__ or "")
    names = f"Names: {', '.join(map(str, public)) or 'none'}"
    return "\n\n".join(filter(None, (f"module {module.__name__}", about, names)))


def traceback_text(error: BaseException) -> str:
    """Return an exception's traceback: the user's own frames, and the one that raised it.

    The files of cells are called `<cell>`, and a library's file is named from its package on: the
    text is the same in each kernel.

    Example:
        >>> traceback_text(error).splitlines()[-1]
        'ZeroDivisionError: division by zero'
    """
    with contextlib.suppress(Exception):  # Python cannot read a frame that was made by hand
        summary = traceback.TracebackException.from_exception(error, compact=True)
        _shorten(summary, _CAUSES)
        return "".join(summary.format()).rstrip()
    message = ""
    with contextlib.suppress(Exception):
        message = str(error)
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def _shorten(summary: traceback.TracebackException, causes: int) -> None:
    """Remove the libraries' frames, and all but the last `causes` chained exceptions."""
    frames = list(summary.stack)
    own = [frame for frame in frames[:-1] if is_of_user(frame.filename)]
    own += [frame for frame in frames[-1:] if not _is_ours(frame)]
    if len(own) > _FRAMES:
        own = own[: _FRAMES // 2] + own[-_FRAMES // 2 :]
    for frame in own:
        frame.filename = _shown_file(frame.filename)
    summary.stack = traceback.StackSummary.from_list(own)
    if getattr(summary, "filename", None):  # of a SyntaxError
        summary.filename = _shown_file(summary.filename)
    if causes <= 0:
        summary.__cause__ = summary.__context__ = None
    members = getattr(summary, "exceptions", None) or ()
    for cause in (summary.__cause__, summary.__context__, *members):
        if cause is not None:
            _shorten(cause, causes - 1)


def is_of_user(file: str) -> bool:
    """Return True if a file is not part of Python, of an installed package or of mixmagic."""
    installed = not {"site-packages", "dist-packages"}.isdisjoint(PurePath(file).parts)
    others = sysconfig.get_path("stdlib"), "<frozen", _OURS
    return not (installed or file.startswith(others) or file.endswith(_COMPILED))


def _is_ours(frame: traceback.FrameSummary) -> bool:
    """Return True for a frame of mixmagic, or of IPython before the cell begins."""
    return frame.filename.startswith(_OURS) or (
        frame.name in _RUNNERS and "IPython" in PurePath(frame.filename).parts
    )


def _shown_file(file: str) -> str:
    """Return a file as a traceback for a model names it."""
    if re.fullmatch(_CELL_FILE, file):
        return "<cell>"
    for folder in ("site-packages", "dist-packages", sysconfig.get_path("stdlib")):
        _, found, inside = file.rpartition(f"{folder}{os.sep}")
        if found:
            return inside
    return file
