"""Notebooks as documents: their Markdown cells and, on request, words in their code."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mixmagic.tasks import notebooks
from mixmagic.tasks.translation.code import assemble_code, code_segments
from mixmagic.tasks.translation.documents import Piece, Reading, Translated
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.languages import Language
from mixmagic.tasks.translation.segments import Segment, markdown_segments

if TYPE_CHECKING:
    from nbformat import NotebookNode

# The cell tag by which JupyterLab, and people, find a cell whose translation has a fault.
TAG = "translation-fault"
_REFUSED = Fault("refused", "The translation would have changed the code.")


class CodePiece(Piece):
    """The code of a cell: a translation may not change what it does."""

    __slots__ = ()

    def translated(self, found: Sequence[Translated]) -> str:
        source, _ = assemble_code(self.source, self.segments, [each.text for each in found])
        return source

    def checked(self, found: Sequence[Translated]) -> Sequence[Translated]:
        _, refused = assemble_code(self.source, self.segments, [each.text for each in found])
        return [
            Translated(segment.text, (_REFUSED,), "failed") if index in refused else each
            for index, (segment, each) in enumerate(zip(self.segments, found, strict=True))
        ]


class NotebookDocument:
    """A notebook. Ids, metadata, attachments and outputs stay as they are.

    A cell with a fault is marked: by a tag, and by a quote with the fault below its text.

    Args:
        path: The notebook.
        reading: The parts of it to translate.

    Raises:
        BadArguments: It cannot be read.
        MissingPackage: nbformat is not installed.

    Example:
        >>> NotebookDocument(Path("lesson.ipynb"), Reading()).pieces[0].segments[0].text
        'Load the data'
    """

    mixed = False

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path, self.name, self._reading = path, path.name, reading
        self.notebook = notebooks.read(path)
        self._cells: list[int] = []
        self.pieces: list[Piece] = []
        for index, segments in self._segments():
            if segments:
                cell = self.notebook.cells[index]
                source = str(cell.source)
                self._cells.append(index)
                kind = CodePiece if cell.cell_type == "code" else Piece
                self.pieces.append(kind(source, segments, f"cell {index + 1}"))

    def _segments(self) -> Iterator[tuple[int, list[Segment]]]:
        reading = self._reading
        for index, cell in enumerate(self.notebook.cells):
            if cell.cell_type == "markdown":
                yield index, markdown_segments(cell.source)
            elif cell.cell_type == "code" and (reading.comments or reading.strings):
                yield (
                    index,
                    code_segments(cell.source, comments=reading.comments, strings=reading.strings),
                )

    def result(self, found: Sequence[Sequence[Translated]], to: Language) -> bytes:
        return notebooks.text_of(self.translated(found)).encode()

    def translated(self, found: Sequence[Sequence[Translated]]) -> NotebookNode:
        """Return the notebook in the other language."""
        notebook = copy.deepcopy(self.notebook)
        for index, piece, translations in zip(self._cells, self.pieces, found, strict=True):
            cell = notebook.cells[index]
            cell.source = piece.translated(translations)
            if messages := _messages(translations):
                tags = cell.metadata.setdefault("tags", [])
                cell.metadata["tags"] = [*dict.fromkeys([*tags, TAG])]
                if cell.cell_type == "markdown":
                    quoted = "\n".join(f"> ⚠ {message}" for message in messages)
                    cell.source = f"{cell.source.rstrip()}\n\n{quoted}"
        if self._reading.outputs == "drop":
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
        return notebook


def _messages(translations: Sequence[Translated]) -> list[str]:
    found = (fault.message for each in translations for fault in each.faults)
    return list(dict.fromkeys(found))
