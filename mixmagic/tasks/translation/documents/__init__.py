"""Documents of any kind as pieces of text to translate, and their translations in the same kind.

May import the rest of `translation`, `tasks.tables` and the packages below. To add a kind: one
class with the methods of `Document`, and a branch in `document`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from mixmagic.errors import BadArguments
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.languages import Language
from mixmagic.tasks.translation.segments import Segment, assemble

Origin = Literal["model", "memory", "person", "source", "failed", "unasked"]
Outputs = Literal["keep", "drop"]
KINDS = (".md", ".txt", ".ipynb", ".po", ".csv")


@dataclass(frozen=True, slots=True)
class Translated:
    """The translation of one segment.

    Attributes:
        text: The translation; the source itself if there is none.
        faults: The faults that two answers have not got rid of, or the reason why there is none.
        origin: `model`; `memory`, an earlier one of the model; `person`, a translation by a
            person; `source` if there was nothing to translate; `failed`, or `unasked` as yet.
    """

    text: str
    faults: tuple[Fault, ...] = ()
    origin: Origin = "model"


@dataclass(frozen=True, slots=True)
class Piece:
    """A text with segments to translate: a cell of a notebook, a row of a column, a whole file.

    Attributes:
        source: The text.
        segments: The parts of it to translate.
        place: Its place, for people, such as `cell 7`; empty for a whole text.
    """

    source: str
    segments: Sequence[Segment]
    place: str = ""

    def translated(self, found: Sequence[Translated]) -> str:
        """Return the text with the translations of its segments."""
        return assemble(self.source, self.segments, [each.text for each in found])

    def checked(self, found: Sequence[Translated]) -> Sequence[Translated]:
        """Return the translations; one that cannot take its segment's place is a failed one."""
        return found


class Document(Protocol):
    """A document of any kind.

    Attributes:
        pieces: Its texts, in order.
        name: Its name, for people and for `%mixmagic jobs`.
        path: Its file; `None` for a value.
        mixed: True if its pieces may be in several languages, as the rows of a column may be.
    """

    @property
    def pieces(self) -> Sequence[Piece]: ...

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path | None: ...

    @property
    def mixed(self) -> bool: ...

    def result(self, found: Sequence[Sequence[Translated]], to: Language) -> Any:
        """Return the translation in the kind of the document; of a file, its new contents.

        Args:
            found: The translations of the segments of each piece.
            to: Their language.
        """


@dataclass(frozen=True, slots=True)
class Reading:
    """The parts of a document that are translated.

    Attributes:
        columns: The columns of a table.
        comments: True for the comments and docstrings of code, too.
        strings: True for the strings of code that people read, too.
        outputs: `keep` or `drop` the outputs of a notebook's code cells.
        markdown: False if a text is not Markdown.

    Raises:
        BadArguments: An option is not valid.
    """

    columns: Sequence[str] = ()
    comments: bool = False
    strings: bool = False
    outputs: Outputs = "keep"
    markdown: bool = True

    def __post_init__(self) -> None:
        if self.outputs not in get_args(Outputs):
            raise BadArguments(f"outputs cannot be {self.outputs!r:.40}.", "It is keep or drop.")


def document(source: Any, reading: Reading, to: Language) -> Document:
    """Return a value or a file as a document.

    Args:
        source: A text; the path of a file, as a `Path` or as a text that names one; a Series or
            DataFrame of pandas or polars; or a list of texts.
        reading: The parts of it to translate.
        to: The language of the translation.

    Raises:
        BadArguments: It cannot be read, or is nothing that can be translated.

    Example:
        >>> document(Path("lesson.ipynb"), Reading(), french).pieces[0].place
        'cell 1'
    """
    from mixmagic.tasks.translation.documents.columns import ColumnsDocument, ListDocument
    from mixmagic.tasks.translation.documents.text import TextDocument

    if isinstance(source, os.PathLike) or (isinstance(source, str) and _names_file(source)):
        return _file(Path(source).expanduser(), reading, to)
    if isinstance(source, str):
        return TextDocument(source, markdown=reading.markdown)
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    for library in (pandas, polars):
        if library is not None and isinstance(source, library.Series | library.DataFrame):
            return ColumnsDocument(source, reading.columns)
    if isinstance(source, Iterable) and not isinstance(source, Mapping | bytes):
        return ListDocument(list(source))
    raise BadArguments(
        f"A {type(source).__name__} cannot be translated.",
        "Give a text, a list of texts, a Series, a DataFrame, or the path of a file.",
    )


def _names_file(text: str) -> bool:
    """Return True if a text is the name of a file that can be translated, and not prose."""
    return "\n" not in text and " " not in text.strip() and text.lower().endswith(KINDS)


def _file(path: Path, reading: Reading, to: Language) -> Document:
    from mixmagic.tasks.translation.documents.columns import CsvDocument
    from mixmagic.tasks.translation.documents.notebook import NotebookDocument
    from mixmagic.tasks.translation.documents.po import PoFile
    from mixmagic.tasks.translation.documents.text import TextFile

    kind = path.suffix.lower()
    if kind == ".ipynb":
        return NotebookDocument(path, reading)
    if kind == ".po":
        return PoFile(path, to)
    if kind == ".csv":
        return CsvDocument(path, reading.columns)
    if kind in (".md", ".txt"):
        return TextFile(path)
    raise BadArguments(
        f"{path.name} is not a kind of file that can be translated.",
        f"These are: {', '.join(f'*{each}' for each in KINDS)}.",
    )
