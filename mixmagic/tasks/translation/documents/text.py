"""Texts and text files as documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mixmagic.core import files
from mixmagic.errors import BadArguments, one_line
from mixmagic.tasks.translation.documents import Piece, Translated
from mixmagic.tasks.translation.languages import Language
from mixmagic.tasks.translation.segments import markdown_segments, text_segments

_NAME = 40  # characters of the name of a text


class TextDocument:
    """A text.

    Args:
        text: The text.
        markdown: True if it is Markdown.

    Example:
        >>> TextDocument("# Load the data", markdown=True).pieces[0].segments[0].text
        'Load the data'
    """

    mixed, path = False, None

    def __init__(self, text: str, *, markdown: bool) -> None:
        segments = markdown_segments(text) if markdown else text_segments(text)
        self.pieces, self.name = [Piece(text, segments)], one_line(text, _NAME)

    def result(self, found: Sequence[Sequence[Translated]], to: Language) -> str:
        (piece,), (translations,) = self.pieces, found
        return piece.translated(translations)


class TextFile:
    """A file of text, or of Markdown: its line ends stay as they are.

    Args:
        path: The file, `*.md` or `*.txt`.

    Raises:
        BadArguments: It cannot be read.
    """

    mixed = False

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        source = read(path)
        is_markdown = path.suffix.lower() == ".md"
        segments = markdown_segments(source) if is_markdown else text_segments(source)
        self.pieces = [Piece(source, segments)]

    def result(self, found: Sequence[Sequence[Translated]], to: Language) -> bytes:
        (piece,), (translations,) = self.pieces, found
        return piece.translated(translations).encode()


def read(path: Path) -> str:
    """Return the text of a file, with its own line ends.

    Raises:
        BadArguments: It cannot be read, or is not in UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise BadArguments(
            f"{path} cannot be read: {files.reason(error)}.", "Name a file of text in UTF-8."
        ) from None
