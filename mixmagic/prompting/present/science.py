"""Labeled arrays of xarray, estimators of scikit-learn and graphs of networkx.

Imports none of these libraries: a value of theirs can only exist if its library is loaded.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from mixmagic.errors import counted
from mixmagic.prompting.present.opaque import is_a, is_label, without_address
from mixmagic.prompting.present.plain import ReprWriter
from mixmagic.prompting.present.shapes import shape
from mixmagic.prompting.truncate import Excerpt

# Nodes and edges of a graph's excerpts, the fullest first; elements whose attributes are counted.
_SAMPLES, _COUNTED = (40, 10, 3, 0), 10_000
# Characters of a value; values of an array that is shown whole.
_VALUE, _WHOLE = 200, 20
_DEEPEST = 4


def science_excerpts(value: Any) -> Iterator[Excerpt] | None:
    """Return the excerpts of a labeled array, an estimator or a graph; `None` for other values."""
    if is_a(value, "xarray", "Dataset") or is_a(value, "xarray", "DataArray"):
        return _labeled(value)
    if is_a(value, "sklearn.base", "BaseEstimator"):
        return _estimator(value)
    if is_a(value, "networkx", "Graph"):
        return _graph(value)
    return None


def _labeled(value: Any) -> Iterator[Excerpt]:
    """Yield a labeled array's own text, which computes and loads nothing, and its attributes."""
    variables = value.variables if hasattr(value, "variables") else value.coords
    attributes = [
        f"- {name}: {_written(dict(v.attrs))}" for name, v in variables.items() if v.attrs
    ]
    text = str(value)
    if attributes:
        yield Excerpt("\n".join([text, "Attributes of the variables:", *attributes]))
    yield Excerpt(text)


def _estimator(value: Any) -> Iterator[Excerpt]:
    """Yield an estimator with what it has learned; then only its parameters."""
    state = "fitted" if _is_fitted(value) else "not fitted"
    # Its text has the parameters that differ from their defaults; a class may write its own.
    usual = sys.modules["sklearn.base"].BaseEstimator.__repr__
    own = type(value).__repr__ is not usual
    text = repr(value) if own else usual(value, N_CHAR_MAX=4_000)
    about = f"sklearn {type(value).__name__}, {state}:\n{without_address(text)}"
    learned = "\n".join(_lines(value, ""))
    if learned:
        yield Excerpt(f"{about}\n{learned}")
    yield Excerpt(about, "its parameters" if learned else "")


def _lines(value: Any, name: str, depth: int = 0) -> Iterator[str]:
    """Yield lines about what an estimator, and then each one inside, has learned."""
    indent = "  " * depth
    learned = {key: item for key, item in vars(value).items() if _is_learned(key)}
    own = {key: _learned(item) for key, item in learned.items() if not _inner(item)}
    own = {key: text for key, text in own.items() if not is_label(text)}
    if own:
        yield f"{indent}{f'{name} ({type(value).__name__})' if depth else 'Learned'}:"
        yield from (f"{indent}- {key}: {text}" for key, text in own.items())
    if depth < _DEEPEST:
        for key, item in [("", getattr(value, "steps", ())), *learned.items()]:
            inner = _inner(item)
            if len(inner) > 1 and not any(label for label, _ in inner):  # of an ensemble
                inner = [(f"{key}, the first of {len(item):,}", inner[0][1])]
            for label, estimator in inner:
                yield from _lines(estimator, label or key, depth + 1)


def _is_learned(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


def _is_fitted(value: Any) -> bool:
    """Return True if an estimator, or each estimator of a pipeline, has learned something."""
    if is_a(value, "sklearn.pipeline", "Pipeline"):
        return all(_is_fitted(step) for _, step in _inner(value.steps))
    stateless = not getattr(type(value), "fit", None)
    return stateless or any(map(_is_learned, vars(value)))


def _inner(value: Any) -> list[tuple[str, Any]]:
    """Return the estimators, with their names, of which a value consists."""
    if is_a(value, "sklearn.base", "BaseEstimator"):
        return [("", value)]
    found = []
    for item in value[:10] if isinstance(value, list | tuple) else ():
        parts = item if isinstance(item, tuple) else ("", item)
        estimators = [part for part in parts if is_a(part, "sklearn.base", "BaseEstimator")]
        if estimators:
            found.append((str(parts[0]) if isinstance(parts[0], str) else "", estimators[0]))
    return found


def _learned(value: Any) -> str:
    """Return what an attribute has learned: a small array whole, the shape of a large one."""
    if hasattr(value, "tolist") and getattr(value, "size", _WHOLE + 1) <= _WHOLE:
        return _written(value.tolist())
    return shape(value) if hasattr(value, "shape") else _written(value)


def _graph(graph: Any) -> Iterator[Excerpt]:
    """Yield a graph's kind, size and attributes, with fewer and fewer nodes and edges."""
    size, edges = graph.number_of_nodes(), graph.number_of_edges()
    sizes = f"{counted(size, 'node')}, {counted(edges, 'edge')}"
    kind = f"{'directed' if graph.is_directed() else 'undirected'}"
    about = [
        f"networkx {type(graph).__name__}: {sizes}, {kind}",
        *(f"- {name}: {_written(item)}" for name, item in graph.graph.items()),
        *_attributes("nodes", (data for _, data in graph.nodes(data=True))),
        *_attributes("edges", (data for *_, data in graph.edges(data=True))),
    ]
    arrow = "->" if graph.is_directed() else "--"
    keyed = {"keys": True} if graph.is_multigraph() else {}
    for most in _SAMPLES:
        lines, cut = list(about), []
        some = islice(graph.nodes(data=True), most)
        nodes = [
            f"{_written(node)} {_written(data) if data else ''}".rstrip() for node, data in some
        ]
        links = [
            f"{_written(start)} {arrow} {_written(end)} {_edge(*key, data)}".rstrip()
            for start, end, *key, data in islice(graph.edges(data=True, **keyed), most)
        ]
        for what, all_, shown in (("nodes", size, nodes), ("edges", edges, links)):
            if len(shown) < all_:
                cut.append(f"{len(shown)} of {all_:,} {what}")
            if shown:
                lines += ["", f"First {cut[-1]}:" if len(shown) < all_ else f"All {what}:", *shown]
        yield Excerpt("\n".join(lines), ", ".join(cut))


def _edge(*key_and_data: Any) -> str:
    """Return an edge's key, if it is more than a number, and its attributes."""
    *key, data = key_and_data
    parts = [f"[{_written(each)}]" for each in key if not isinstance(each, int)]
    return " ".join([*parts, *([_written(data)] if data else [])])


def _attributes(what: str, data: Iterable[dict[Any, Any]]) -> Iterator[str]:
    """Yield a line that counts the attributes of nodes or edges, with their types."""
    found: Counter[str] = Counter()
    for each in islice(data, _COUNTED):
        found.update(f"{_written(name)} ({type(item).__name__})" for name, item in each.items())
    if found:
        listed = ", ".join(f"{name} in {number:,}" for name, number in found.most_common(20))
        yield f"- attributes of {what}: {listed}"


def _written(value: object) -> str:
    """Return a value in one line; a short string without quotes."""
    if isinstance(value, str) and len(value) <= _VALUE and "\n" not in value:
        return value
    return ReprWriter().write(value, _VALUE)
