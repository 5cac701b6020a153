"""Values of libraries that are too heavy for the tests' environment, as text for a model.

pip install scikit-learn sqlalchemy duckdb jupysql plotly kaleido altair vl-convert-python dask
python -m pytest -n 0 tests/benchmarks/libraries.py
"""

from __future__ import annotations

import io

import altair
import dask
import dask.array
import duckdb
import pandas as pd
import PIL.Image
import plotly.express
import pytest
import sqlalchemy
import xarray
from IPython.core.interactiveshell import InteractiveShell
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from mixmagic.errors import BadArguments
from mixmagic.prompting.present import excerpts
from mixmagic.prompting.present.media import images

X, Y = pd.DataFrame({"size": [1, 2, 3, 4], "tea": list("abab")}), [0, 1, 0, 1]


def shown(value, limit=100_000):
    """Return the text for a model; a character counts as a token."""
    return excerpts(value, "value").within(limit, len).text


@pytest.fixture
def pipeline():
    numbers = ("numbers", StandardScaler(), ["size"])
    names = ("names", OneHotEncoder(handle_unknown="ignore"), ["tea"])
    return Pipeline(
        [("columns", ColumnTransformer([numbers, names])), ("model", LogisticRegression(C=0.5))]
    )


def test_an_estimator_that_is_not_fitted():
    text = shown(LogisticRegression(C=0.5))
    assert text == "sklearn LogisticRegression, not fitted:\nLogisticRegression(C=0.5)"


def test_what_an_estimator_has_learned():
    text = shown(LogisticRegression().fit(X[["size"]], Y))
    assert text.startswith("sklearn LogisticRegression, fitted:\nLogisticRegression()\nLearned:")
    assert "- feature_names_in_: ['size']" in text
    assert "- classes_: [0, 1]" in text


def test_a_pipeline_with_its_steps(pipeline):
    assert shown(pipeline).startswith("sklearn Pipeline, not fitted:\nPipeline(steps=[")
    text = shown(pipeline.fit(X, Y))
    assert text.startswith("sklearn Pipeline, fitted:")
    parts = ("handle_unknown='ignore'", "C=0.5", "- classes_: [0, 1]", "['size', 'tea']")
    assert [part for part in parts if part not in text] == []
    for line in ("  columns (ColumnTransformer):", "    numbers (StandardScaler):",
                 "    - mean_: [2.5]", "  model (LogisticRegression):"):  # fmt: skip
        assert line in text.splitlines()
    assert "Learned" not in shown(pipeline, 400)


def test_a_pipeline_with_a_lambda_is_the_same_text_in_each_kernel():
    text = shown(Pipeline([("more", FunctionTransformer(lambda x: x + 1))]))
    assert "func=<function test_a_pipeline" in text.replace("\n", "")
    assert " at 0x" not in text


def test_an_estimator_with_its_own_repr():
    class Net(LogisticRegression):
        def __repr__(self):
            return "Net(of mine)"

    assert shown(Net()) == "sklearn Net, not fitted:\nNet(of mine)"


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plotly.express.line(x=[1, 2], y=[2, 1]),
        lambda: altair.Chart(X).mark_point().encode(x="size", y="tea"),
    ],
)
def test_figures_of_plotly_and_altair_are_images(figure):
    (found,) = images(figure(), "figure")
    assert PIL.Image.open(io.BytesIO(found.image.data)).size == found.image.size


def test_a_wrong_chart_says_what_is_wrong_with_it():
    with pytest.raises(BadArguments, match='data type for the field "no"') as caught:
        images(altair.Chart(X).mark_point().encode(x="no"), "chart")
    assert "pip install" not in caught.value.hint


def test_nothing_of_dask_is_computed():
    def fail():
        raise AssertionError

    task = dask.delayed(fail)()
    lazy = dask.array.from_delayed(task, (4, 5), float)
    assert "dask.array<" in shown(xarray.Dataset({"heat": (("x", "y"), lazy)}))
    assert shown(lazy).startswith("dask.array<")
    assert shown(task).startswith("Delayed('fail-")


def test_an_ensemble_and_a_search_are_short_and_have_no_addresses():
    forest = shown(RandomForestClassifier(50).fit(X[["size"]], Y))
    assert "estimators_, the first of 50 (DecisionTreeClassifier)" in forest
    search = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(X[["size"]], Y)
    assert "- best_params_: {'C': 1}" in shown(search)
    assert "0x" not in forest + shown(search)
    assert len(forest) + len(shown(search)) < 4_000


def test_rows_of_sqlalchemy_and_its_cursors():
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        query = sqlalchemy.text("SELECT 1 AS a, 'x' AS b UNION SELECT 2, NULL")
        rows = connection.execute(query)
        for cursor in (rows, rows.mappings()):
            with pytest.raises(BadArguments, match="use them up"):
                shown(cursor)
        text = shown(rows.fetchall())
    assert text.startswith("SQL rows: 2 rows, 2 columns\n- a: int, 0 missing\n- b: str, 1 missing")


def test_a_relation_of_duckdb_is_not_run():
    relation = duckdb.connect().sql("SELECT error('it ran') AS a, 1 AS b")
    with pytest.raises(BadArguments, match=r"relation of DuckDB \(a, b\)") as caught:
        shown(relation)
    assert "{{ value.limit(20).df() }}" in caught.value.hint


@pytest.mark.filterwarnings("ignore")  # of IPython, about the environment
def test_a_result_of_jupysql():
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "sql")
    shell.run_line_magic("sql", "sqlite://")
    result = shell.run_cell_magic("sql", "", "SELECT 1 AS a, 'x' AS b")
    for _ in range(2):
        assert shown(result).startswith("SQL result: 1 row, 2 columns\n- a: int")
