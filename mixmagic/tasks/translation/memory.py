"""The memory of a translated document: a gettext file beside it, for models and people alike.

`lesson.fr.po` has each paragraph of `lesson.ipynb` with its translation. Each entry that mixmagic
wrote has a comment with a hash of its translation: a translation without it, or with another one,
was written by a person, and is never changed. Poedit, Weblate and msgmerge keep these comments.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import textwrap
import threading
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixmagic.core import files, lazy
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.gettext_files import OURS, read_po, write_po
from mixmagic.tasks.translation.languages import Language, words_of

_HASH = re.compile(r"mixmagic:\s+([0-9a-f]{16})")  # editors wrap comments
_FUZZY = "fuzzy"
# Least likeness of a source to be an example, from 0 to 1.
_ALIKE = 0.2


@dataclass(frozen=True, slots=True)
class Entry:
    """A translation in a memory.

    Attributes:
        text: The translation.
        by_person: True if a person wrote or corrected it.
    """

    text: str
    by_person: bool


class Memory:
    """The translations of a document, in a gettext file.

    Threads may share it. The file is read when the memory is made, and once more before it is
    written, so that what a person saved meanwhile is kept.

    Args:
        path: The file; it does not have to exist.
        to: The language of the translations.

    Raises:
        StoreError: The file cannot be read, or is not a gettext file.

    Example:
        >>> memory = Memory(Path("lesson.fr.po"), parse_language("fr"))
        >>> memory.put("Hello.", "Bonjour.")
        >>> memory.find("Hello.")
        Entry(text='Bonjour.', by_person=False)
        >>> memory.write()
    """

    def __init__(self, path: Path, to: Language) -> None:
        self.path, self.to = path, to
        self._lock = threading.Lock()
        self._put: dict[str, tuple[str, tuple[Fault, ...]]] = {}
        self._use(self._read())

    def find(self, source: str) -> Entry | None:
        """Return the translation of a text; `None` if there is none that can be used.

        One that mixmagic wrote with faults is not used: it is requested again. One that a person
        wrote is used, faults or not.

        Example:
            >>> memory.find("Goodbye.") is None
            True
        """
        with self._lock:
            if source in self._put:
                text, faults = self._put[source]
                return None if faults else Entry(text, by_person=False)
            entry = self._entries.get(source)
            if entry is None or not entry.msgstr or entry.previous_msgid:
                return None
            by_person = _by_person(entry)
            if _FUZZY in entry.flags and not by_person:
                return None
            return Entry(entry.msgstr, by_person)

    def put(self, source: str, translation: str, faults: Sequence[Fault] = ()) -> None:
        """Keep a translation, unless a person wrote one.

        Args:
            source: The text.
            translation: A model's translation.
            faults: The faults of the translation, which become comments for people. The entry is
                marked as fuzzy then.

        Example:
            >>> memory.put("It takes 5 s.", "Cela prend 6 s.", [Fault("number", "5 became 6.")])
            >>> memory.find("It takes 5 s.") is None
            True
        """
        with self._lock:
            writable = source.strip() and translation and "\0" not in source + translation
            if writable and not _is_persons(self._entries.get(source)):
                self._put[source] = translation, tuple(faults)

    def examples(self, source: str, most: int) -> list[tuple[str, str]]:
        """Return what people wrote for the texts most like this one, the most alike first.

        Args:
            source: The text that is to be translated.
            most: The largest number of examples.

        Example:
            >>> memory.examples("Restart the kernel.", 1)
            [('Stop the kernel.', 'Arrêtez le noyau.')]
        """
        with self._lock:
            corrections, words = self._corrections, self._words
        if not corrections:
            return []
        ours = set(words_of(source))
        likeness = {
            pair: _likeness(ours, theirs, words)
            for pair, theirs in corrections.items()
            if pair[0] != source
        }
        best = sorted(likeness, key=likeness.__getitem__, reverse=True)[:most]
        return [pair for pair in best if likeness[pair] >= _ALIKE]

    def write(self, current: Collection[str] | None = None) -> None:
        """Write the file: completely, or not at all. Nothing is written if nothing changed.

        Args:
            current: The texts that the document has now. Others become obsolete: they stay in the
                file, as examples, or for when a text comes back. `None` leaves them alone.

        Raises:
            StoreError: The file cannot be read or written; it is as before then.

        Example:
            >>> memory.write(current=["Hello."])
        """
        with self._lock, files.locked(self.path.parent):
            file = self._read()
            before = str(file) if self.path.exists() else ""
            self._fill(file)
            if current is not None:
                _retire(file, set(current))
            if str(file) != before and (len(file) or before):
                write_po(self.path, file)
            self._use(file)
            self._put.clear()

    def _use(self, file: Any) -> None:
        """Find translations, and what people wrote, in a file as it is now."""
        self._entries = _by_source(file)
        self._corrections = {pair: set(words_of(pair[0])) for pair in _corrections(file)}
        self._words = Counter(itertools.chain.from_iterable(self._corrections.values()))

    def _fill(self, file: Any) -> None:
        """Put the new translations into a file."""
        entries = _by_source(file)
        for source, (translation, faults) in self._put.items():
            entry = entries.get(source)
            if _is_persons(entry):
                continue
            if entry is None:
                entry = lazy.load("polib").POEntry(msgid=source)
                file.append(entry)
            elif entry.previous_msgid and _by_person(entry):
                file.append(_earlier(entry))
            _set(entry, translation, faults)

    def _read(self) -> Any:
        """Return the file, or a new one."""
        if self.path.exists():
            return read_po(self.path)
        file = lazy.load("polib").POFile()
        file.metadata = {
            "Language": self.to.code.replace("-", "_"),
            "MIME-Version": "1.0",
            "Content-Type": "text/plain; charset=UTF-8",
            "Content-Transfer-Encoding": "8bit",
            "X-Generator": "mixmagic",
        }
        return file


def _by_source(file: Any) -> dict[str, Any]:
    """Return the entries of a file that a memory uses, by their sources; obsolete ones last."""
    entries: dict[str, Any] = {}
    for entry in sorted(file, key=lambda entry: bool(entry.obsolete)):
        if entry.msgctxt is None and not entry.msgid_plural:
            entries.setdefault(entry.msgid, entry)
    return entries


def _corrections(file: Any) -> Iterator[tuple[str, str]]:
    """Yield the sources and translations of what people wrote."""
    for entry in file:
        if entry.msgid and entry.msgstr and not entry.msgid_plural and _by_person(entry):
            yield entry.previous_msgid or entry.msgid, entry.msgstr


def _is_persons(entry: Any) -> bool:
    """Return True if an entry has a person's translation of its present source."""
    return bool(
        entry is not None and entry.msgstr and not entry.previous_msgid and _by_person(entry)
    )


def _by_person(entry: Any) -> bool:
    """Return True if mixmagic did not write an entry's translation."""
    match = _HASH.search(entry.tcomment or "") or _HASH.search(entry.comment or "")
    return match is None or match[1] != _hash(entry.msgstr)


def _hash(text: str) -> str:
    """Return the hash of a translation."""
    normal = unicodedata.normalize("NFC", text).replace("\r\n", "\n")
    return hashlib.sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _set(entry: Any, translation: str, faults: Sequence[Fault]) -> None:
    """Put a translation into an entry, with its hash and its faults as comments."""
    comment = _HASH.sub("", entry.tcomment or "")
    notes = [line for line in comment.split("\n") if line and not line.startswith(OURS)]
    found = [line for fault in faults for line in textwrap.wrap(fault.message, 60)]
    lines = [_hash(translation), *found]
    entry.tcomment = "\n".join([*notes, *(f"{OURS}{line}" for line in lines)])
    entry.msgstr = translation
    entry.previous_msgid = None
    entry.obsolete = False
    entry.flags = [flag for flag in entry.flags if flag != _FUZZY] + [_FUZZY] * bool(faults)


def _earlier(entry: Any) -> Any:
    """Return a person's translation of an earlier source, as an obsolete entry."""
    return lazy.load("polib").POEntry(
        msgid=entry.previous_msgid, msgstr=entry.msgstr, tcomment=entry.tcomment, obsolete=True
    )


def _retire(file: Any, current: set[str]) -> None:
    """Mark entries as obsolete whose sources the document does not have."""
    for entry in file:
        if entry.msgid and entry.msgctxt is None and not entry.msgid_plural:
            entry.obsolete = entry.msgid not in current


def _likeness(ours: set[str], theirs: set[str], words: Counter[str]) -> float:
    """Return how many words two texts share, from 0 to 1; rare ones count for more."""
    weight = {word: 1 / (1 + words[word]) for word in ours | theirs}
    shared = sum(weight[word] for word in ours & theirs)
    return shared / (sum(weight.values()) or 1)
