"""Values as a model reads them, not as a terminal shows them.

May import the modules of one kind of values each, `presenting_…`, `cutting` and `errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mixmagic.prompting.present import code, data, plain
from mixmagic.prompting.present.opaque import unwrapped
from mixmagic.prompting.truncate import Draft, Shown

# Tokens that a value takes at most, unless it is a text: that was meant to be read.
_MOST = 8_000


def draft(value: object, name: str) -> Draft:
    """A value's forms for a model, from the fullest to the smallest.

    A class says how its objects present themselves by a method `_repr_prompt_() -> str`. A text is
    itself; so is IPython's Markdown, HTML, JSON and the like. A table of pandas, polars or pyarrow
    is its shape, each column's dtype and missing values, and its first 20 rows in
    Markdown; an array its shape, dtype and a sample; a list, dict or dataclass its `repr`,
    shortened in length and depth; a function or class its source; a module its docstring and public
    names; an exception its traceback through the user's own code. Everything else is its `str`. A
    cell or an item that raises an exception instead costs no more than its own place. No library
    is imported for it.

    Args:
        value: Anything.
        name: What it is called where it is refused: its expression.

    Returns:
        A `Draft`; its `fit(room, count)` is the text within so many tokens, and what it was cut to.

    Raises:
        BadArguments: A picture, or a value whose text does not say what it holds: a generator, an
            HTTP response, an open file, an object without a `__repr__` of its own; and a list or
            dict of nothing else. The hint says what to write instead.
        Exception: Whatever the value's own methods raise, here or from `fit`.

    Example:
        >>> draft({"a": [1, 2]}, "d").fit(100, len)
        Shown(text="{'a': [1, 2]}", cut='')
    """
    value = unwrapped(value)
    presents_itself = getattr(type(value), "_repr_prompt_", None)
    if presents_itself is not None:
        return Draft(_own(value, presents_itself))
    if isinstance(value, str):
        return Draft([Shown(str(value))])
    forms = data.forms(value, name) or code.forms(value) or plain.forms(value, name)
    return Draft(forms, _MOST)


def _own(value: object, present: Callable[[Any], object]) -> Iterator[Shown]:
    """What the value's own class says."""
    text = present(value)
    if not isinstance(text, str):
        raise TypeError(f"_repr_prompt_ returned {type(text).__name__}, not str")
    yield Shown(text)
