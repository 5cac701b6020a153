"""Values whose text does not say what they hold are refused, with what to write instead."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import io
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile

import httpx
import IPython.display
import ipywidgets
import matplotlib.figure
import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pytest
import requests

from mixmagic.errors import BadArguments
from mixmagic.prompting.present import excerpts


def shown(value, limit=100_000):
    """Return the text for a model; a character counts as a token."""
    return excerpts(value, "value").within(limit, len)


def refused(value, name="x") -> BadArguments:
    with pytest.raises(BadArguments) as caught:
        excerpts(value, name)
    assert "\n" not in caught.value.message + caught.value.hint
    assert f"`{name}" in caught.value.message
    return caught.value


class Bare:
    pass


class Column:
    data = (1, 2)


def done() -> concurrent.futures.Future:
    future = concurrent.futures.Future()
    future.set_result("tea")
    return future


def response() -> requests.Response:
    made = requests.Response()
    made.status_code, made._content, made._content_consumed = 200, b"tea", True
    return made


def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(), "w")


async def later():
    yield 1


async def once():
    return 1


IMAGE = PIL.Image.new("RGB", (9, 9))
FIGURE = matplotlib.figure.Figure()


@pytest.mark.parametrize(
    ("value", "says", "how"),
    [
        (IPython.display.SVG("<svg></svg>"), "a drawing (IPython SVG)", "{{ x.data }}"),
        (IPython.display.Audio(data=b"RIFF", rate=1), "sound (IPython Audio)", "transcript"),
        (IPython.display.Video(url="a.mp4"), "a video (IPython Video)", "transcript"),
        (IPython.display.YouTubeVideo("a1"), "a video (IPython YouTubeVideo)", "transcript"),
        (FIGURE.subplots().plot([1, 2])[0], "a part of a figure", "{{ x.figure }}"),
        (FIGURE.subplots().plot([1, 2]), "a part of a figure", "{{ x[...].figure }}"),
        (ipywidgets.Video(value=b"1"), "a video (ipywidgets Video)", "transcript"),
        ({"before": "x", "after": IMAGE}, "an image inside", "{{ x[...] }}"),
        (["left", FIGURE], "an image inside", "{{ x[...] }}"),
        (b"\x00\x01\x02", "3 bytes", "{{ x.hex() }}"),
        (bytearray(b"%PDF-1.7\n%\xe2\xe3"), "12 bytes", "{{ x.hex() }}"),
        (b"OggS\x00\x02", "6 bytes", "{{ x.hex() }}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_is_neither_text_nor_an_image_is_refused(value, says, how):
    problem = refused(value)
    assert says in problem.message
    assert how in problem.hint


@pytest.mark.parametrize("data", [b"tea", "Grüße\n".encode(), bytearray(b"a\tb"), b""])
def test_bytes_that_are_text_are_shown(data):
    assert shown(data).text == repr(data)


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (response, "{{ x.text }}"),
        (lambda: httpx.Response(200, text="tea"), "{{ x.text }}"),
        (done, "{{ x.result() }}"),
        (archive, "{{ x.namelist() }}"),
        (lambda: subprocess.Popen([sys.executable, "-c", ""]), "{{ x.communicate()[0] }}"),
        (lambda: ET.fromstring("<p>tea</p>"), "{{ ''.join(x.itertext()) }}"),
        (lambda: iter([1]), "{{ list(x) }}"),
        (lambda: zip([1], [2], strict=True), "{{ list(x) }}"),
        (later, "async for item in x"),
        (Column, "{{ x.data }}"),
        (Bare, "`_repr_prompt_()`"),
        (object, "`_repr_prompt_()`"),
        (lambda: memoryview(b"x"), "_repr_prompt_"),
        (lambda: [Bare(), Bare()], "_repr_prompt_"),
        (lambda: {"a": (each for each in "ab")}, "{{ list(x[...]) }}"),
        (lambda: [response(), response()], "{{ x[...].text }}"),
        (lambda: np.array([Bare()], dtype=object), "_repr_prompt_"),
        (lambda: pl.LazyFrame({"a": [1]}), "{{ x.collect() }}"),
        (lambda: pl.DataFrame({"a": [1]}).group_by("a"), "_repr_prompt_"),
        (lambda: pd.DataFrame({"a": [1]}).groupby("a"), "a method"),
    ],
)
def test_a_meaningless_value_is_refused_with_an_alternative(make, how):
    value = make()
    with value if hasattr(value, "__exit__") else contextlib.nullcontext():
        assert how in refused(value).hint


def test_a_coroutine_is_to_be_awaited_on_a_line_before():
    coroutine = once()
    with contextlib.closing(coroutine):
        assert "`value = await x`" in refused(coroutine).hint

    async def scheduled():
        task = asyncio.create_task(once())
        hint = refused(task).hint
        await task
        return hint

    assert "`value = await x`" in asyncio.run(scheduled())


def test_a_compound_expression_is_put_into_parentheses():
    assert "`{{ (a or b).text }}`" in refused(response(), "a or b").hint


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (IPython.display.Markdown("# Tea"), "# Tea"),
        (IPython.display.HTML("<p>Tea</p>"), "Tea"),
        (IPython.display.JSON({"tea": 1}), "{'tea': 1}"),
        (IPython.display.Latex("$x$"), "$x$"),
        (IPython.display.Math("x^2"), "x^2"),
    ],
)
def test_a_display_object_is_its_data(value, text):
    assert shown(value).text == text


def test_addresses_in_memory_are_left_out_of_a_value_s_text():
    assert shown(functools.partial(shown, 1)).text == "functools.partial(<function shown>, 1)"
    assert shown({"a": 1, "f": shown}).text == "{'a': 1, 'f': <function shown>}"
    assert shown("<function shown at 0x7f37a06965c0>").text == "<function shown at 0x7f37a06965c0>"


@pytest.mark.parametrize(
    "text", ["<p>Tea</p>", "<br/>", "<a> and <b>", "2 < 3", "<Person Ann, 7>", "<Cup n=3 at 0x1f>"]
)
def test_a_users_own_repr_is_sent(text):
    made = type("Own", (), {"__repr__": lambda self: text})()
    assert shown(made).text == text


def test_one_meaningless_value_among_others_is_sent():
    assert shown({"name": "Ann", "model": Bare()}).text.startswith("{'name': 'Ann', 'model': <")
    assert shown([]).text == "[]"
    assert shown([[], {}]).text == "[[], {}]"


@pytest.mark.parametrize("value", [IMAGE, FIGURE, Bare(), object(), (each for each in "ab")])
def test_a_value_without_a_text_is_its_type_in_a_table(value):
    text, _ = shown(pd.DataFrame({"a": [value, 1], "name": ["tea", "milk"]}))
    assert f"| [{type(value).__name__}] | tea |" in text
    assert "0x" not in text
