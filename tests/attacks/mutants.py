"""The sanitizer with one rule left out: under each mutant some attacks act and are detected."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from unittest import mock

from mixmagic.text.escape import plain
from mixmagic.text.sanitize import sanitize

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_CODE = re.compile(r"<code>([^<>]*)</code>")
_SPAN = re.compile(r"<span>(&#\d+;)</span>")


def _unwritten(*signs: str) -> Callable[[str], str]:
    """The sanitizer that leaves these signs as they are."""
    codes = "|".join(str(ord(sign)) for sign in signs)
    entity = re.compile(rf"<span>&#({codes});</span>|&#({codes});")

    def sanitized(text: str) -> str:
        return entity.sub(lambda match: chr(int(match[1] or match[2])), sanitize(text))

    return sanitized


def _with(**replaced: object) -> Callable[[str], str]:
    """The sanitizer with something else under a name, wherever a module of it has that name."""
    modules = [module for name, module in sys.modules.items() if name.startswith("mixmagic.text.")]
    patches = [
        mock.patch.object(module, name, by)
        for name, by in replaced.items()
        for module in modules
        if hasattr(module, name)
    ]
    assert len(patches) >= len(replaced), f"nothing is called {', '.join(replaced)}"

    def sanitized(text: str) -> str:
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            return sanitize(text)

    return sanitized


def _undone(pattern: str, replacement: str) -> Callable[[str], str]:
    """The sanitizer that writes something in another way."""
    return lambda text: re.sub(pattern, replacement, sanitize(text))


def _code_spans(text: str) -> str:
    return _CODE.sub(lambda match: f"`{html.unescape(match[1])}`", sanitize(text))


def _controls_last(text: str) -> str:
    return plain(_TAG.sub("&lt;", text))


# From the most special to the most general.
MUTANTS: dict[str, Callable[[str], str]] = {
    "pictures are pictures": _undone(r"\[image", "![image"),
    "data-cite stays": _undone("(?i)(data)(?:&#45;|%2D)(cite)", r"\1-\2"),
    "any language": _with(_LANGUAGE=re.compile(r"\s*(\S+)"), _DRAWN="no such language"),
    "code is always code": _with(_taken_out=lambda content, *, nested: None),
    "any address": _with(address=lambda url: url.replace("&", "&amp;")),
    "any formula": _with(formula=lambda body, **_: " ".join(body.split())),
    "<code> is a code span": _code_spans,
    "colons stay": _unwritten(":"),
    "at signs stay": _unwritten("@"),
    "exclamation marks stay": _unwritten("!"),
    "carets and tildes stay": _unwritten("^", "~"),
    "bars stay": _unwritten("|"),
    "braces stay": _unwritten("{", "}"),
    "odd blanks are blanks": _undone("&#160;|\xa0", " "),
    "line starts stay": _unwritten("#", "-", "+", "=", "%", "(", ")", ">", ".", ":"),
    "backticks stay": _unwritten("`"),
    "dollars stay": _unwritten("$"),
    "backslashes stay": _unwritten("\\"),
    "brackets stay": _unwritten("[", "]", "(", ")"),
    "tags stay": _undone("&lt;|&#60;", "<"),
    "entities are decoded": lambda text: html.unescape(_SPAN.sub(r"\1", sanitize(text))),
    "control characters go last": _controls_last,
    "nothing is sanitized": lambda text: text,
}
