"""Values as text for a model: strings, containers, refusals."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import io
import itertools
import pathlib
import subprocess
import sys
import tempfile
import time
import types
import typing

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.errors import BadArguments
from mixmagic.prompting.present import excerpts

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(st.integers())
        | st.sets(st.text())
    ),
).filter(lambda value: not isinstance(value, bytes))  # they may be an image, or refused


def shown(value, limit=100_000):
    """Return the text for a model; a character counts as a token."""
    return excerpts(value, "value").within(limit, len)


class Own:
    def __init__(self, text):
        self.text = text

    def _repr_prompt_(self):
        return self.text

    def __repr__(self):
        raise AssertionError("never asked")


class OwnList(list):
    def _repr_prompt_(self):
        return f"a list of {len(self)}"


def test_an_object_presents_itself():
    assert shown(Own("{{ me }}")) == ("{{ me }}", "")
    assert shown(OwnList([1, 2])).text == "a list of 2"
    long = shown(Own("word " * 100_000), 1000)
    assert long.cut.endswith("of 500,000 characters")
    assert shown(Own("a" * 90_000)).cut == "", "what a class writes is cut by the limit alone"


@pytest.mark.parametrize("text", [None, 7, b"x"])
def test_an_object_that_presents_itself_without_a_text_is_an_error(text):
    with pytest.raises(TypeError, match=r"_repr_prompt_ returned \w+, not str"):
        shown(Own(text))


def test_a_class_that_presents_its_objects_is_itself_shown_by_its_source():
    assert shown(Own).text.startswith("class Own:\n    def __init__")


def test_a_text_is_itself():
    text = "a\n" * 40_000
    assert shown(text) == (text, "")
    assert shown("") == ("", "")


def test_a_long_text_is_cut_at_a_lines_end():
    text, cut = shown("a line of text\n" * 1000, 500)
    *lines, said = text.split("\n")
    assert set(lines) == {"a line of text"}
    assert len(lines) > 20
    assert said == f"[cut to {cut}]"
    assert cut == f"the first {len(text) - len(said) - 1:,} of 15,000 characters"


def test_a_huge_text_is_not_counted_whole():
    counted = []
    excerpts("ab " * 10**6, "value").within(
        100, lambda text: counted.append(len(text)) or len(text)
    )
    assert max(counted) < 4000


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (0.1, "0.1"),
        (None, "None"),
        (Colour.RED, "Colour.RED"),
        (range(3), "range(0, 3)"),
        (time.gmtime(0), str(time.gmtime(0))),
    ],
)
def test_a_plain_value_is_its_str(value, text):
    assert shown(value) == (text, "")


@given(VALUES)
def test_small_values_are_their_repr(value):
    if isinstance(value, list | dict | tuple | set) and len(repr(value)) < 1000:
        expected = repr(value)
        text, cut = shown(value)
        assert (text == expected) == (cut == ""), (text, expected)
        assert cut in ("", "the outer levels")


@given(VALUES, st.integers(150, 2000))
def test_no_value_exceeds_its_limit(value, limit):
    text, cut = shown(value, limit)
    assert len(text) <= limit
    whole = value if isinstance(value, str) else repr(value)
    assert bool(cut) == (text != whole)
    assert not cut or "…" in text or "[cut to " in text, "the prompt says what the footer says"


@dataclasses.dataclass
class Point:
    x: int
    near: list = dataclasses.field(default_factory=list)
    secret: str = dataclasses.field(default="hidden", repr=False)


@dataclasses.dataclass
class Silent:
    password: str

    def __repr__(self):
        return "Silent(…)"


Pair = collections.namedtuple("Pair", "a b")


class Triple(typing.NamedTuple):
    a: int
    b: tuple


class OwnReprDict(dict):
    def __repr__(self):
        return "mine"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Point(1), "Point(x=1, near=[])"),
        ([Point(1, [2])], "[Point(x=1, near=[2])]"),
        ([Silent("hidden")], "[Silent(…)]"),
        (Pair(1, [2]), "Pair(a=1, b=[2])"),
        (Triple(1, (2,)), "Triple(a=1, b=(2,))"),
        (OwnReprDict(a=1), "mine"),
        (collections.OrderedDict(a=1), "OrderedDict({'a': 1})"),
        (collections.Counter("aa"), "Counter({'a': 2})"),
        (collections.defaultdict(list, a=[1]), "defaultdict({'a': [1]})"),
        (collections.deque([1, 2]), "deque([1, 2])"),
        (types.MappingProxyType({"a": 1}), "mappingproxy({'a': 1})"),
        ({"a": 1}.keys(), "dict_keys(['a'])"),
        ({"a": 1}.items(), "dict_items([('a', 1)])"),
        (frozenset([1]), "frozenset({1})"),
        (set(), "set()"),
        ((), "()"),
    ],
)
def test_containers_keep_their_shape(value, text):
    assert shown(value) == (text, "")


def test_the_start_of_a_long_list_is_shown():
    text, cut = shown(list(range(1_000_000)), 300)
    assert text.startswith("[0, 1, 2, 3, ")
    assert text.endswith(" more]")
    number = int(cut.split()[2])
    assert cut == f"the first {number} of 1,000,000 items"
    assert f"{number - 1}, … {1_000_000 - number:,} more]" in text
    assert number > 20


def test_items_after_a_long_one_are_shown():
    text, cut = shown({"rows": list(range(10**5)), "text": "x" * 10**6, "last": "end"}, 600)
    assert "'rows': [0, 1, 2" in text
    assert "'text': 'xxx" in text
    assert "… (1,000,000 in all)" in text
    assert text.endswith("'last': 'end'}")
    assert cut


def test_deep_and_cyclic_values_end():
    deep = {}
    for _ in range(100_000):
        deep = {"k": deep}
    cycle = [1]
    cycle += [cycle, {"again": cycle}]
    assert len(shown(deep).text) < 200
    assert shown(cycle) == ("[1, …, {'again': …}]", "the outer levels")
    bushy = []
    for _ in range(60):
        bushy = [bushy, bushy]  # 2**60 lists, if one went to the end
    assert len(shown(bushy, 2000).text) <= 2000
    while deep:
        deep = deep.pop("k")  # its destructor would recurse


def test_huge_values_take_limited_time():
    for value in (b"x" * 10**7, ["x" * 10**7], list(range(10**6))):
        assert 10 < len(shown(value).text) <= 8_000


class Bare:
    pass


class Cluster:
    def __repr__(self):
        return f"<Cluster n=3 inertia=0.5 at {id(self):#x}>"


def test_a_label_with_content_besides_an_address_is_sent():
    assert "inertia=0.5" in shown(Cluster()).text


@pytest.mark.parametrize(
    ("make", "kind", "hint"),
    [
        (pathlib.Path(__file__).open, "TextIOWrapper", "`{{ made.read() }}`"),
        (lambda: io.StringIO("x"), "StringIO", "`{{ made.read() }}`"),
        (tempfile.NamedTemporaryFile, "_TemporaryFileWrapper", "`{{ made.read() }}`"),
        (lambda: (each for each in "ab"), "generator", "`{{ list(made) }}`"),
        (lambda: map(str, [1]), "map", "`{{ list(made) }}`"),
        (Bare, "Bare", "`_repr_prompt_()`"),
        (lambda: pd.DataFrame({"a": [1]}).groupby("a"), "DataFrameGroupBy", "a method"),
    ],
)
def test_a_meaningless_text_is_refused_with_an_alternative(make, kind, hint):
    value = make()
    with contextlib.closing(value) if hasattr(value, "close") else contextlib.nullcontext():
        with pytest.raises(BadArguments, match=f"`made` is of type {kind}: its text") as caught:
            excerpts(value, "made")
        assert hint in caught.value.hint


def test_an_iterator_with_a_meaningful_text_is_its_str():
    assert shown(itertools.count(5)).text == "count(5)"


def test_no_library_is_imported_for_it():
    code = (
        "import sys; from mixmagic.prompting.present import excerpts;"
        "excerpts({}, 'x').within(99, len);"
        "print({'pandas', 'numpy', 'matplotlib', 'IPython'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout == "set()\n"
