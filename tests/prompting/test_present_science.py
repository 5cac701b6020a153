"""Labeled arrays and graphs as text for a model; `tests/benchmarks/libraries.py` has more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixmagic.prompting.present import excerpts


def shown(value, limit=100_000):
    """Return the excerpt for a model; a character counts as a token."""
    return excerpts(value, "value").within(limit, len)


@pytest.fixture
def xarray():
    return pytest.importorskip("xarray")


@pytest.fixture
def networkx():
    return pytest.importorskip("networkx")


def test_a_dataset_with_the_attributes_of_its_variables(xarray):
    days = pd.date_range("2020", periods=3)
    heat = (("day", "room"), np.arange(12.0).reshape(3, 4), {"units": "K"})
    data = xarray.Dataset({"heat": heat}, {"day": days}, {"title": "Rooms"})
    text = shown(data).text
    for part in ("day: 3, room: 4", "heat     (day, room) float64", "title:    Rooms"):
        assert part in text
    assert text.endswith("Attributes of the variables:\n- heat: {'units': 'K'}")
    assert "units: " in shown(data.heat).text
    assert "Attributes of" not in shown(data, len(str(data)) + 5).text
    assert shown(xarray.Dataset()).text.startswith("<xarray.Dataset>")


def test_a_large_labeled_array_is_short_and_a_lazy_one_is_not_computed(xarray):
    large = xarray.DataArray(np.zeros((500, 500, 50)), dims=("a", "b", "c"))
    assert len(shown(large).text) < 2_000

    class Lazy:
        shape, dtype, ndim = (3,), np.dtype(float), 1

        def __array__(self, *args, **kwargs):
            raise AssertionError("it was computed")

        def __array_function__(self, *args):
            raise AssertionError("it was computed")

        def __array_ufunc__(self, *args):
            raise AssertionError("it was computed")

    assert "(x: 3)" in shown(xarray.DataArray(Lazy(), dims=("x",))).text


def test_a_graph_by_its_size_attributes_and_a_sample(networkx):
    graph = networkx.Graph(name="tea")
    graph.add_edge("pot", "cup", weight=3)
    graph.add_edge("cup", 7)
    graph.nodes["pot"]["color"] = "red"
    assert shown(graph).text.splitlines() == [
        "networkx Graph: 3 nodes, 2 edges, undirected",
        "- name: tea",
        "- attributes of nodes: color (str) in 1",
        "- attributes of edges: weight (int) in 1",
        "",
        "All nodes:",
        "pot {'color': 'red'}",
        "cup",
        "7",
        "",
        "All edges:",
        "pot -- cup {'weight': 3}",
        "cup -- 7",
    ]


@pytest.mark.parametrize(
    ("kind", "starts", "edge"),
    [
        ("DiGraph", "networkx DiGraph: 2 nodes, 1 edge, directed", "1 -> 2"),
        ("MultiGraph", "networkx MultiGraph: 2 nodes, 1 edge, undirected", "1 -- 2"),
        ("MultiDiGraph", "networkx MultiDiGraph: 2 nodes, 1 edge, directed", "1 -> 2"),
    ],
)
def test_every_kind_of_graph(networkx, kind, starts, edge):
    text = shown(getattr(networkx, kind)([(1, 2)])).text
    assert text.startswith(starts)
    assert text.endswith(edge)
    assert shown(getattr(networkx, kind)()).text == f"networkx {kind}: 0 nodes, 0 edges, " + (
        "directed" if "Di" in kind else "undirected"
    )


def test_edges_of_a_multigraph_have_their_keys(networkx):
    graph = networkx.MultiGraph()
    graph.add_edge("A", "B", key="bus", minutes=9)
    graph.add_edge("A", "B", key="train")
    graph.add_edge("A", "B")
    assert shown(graph).text.endswith("A -- B [bus] {'minutes': 9}\nA -- B [train]\nA -- B")


def test_a_text_is_the_same_in_each_kernel(networkx):
    """Else a recorded notebook would not find its answers."""
    graph = networkx.Graph()
    graph.add_edge(1, 2, cost=lambda: 1)
    text = shown(graph).text
    assert "1 -- 2 {'cost': <function test_a_text_is_the_same_in_each_kernel.<locals>." in text
    assert " at 0x" not in text


def test_a_large_graph_is_cut_and_says_so(networkx):
    graph = networkx.path_graph(100_000)
    excerpt = shown(graph)
    assert excerpt.cut == "40 of 100,000 nodes, 40 of 99,999 edges"
    assert "First 40 of 99,999 edges:" in excerpt.text
    assert shown(graph, 80).text == "networkx Graph: 100,000 nodes, 99,999 edges, undirected"
