"""The shape of a value in one line: sizes, types and names, but no content.

Nothing of the user's runs: only types of Python and of known libraries are looked into.
"""

from __future__ import annotations

import collections
import types
from collections.abc import Iterable
from itertools import islice
from typing import Any

from mixmagic.errors import counted

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
        return f"{kind.__name__} of {counted(len(value), 'character' if kind is str else 'byte')}"
    if kind in _PAIRS:
        return f"{kind.__name__} of {len(value):,}{_listed(map(_label, value), len(value))}"
    if kind in _ITEMS:
        first = f", the first: {type(next(iter(value))).__name__}" if value else ""
        return f"{kind.__name__} of {len(value):,}{first}"
    if kind is types.FunctionType:
        code = value.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        of = counted(len(names), "argument")
        return f"function of {of}{_listed(map(_label, names), len(names))}"
    if issubclass(kind, _KNOWN):  # `isinstance` would read a lazy object's `__class__`
        return ""
    library = kind.__module__.partition(".")[0]
    if library in _LIBRARIES:
        return f"{library} {kind.__name__}{_of_library(value)}"
    return f"{kind.__name__}{_attributes(value)}"


def own_attributes(value: object) -> dict[str, Any]:
    """Return the attributes that an object or module itself holds; none if its class hides them."""
    for kind in type(value).__mro__:
        held = vars(kind).get("__dict__")
        if isinstance(held, types.GetSetDescriptorType | types.MemberDescriptorType):
            own = held.__get__(value)
            return own if type(own) is dict else {}
        if held is not None:  # a property of the user's
            break
    return {}


def _of_library(value: Any) -> str:
    """Return the shape of a table or array; empty for a value of another kind."""
    kind = type(value).__name__
    if kind == "Dataset" and hasattr(value, "data_vars"):
        variables = list(value.variables)
        of = counted(len(variables), "variable")
        return f" of {of}{_listed(map(_label, variables), len(variables))}"
    if kind in ("LazyFrame", "Dataset"):  # its columns may have to be computed
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
        of = f" of shape {tuple(size)}{f', {dtype}' if str(dtype) else ''}"
        return of + _index(value, with_labels=True)
    listed = (f"{_label(name)} ({dtype!s:.{_LONGEST}})" for name, dtype in columns)
    sizes = f"{counted(size[0], 'row')} and {counted(size[1], 'column')}"
    return f" of {sizes}{_listed(listed, size[1])}" + _index(value)


def _index(value: Any, *, with_labels: bool = False) -> str:
    """Return the names and dtypes of the index of pandas, unless it only numbers the rows.

    A row has its columns as its index: they are its labels.
    """
    index = getattr(value, "index", None)
    names = getattr(index, "names", None)
    if index is None or names is None or type(index).__name__ == "RangeIndex":
        return ""
    if len(names) > 1:
        return f"; index of {len(names)} levels{_listed(map(_label, names), len(names))}"
    name = "" if names[0] is None else f" {_label(names[0])}"
    listed = _listed(map(_label, index), len(index)) if with_labels and _has_names(index) else ""
    return f"; index{name} ({index.dtype}){listed}"


def _has_names(index: Any) -> bool:
    """Return True if the first labels of an index are strings."""
    return all(type(label) is str for label in index[:_MOST])


def _attributes(value: object) -> str:
    """Return the names of an object's own attributes."""
    own = own_attributes(value)
    return f" with attributes{_listed(map(_label, own), len(own))}" if own else ""


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
