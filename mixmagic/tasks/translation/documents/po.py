"""Gettext files as documents: each entry without a translation is a piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mixmagic.tasks.translation.documents import Piece, Translated
from mixmagic.tasks.translation.languages import Language
from mixmagic.tasks.translation.po import PoDocument
from mixmagic.tasks.translation.segments import text_segments


class PoFile:
    """A gettext file: translations that are there stay, those with faults are marked as fuzzy.

    Args:
        path: The file.
        to: The language of the translation.

    Raises:
        BadArguments: It has plurals, and the number of their forms is not known.
        StoreError: It cannot be read.

    Example:
        >>> PoFile(Path("app.po"), parse_language("fr")).pieces[0].source
        'Open %s'
    """

    mixed = False

    def __init__(self, path: Path, to: Language) -> None:
        self.path, self.name = path, path.name
        self._file = PoDocument(path, to)
        self._units = self._file.units()
        self.pieces = [
            Piece(unit.source, text_segments(unit.source), f"entry {unit.index + 1}")
            for unit in self._units
        ]

    def result(self, found: Sequence[Sequence[Translated]], to: Language) -> bytes:
        for unit, piece, translations in zip(self._units, self.pieces, found, strict=True):
            if not any(each.origin == "failed" for each in translations):
                faults = [fault for each in translations for fault in each.faults]
                self._file.fill(unit, piece.translated(translations), faults)
        return self._file.text.encode()
