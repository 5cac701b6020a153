"""The shapes of the values in the line that failed: what a model needs to see the mistake."""

from __future__ import annotations

import ast
import contextlib
import dis
import linecache
from collections.abc import Iterable
from itertools import islice
from types import FrameType, TracebackType
from typing import Any

from mixmagic.prompting.present.code import is_of_user
from mixmagic.prompting.present.shapes import own_attributes, shape

_MOST, _LONGEST, _LONGEST_NAME = 12, 2_000, 80
# Starts of the instructions that read a variable.
_READS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF")
_UNKNOWN = object()


def shapes(error: BaseException) -> list[str]:
    """Return the shapes of the values in the user's line that raised an error, one a line.

    Names, and attributes and items of known types, are read from the line's frame: nothing is
    evaluated, and no code of the user's runs. Of a line whose source is not known, as in `%%time`
    and `eval`, there are only the names. Nothing is raised, whatever the frames are.

    Example:
        >>> shapes(error)
        ["df: pandas DataFrame of 3 rows and 2 columns: 'month' (str), 'sales' (int64)"]
    """
    with contextlib.suppress(Exception):  # a traceback may be made by hand
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):  # a TaskGroup's own line has nothing to tell
            first = first.exceptions[0]
        for place in reversed(_places(first) or _places(error)):
            source = "".join(linecache.getlines(place.tb_frame.f_code.co_filename))
            lines = _lines(place.tb_frame, _expressions(source, place) if source else _names(place))
            if lines or source:
                return lines
    return []


def _places(error: BaseException) -> list[TracebackType]:
    """Return the places in the user's code through which an error came, the outermost first."""
    places, traceback = [], error.__traceback__
    while traceback is not None:
        if is_of_user(traceback.tb_frame.f_code.co_filename):
            places.append(traceback)
        traceback = traceback.tb_next
    return places


def _lines(frame: FrameType, nodes: Iterable[ast.expr]) -> list[str]:
    """Return the expressions whose values have a shape, each with it."""
    found: dict[str, str] = {}
    for node in nodes:
        with contextlib.suppress(Exception):  # a library's table may be broken
            value = _value(node, frame)
            if value is _UNKNOWN or len(name := ast.unparse(node)) > _LONGEST_NAME:
                continue
            if name not in found and (text := shape(value)):
                found[name] = text
    lines = [f"{name}: {text}" for name, text in list(found.items())[:_MOST]]
    while sum(map(len, lines)) > _LONGEST:
        lines.pop()
    return lines


def _names(place: TracebackType) -> list[ast.expr]:
    """Return the names that the code of a line reads, in its order."""
    names: list[str] = []
    for each in dis.get_instructions(place.tb_frame.f_code):
        at = each.positions
        if at is not None and at.lineno == place.tb_lineno and each.opname.startswith(_READS):
            names += [each.argval] if isinstance(each.argval, str) else each.argval
    return [ast.Name(name) for name in names]


def _expressions(source: str, place: TracebackType) -> list[ast.expr]:
    """Return the names, attributes and items in the statement that failed, in its order."""
    positions = place.tb_frame.f_code.co_positions()
    line, _, column, _ = next(islice(positions, place.tb_lasti // 2, None), (None,) * 4)
    line = place.tb_lineno or line
    if line is None:
        return []
    statements = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt | ast.ExceptHandler) and _contains(node, line, column)
    ]
    if not statements:
        return []
    innermost = max(statements, key=lambda node: (node.lineno, node.col_offset))
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


def _contains(node: ast.stmt | ast.ExceptHandler, line: int, column: int | None) -> bool:
    """Return True if a statement, with its decorators, contains a place in the source."""
    parts = [node, *getattr(node, "decorator_list", ())]
    start = min((part.lineno, part.col_offset) for part in parts)
    end = node.end_lineno or 0, node.end_col_offset or 0
    if column is None:
        return start[0] <= line <= end[0]
    return start <= (line, column) <= end


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
    return own_attributes(owner).get(name, _UNKNOWN)


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
