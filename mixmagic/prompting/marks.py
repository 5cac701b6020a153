"""Images in a text: each is represented by a mark until the text is complete."""

from __future__ import annotations

import os
import re

from mixmagic.core.values import Image, Part, Text

_MARK = re.compile(r"image[0-9a-f]{32}")


class Marks:
    """The images of one prompt, and the marks that stand for them.

    A text with marks can be inserted into another, redacted and cut like any other. A mark cannot
    be guessed, so that no value can contain one.

    Example:
        >>> marks = Marks()
        >>> marks.content(f"What is {marks.add(image)}?")
        (Text(text='What is '), Image(type='image/png'), Text(text='?'))
    """

    def __init__(self) -> None:
        self._images: dict[str, Image] = {}

    def add(self, image: Image) -> str:
        """Return a new mark that stands for an image."""
        mark = f"image{os.urandom(16).hex()}"
        self._images[mark] = image
        return mark

    def images(self, text: str) -> tuple[Image, ...]:
        """Return the images whose marks are in a text, in their order."""
        return tuple(self._images[m] for m in _MARK.findall(text) if m in self._images)

    def without(self, text: str) -> str:
        """Return a text with `[image 640×480]` in place of each mark."""
        return _MARK.sub(lambda mark: str(self._images.get(mark[0], mark[0])), text)

    def content(self, text: str) -> str | tuple[Part, ...]:
        """Return the content of a message: the text, or its parts if it has images.

        Parts of nothing but white space are left out: some providers refuse them.
        """
        if not self.images(text):
            return text
        parts: list[Part] = []
        start = 0
        for mark in _MARK.finditer(text):
            if (image := self._images.get(mark[0])) is not None:
                parts += [Text(text[start : mark.start()]), image]
                start = mark.end()
        parts.append(Text(text[start:]))
        return tuple(part for part in parts if isinstance(part, Image) or part.text.strip())
