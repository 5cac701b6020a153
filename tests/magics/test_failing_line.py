"""`%mixtral fix` sends the shapes of the values in the line that failed."""

from __future__ import annotations

import pytest

from mixmagic.magics._shell.failing_line import shapes

pandas = pytest.importorskip("pandas")
numpy = pytest.importorskip("numpy")


class Point:
    def __init__(self):
        self.x, self.data = 1, {"a": [1]}

    @property
    def far(self):
        raise AssertionError("a property was read")

    def __getattr__(self, name):
        raise AssertionError("__getattr__ was called")

    def __getitem__(self, key):
        raise AssertionError("__getitem__ was called")

    def __repr__(self):
        raise AssertionError("__repr__ was called")

    def __len__(self):
        raise AssertionError("__len__ was called")

    def __eq__(self, other):
        raise AssertionError("__eq__ was called")

    __hash__ = object.__hash__


def failing(source, **names):
    """Run a source as a cell, and return the shapes in the line that failed."""
    import linecache

    file = "<ipython-input-1-0123>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        exec(compile(source, file, "exec"), names)
    except Exception as error:  # noqa: BLE001  # of any kind
        return shapes(error)
    raise AssertionError("it did not fail")


FRAME = pandas.DataFrame({"month": ["Jan", "Feb"], "sales": [1, 2]})
OF_FRAME = "pandas DataFrame of 2 rows and 2 columns: 'month' (str), 'sales' (int64)"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\ndf['Month'].mean()", {"df": OF_FRAME}),
        ("df.groupby('month').agg(Sales)", {"df": OF_FRAME}),
        (
            "for i in [1]:\n    df['sales'] @ array",
            {
                "df": OF_FRAME,
                "df['sales']": "pandas Series of shape (2,), int64",
                "array": "numpy ndarray of shape (3, 4), float64",
            },
        ),
        ("config['b']", {"config": "dict of 2: 'a', 3"}),
        ("config['a']['z']", {"config": "dict of 2: 'a', 3", "config['a']": "dict of 1: 'q'"}),
        ("items[n]", {"items": "list of 2, the first: str", "n": "int 7"}),
        ("f(n,\n  n, 1)", {"f": "function of 2 arguments: 'a', 'b'", "n": "int 7"}),
        ("def g(p):\n    return p / zero\ng(n)", {"p": "int 7", "zero": "int 0"}),
        ("text + n", {"text": "str of 3 characters", "n": "int 7"}),
        ("if text.nope:\n    df", {"text": "str of 3 characters"}),
        ("nope(df)", {"df": OF_FRAME}),
        ("int(nothing)", {"nothing": "None"}),
        ("import math\nmath.nope", {}),
    ],
)
def test_the_values_in_the_line_that_failed(source, found):
    names = {
        "df": FRAME,
        "array": numpy.ones((3, 4)),
        "config": {"a": {"q": 1}, 3: 4},
        "items": ["x", "y"],
        "n": 7,
        "zero": 0,
        "text": "tea",
        "nothing": None,
        "f": lambda a, b: a,
    }
    assert failing(source, **names) == [f"{name}: {text}" for name, text in found.items()]


@pytest.mark.parametrize("line", ["point.far", "point[0]", "point.no", "point.data[0] == point"])
def test_no_code_of_the_user_runs(line):
    point = Point()
    found = failing(f"[1 / 0, {line}]", point=point)
    assert found[0] == "point: Point with attributes: 'x', 'data'"


def test_it_is_short_and_names_are_whole():
    wide = pandas.DataFrame({f"column {n} {'x' * n}": [n] for n in range(300)})
    keys = {f"{n}{'k' * 200}": n for n in range(99)}
    found = failing("wide[keys[1]]", wide=wide, keys=keys)
    assert sum(map(len, found)) <= 2_000
    assert "kkk" not in "".join(found)


def test_an_error_without_a_line_has_none():
    assert shapes(ValueError("x")) == []
    assert failing("exec('def (')") == []
