"""Strings in Python code that are shown to people: printed ones, titles, labels, messages."""

from __future__ import annotations

import ast
from collections.abc import Iterator

# Functions and methods all of whose positional strings are shown.
_CALLS = frozenset(
    """
    print display input Markdown warn title suptitle xlabel ylabel zlabel set_title set_xlabel
    set_ylabel set_zlabel set_label set_caption figtext text annotate legend set_suptitle
    supxlabel supylabel debug info warning error exception critical fatal write markdown header
    subheader caption success write_stdout echo secho set_description set_postfix_str
    add_trace_title set_xticklabels set_yticklabels getpass
    """.split()  # noqa: SIM905
)
_KEYWORDS = frozenset(
    """
    title suptitle subtitle xlabel ylabel zlabel clabel label labels caption description desc help
    prompt message placeholder tooltip legend_title epilog header footer x_label y_label
    """.split()  # noqa: SIM905
)
_KEYWORD_ENDS = ("_title", "_title_text", "_label")


def shown_strings(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the strings and f-strings of a program that are shown to people.

    Example:
        >>> [node.value for node in shown_strings(ast.parse("print('Hi', end='x'); d['key']"))]
        ['Hi']
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                yield from _strings(argument)
        elif isinstance(node, ast.Assert) and node.msg is not None:
            yield from _strings(node.msg)
        elif isinstance(node, ast.Call):
            if _name(node.func) in _CALLS:
                for argument in node.args:
                    yield from _strings(argument)
            for keyword in node.keywords:
                if keyword.arg and (
                    keyword.arg in _KEYWORDS or keyword.arg.endswith(_KEYWORD_ENDS)
                ):
                    yield from _strings(keyword.value)


def _name(function: ast.expr) -> str:
    """Return the last name of what is called."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _strings(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the strings of an expression whose value is shown."""
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            yield node
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from _strings(left)
            yield from _strings(right)
        case ast.BinOp(left=left, op=ast.Mod()):
            yield from _strings(left)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            yield from _strings(value)
        case ast.IfExp(body=body, orelse=other):
            yield from _strings(body)
            yield from _strings(other)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            for item in items:
                yield from _strings(item)
        case ast.Dict(values=values):
            for value in values:
                yield from _strings(value)
