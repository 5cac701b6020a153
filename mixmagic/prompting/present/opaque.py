"""Values whose text does not tell their content: pictures, responses, files, iterators.

Imports no library: a value of one can only exist if the library is loaded.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
from typing import Any

from mixmagic.errors import BadArguments

# An automatic label, or one with a memory address.
_ADDRESS = re.compile(r" object>$|\bat 0x[0-9a-fA-F]+\b|\b0x[0-9a-fA-F]{8,}\b")
# Content in a label: `n=3`, `mode: fast`.
_FACT = re.compile(r"\w(?:=|: )\S")
_PICTURES = ("_repr_png_", "_repr_jpeg_", "_repr_svg_")
# Attributes that hold the content of a value whose text is a mere label, and the expression for
# it; the first match counts.
_CONTENTS = (
    (("itertext",), "''.join({}.itertext())"),
    (("text",), "{}.text"),
    (("communicate",), "{}.communicate()[0]"),
    (("namelist", "read"), "{}.namelist()"),
    (("getnames",), "{}.getnames()"),
    (("result", "done"), "{}.result()"),
    (("get", "ready"), "{}.get()"),
    (("read",), "{}.read()"),
    (("content",), "{}.content"),
    (("body",), "{}.body"),
    (("recv",), "{}.recv(4096)"),
    (("__next__",), "list({})"),
)
# More of these, for labels without content.
_MORE = (
    (("data",), "{}.data"),
    (("value",), "{}.value"),
    (("_repr_markdown_",), "{}._repr_markdown_()"),
    (("_repr_latex_",), "{}._repr_latex_()"),
    (("_repr_html_",), "{}._repr_html_()"),
)


def unwrapped(value: Any) -> Any:
    """Return the data of IPython's Markdown, HTML, JSON, Latex, …; other values as they are.

    Example:
        >>> unwrapped(IPython.display.Markdown("# Tea"))
        '# Tea'
    """
    if is_a(value, "IPython.core.display", "DisplayObject") and not _is_media(value):
        data = getattr(value, "data", None)
        if isinstance(data, str | dict | list):
            return data
    return value


def refusal(value: Any, text: str, name: str) -> BadArguments | None:
    """Return the error for a value that cannot be sent as its text; its hint says what to write.

    Returns:
        The error; `None` if the text tells the content.

    Example:
        >>> refusal(requests.get("https://example.org"), "<Response [200]>", "page").hint
        'Write `{{ page.text }}`.'
    """
    if is_media(value) or (_is_label(text) and any(_has(value, method) for method in _PICTURES)):
        kind = type(value)
        library = kind.__module__.partition(".")[0]
        return BadArguments(
            f"`{name}` is a picture ({library} {kind.__name__}): pictures cannot be sent, only"
            " text.",
            _in_place_of_picture(value, name),
        )
    awaited = inspect.isawaitable(value)
    always = isinstance(value, io.IOBase) or inspect.iscoroutine(value)
    if not always and not _is_label(text):
        return None
    if awaited:
        how = _await_hint(name)
    elif _has(value, "__anext__"):
        how = (
            f"Write `values = [item async for item in {name}]` on a line before, and then"
            " `{{ values }}`."
        )
    else:
        how = _content_hint(value, text, name)
    anonymous = _ADDRESS.search(text) and not _FACT.search(text)
    if not (how or always or anonymous):
        return None
    return BadArguments(
        f"`{name}` is of type {type(value).__name__}: its text does not tell its content.",
        how
        or _content_hint(value, text, name, _MORE)
        or "Insert one of its attributes or the result of a method, or give its class a"
        " `_repr_prompt_()`.",
    )


def is_a(value: object, module: str, name: str) -> bool:
    """Return True if a value is of a class whose module is loaded."""
    known = getattr(sys.modules.get(module), name, None)
    return isinstance(known, type) and isinstance(value, known)


def _is_media(value: object) -> bool:
    """Return True if IPython shows a value as a picture, video or audio."""
    kinds = ("Image", "SVG", "Video", "Audio")
    modules = ("IPython.core.display", "IPython.lib.display")
    return any(is_a(value, module, kind) for module in modules for kind in kinds)


def is_media(value: object) -> bool:
    """Return True if a value is a picture, video or audio, whatever its text is."""
    plots = is_a(value, "matplotlib.artist", "Artist")
    return plots or is_a(value, "PIL.Image", "Image") or _is_media(value)


def _in_place_of_picture(value: object, name: str) -> str:
    """Return what to insert in place of a picture."""
    if is_a(value, "IPython.core.display", "SVG"):
        return f"Its source is text: write {braces(name, '{}.data')}."
    if is_a(value, "matplotlib.artist", "Artist"):
        return "Insert the data that it shows, such as a DataFrame."
    return "Describe it in words, or insert the data that it shows."


def _is_label(text: str) -> bool:
    """Return True if each line of a text is one `<…>`, the `repr` of values without a literal.

    Markup is not: its first `<…>` ends before the line does.
    """
    return all(map(_is_angular, text.strip().split("\n")))


def _is_angular(line: str) -> bool:
    """Return True if a line is one `<…>`, which may contain others."""
    if not (line.startswith("<") and line.endswith(">")) or line.endswith("/>"):
        return False
    depth = 0
    for index, sign in enumerate(line):
        if sign == "<":
            depth += 1
        elif sign == ">" and line[index - 1] != "-":  # not an arrow
            depth -= 1
            if not depth and index < len(line) - 1:
                return False
    return True


def _has(value: object, name: str) -> bool:
    """Return True if a value has an attribute, found without running the user's code.

    Except for `read`: wrappers of files delegate it dynamically.
    """
    static = inspect.getattr_static(value, name, None) is not None
    return static or (name == "read" and hasattr(value, name))


def _content_hint(
    value: object,
    text: str,
    name: str,
    contents: tuple[tuple[tuple[str, ...], str], ...] = _CONTENTS,
) -> str:
    """Return how to write a value's content; empty if that is unknown, or already in its text."""
    for needed, form in contents:
        if not all(_has(value, attribute) for attribute in needed):
            continue
        content = inspect.getattr_static(value, needed[0], None)
        if isinstance(content, str) and content in text:
            return ""
        if inspect.iscoroutinefunction(content):
            return _await_hint(f"{name}.{needed[0]}()")
        is_method = callable(content) and form.endswith(f".{needed[0]}")
        return f"Write {braces(name, form + '()' * is_method)}."
    return ""


def _await_hint(name: str) -> str:
    """Return how to insert a value that has to be awaited."""
    return f"Write `value = await {name}` on a line before, and then `{{{{ value }}}}`."


def braces(name: str, form: str) -> str:
    """Return an expression built from another one, in the braces of a prompt."""
    operand = name if form == "list({})" else _operand(name)
    return f"`{{{{ {form.format(operand)} }}}}`"


def item(name: str) -> str:
    """Return the expression for some item of an expression's value."""
    return f"{_operand(name)}[...]"


def _operand(name: str) -> str:
    """Return an expression as it is written before a dot or a bracket."""
    try:
        body = ast.parse(name, mode="eval").body
    except (SyntaxError, ValueError):  # shortened
        return "…"
    simple = isinstance(body, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return name if simple else f"({name})"
