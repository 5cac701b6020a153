"""`%mixtral fix` sends the shapes of the values in the line that failed."""

from __future__ import annotations

import asyncio

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
OF_ROW = "pandas Series of shape (2,), object; index (str): 'month', 'sales'"
OF_INDEXED = "pandas DataFrame of 2 rows and 1 column: 'sales' (int64); index 'month' (str)"
OF_LEVELS = "pandas DataFrame of 2 rows and 0 columns; index of 2 levels: 'month', 'sales'"


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
        ("def one(n): return n / zero\none(7)", {"n": "int 7", "zero": "int 0"}),
        ("x = n; text + zero", {"text": "str of 3 characters", "zero": "int 0"}),
        ("@f(n)\ndef g(p):\n    pass", {"f": "function of 2 arguments: 'a', 'b'", "n": "int 7"}),
        ("eval('df[text] + n')", {"df": OF_FRAME, "text": "str of 3 characters", "n": "int 7"}),
        ("exec('x = 1\\ndf[x]')", {"df": OF_FRAME, "x": "int 1"}),
        (
            "import collections\nPair = collections.namedtuple('Pair', 'a')\nPair(n, zero)",
            {"n": "int 7", "zero": "int 0"},
        ),
        (
            "df.apply(lambda row: row['Month'], axis=1)",
            {"df": OF_FRAME, "row": OF_ROW},
        ),
        ("by_month.loc['Mar']", {"by_month": OF_INDEXED}),
        ("by_both.loc['Mar']", {"by_both": OF_LEVELS}),
        ("numbered['Mar']", {"numbered": "pandas Series of shape (2,), int64; index (int64)"}),
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
        "by_month": FRAME.set_index("month"),
        "by_both": FRAME.set_index(["month", "sales"]),
        "numbered": pandas.Series([1, 2], index=[3, 5]),
    }
    assert failing(source, **names) == [f"{name}: {text}" for name, text in found.items()]


@pytest.mark.parametrize("line", ["point.far", "point[0]", "point.no", "point.data[0] == point"])
def test_no_code_of_the_user_runs(line):
    point = Point()
    found = failing(f"[1 / 0, {line}]", point=point)
    assert found[0] == "point: Point with attributes: 'x', 'data'"


class Lazy:
    """An object that stands for another one, as proxies of web frameworks do."""

    @property
    def __class__(self):
        raise AssertionError("__class__ was read")

    @property
    def __dict__(self):
        raise AssertionError("__dict__ was read")


def test_a_lazy_object_is_not_resolved():
    assert failing("lazy.x, 1 / 0", lazy=Lazy()) == ["lazy: Lazy"]


def test_a_dataset_has_its_variables():
    xarray = pytest.importorskip("xarray")
    data = xarray.Dataset({"rain": ("x", [1.0])})
    assert failing("data['snow']", data=data) == ["data: xarray Dataset of 1 variable: 'rain'"]


@pytest.mark.parametrize("field", ["co_linetable", "co_exceptiontable"])
def test_code_without_lines_fails_nothing(field):
    code = compile("x = 1\nn / 0", "made by hand", "exec").replace(**{field: b""})
    with pytest.raises(ZeroDivisionError) as raised:
        exec(code, {"n": 1})
    assert shapes(raised.value) in ([], ["n: int 1"])


def test_a_very_deep_expression_fails_nothing():
    assert failing(f"df{'.copy()' * 150}['x'][n]", df=FRAME, n=7) == [f"df: {OF_FRAME}", "n: int 7"]
    assert failing(f"x = {'-' * 60}n{'.real' * 400}.x", n=7) in ([], ["n: int 7"])


def test_it_is_short_and_names_are_whole():
    wide = pandas.DataFrame({f"column {n} {'x' * n}": [n] for n in range(300)})
    keys = {f"{n}{'k' * 200}": n for n in range(99)}
    found = failing("wide[keys[1]]", wide=wide, keys=keys)
    assert sum(map(len, found)) <= 2_000
    assert "kkk" not in "".join(found)


def test_an_error_without_a_line_has_none():
    assert shapes(ValueError("x")) == []
    assert failing("exec('def (')") == []


def test_of_a_group_it_is_the_line_of_the_first_error():
    source = (
        "async def read(row):\n    return row['b']\n"
        "async def both(group):\n    async with group:\n"
        "        group.create_task(read({'a': 1}))\n        group.create_task(read({}))\n"
        "asyncio.run(both(asyncio.TaskGroup()))"
    )
    assert failing(source, asyncio=asyncio) == ["row: dict of 1: 'a'"]
    assert failing("x = [1]\nraise ExceptionGroup('g', [ValueError(x)])")[0].startswith("x: list")
