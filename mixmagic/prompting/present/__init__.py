"""Values as text for a model, and as images.

To present a new kind of value: a function in one of these modules, and a branch that calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mixmagic.prompting.present.code import code_excerpts
from mixmagic.prompting.present.data import data_excerpts
from mixmagic.prompting.present.plain import plain_excerpts
from mixmagic.prompting.present.rich import shown_text, unwrapped
from mixmagic.prompting.present.science import science_excerpts
from mixmagic.prompting.present.sql import sql_excerpts
from mixmagic.prompting.truncate import Excerpt, Excerpts

# Tokens that a value may take, unless it is a string: a string was meant to be read whole.
_MOST = 8_000
_OWN = "_repr_prompt_"


def excerpts(value: object, name: str) -> Excerpts:
    """Return a value's excerpts for a model, from the fullest to the smallest.

    A class presents its objects by a method `_repr_prompt_() -> str`, or by Jupyter's `_ai_repr_`:
    see `rich`. A string is itself, and so is the data of IPython's Markdown, HTML, JSON and the
    like; a value that only a notebook shows is its Markdown or the text of its HTML. A table of
    pandas, polars or pyarrow is its shape, each column's dtype and missing values, and its first 20
    rows in Markdown; an array its shape, dtype and a sample; a list, dict or dataclass its `repr`,
    limited in length and depth; a function or class its source; a module its docstring and public
    names; an exception its traceback through the user's own code. Values of xarray, scikit-learn,
    networkx and SQL are in `science` and `sql`. Everything else is its `str`. A
    cell or an item that raises an exception is replaced by a note. No library is imported for any
    of this.

    Args:
        value: Anything.
        name: Its expression, for error messages.

    Returns:
        Excerpts; `within(limit, count)` returns the one to insert.

    Raises:
        BadArguments: The value is sound, video or a drawing, binary, or contains an image; or its
            text does not tell its content: a generator, an HTTP response, an open file, an object
            without its own `__repr__`, or a list or dict of nothing else. The hint says what to
            write instead.
        Exception: Anything that the value's own methods raise, here or from `within`.

    Example:
        >>> excerpts({"a": [1, 2]}, "d").within(100, len)
        Excerpt(text="{'a': [1, 2]}", cut='')
    """
    if presents_itself(value):
        return Excerpts(_own_excerpt(value, getattr(type(value), _OWN)))
    value = unwrapped(value)
    if issubclass(type(value), str):  # not one whose `__class__` says so
        return Excerpts([Excerpt(str(value))])
    found = data_excerpts(value, name) or code_excerpts(value)
    found = found or science_excerpts(value) or sql_excerpts(value, name)
    if found is None:
        text = shown_text(value)
        found = plain_excerpts(value, name) if text is None else iter([Excerpt(text)])
    return Excerpts(found, _MOST)


def presents_itself(value: object) -> bool:
    """Return True if a value's class has a `_repr_prompt_()`."""
    return getattr(type(value), _OWN, None) is not None


def _own_excerpt(value: object, present: Callable[[Any], object]) -> Iterator[Excerpt]:
    text = present(value)
    if not isinstance(text, str):
        raise TypeError(f"_repr_prompt_ returned {type(text).__name__}, not str")
    yield Excerpt(text)
