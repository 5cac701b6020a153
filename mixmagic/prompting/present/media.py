"""Values that are images: figures, photographs, arrays of pixels, outputs with a PNG, files.

Imports no library: a value of one can only exist if the library is loaded.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import os
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from mixmagic.core.image_size import image_type
from mixmagic.errors import BadArguments, one_line
from mixmagic.prompting.images import Encoded, encoded, pillow
from mixmagic.prompting.present.opaque import is_a, is_label

_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp")
# Those of images that are not read.
_OTHER_ENDINGS = (".avif", ".bmp", ".heic", ".svg", ".tif", ".tiff")
# Methods and MIME types of an output with an image, the best first.
_METHODS = ("_repr_png_", "_repr_jpeg_")
_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
# Pixels of the shorter side of an array that is an image: a smaller one is data.
_SMALLEST = 16
# The largest ratio of the sides of a gray image: a longer array is a table.
_LONGEST_RATIO = 20
# The longest name of a file, and the most images of a list.
_LONGEST_NAME, _MOST = 4_096, 20

# Returns the bytes of an image file, or an image of Pillow.
Load = Callable[[], Any]


def images(value: Any, name: str) -> list[Encoded] | None:
    """Return the images that a value is; `None` for other values.

    An image is: a figure of matplotlib, seaborn, plotly or altair; axes, or an array of axes, which
    mean their whole figure; an image of Pillow; the `Image` of IPython, unless it is a mere URL, or
    of ipywidgets; an array of pixels; any object that a notebook shows as a PNG or JPEG; the bytes
    of a PNG, JPEG, GIF or WebP file, a `data:` URL of one, and a text or `Path` that names one; a
    list of images. An array of pixels has at least 16 rows and 16 columns of `uint8`, with one, 3
    or 4 values a pixel, or of floats from 0 to 1 with 3 or 4; a gray one of zeros and ones alone,
    or longer than 20 times its width, is data.

    Args:
        value: Anything.
        name: Its expression, for error messages.

    Raises:
        BadArguments: The image cannot be read.
        MissingPackage: A package is missing that it takes.
        Exception: Anything that the value's own methods raise.
    """
    if is_a(value, "numpy", "ndarray") and value.dtype == object:
        value = value.ravel().tolist()  # of axes, as `plt.subplots` and `df.hist` return them
    if isinstance(value, list | tuple):
        if value and all(is_a(item, "matplotlib.axes", "Axes") for item in value):
            figures = {id(figure): figure for figure in map(_root, value)}
            value = list(figures.values())
        loads = [_load(item, name) for item in value[: _MOST + 1]]
        if not loads or None in loads:
            return None
        if len(loads) > _MOST:
            raise BadArguments(
                f"`{name}` has {len(value):,} images: a prompt takes at most {_MOST} at once.",
                "Insert a part of it, such as its first ten; or its `str()`, to send it as text.",
            )
    else:
        loads = [_load(value, name)]
    return None if None in loads else [encoded(load(), name) for load in loads if load]


def shown_by(method: Callable[..., Any], **options: Any) -> Any:
    """Return the data, without metadata, of a method by which a notebook shows a value.

    `None` if the method raises `NotImplementedError`, by which IPython means the same.
    """
    try:
        result = method(**options)
    except NotImplementedError:
        return None
    return result[0] if isinstance(result, tuple) and result else result


def from_data_url(url: str) -> bytes | None:
    """Return the image in a URL such as `data:image/png;base64,…`; `None` in all other texts."""
    head, _, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        return None
    try:
        image = base64.b64decode(data, validate=True)
    except ValueError:
        return None
    return image if image_type(image) else None


def from_bundle(bundle: object) -> bytes | None:
    """Return the image in a MIME bundle; `None` if there is none."""
    for type_ in _TYPES if isinstance(bundle, dict) else ():
        if data := _decoded(bundle.get(type_)):  # type: ignore[attr-defined]  # a dict
            return data
    return None


def _load(value: Any, name: str) -> Load | None:
    """Return how to read the image that a value is; `None` if it is none. Draws nothing."""
    if isinstance(value, bytes | bytearray | memoryview | io.BytesIO):
        data = value.getvalue() if isinstance(value, io.BytesIO) else bytes(value)
        return (lambda: data) if image_type(data) else None
    if issubclass(type(value), str) and (embedded := from_data_url(value)):
        return lambda: embedded
    if isinstance(value, str | PurePath):
        return _file(value)
    if is_a(value, "PIL.Image", "Image"):
        return lambda: value
    if is_a(value, "numpy", "ndarray"):
        return (lambda: _of_pixels(value)) if _is_pixels(value) else None
    if is_a(value, "IPython.core.display", "Image"):
        return lambda: _of_ipython(value, name)
    if is_a(value, "ipywidgets", "Image"):
        return lambda: bytes(value.value)
    return _figure(value, name) or _output(value)


def _figure(value: Any, name: str) -> Load | None:
    """Return how to draw a figure; `None` for other values."""
    if is_a(value, "matplotlib.figure", "FigureBase") or is_a(value, "matplotlib.axes", "Axes"):
        return lambda: _drawn(_root(value))
    module = type(value).__module__.partition(".")[0]
    figure = getattr(value, "figure", None) if module == "seaborn" else None
    if is_a(figure, "matplotlib.figure", "Figure"):
        return lambda: _drawn(figure)
    if is_a(value, "plotly.basedatatypes", "BaseFigure"):
        return lambda: _exported(lambda: value.to_image(format="png"), name, "plotly", "kaleido")
    if module == "altair" and hasattr(value, "to_dict") and hasattr(value, "save"):
        return lambda: _exported(lambda: _saved(value), name, "altair", "vl-convert-python")
    return None


def _root(figure: Any) -> Any:
    """Return the whole figure of axes or of a part of it."""
    parent = figure.figure
    return figure if parent is None or parent is figure else _root(parent)


def _drawn(figure: Any) -> bytes:
    """Return a matplotlib figure as a notebook shows it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi, bbox_inches="tight")
    return file.getvalue()


def _saved(chart: Any) -> bytes:
    file = io.BytesIO()
    chart.save(file, format="png")
    return file.getvalue()


def _exported(draw: Callable[[], bytes], name: str, library: str, package: str) -> bytes:
    """Return a figure that its library draws with the help of another package.

    Raises:
        BadArguments: The package is missing or lacks a browser, or the figure is wrong.
    """
    try:
        return draw()
    except Exception as error:  # noqa: BLE001  # the library may raise anything
        hint = "Save it as a PNG file to see why, or insert the data."
        if importlib.util.find_spec(package.replace("-python", "").replace("-", "_")) is None:
            hint = f"Run pip install {package}, with which {library} draws; or insert the data."
        raise BadArguments(
            f"`{name}` cannot be drawn as an image: {one_line(error, 200)}", hint
        ) from None


def _of_ipython(value: Any, name: str) -> bytes:
    """Return the bytes of IPython's `Image`."""
    if data := _decoded(value.data):
        return data
    link = value.url
    raise BadArguments(
        f"`{name}` is only a link to an image: mixmagic fetches nothing from the web."
        if link
        else f"`{name}` has no image.",
        f"Write `Image(url={link!r:.200}, embed=True)`: IPython then fetches it."
        if link
        else "Insert the file's path, or its bytes.",
    )


def _output(value: Any) -> Load | None:
    """Return how to read the image that a notebook shows for a value; `None` if it is none."""
    kind = type(value)
    methods = [name for name in _METHODS if callable(getattr(kind, name, None))]
    has_bundle = callable(getattr(kind, "_repr_mimebundle_", None))
    if not (methods or has_bundle) or not is_label(str(value)):
        return None
    for name in methods:
        if data := _decoded(shown_by(getattr(value, name))):
            return lambda: data
    data = None
    if has_bundle:
        data = from_bundle(shown_by(value._repr_mimebundle_, include=None, exclude=None))
    return (lambda: data) if data else None


def _decoded(data: object) -> bytes | None:
    """Return the bytes of an image, also in Base64; `None` for other data."""
    if isinstance(data, str):
        try:
            data = base64.b64decode(data)
        except ValueError:
            return None
    return data if isinstance(data, bytes) and image_type(data) else None


def names_image(value: object) -> bool:
    """Return True for a text or a `Path` that names an image file, there or not, or several."""
    if isinstance(value, list | tuple):
        return 0 < len(value) <= _MOST and all(map(_is_name, value))
    return _is_name(value)


def _is_name(value: object) -> bool:
    """Return True for a text or a `Path` that names one image file."""
    if not isinstance(value, str | PurePath):
        return False
    path = str(value)
    is_short = len(path) <= _LONGEST_NAME and "\n" not in path
    return is_short and path.lower().endswith(_ENDINGS + _OTHER_ENDINGS)


def _file(value: str | PurePath) -> Load | None:
    """Return how to read the image file that a value names; `None` if it names none."""
    path = os.path.expanduser(str(value))  # noqa: PTH111  # `Path.expanduser` can raise
    if not _is_name(value) or not path.lower().endswith(_ENDINGS):
        return None
    try:
        found = os.path.isfile(path)  # noqa: PTH113  # `Path.is_file` can raise
    except ValueError:
        return None
    return Path(path).read_bytes if found else None


def _is_pixels(array: Any) -> bool:
    """Return True if an array is an image; data with such numbers is smaller, or of other types."""
    shape, kind = array.shape, array.dtype.kind
    if len(shape) not in (2, 3) or min(shape[:2]) < _SMALLEST:
        return False
    colors = shape[2] if len(shape) == 3 else 1
    if array.dtype == "uint8" and colors == 1:  # unless it is a table, or of zeros and ones
        return max(shape) <= _LONGEST_RATIO * min(shape[:2]) and bool(array.max() > 1)
    if colors not in (3, 4):
        return False
    return array.dtype == "uint8" or (
        kind == "f" and bool((array >= 0).all() and (array <= 1).all())
    )


def _of_pixels(array: Any) -> Any:
    """Return an array of pixels as an image of Pillow."""
    if array.dtype != "uint8":
        array = (array * 255).round().astype("uint8")
    return pillow().fromarray(array[:, :, 0] if array.shape[2:] == (1,) else array)
