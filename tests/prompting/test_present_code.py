"""Functions, classes, modules and exceptions as text for a model."""

from __future__ import annotations

import builtins
import collections
import dataclasses
import enum
import functools
import json
import math
import types

import IPython
import pandas
import pytest

from mixmagic.prompting.present import excerpts
from mixmagic.prompting.present.code import traceback_text

_KEEPS_CLASSES = pytest.mark.skipif(
    IPython.version_info < (8,), reason="IPython 7 finds no source of a class of a cell"
)

Pair = collections.namedtuple("Pair", "a b")


class Point:
    def far(self):
        return 9


def shown(value, limit=100_000):
    """Return the text for a model; a character counts as a token."""
    return excerpts(value, "value").within(limit, len)


def traced(function, *arguments):
    try:
        function(*arguments)
    except (ValueError, AttributeError) as error:
        return shown(error).text
    raise AssertionError


def reads_json(depth=0):
    if depth:
        return reads_json(depth - 1)
    return json.loads("{")


def test_an_exception_is_its_traceback_through_the_users_code():
    text = traced(reads_json)
    assert text.startswith("Traceback (most recent call last):\n")
    assert 'return json.loads("{")' in text
    assert text.count("json/") == 1, "of the library, the frame where it arose"
    assert "in raw_decode" in text
    assert text.endswith("JSONDecodeError: Expecting property name enclosed in double quotes: line"
                         " 1 column 2 (char 1)")  # fmt: skip


def test_a_traceback_has_one_frame_of_a_compiled_library():
    frame = pandas.DataFrame({"a": [1]})
    try:
        frame["b"]
    except KeyError as error:
        text = shown(error).text
    assert text.count(".pyx") + text.count(".pxi") <= 1
    assert 'frame["b"]' in text
    assert text.count("File ") <= 3


def test_an_exceptions_traceback_is_short():
    text = traced(reads_json, 500)
    assert len(text) < 2500
    assert 'return json.loads("{")' in text
    chained = None
    for number in range(50):
        following = ValueError(f"number {number}")
        following.__cause__, chained = chained, following
    text = shown(chained).text
    assert "number 49" in text
    assert "number 45" in text
    assert "number 40" not in text
    group = ExceptionGroup("both", [ValueError("one"), KeyError("two")])
    assert "ValueError: one" in shown(group).text


def ping(depth):
    return pong(depth - 1)


def pong(depth):
    return ping(depth) if depth else reads_json()


def test_both_ends_of_a_deep_traceback_are_shown():
    text = traced(ping, 100)
    assert text.count("in ping") + text.count("in pong") < 12
    assert "function(*arguments)" in text
    assert 'return json.loads("{")' in text


def decorated(function):
    @functools.wraps(function)
    def wrapper():
        return function()

    return wrapper


@decorated
def counted():
    return 1


@functools.lru_cache
def cached():
    return 2


def test_code_is_its_source():
    assert shown(traced).text.startswith("def traced(function, *arguments):\n    try:\n")
    assert shown(counted).text == "@decorated\ndef counted():\n    return 1"
    assert shown(cached).text == "@functools.lru_cache\ndef cached():\n    return 2"
    assert shown(Point().far).text == "def far(self):\n    return 9"
    assert shown(Pair).text.startswith("class Pair(a, b)\n"), "it has no source"


def test_code_without_a_source_is_its_manual():
    assert shown(len).text == f"built-in function len(obj, /)\n{len.__doc__}"
    assert shown(int).text.startswith("class int(…)\nint([x]) -> integer")
    assert "x.__add__" not in shown(int.__add__).text
    assert shown(builtins.print).text.startswith("built-in function print(")


def test_an_object_that_is_only_a_descriptor_is_not_code():
    class Delayed:
        """A task, as dask has it."""

        def __get__(self, instance, owner):
            return self

        def __repr__(self):
            return "Delayed(task)"

    assert shown(Delayed()).text == "Delayed(task)"


def test_a_function_without_source_is_not_called_built_in():
    names: dict = {"functools": functools}
    # Not under "<string>": from Python 3.13 on that is the source of `python -c`, as of a worker.
    source = "def made(a, b=1):\n  'What it does.'\n@functools.cache\ndef kept(): ..."
    exec(compile(source, "<made>", "exec"), names)
    said = ", whose source is not known"
    assert shown(names["made"]).text == f"function made(a, b=1){said}\nWhat it does."
    assert shown(eval(compile("lambda: 1", "<made>", "eval"))).text == f"function <lambda>(){said}"
    assert shown(names["kept"]).text == f"function kept(){said}"
    assert shown([].append).text.startswith("built-in function list.append(")


def test_a_class_without_source_is_its_docstring_and_fields():
    names = {"__name__": "__main__", "dataclass": dataclasses.dataclass, "Enum": enum.Enum}
    cell = """
@dataclass
class Both:
    'About.'
    a: int
    b: 'int | None' = 3
class Colour(Enum):
    RED = 1
class Sub(Both): ...
"""
    exec(compile(cell, "<made>", "exec", dont_inherit=True), names)
    assert shown(names["Both"]).text == (
        "class Both(a: int, b: 'int | None' = 3) -> None\nAbout.\nFields: a: int, b: int | None = 3"
    )
    assert "\nFields: RED = <Colour.RED: 1>" in shown(names["Colour"]).text
    assert "About" not in shown(names["Sub"]).text


def test_a_module_is_its_docstring_and_names():
    text = shown(math).text
    assert text.startswith("module math\n\nThis module provides access")
    assert "Names: acos, acosh" in text
    assert "__" not in text
    listed = types.ModuleType("mine", "About.")
    assert shown(listed).text == "module mine\n\nAbout.\n\nNames: none"
    listed.__all__ = ["one"]
    listed.two = 2
    assert shown(listed).text.endswith("Names: one")


CELL = '''
import dataclasses

def outer(x):
    return x.y

class Plain:
    """Has a method."""
    def method(self):
        return 1

@dataclasses.dataclass
class Fields:
    number: int = 3

try:
    outer(1)
except AttributeError as caught:
    failure = caught
'''
SHOW = """
from mixmagic.prompting.interpolate import expand
from mixmagic.prompting.marks import Marks
names = get_ipython().user_ns
given = dict(names=(), limit=9999, count=len, marks=Marks())
print(expand([{!r}], lambda e: eval(e, names), **given)[0].text)
"""


@_KEEPS_CLASSES
def test_functions_and_classes_of_cells_have_their_source(kernel):
    assert kernel.run(CELL).status == "ok"
    assert kernel.run("class Fields:\n    number: int = 4").status == "ok"
    kernel.run("Old = Plain\nclass Plain:\n    def other(self): ...")
    assert "def method(self)" in kernel.run(SHOW.format("{{ Old }}")).text
    assert "def other(self)" in kernel.run(SHOW.format("{{ Plain }}")).text
    kernel.run("Plain = Old")
    again = kernel.run(SHOW.format("{{ Fields }}")).text
    assert again.strip() == "class Fields:\n    number: int = 4"
    text = kernel.run(SHOW.format("{{ outer }}\n{{ Plain }}\n{{ failure }}\n{{ In[2][:13] }}")).text
    assert "def outer(x):\n    return x.y\nclass Plain:\n" in text
    assert "        return 1\nTraceback (most" in text
    assert "AttributeError: 'int' object has no attribute 'y'" in text
    assert "    return x.y\n" in text.partition("Traceback")[2]
    assert "IPython" not in text
    assert text.strip().endswith("import datacl"), "the cell's text, from In"
    kernel.run("6 * 7")
    assert kernel.run(SHOW.format("{{ _ }}{{ Out[max(Out)] }}")).text.strip() == "4242"


REDEFINED = [
    "from dataclasses import dataclass\n@dataclass\nclass Pt:\n    a: int  # the first",
    "Old = Pt\n@dataclass\nclass Pt:\n    z: str",
    "@dataclass\nclass Limit:\n    most: int = 3",
    "Low = Limit\n@dataclass\nclass Limit:\n    most: int = 4",
    "@dataclass\nclass Fine:\n    a: int",
    "@dataclass\nclass Fine:\n    a: int = nowhere",
    "class Error(ValueError):\n    pass",
    "First = Error\nclass Error(ValueError):\n    def told(self): ...",
    "class Size:\n    big = property(len)\nclass Size:\n    @property\n    def low(self): ...",
]  # fmt: skip


@_KEEPS_CLASSES
def test_a_class_never_has_the_source_of_another_one_of_its_name(kernel):
    for cell in REDEFINED:
        assert (kernel.run(cell).status == "ok") == ("nowhere" not in cell)

    def text(name):
        return kernel.run(SHOW.format(f"{{{{ {name} }}}}")).text.strip()

    assert text("Old") == "@dataclass\nclass Pt:\n    a: int  # the first"
    assert text("Pt") == "@dataclass\nclass Pt:\n    z: str"
    assert text("Low").endswith("= 3")
    assert text("Limit") == "@dataclass\nclass Limit:\n    most: int = 4"
    assert text("Fine") == "class Fine(a: int) -> None\nFine(a: int)\nFields: a: int"
    assert text("First") == "class Error(ValueError):\n    pass"
    assert "def told" in text("Error")
    assert "def low" in text("Size")


class Unreadable(Exception):
    """An exception whose traceback cannot be read."""

    @property
    def __cause__(self):
        raise LookupError("the cause was read")


class Mute(Unreadable):
    """Its message cannot be read either."""

    def __str__(self):
        raise LookupError("the message was read")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unreadable("x"), "Unreadable: x"),
        (Unreadable(), "Unreadable"),
        (Mute("x"), "Mute"),
    ],
)
def test_an_exception_that_python_cannot_show_is_its_type_and_message(error, text):
    assert traceback_text(error) == text
