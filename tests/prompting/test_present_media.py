"""Values that are images, and values that look like one and are data."""

from __future__ import annotations

import base64
import glob
import importlib
import io
import sys
import types
from pathlib import Path

import IPython.display
import ipywidgets
import matplotlib.figure
import numpy as np
import PIL.Image
import pytest
from IPython.utils.capture import RichOutput

from mixmagic.errors import BadArguments
from mixmagic.prompting.present.media import images

RED = PIL.Image.new("RGB", (30, 20), "red")


def png() -> bytes:
    written = io.BytesIO()
    RED.save(written, "PNG")
    return written.getvalue()


PNG = png()
BASE64 = base64.b64encode(PNG).decode()


def figure(columns: int = 1) -> matplotlib.figure.Figure:
    made = matplotlib.figure.Figure()
    for axes in np.ravel(made.subplots(1, columns)):
        axes.plot([1, 2, 4])
    return made


class Drawn:
    def _repr_png_(self):
        return PNG


class Wrapped:
    def _repr_png_(self):
        return BASE64, {"width": 30}


class Bundled:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": "<img>", "image/png": BASE64}, {}


class Written(Drawn):
    def __repr__(self):
        return "x**2 + 1"


class Disabled:
    _repr_png_ = None


class Page:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/html": "<p>", "image/png": None}


def only(value):
    found = images(value, "x")
    assert found is not None
    assert len(found) == 1
    return found[0].image


@pytest.mark.parametrize(
    "value",
    [
        RED,
        np.asarray(RED),
        np.asarray(RED) / 255.0,
        (np.asarray(RED) / 255).astype("float32"),
        np.dstack([np.asarray(RED), np.full((20, 30), 255, "uint8")]),
        IPython.display.Image(PNG),
        IPython.display.Image(BASE64, format="png"),
        ipywidgets.Image(value=PNG, format="png"),
        PNG,
        f"data:image/png;base64,{BASE64}",
        bytearray(PNG),
        memoryview(PNG),
        io.BytesIO(PNG),
        Drawn(),
        Wrapped(),
        Bundled(),
        RichOutput({"image/png": BASE64}, {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_an_image(value):
    image = PIL.Image.open(io.BytesIO(only(value).data))
    assert image.size == (30, 20)
    assert image.convert("RGB").getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("shape", [(16, 16), (28, 28), (100, 40), (60, 30, 1)])
def test_gray_pixels_are_an_image(shape):
    pixels = np.random.default_rng(2).integers(0, 256, shape, dtype="uint8")
    image = PIL.Image.open(io.BytesIO(only(pixels).data))
    assert np.array_equal(np.asarray(image), pixels.reshape(shape[:2]))


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((8, 8), "uint8"),
        np.zeros((15, 200, 3), "uint8"),
        np.eye(50, dtype="uint8"),
        np.full((1000, 20), 7, "uint8"),
        np.full((30, 30), 0.5),
        np.full((30, 30, 3), 1.5),
        np.full((30, 30, 3), np.nan),
        np.full((30, 30, 2), 0.5),
        np.zeros((30, 30, 3), "int64"),
        np.zeros((30, 30, 3), "bool"),
        np.zeros((2, 30, 30, 3), "uint8"),
        np.zeros((0, 0), "uint8"),
        np.zeros(3, "uint8"),
        np.array(7, "uint8"),
        np.array([["a"]]),
        Written(),
        Disabled(),
        Page(),
        "missing.png",
        "https://example.org/plot.png",
        f"data:image/png;base64,{BASE64} is red",
        "data:image/png;base64,aGk=",
        "a line\nplot.png",
        "\0.png",
        Path("missing.png"),
        b"tea",
        [],
        [1, 2],
        [RED, 1],
        ["plot.png"],
        (),
        None,
        {"a": RED},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_data(value):
    assert images(value, "x") is None


def test_a_figure_is_drawn_as_the_notebook_shows_it_and_always_in_the_same_bytes():
    one, again = only(figure()), only(figure())
    assert one == again
    assert 300 < one.size[0] < 700
    assert b"matplotlib" not in one.data
    assert only(figure(2)) != one


def test_axes_and_parts_of_a_figure_mean_the_whole_figure():
    whole = figure(2)
    assert only(whole.axes[0]) == only(whole.axes[1]) == only(whole)
    parts = matplotlib.figure.Figure().subfigures(1, 2)
    parts[0].subplots().plot([1, 2])
    assert only(parts[0]) == only(parts[1].figure)
    assert only(parts[0].axes[0]) == only(parts[0])


def test_an_array_of_axes_is_their_figure_once():
    whole = matplotlib.figure.Figure()
    axes = whole.subplots(2, 2)
    assert only(axes) == only(whole)
    assert only(axes.tolist()[0]) == only(whole)
    assert [each.image for each in images([figure().axes[0], *axes[0]], "x")] == [
        only(figure()),
        only(whole),
    ]


def test_a_file_is_an_image_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.PNG", "c d.jpeg"):
        RED.save(name)
        assert only(name).size == only(Path(name)).size == only(str(Path(name).resolve())).size
    Path("notes.md").write_text("tea")
    assert images("notes.md", "x") is None
    Path("folder.png").mkdir()
    assert images("folder.png", "x") is None
    Path("broken.png").write_text("tea")
    with pytest.raises(BadArguments, match="cannot be read"):
        images("broken.png", "x")


def test_a_list_of_names_is_images_if_all_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RED.save("a.png")
    RED.save("b.jpg")
    names = sorted(glob.glob("?.*"))  # noqa: PTH207  # as in a notebook
    assert [each.image.size for each in images(names, "x")] == [(30, 20)] * 2
    assert len(images(["a.png", Path("b.jpg"), RED], "x")) == 3
    assert images([*names, "c.png"], "x") is None
    assert images([*names, "tea"], "x") is None


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    RED.save(tmp_path / "a.png")
    assert only("~/a.png").size == only(Path("~/a.png")).size == (30, 20)
    assert images("~nobody-of-this-name/a.png", "x") is None


def test_a_list_of_images_keeps_its_order_and_is_bounded():
    assert [each.image.size for each in images([RED, figure(), PNG], "x")][::2] == [(30, 20)] * 2
    assert len(images((RED,) * 20, "x")) == 20
    with pytest.raises(BadArguments, match="21 images"):
        images([RED] * 21, "x")


def test_a_mere_link_is_refused_with_how_to_fetch_it():
    with pytest.raises(BadArguments) as caught:
        images(IPython.display.Image(url="https://example.org/a.png"), "x")
    assert "fetches nothing" in caught.value.message
    assert "embed=True" in caught.value.hint


class BaseFigure:
    """A figure as plotly has it; it draws by another package, which may be missing."""

    def to_image(self, **options):
        __import__("kaleido")
        raise ValueError("no browser")


def test_a_figure_whose_library_cannot_draw_is_refused_with_what_to_do(monkeypatch, tmp_path):
    plotly = types.ModuleType("plotly.basedatatypes")
    plotly.BaseFigure = BaseFigure
    monkeypatch.setitem(sys.modules, "plotly.basedatatypes", plotly)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(BadArguments, match="kaleido") as caught:
        images(BaseFigure(), "x")
    assert "Run pip install kaleido" in caught.value.hint
    monkeypatch.delitem(sys.modules, "kaleido")
    (tmp_path / "kaleido.py").touch()
    importlib.invalidate_caches()
    with pytest.raises(BadArguments, match="no browser") as caught:
        images(BaseFigure(), "x")
    assert "pip install" not in caught.value.hint
