"""Prompts of Python code: texts, images and conversations in OpenAI's form, as messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from mixmagic.core.params import Prompt
from mixmagic.core.values import Image, Message, Part, Text
from mixmagic.errors import BadArguments
from mixmagic.prompting.images import LONGEST_SIDE, MOST_BYTES, encoded
from mixmagic.prompting.present.media import from_data_url, images

_FORMS = (
    'Write a text, an image such as a figure, {"type": "text", "text": "…"} or'
    ' {"type": "image_url", "image_url": {"url": "data:image/png;base64,…"}}.'
)


def with_parts(prompt: Prompt) -> Any:
    """Return a prompt with each image as a part: a text, or messages with texts or parts.

    Args:
        prompt: A text; an image; a list of texts and images, which are one message; or a
            conversation of `Message`s and dicts, whose content may be a list of texts, images and
            parts in OpenAI's form.

    Raises:
        BadArguments: A part is neither text nor an image, or an image cannot be read.
        MissingPackage: Pillow is not installed.

    Example:
        >>> with_parts(["What is this?", fig])
        [Message(role='user', content=(Text(text='What is this?'), Image(type='image/png')))]
    """
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list | tuple):
        return prompt if (part := _image(prompt)) is None else [Message("user", (part,))]
    if not any(isinstance(item, Message) or _has_role(item) for item in prompt):
        return [Message("user", _parts(prompt))] if prompt else prompt
    return [_message(item) for item in prompt]


def _message(item: Any) -> Any:
    """Return a message of a conversation; other values stay, for `params.conversation`."""
    if isinstance(item, Message):
        return item
    if not _has_role(item) or not isinstance(content := item.get("content"), list | tuple):
        return item
    return {**item, "content": _parts(content)}


def _parts(items: Any) -> tuple[Part, ...]:
    return tuple(map(_part, items))


def _part(item: Any) -> Part:
    """Return a text or an image as a part."""
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, Text):
        return item
    if isinstance(item, Mapping) and isinstance(item.get("text"), str):
        return Text(item["text"])
    if isinstance(item, Mapping) and "image_url" in item:
        return _of_url(item["image_url"])
    part = _image(item)
    if part is None:
        raise BadArguments(f"A part of a prompt cannot be {item!r:.60}.", _FORMS)
    return part


def _of_url(value: Any) -> Image:
    """Return the image in a `data:` URL."""
    url, detail = value, None
    if isinstance(value, Mapping):
        url, detail = value.get("url"), value.get("detail")
    if detail not in (None, "auto", "high"):  # what providers use without it
        raise BadArguments(
            f"The detail of an image cannot be {detail!r:.40}: mixmagic sends images as they are.",
            "Leave it out; to spend fewer tokens, scale the image down.",
        )
    if isinstance(url, str) and (data := from_data_url(url)):
        return encoded(data, "image_url").image
    raise BadArguments(
        f"An image cannot be {url!r:.60}.",
        "mixmagic fetches nothing from the web: give the image itself, its bytes, its path as a"
        " pathlib.Path, or a URL that begins with data:image/png;base64,",
    )


def _image(value: Any) -> Image | None:
    """Return a value as an image; `None` if it is none. A small `Image` is sent as it is.

    Raises:
        BadArguments: It is a path, and not of an image.
    """
    if isinstance(value, Image):
        fits = max(value.size or (LONGEST_SIDE + 1,)) <= LONGEST_SIDE
        if fits and len(value.data) <= MOST_BYTES:
            return value
        return encoded(value.data, "image").image
    found = None if isinstance(value, list | tuple) else images(value, type(value).__name__)
    if found is None and isinstance(value, PurePath):
        raise BadArguments(
            f"There is no image {str(value)!r:.80}.",
            "It takes the path of a PNG, JPEG, GIF or WebP file; of another file, give its text,"
            " such as path.read_text().",
        )
    return found[0].image if found else None


def _has_role(item: object) -> bool:
    return isinstance(item, Mapping) and "role" in item
