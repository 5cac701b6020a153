"""The shapes of the values in the line that failed: what a model needs to see the mistake."""

from __future__ import annotations

import ast
import contextlib
import linecache
from types import FrameType
from typing import Any

from mixmagic.prompting.present.code import is_of_user
from mixmagic.prompting.present.shapes import shape

_MOST, _LONGEST = 12, 2_000
_UNKNOWN = object()


def shapes(error: BaseException) -> list[str]:
    """Return the shapes of the values in the user's line that raised an error, one a line.

    Names, and attributes and items of known types, are read from the line's frame: nothing is
    evaluated, and no code of the user's runs.

    Example:
        >>> shapes(error)
        ["df: pandas DataFrame of 3 rows and 2 columns: 'month' (str), 'sales' (int64)"]
    """
    found: dict[str, str] = {}
    if (place := _place(error)) is None:
        return []
    frame, line = place
    for node in _expressions(frame.f_code.co_filename, line):
        name = ast.unparse(node)
        if len(name) > 80 or name in found:
            continue
        with contextlib.suppress(Exception):  # a library's table may be broken
            value = _value(node, frame)
            if value is not _UNKNOWN and (text := shape(value)):
                found[name] = text
    lines = [f"{name}: {text}" for name, text in list(found.items())[:_MOST]]
    while sum(map(len, lines)) > _LONGEST:
        lines.pop()
    return lines


def _place(error: BaseException) -> tuple[FrameType, int] | None:
    """Return the innermost frame of the user's, with its line."""
    place, traceback = None, error.__traceback__
    while traceback is not None:
        if is_of_user(traceback.tb_frame.f_code.co_filename):
            place = traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
    return place


def _expressions(file: str, line: int) -> list[ast.expr]:
    """Return the names, attributes and items in the statement at a line, in its order."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return []
    statements = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt | ast.ExceptHandler)
        and getattr(node, "lineno", line + 1) <= line <= getattr(node, "end_lineno", 0)
    ]
    if not statements:
        return []
    innermost = max(statements, key=lambda node: (node.lineno, -(node.end_lineno or 0)))
    found: list[ast.expr] = []
    pending: list[ast.AST] = [innermost]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            found.append(node)
        pending += [
            child
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
        ]
    ends = "lineno", "col_offset", "end_lineno", "end_col_offset"
    return sorted(found, key=lambda node: [getattr(node, end) for end in ends])


def _value(node: ast.expr, frame: FrameType) -> Any:
    """Return the value of a chain of attributes and items, if no code of the user's computes it."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals):
            if node.id in names:
                return names[node.id]
        return _UNKNOWN
    if not isinstance(node, ast.Attribute | ast.Subscript):
        return _UNKNOWN
    owner = _value(node.value, frame)
    if owner is _UNKNOWN:
        return _UNKNOWN
    if isinstance(node, ast.Attribute):
        return _attribute(owner, node.attr)
    return _item(owner, _value(node.slice, frame))


def _attribute(owner: Any, name: str) -> Any:
    """Return an attribute that an object or module itself holds."""
    try:
        own = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return _UNKNOWN
    return own.get(name, _UNKNOWN) if type(own) is dict else _UNKNOWN


def _item(owner: Any, key: Any) -> Any:
    """Return an item of a plain dict, list or tuple, or a column of a DataFrame."""
    if type(key) not in (str, int, bool):
        return _UNKNOWN
    library = type(owner).__module__.partition(".")[0]
    is_frame = type(owner).__name__ == "DataFrame" and library in ("pandas", "polars")
    if type(owner) is dict or (is_frame and type(key) is str):
        return owner[key] if key in (owner.columns if is_frame else owner) else _UNKNOWN
    if type(owner) in (list, tuple) and type(key) is int and -len(owner) <= key < len(owner):
        return owner[key]
    return _UNKNOWN
