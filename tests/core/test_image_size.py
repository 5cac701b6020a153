from __future__ import annotations

import io

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.core.image_size import image_size, image_type
from mixmagic.core.values import Image, Message, Text


def file(form: str, size: tuple[int, int] = (31, 7), mode: str = "RGB", **options) -> bytes:
    written = io.BytesIO()
    PIL.Image.new(mode, size).save(written, form, **options)
    return written.getvalue()


FILES = {
    "png": file("PNG"),
    "gif": file("GIF"),
    "jpeg": file("JPEG"),
    "progressive": file("JPEG", progressive=True, comment=b"x" * 300),
    "webp": file("WEBP"),
    "lossless": file("WEBP", lossless=True),
    "alpha": file("WEBP", mode="RGBA", exif=PIL.Image.Exif()),
}


@pytest.mark.parametrize("name", FILES)
def test_the_header_tells_the_size(name):
    assert image_size(FILES[name]) == (31, 7)
    kind = {"progressive": "jpeg", "lossless": "webp", "alpha": "webp"}.get(name, name)
    assert image_type(FILES[name]) == f"image/{kind}"


@given(st.sampled_from(sorted(FILES)), st.integers(0, 60), st.binary(max_size=20))
def test_a_damaged_file_has_a_size_or_none(name, cut, tail):
    size = image_size(FILES[name][:cut] + tail)
    assert size is None or all(type(side) is int for side in size)


def test_other_bytes_have_no_size():
    assert image_size(b"%PDF-1.7") is None
    assert image_type(b"RIFF\0\0\0\0WAVE") == ""


def test_an_image_in_words():
    content = (Text("What is "), Image(FILES["png"]), Text(" and "), Image(b"?"))
    assert Message("user", content).described == "What is [image 31×7] and [image]"
