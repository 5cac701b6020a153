"""Find words that a translation lost, added, or left in another language."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from mixmagic.errors import counted
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.languages import Language, common_words, detect, scores, words_of
from mixmagic.tasks.translation.sentences import sentences

# From this many letters of the source on: the least and the most letters of the translation, as a
# share of the source's. People's own translations are between them (`tests/benchmarks`).
_SHARES = ((100, 0.72, 1.75), (40, 0.6, 2.1), (15, 0.4, 2.8), (0, 0.15, 8.0))
_SENTENCE_SHARE = 0.42
# Languages that are written with less letters.
_DENSE = ("ja", "ko", "zh", "th", "km", "lo", "my", "he", "ar", "fa", "ur", "am")
_JOINS = re.compile(r"[,;:(\u2013\u2014]|\b(?:and|et|und|y|e|ed|which|that|que|qui|che|da)\b")
# The points of the right language for a sentence in another one, as a share of that one's.
_DOUBT = 0.6
# Words that remain in a run of words that was not translated.
_RUN = 4
_QUOTED = re.compile(r"[\"“„«\u2018']\s?([^\"“”„«»\n]{2,80}?)\s?[\"”“»\u2019']")
_PAIRS = {'"': '"', "“": "”", "«": "»", "„": "“", "'": "'", "\u2018": "\u2019", "`": "`"}
_TRANSLATION = re.compile(
    r"\b(?:translat\w+|traduc\w+|traduz\w+|traduit\w*|tradott\w*|[üu]bersetz\w*)\b", re.IGNORECASE
)
_YES = re.compile(
    r"\W*(?:sure|certainly|of course|absolutely|bien s[ûu]r|certainement|natürlich|gerne"
    r"|selbstverständlich|claro|por supuesto|certo|certamente|ovviamente|d'accord)\s*[!,.:]",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"\W*(?:in )?(?:english|french|german|italian|spanish|anglais|français|allemand|italien"
    r"|espagnol|englisch|französisch|deutsch|italienisch|spanisch|inglés|francés|alemán|italiano|español"
    r"|inglese|francese|tedesco|spagnolo)\W*:",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"\b(?:note|notes|nb|remarque|hinweis|anmerkung|nota|tip|hint|warning|caution|important"
    r"|attention|remark|achtung|astuce|avertissement|aviso|avviso|attenzione|consejo)\s*:",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"let me know|hope (?:this|that|it) helps|feel free to|n['\u2019]hésitez pas|faites-moi savoir"
    r"|j['\u2019]espère que|lassen sie mich wissen|ich hoffe|zögern sie nicht|hágamelo saber"
    r"|avísame|espero que|no dude[s]? en|fammi sapere|spero che|non esit",
    re.IGNORECASE,
)

_OFFERED = re.compile(r"\b(?:feel|hesitate|hope|let (?:me|us))\b", re.IGNORECASE)


def wording_faults(
    source: str,
    translation: str,
    *,
    to: Language,
    source_language: Language | None,
) -> list[Fault]:
    """Return the words that a translation lost, added, or left in another language.

    Args:
        source: The text, without code, formulas, links and placeholders.
        translation: Its translation, without them.
        to: The language of the translation.
        source_language: The language of the source; `None` if unknown.

    Example:
        >>> wording_faults("Open the file.", "Open the file.", to=french, source_language=None)
        [Fault(kind='untranslated', message='The text was not translated to French.')]
    """
    if not words_of(source):
        return [Fault("added", "Words were added.")] if len(words_of(translation)) > 2 else []
    if not _letters(translation) and _letters(source) > 2:
        return [Fault("empty", "The translation has no words.")]
    source_language = source_language or detect(source)
    faults = []
    if source_language is None or source_language.base != to.base:
        faults += _language_faults(source, translation, to, source_language)
    faults += _length_faults(source, translation, to) if not faults else []
    return [*faults, *_added_faults(source, translation)]


def _language_faults(
    source: str, translation: str, to: Language, source_language: Language | None
) -> list[Fault]:
    """Return the fault of a text, or of a part of it, that is in another language."""
    ours, theirs = words_of(source), words_of(translation)
    if ours == theirs and _meaning(ours, to, source_language):
        return [Fault("untranslated", f"The text was not translated to {to.name}.")]
    known = [words_of(sentence) for sentence in sentences(source)]
    for sentence in sentences(translation):
        words = words_of(sentence)
        if words in known and _meaning(words, to, source_language):
            message = f"“{_start(sentence)}” was not translated to {to.name}."
            return [Fault("untranslated", message)]
    if to.script:
        if len(ours) > 3 and not re.search(to.script, translation):
            return [Fault("wrong language", f"The text is not in {to.name}.")]
    elif to.first_class:
        plain = _without_quoted(translation, source)
        other = detect(plain)
        if other is not None and other.base != to.base and _clear(plain, other, to):
            return [_wrong(other, to, source_language, "The text")]
        for sentence in sentences(plain):
            other = detect(sentence)
            if (
                other is not None
                and other.base != to.base
                and _clear(sentence, other, to)
                and not (_same_language(source, other) and other != source_language)
            ):
                return [_wrong(other, to, source_language, f"“{_start(sentence)}”")]
    if source_language is None or not source_language.first_class:
        return []
    run = _left(source, _without_quoted(translation, source), to, source_language)
    if run:
        return [Fault("untranslated", f"“{run}” was not translated to {to.name}.")]
    return []


def _meaning(words: list[str], to: Language, source_language: Language | None) -> bool:
    """Return True if words that are the same in both texts should not be."""
    code = source_language.base if source_language else "en"
    common, target = common_words(code), common_words(to.base)
    known = sum(word in common and word not in target for word in words)
    return known > 1 and known * 3 >= len(words)


def _wrong(other: Language, to: Language, source_language: Language | None, subject: str) -> Fault:
    """Return the fault of a text in another language."""
    if source_language is not None and other.base == source_language.base:
        return Fault("untranslated", f"{subject} is still in {other.name}, not in {to.name}.")
    return Fault("wrong language", f"{subject} is in {other.name}, not in {to.name}.")


def _clear(sentence: str, other: Language, to: Language) -> bool:
    """Return True if a sentence is surely in another language."""
    points, words = scores(sentence), words_of(sentence)
    only = common_words(other.base) - common_words(to.base)
    sure = len({word for word in words if word in only}) > 1
    return sure and len(words) > 3 and points[to.base] <= _DOUBT * points[other.base]


def _same_language(source: str, other: Language) -> bool:
    """Return True if a sentence of the source is in this language, too."""
    return any(detect(sentence) == other for sentence in sentences(source))


def _left(source: str, translation: str, to: Language, source_language: Language) -> str:
    """Return a run of words that were not translated; empty if there is none."""
    common, target = common_words(source_language.base), common_words(to.base)
    ours = f" {' '.join(words_of(source))} "
    theirs = words_of(translation)
    for start in range(len(theirs) - _RUN + 1):
        run = theirs[start : start + _RUN]
        foreign = sum(word in common and word not in target for word in run)
        if foreign > 1 and f" {' '.join(run)} " in ours:
            return " ".join(run)
    return ""


def _without_quoted(translation: str, source: str) -> str:
    """Return a translation without what it quotes word by word: names of buttons, titles."""
    return _QUOTED.sub(lambda match: " " if match[1] in source else match[0], translation)


def _start(sentence: str) -> str:
    """Return the first words of a sentence."""
    words = sentence.replace("\ufffc", " ").split()
    return " ".join(words[:8]) + ("…" if len(words) > 8 else "")


def _length_faults(source: str, translation: str, to: Language) -> list[Fault]:
    """Return the fault of a translation that is too short or too long, or lost sentences."""
    before, after = _letters(source), _letters(translation)
    if before < 4:  # an ending of ordinal numbers
        return []
    share = after / (before or 1)
    _, least, most = next(row for row in _SHARES if before >= row[0])
    if to.base in _DENSE:
        least, most = least / 5, most * 1.3
    ours, theirs = sentences(source), sentences(translation)
    fewer = len(ours) - len(theirs)
    joins = _count_joins(translation) - _count_joins(source)
    if to.base == "de":  # where a comma begins each clause
        joins -= max(translation.count(",") - source.count(","), 0)
    if (
        theirs
        and fewer > 0
        and not (joins >= fewer and share > 1.02)
        and to.base not in ("th", "km", "lo")
    ):
        message = f"There are {counted(len(theirs), 'sentence')}, not {len(ours)}."
        return [Fault("sentence", message)]
    if share < least:
        return [Fault("sentence", "The translation is much shorter than the source.")]
    if share > most and after > before + 20:
        return [Fault("added", "The translation is much longer than the source.")]
    if fewer < 0 and joins > fewer and share > 1.35:
        message = f"There are {counted(len(theirs), 'sentence')}, not {len(ours)}."
        return [Fault("added", message)]
    if not fewer and len(ours) > 1 and to.base not in _DENSE:
        for one, other in zip(ours, theirs, strict=True):
            if _letters(one) > 40 and _letters(other) < _SENTENCE_SHARE * _letters(one):
                message = f"A part of the sentence “{_start(one)}” is missing."
                return [Fault("sentence", message)]
    return []


def _count_joins(text: str) -> int:
    """Return how often a sentence may be joined to another one."""
    return len(_JOINS.findall(text.lower()))


def _letters(text: str) -> int:
    """Return the number of letters of a text."""
    return sum(unicodedata.category(sign)[0] == "L" for sign in text)


def _added_faults(source: str, translation: str) -> Iterator[Fault]:
    """Yield the faults of what models add to a translation."""
    for pattern, message in (
        (_TRANSLATION, "A remark about the translation was added."),
        (_OFFER, "A remark was added."),
    ):
        if (match := pattern.search(translation)) and not (
            pattern.search(source) or _OFFERED.search(source)
        ):
            yield Fault("added", f"{message[:-1]}: “{match[0]}”.")
    if (match := _YES.match(translation)) and not _YES.match(source):
        yield Fault("added", f"“{match[0].strip()}” was added.")
    if (match := _LABEL.match(translation)) and not _LABEL.match(source):
        yield Fault("added", f"“{match[0].strip()}” was added.")
    if len(_NOTE.findall(translation)) > len(_NOTE.findall(source)):
        yield Fault("added", "A note was added.")
    ours, theirs = source.strip(), translation.strip()
    if _is_quoted(theirs) and not _is_quoted(ours):
        yield Fault("added", "Quotation marks were added around the translation.")
    yield from _doubled(ours, theirs)


def _is_quoted(text: str) -> bool:
    """Return True if quotation marks are around a whole text."""
    inside = text[1:-1].strip()
    return (
        len(text.split()) > 2
        and (_PAIRS.get(text[0]) == text[-1] or (text[0] in "„“" and text[-1] in "”“"))
        and not any(sign in inside for sign in (text[0], text[-1]) if sign not in "'\u2019")
    )


def _doubled(source: str, translation: str) -> Iterator[Fault]:
    """Yield the fault of a sentence that occurs more often than in the source."""
    ours = Counter(" ".join(words_of(sentence)) for sentence in sentences(source))
    theirs = Counter(" ".join(words_of(sentence)) for sentence in sentences(translation))
    for sentence, count in theirs.items():
        if count > 1 and len(sentence) > 12 and count > max(ours.values(), default=1):
            yield Fault("added", f"“{_start(sentence)}” occurs {count} times.")
            return
