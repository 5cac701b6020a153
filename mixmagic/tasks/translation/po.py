"""Gettext files as documents: their entries without a translation are what is to be translated."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixmagic.errors import BadArguments
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.gettext_files import OURS, read_po
from mixmagic.tasks.translation.languages import Language

_FUZZY = "fuzzy"
_TWO = "nplurals=2; plural=(n != 1);"
_PLURALS = {
    **dict.fromkeys(("en", "de", "es", "it", "nl", "sv", "da", "nb", "nn", "no", "fi", "el"), _TWO),
    **dict.fromkeys(("pt", "et", "hu", "bg", "ca", "gl", "eu", "he", "tr"), _TWO),
    **dict.fromkeys(("ja", "zh", "ko", "vi", "th", "id", "ms"), "nplurals=1; plural=0;"),
    "fr": "nplurals=2; plural=(n > 1);",
    "pt-BR": "nplurals=2; plural=(n > 1);",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A text of a gettext file that is to be translated.

    Attributes:
        source: The text: the plural for all forms but the first.
        form: The number of a plural form; `None` for an entry without plurals.
        context: The context of the entry, and the comments for translators: a hint for models.
        index: The entry's place in the file.
    """

    source: str
    form: int | None
    context: str
    index: int


class PoDocument:
    """A gettext file that is to be translated.

    Args:
        path: The file: a template, or a translation that is not complete.
        to: The language of the translation.

    Raises:
        BadArguments: The file has plurals, and not the number of their forms.
        StoreError: The file cannot be read.

    Example:
        >>> document = PoDocument(Path("app.po"), parse_language("fr"))
        >>> for unit in document.units():
        ...     document.fill(unit, translated(unit.source))
        >>> files.write(Path("app.fr.po"), document.text)
    """

    def __init__(self, path: Path, to: Language) -> None:
        self._file = read_po(path)
        self._file.metadata["Language"] = to.code.replace("-", "_")
        self._file.metadata_is_fuzzy = False
        self._forms = self._number_of_forms(path, to)

    def units(self) -> list[Unit]:
        """Return the texts that have no translation, or one that is marked as fuzzy.

        Example:
            >>> document.units()[0].source
            'Open %s'
        """
        found = []
        for index, entry in enumerate(self._file):
            if entry.obsolete or not entry.msgid.strip():
                continue
            context = "\n".join(filter(None, (entry.msgctxt, entry.comment)))
            if entry.msgid_plural:
                for form in range(self._forms):
                    # A language with one form has only that of many.
                    one = form == 0 and self._forms > 1
                    source = entry.msgid if one else entry.msgid_plural
                    if _FUZZY in entry.flags or not entry.msgstr_plural.get(form):
                        found.append(Unit(source, form, context, index))
            elif _FUZZY in entry.flags or not entry.msgstr:
                found.append(Unit(entry.msgid, None, context, index))
        return found

    def fill(self, unit: Unit, translation: str, faults: Sequence[Fault] = ()) -> None:
        """Put a translation into the file, which is then in `text`.

        Args:
            unit: One of `units()`.
            translation: Its translation.
            faults: Its faults: the entry is marked as fuzzy, so that programs do not use it.

        Example:
            >>> document.fill(unit, "Ouvrir %s")
        """
        entry = self._file[unit.index]
        translation = _same_line_ends(unit.source, translation)
        first = not unit.form
        if first:
            _clean(entry)
        if unit.form is None:
            entry.msgstr = translation
        else:
            entry.msgstr_plural[unit.form] = translation
        if faults:
            lines = [line for fault in faults for line in textwrap.wrap(fault.message, 60)]
            notes = [entry.tcomment] if entry.tcomment else []
            entry.tcomment = "\n".join([*notes, *(f"{OURS}{line}" for line in lines)])
            if _FUZZY not in entry.flags:
                entry.flags.append(_FUZZY)

    @property
    def text(self) -> str:
        """The file with its translations."""
        return f"{self._file}"

    def _number_of_forms(self, path: Path, to: Language) -> int:
        """Return how many forms a plural has in the language."""
        has_plurals = any(entry.msgid_plural for entry in self._file)
        header = self._file.metadata.get("Plural-Forms", "")
        match = re.search(r"nplurals\s*=\s*([0-9]+)", header)
        if match is None and has_plurals:
            header = _PLURALS.get(to.code) or _PLURALS.get(to.base, "")
            match = re.search(r"nplurals=([0-9]+)", header)
            if match is None:
                raise BadArguments(
                    f"{path} has plurals, and does not say how many forms {to.name} has.",
                    'Add "Plural-Forms: nplurals=…; plural=…;" to its header.',
                )
            self._file.metadata["Plural-Forms"] = header
        return int(match[1]) if match else 0


def _clean(entry: Any) -> None:
    """Remove the marks of an earlier translation from an entry."""
    lines = (entry.tcomment or "").split("\n")
    entry.tcomment = "\n".join(line for line in lines if not line.startswith(OURS))
    entry.flags = [flag for flag in entry.flags if flag != _FUZZY]
    entry.previous_msgid = entry.previous_msgid_plural = entry.previous_msgctxt = None


def _same_line_ends(source: str, translation: str) -> str:
    """Return a translation that begins and ends with a new line if its source does."""
    inner = translation.strip("\n")
    start = len(source) - len(source.lstrip("\n"))
    end = len(source) - len(source.rstrip("\n"))
    return "\n" * start + inner + "\n" * end
