"""Values whose text does not tell their content: drawings, sound, responses, files, iterators.

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
_AT_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{8,}(?=>)")
# Content in a label: `n=3`, `mode: fast`.
_FACT = re.compile(r"\w(?:=|: )\S")
# Control characters that no text has.
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
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
)


def refusal(value: Any, text: str, name: str) -> BadArguments | None:
    """Return the error for a value that cannot be sent as its text; its hint says what to write.

    Returns:
        The error; `None` if the text tells the content.

    Example:
        >>> refusal(requests.get("https://example.org"), "<Response [200]>", "page").hint
        'Write `{{ page.text }}`.'
    """
    if kind := _media(value):
        return BadArguments(
            f"`{name}` is {kind} ({_library(value)} {type(value).__name__}) and cannot be sent.",
            _in_place_of_media(value, name),
        )
    if isinstance(value, bytes | bytearray) and not _is_text(value):
        return BadArguments(
            f"`{name}` is {len(value):,} bytes that are neither text nor a PNG, JPEG, GIF or WebP"
            " image.",
            f"Insert them as text, such as {braces(name, '{}.hex()')}.",
        )
    awaited = inspect.isawaitable(value)
    always = isinstance(value, io.IOBase) or inspect.iscoroutine(value)
    if not always and not is_label(text):
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


def is_media(value: object) -> bool:
    """Return True if a value is an image, a part of a figure, sound or video."""
    return bool(_media(value))


def label(value: object, text: str) -> str:
    """Return the text of a value in a table: its type if the text is an address in memory.

    Example:
        >>> label(image, "<PIL.Image.Image image mode=RGB size=4x4 at 0x7F39>")
        '[Image]'
    """
    is_address = is_label(text) and _ADDRESS.search(text)
    return f"[{type(value).__name__}]" if is_address or is_media(value) else text


def without_address(text: str) -> str:
    """Return a text without addresses in memory, which differ in each kernel.

    Example:
        >>> without_address("partial(<function f at 0x7F39A0B4>, 1)")
        'partial(<function f>, 1)'
    """
    return _AT_ADDRESS.sub("", text)


def _media(value: object) -> str:
    """Return the kind of a value that is not text, for a message; empty for other values."""
    if is_a(value, "PIL.Image", "Image") or is_a(value, "matplotlib.figure", "FigureBase"):
        return "an image inside of another value"
    if is_a(value, "matplotlib.artist", "Artist"):
        return "a part of a figure"
    for name, kind in _SHOWN.items():
        if any(is_a(value, module, name) for module in _MEDIA_MODULES):
            return kind
    return ""


# Classes of IPython and ipywidgets whose objects are not text, and what they are.
_MEDIA_MODULES = ("IPython.core.display", "IPython.lib.display", "ipywidgets")
_SHOWN = {
    "Image": "an image inside of another value",
    "SVG": "a drawing",
    "Video": "a video",
    "YouTubeVideo": "a video",
    "Audio": "sound",
}


def _library(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _is_text(value: bytes | bytearray) -> bool:
    """Return True if bytes are UTF-8 without control characters."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return not _BINARY.search(value)


def _in_place_of_media(value: object, name: str) -> str:
    """Return what to insert in place of media that cannot be sent."""
    if is_a(value, "IPython.core.display", "SVG"):
        return f"Its source is text: write {braces(name, '{}.data')}."
    if is_a(value, "matplotlib.figure", "FigureBase") or is_a(value, "PIL.Image", "Image"):
        return f"Give each image braces of its own: {braces(name, '{}')}."
    if is_a(value, "matplotlib.artist", "Artist"):
        return f"Write {braces(name, '{}.figure')} for the whole figure."
    if is_a(value, "IPython.core.display", "Image"):
        return f"Give each image braces of its own: {braces(name, '{}')}."
    return "Describe it in words, or insert a transcript."


def is_label(text: str) -> bool:
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
