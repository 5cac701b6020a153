from __future__ import annotations

import base64
import io
from pathlib import Path

import PIL.Image
import pytest

from mixmagic.core.values import Image, Message, Text
from mixmagic.errors import BadArguments
from mixmagic.prompting.parts import with_parts

RED = PIL.Image.new("RGB", (30, 20), "red")


def png(image: PIL.Image.Image = RED) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


IMAGE = Image(png())
URL = f"data:image/png;base64,{base64.b64encode(IMAGE.data).decode()}"
WHAT = Text("What is this?")


@pytest.mark.parametrize(
    "prompt",
    [
        ["What is this?", RED],
        ("What is this?", IMAGE),
        [WHAT, IMAGE.data],
        [{"type": "text", "text": "What is this?"}, RED],
        ["What is this?", {"type": "image_url", "image_url": {"url": URL, "detail": "high"}}],
        ["What is this?", {"type": "image_url", "image_url": URL}],
        [{"role": "user", "content": ["What is this?", RED]}],
        [{"role": "user", "content": ({"type": "text", "text": "What is this?"}, IMAGE)}],
    ],
)
def test_texts_and_images_are_one_message(prompt):
    (message,) = with_parts(prompt)
    message = message if isinstance(message, Message) else Message(**message)
    assert message == Message("user", (WHAT, IMAGE))


def test_an_image_alone_is_a_message():
    assert with_parts(RED) == with_parts(IMAGE) == [Message("user", (IMAGE,))]


def test_texts_and_messages_stay_as_they_are():
    talk = [Message("system", "Be brief."), {"role": "user", "content": "Hi"}]
    assert with_parts(talk) == talk
    assert with_parts("Hi") == "Hi"
    own = [Message("user", (WHAT, Image(b"?", "image/x")))]
    assert with_parts(own) == own


def test_a_large_image_is_scaled_down():
    large = Image(png(PIL.Image.new("RGB", (3000, 20))))
    (message,) = with_parts([large])
    assert message.images[0].size == (1568, 10)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}},
        {"type": "image_url", "image_url": {"url": "data:text/plain;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "image_url", "image_url": None},
        {"type": "input_audio", "input_audio": {}},
        Path("missing.png"),
        Path("README.md"),
        3,
        None,
        object(),
    ],
)
def test_other_parts_are_refused_in_two_lines(part):
    with pytest.raises(BadArguments) as caught:
        with_parts(["Look:", part])
    assert caught.value.hint


@pytest.mark.parametrize("form", [lambda path: path, lambda path: ["Look:", path]])
def test_a_path_that_is_not_of_an_image_is_named(form):
    with pytest.raises(BadArguments) as caught:
        with_parts(form(Path("tea") / "missing.png"))
    assert caught.value.message == f"There is no image {str(Path('tea') / 'missing.png')!r}."
    assert "path.read_text()" in caught.value.hint
