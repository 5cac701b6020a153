"""The shape of a value in one line: sizes, types and names, but no content.

Nothing of the user's runs: only types of Python and of known libraries are looked into.
"""

from __future__ import annotations

import collections
import types
from collections.abc import Iterable
from itertools import islice
from typing import Any

_MOST, _LONGEST = 40, 60
_NUMBERS = (bool, int, float, complex, type(None))
_PAIRS = (dict, collections.OrderedDict, collections.defaultdict, collections.Counter)
_ITEMS = (list, tuple, set, frozenset, collections.deque)
_LIBRARIES = ("pandas", "polars", "pyarrow", "numpy", "geopandas", "scipy", "torch", "xarray")
# Types that a line's reader knows.
_KNOWN = (type, types.ModuleType, types.BuiltinFunctionType, types.MethodType)


def shape(value: Any) -> str:
    """Return a value's type and size, a table's columns, a dict's keys; empty if it has no shape.

    Example:
        >>> shape({"a": 1}), shape([1.5, 2.0]), shape("tea")
        ("dict of 1: 'a'", 'list of 2, the first: float', 'str of 3 characters')
    """
    kind = type(value)
    if kind in _NUMBERS:
        return "None" if value is None else f"{kind.__name__} {_number(value)}"
    if kind in (str, bytes, bytearray):
        return f"{kind.__name__} of {len(value):,} {'characters' if kind is str else 'bytes'}"
    if kind in _PAIRS:
        return f"{kind.__name__} of {len(value):,}{_listed(map(_label, value), len(value))}"
    if kind in _ITEMS:
        first = f", the first: {type(next(iter(value))).__name__}" if value else ""
        return f"{kind.__name__} of {len(value):,}{first}"
    if kind is types.FunctionType:
        code = value.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return f"function of {len(names)} arguments{_listed(map(_label, names), len(names))}"
    if isinstance(value, _KNOWN):
        return ""
    library = kind.__module__.partition(".")[0]
    if library in _LIBRARIES:
        return f"{library} {kind.__name__}{_of_library(value)}"
    return f"{kind.__name__}{_attributes(value)}"


def _of_library(value: Any) -> str:
    """Return the shape of a table or array; empty for a value of another kind."""
    if type(value).__name__ in ("LazyFrame", "Dataset"):  # its columns may have to be computed
        return ""
    size = getattr(value, "shape", None)
    if size is None:
        return ""
    if (schema := getattr(value, "schema", None)) is not None and hasattr(schema, "names"):
        columns = zip(schema.names, schema.types, strict=False)  # of pyarrow
    elif (names := getattr(value, "columns", None)) is not None:
        columns = zip(names, getattr(value, "dtypes", ()), strict=False)
    else:
        dtype = getattr(value, "dtype", "")
        return f" of shape {tuple(size)}, {dtype}" if dtype else f" of shape {tuple(size)}"
    listed = (f"{_label(name)} ({dtype!s:.{_LONGEST}})" for name, dtype in columns)
    return f" of {size[0]:,} rows and {size[1]:,} columns{_listed(listed, size[1])}"


def _attributes(value: object) -> str:
    """Return the names of an object's own attributes."""
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return ""
    if type(own) is not dict or not own:
        return ""
    return f" with attributes{_listed(map(_label, own), len(own))}"


def _listed(labels: Iterable[str], size: int) -> str:
    """Return the first labels."""
    more = f", … ({size - _MOST:,} more)" if size > _MOST else ""
    return f": {', '.join(islice(labels, _MOST))}{more}" if size else ""


def _label(value: object) -> str:
    """Return a key, or only its type: half a key of a provider would not be recognized as one."""
    kind = type(value)
    if kind is tuple and len(value) <= 4:  # type: ignore[arg-type]
        return f"({', '.join(map(_label, value))})"  # type: ignore[call-overload]
    text = repr(value) if kind is str else _number(value) if kind in _NUMBERS else ""
    return text if text and len(text) <= _LONGEST else f"<{kind.__name__}>"


def _number(value: Any) -> str:
    """Return a number, unless it has very many digits."""
    return "of many digits" if type(value) is int and value.bit_length() > 100 else repr(value)
