"""Translate documents: what is not in the memory is asked, checked, and asked once more at most.

The calls are those of a job over many rows: a stop, a kill or a budget loses nothing, and the same
call goes on.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from mixmagic.core import files
from mixmagic.errors import BadArguments, Unfinished, counted
from mixmagic.tasks.bulk.status import sentence
from mixmagic.tasks.translation.documents import Document, Origin, Piece, Reading, Translated
from mixmagic.tasks.translation.documents import document as read_document
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.form import Question, Style, Tone, TranslationForm
from mixmagic.tasks.translation.glossary import Glossary, Inconsistency, inconsistencies
from mixmagic.tasks.translation.languages import Language, detect, parse_language
from mixmagic.tasks.translation.memory import Memory
from mixmagic.text.escape import as_text
from mixmagic.text.sanitize import sanitize

if TYPE_CHECKING:
    from mixmagic.tasks.bulk.job import Job
    from mixmagic.tasks.bulk.options import Asker

# Characters of a document by which its language is detected.
_SAMPLE = 20_000
# Translations by people that are shown to the model with a segment like theirs.
_EXAMPLES = 2
_UNASKED = Translated("", (), "unasked")


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of a translation.

    Attributes:
        to: The language, by name or code.
        source: The source's language; detected if empty.
        tone: `formal` or `informal`; as the model likes if empty.
        glossary: The name or the file of a glossary; none if empty.
        out: The file that a translated file is written to; beside the source if `None`.
        reading: The parts of the document that are translated.
        in_flight: Calls at the same time.
    """

    to: str
    source: str = ""
    tone: str = ""
    glossary: str | os.PathLike[str] = ""
    out: str | os.PathLike[str] | None = None
    reading: Reading = field(default_factory=Reading)
    in_flight: int = 64


class Translation:
    """A translation that is under way, or over.

    Args:
        session: Makes the calls.
        source: What is translated: see `documents.document`.
        wishes: The options.
        params: Parameters of the calls; `budget` is that of all of them.
        glossaries: The folder of the user's glossaries.

    Attributes:
        document: The document.
        style: Its languages, and the tone.
        job: The job that asks; `None` if there is nothing to ask.
        out: The file that the result is written to; `None` for a value.

    Raises:
        BadArguments: The document cannot be read, or an option is not valid.

    Example:
        >>> translation = Translation(session, Path("lesson.ipynb"), Wishes("fr"), {}, folder)
        >>> translation.job.start()
        >>> translation.finish().path
        PosixPath('lesson.fr.ipynb')
    """

    def __init__(
        self,
        session: Asker,
        source: Any,
        wishes: Wishes,
        params: Mapping[str, Any],
        glossaries: Path,
    ) -> None:
        to = parse_language(wishes.to)
        self.document = read_document(source, wishes.reading, to)
        self.style = Style(to, _source_language(self.document, wishes, to), _tone(wishes.tone))
        self.out = _out(self.document, wishes, to)
        self._glossary = self._read_glossary(glossaries, wishes)
        self._memory = _memory(self.document, self.out, to)
        self._redact = session.jobs.redact
        self._form = TranslationForm(self.style, _scope(self.document))
        # For each segment of each piece, its translation, or the question that asks for it.
        self._found: list[list[Translated | Question]] = []
        rows: list[str] = []
        for piece in self.document.pieces:
            found = list(self._prepared(piece))
            self._found.append(found)
            rows += [
                each.masked.text
                for each in found
                if isinstance(each, Question) and self._form.add(each)
            ]
        self._rows, self.job = rows, None
        self._final: Report | None = None
        if rows:
            self.job = session.jobs.prepare(
                rows,
                "{{ text }}",
                form=self._form,
                name=f"{self.document.name} to {to.name}",
                in_flight=wishes.in_flight,
                params=dict(params),
            )

    def finish(self) -> Any:
        """Return the translation, once the job is over; write that of a file.

        Returns:
            For a text, a `TranslatedText`; for a list of texts, a list of them; for a file, a
            `TranslatedFile`; for a Series or a DataFrame, the same kind. A text of a list or of a
            table that was not translated is missing.

        Raises:
            Unfinished: The job paused before all of a text or a file was translated.
            MixmagicError: The error that ended the job.
        """
        found = self._translations()
        self._remember(found)
        job = self.job
        if job is not None and job.state != "done" and not self.document.mixed:
            raise Unfinished(
                sentence(job.progress, job.state, job.reason),
                "No file was written; the answers are kept, and nothing is paid for twice.",
            )
        self._final = report = self._report(found)
        content = self.document.result(found, self.style.to)
        if self.out is not None:
            _write(self.out, content)
            return TranslatedFile(self.out, report)
        if isinstance(content, list):
            faults = [[fault for each in piece for fault in each.faults] for piece in found]
            return [
                TranslatedText(text, report, own) if isinstance(text, str) else text
                for text, own in zip(content, faults, strict=True)
            ]
        if isinstance(content, str):
            return TranslatedText(content, report, [fault for _, fault in report.faults])
        return content

    def report(self) -> Report:
        """Return the counts, the faults and the cost so far."""
        return self._final or self._report(self._translations())

    def _prepared(self, piece: Piece) -> Iterator[Translated | Question]:
        """Yield the translation of each segment that needs none or is known, or its question."""
        if self.document.mixed and detect(piece.source) == self.style.to:
            yield from (Translated(each.text, (), "source") for each in piece.segments)
            return
        for segment in piece.segments:
            text = segment.text
            terms = {} if self._glossary is None else self._glossary.terms_in(text)
            stay = [term for term, wanted in terms.items() if term == wanted]
            masked = replace(segment, text=self._redact(text)).mask(stay)
            entry = None if self._memory is None else self._memory.find(text)
            question = Question(text, masked, segment.markdown, terms)
            if not masked.has_words:
                yield Translated(text, (), "source")
            elif entry is not None:
                yield Translated(entry.text, (), "person" if entry.by_person else "memory")
            elif self._memory is not None:
                yield replace(question, examples=tuple(self._memory.examples(text, _EXAMPLES)))
            else:
                yield question

    def _read_glossary(self, folder: Path, wishes: Wishes) -> Glossary | None:
        if not wishes.glossary:
            return None
        name, style = str(wishes.glossary), self.style
        return Glossary.read(name, to=style.to, source=style.source, folder=folder)

    def _translations(self) -> list[Sequence[Translated]]:
        """Return the translations of the segments of each piece, by the answers so far."""
        answered = _Answers(self.job, self._rows, self.style)
        return [
            piece.checked(list(map(answered, found)))
            for piece, found in zip(self.document.pieces, self._found, strict=True)
        ]

    def _remember(self, found: Sequence[Sequence[Translated]]) -> None:
        """Write the new translations to the memory beside the file."""
        if self._memory is None:
            return
        sources: list[str] = []
        for piece, translations in zip(self.document.pieces, found, strict=True):
            for segment, each in zip(piece.segments, translations, strict=True):
                sources.append(segment.text)
                if each.origin == "model":
                    self._memory.put(segment.text, each.text, each.faults)
        self._memory.write(sources)

    def _report(self, found: Sequence[Sequence[Translated]]) -> Report:
        faults = [
            (piece.place, fault)
            for piece, translations in zip(self.document.pieces, found, strict=True)
            for each in translations
            for fault in each.faults
        ]
        pairs = (
            (segment.text, each.text)
            for piece, translations in zip(self.document.pieces, found, strict=True)
            for segment, each in zip(piece.segments, translations, strict=True)
            if each.origin in ("model", "memory", "person")
        )
        progress = self.job.progress if self.job is not None and self.job.number else None
        return Report(
            self.style,
            Counter(each.origin for translations in found for each in translations),
            faults,
            inconsistencies(pairs),
            0 if progress is None else progress.asked,
            Decimal(0) if progress is None else progress.cost,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The counts of a translation.

    Attributes:
        style: The languages, and the tone.
        origins: The number of segments by where their translation comes from.
        faults: Each fault that is left, with its place: empty for a text.
        inconsistent: Texts that have several translations.
        calls: Calls that were made.
        cost: US dollars that they have cost, as far as that is known.
    """

    style: Style
    origins: Mapping[Origin, int]
    faults: Sequence[tuple[str, Fault]]
    inconsistent: Sequence[Inconsistency]
    calls: int
    cost: Decimal


class TranslatedText(str):
    """A translated text: a `str` that knows its faults.

    Attributes:
        faults: The faults that the translation has, as far as they were found.
        report: The counts, the faults and the cost of all that was translated with it.

    Example:
        >>> mixmagic.translate("Good morning", to="fr").faults
        []
    """

    faults: list[Fault]
    report: Report

    def __new__(cls, text: str, report: Report, faults: list[Fault]) -> TranslatedText:
        self = super().__new__(cls, text)
        self.report, self.faults = report, faults
        return self

    def _repr_markdown_(self) -> str:
        """Return the text and its faults for a notebook."""  # IPython's name
        faults = "".join(f"\n\n⚠ {as_text(fault.message)}" for fault in self.faults)
        return f"{sanitize(self).rstrip()}{faults}"


@dataclass(frozen=True, slots=True, repr=False)
class TranslatedFile:
    """A translated file.

    Attributes:
        path: The file that was written.
        report: The counts, the faults and the cost.
    """

    path: Path
    report: Report

    @property
    def faults(self) -> list[tuple[str, Fault]]:
        """The faults that the translation has, each with its place."""
        return list(self.report.faults)

    def __repr__(self) -> str:
        texts = counted(sum(self.report.origins.values()), "text")
        lines = [f"<TranslatedFile {self.path}: {texts}, {counted(len(self.faults), 'fault')}>"]
        return "\n".join([*lines, *(f"{place}: {fault.message}" for place, fault in self.faults)])


class _Answers:
    """The translations of segments, by the answers of the job so far."""

    def __init__(self, job: Job | None, rows: Sequence[str], style: Style) -> None:
        self._style = style
        self._values: dict[str, str | None] = {}
        self._errors: dict[str, str] = {}
        if job is not None and job.number:
            self._values = dict(zip(rows, job.values(), strict=False))
            self._errors = {rows[error.row]: error.message for error in job.errors}

    def __call__(self, segment: Translated | Question) -> Translated:
        if isinstance(segment, Translated):
            return segment
        text = segment.masked.text
        answer = self._values.get(text)
        if answer is not None:
            return Translated(*segment.read(answer, self._style), "model")
        if text in self._errors:
            fault = Fault("failed", f"It is not translated: {self._errors[text]}")
            return Translated(segment.source, (fault,), "failed")
        return replace(_UNASKED, text=segment.source)


def _source_language(document: Document, wishes: Wishes, to: Language) -> Language | None:
    """Return the language of a document; `None` if it is not clear, or not one.

    Raises:
        BadArguments: It is the one that the document should be translated to.
    """
    if wishes.source:
        source: Language | None = parse_language(wishes.source)
    elif document.mixed:
        return None
    else:
        source = detect(_words(document.pieces))
    if source == to:
        name = "The text" if document.path is None else document.name
        raise BadArguments(
            f"{name} is in {to.name} already.",
            "Name another language, or the one that it is in: `--from`, `source_language=`.",
        )
    return source


def _scope(document: Document) -> str:
    """Return a text by which the jobs of documents differ; the rows of columns come and go."""
    if document.path is not None:
        return str(document.path.absolute())
    return "" if document.mixed else document.pieces[0].source


def _words(pieces: Sequence[Piece]) -> str:
    """Return the beginning of what is translated."""
    found, size = [], 0
    for piece in pieces:
        for segment in piece.segments:
            found.append(segment.text)
            size += len(segment.text)
            if size > _SAMPLE:
                return "\n".join(found)
    return "\n".join(found)


def _tone(tone: str) -> Tone | None:
    if tone and tone not in get_args(Tone):
        raise BadArguments(f"tone cannot be {tone!r:.40}.", "It is formal or informal.")
    return cast("Tone | None", tone or None)


def _out(document: Document, wishes: Wishes, to: Language) -> Path | None:
    """Return the file to write: `lesson.fr.ipynb` beside `lesson.ipynb` by default."""
    if document.path is None:
        if wishes.out is not None:
            raise BadArguments("Only a file is written to a file.", "Leave `out` away.")
        return None
    if wishes.out is None:
        return document.path.with_name(f"{document.path.stem}.{to.code}{document.path.suffix}")
    out = Path(wishes.out).expanduser()
    if out.resolve() == document.path.resolve():
        raise BadArguments(
            f"{out} is the file that is translated.", "Name another one for the translation."
        )
    return out


def _memory(document: Document, out: Path | None, to: Language) -> Memory | None:
    """Return the memory of a file: `lesson.fr.po` beside `lesson.fr.ipynb`; others have none."""
    if out is None or document.mixed or out.suffix == ".po":
        return None
    return Memory(out.with_suffix(".po"), to)


def _write(path: Path, content: bytes) -> None:
    try:
        files.write(path, content)
    except (OSError, ValueError) as error:
        raise BadArguments(
            f"{path} cannot be written: {files.reason(error)}.", "Name another file."
        ) from None
