"""Glossaries: the terms of a project or a user, with their translations.

A glossary is a table whose first line names languages; an empty cell means that the term stays.

    en,fr,de
    kernel,noyau,Kernel
    JupyterLab,,
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mixmagic.core import files
from mixmagic.errors import BadArguments, StoreError, did_you_mean
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.languages import Language, parse_language, words_of

_ENDINGS = (".csv", ".tsv")
# Endings that a term may change: of plurals, genders and cases.
_ENDING = re.compile(r"(?:es|en|er|em|s|n|e|a|o|i|x)$")


@dataclass(frozen=True, slots=True)
class Glossary:
    """The terms of one pair of languages.

    Attributes:
        terms: Terms, with their translations; a term that stays as it is translates to itself.
        name: The name or the file under which it was found.
    """

    terms: Mapping[str, str]
    name: str = ""

    @classmethod
    def read(
        cls, name: str | Path, *, to: Language, source: Language | None = None, folder: Path
    ) -> Glossary:
        """Read a glossary.

        Args:
            name: A file, with its ending `.csv` or `.tsv`; or the name of one in `folder`, without.
            to: The language of the translations: the first line must name it.
            source: The language of the terms; by default that of the first column.
            folder: Where the user's glossaries are: `settings.glossaries`.

        Raises:
            BadArguments: There is no such glossary, or it has no column for the language.
            StoreError: The file cannot be read.

        Example:
            >>> Glossary.read("lessons.csv", to=french, folder=settings.glossaries).terms
            {'kernel': 'noyau', 'JupyterLab': 'JupyterLab'}
        """
        path = _path(str(name), folder)
        try:
            text = files.read(path)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} cannot be read: {files.reason(error)}.", "Save it as CSV, in UTF-8."
            ) from None
        return cls(_terms(path, text, to, source), str(name))

    def terms_in(self, text: str) -> dict[str, str]:
        """Return the terms that occur in a text, with their translations, the longest first.

        Example:
            >>> Glossary({"kernel": "noyau", "cell": "cellule"}).terms_in("Two kernels")
            {'kernel': 'noyau'}
        """
        found = {term: wanted for term, wanted in self.terms.items() if occurs(term, text)}
        return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """A text that was translated in several ways.

    Attributes:
        source: The text, as it occurs first.
        translations: Its translations, in their order.
    """

    source: str
    translations: tuple[str, ...]


def inconsistencies(pairs: Iterable[tuple[str, str]]) -> list[Inconsistency]:
    """Return the texts that have several translations, but for case and punctuation.

    Args:
        pairs: Sources and their translations.

    Example:
        >>> inconsistencies([("Load data", "Charger"), ("Load data:", "Lire :")])
        [Inconsistency(source='Load data', translations=('Charger', 'Lire :'))]
    """
    sources: dict[tuple[str, ...], str] = {}
    translations: dict[tuple[str, ...], dict[tuple[str, ...], str]] = defaultdict(dict)
    for source, translation in pairs:
        if key := tuple(words_of(source)):
            sources.setdefault(key, source.strip())
            translations[key].setdefault(tuple(words_of(translation)), translation.strip())
    return [
        Inconsistency(sources[key], tuple(found.values()))
        for key, found in translations.items()
        if len(found) > 1
    ]


def term_faults(source: str, translation: str, terms: Mapping[str, str]) -> Iterator[Fault]:
    """Yield the terms of a glossary that a translation does not use.

    Args:
        source: The text.
        translation: Its translation.
        terms: Terms, with their translations.

    Example:
        >>> [fault.message for fault in term_faults("the kernel", "le nuage", {"kernel": "noyau"})]
        ['The glossary translates “kernel” as “noyau”.']
    """
    folded = _folded(translation)
    for term, wanted in terms.items():
        if wanted and occurs(term, source) and not _pattern(wanted).search(folded):
            yield Fault("term", f"The glossary translates “{term}” as “{wanted}”.")


def occurs(term: str, text: str) -> bool:
    """Return True if a term is in a text, in any case, also in the plural.

    Example:
        >>> occurs("kernel", "Two Kernels")
        True
    """
    plural = "(?:s|es)?" if term[-1:].isalpha() else ""
    return bool(re.search(rf"(?<!\w){re.escape(term)}{plural}(?!\w)", text, re.IGNORECASE))


def _path(name: str, folder: Path) -> Path:
    """Return the file of a glossary."""
    if name.lower().endswith(_ENDINGS):
        return Path(name).expanduser()
    known = {path.stem: path for ending in _ENDINGS for path in sorted(folder.glob(f"*{ending}"))}
    if name in known:
        return known[name]
    raise BadArguments(
        f"There is no glossary {name!r:.80}.",
        f"{did_you_mean(name, known)}Name a file that ends in .csv, or put one into {folder}.",
    )


def _terms(path: Path, text: str, to: Language, source: Language | None) -> dict[str, str]:
    """Return the terms of a table."""
    first = text.partition("\n")[0]
    delimiter = max("\t,;", key=first.count)
    head, *rows = [
        row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)
    ] or [[]]
    columns = [_language(cell) for cell in head]
    theirs = _column(columns, to)
    ours = (
        _column(columns, source)
        if source
        else next((i for i in range(len(head)) if i != theirs), None)
    )
    if theirs is None or ours is None:
        missing = to if theirs is None else source
        raise BadArguments(
            f"{path}, line 1: there is no column for {missing.name if missing else 'the terms'}.",
            f"The first line names the languages: {source.code if source else 'en'},{to.code}",
        )
    terms = {}
    for row in rows:
        cells = [cell.strip() for cell in row] + [""] * len(head)
        if cells[ours]:
            terms[cells[ours]] = cells[theirs] or cells[ours]
    return terms


def _language(cell: str) -> Language | None:
    """Return the language that a column is for."""
    try:
        return parse_language(cell)
    except BadArguments:
        return None


def _column(columns: list[Language | None], language: Language) -> int | None:
    """Return the column of a language: of its region, or else of any."""
    codes = [column.code if column else "" for column in columns]
    if language.code in codes:
        return codes.index(language.code)
    bases = [code.partition("-")[0] for code in codes]
    return bases.index(language.base) if language.base in bases else None


def _pattern(term: str) -> re.Pattern[str]:
    """Return the pattern of a term in any of its forms."""
    stems = []
    for word in _folded(term).split():
        stem = _ENDING.sub("", word) if len(word) > 3 else word
        stems.append(rf"{re.escape(stem)}\w{{0,4}}")
    return re.compile(r"[\s-]*(?:\w{1,3}\s)?".join(stems))


def _folded(text: str) -> str:
    """Return a text in lower case, without accents."""
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return "".join(sign for sign in decomposed if unicodedata.category(sign) != "Mn")
