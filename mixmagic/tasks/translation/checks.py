"""Check a translation: everything that must not change is there, and nothing else was lost."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.glossary import term_faults
from mixmagic.tasks.translation.inventory import part_faults, parts_of
from mixmagic.tasks.translation.languages import Language, detect
from mixmagic.tasks.translation.numbers import number_faults
from mixmagic.tasks.translation.structure import structure_faults
from mixmagic.tasks.translation.wording import wording_faults

# Signs of Markdown that are not words: markers of lists, headings, quotes and emphasis.
_MARKERS = re.compile(
    r"^[ \t>]*(?:#{1,6}[ \t]|(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?:\[[ xX]\][ \t])?|[*_~]{1,3}(?=\S)"
    r"|(?<=\S)[*_~]{1,3}|^\s*\|?(?:[ \t]*:?-+:?[ \t]*\|)+[ \t:-]*$|^[-*_ ]{3,}$",
    re.MULTILINE,
)
_CODE_BLOCK = re.compile(r"^[ >]*(`{3,}|~{3,})[\s\S]*?^[ >]*\1[ \t]*$", re.MULTILINE)
_BLANK = re.compile(r"\n[ \t]*\n\s*")
_LIST_MARK = re.compile(r"\[!?|\]")


def faults(
    source: str,
    translation: str,
    *,
    to: Language,
    source_language: Language | None = None,
    markdown: bool,
    terms: Mapping[str, str] | None = None,
) -> list[Fault]:
    """Return what is wrong with a translation; nothing is not a proof that it is right.

    Compares the texts as they are, whatever a model saw of them: structure, code, formulas, links,
    tags, placeholders, numbers, the language, the sentences, and the terms of a glossary.

    Args:
        source: A paragraph, a cell, or a whole text.
        translation: Its translation.
        to: The language of the translation.
        source_language: The language of the source; `None` to detect it.
        markdown: True if both are Markdown.
        terms: Terms of the source's language, with their translations.

    Example:
        >>> faults("Wait 5 s.", "Attendez 6 s.", to=parse_language("fr"), markdown=False)
        [Fault(kind='number', message='The number 5 s became 6 s.')]
    """
    if source.strip() and not translation.strip():
        return [Fault("empty", "The translation is empty.")]
    source_language = source_language or detect(source)
    code = source_language.base if source_language else ""
    found = structure_faults(source, translation) if markdown else []
    if markdown:
        source, translation = _CODE_BLOCK.sub("", source), _CODE_BLOCK.sub("", translation)
    ours, theirs = (parts_of(text, markdown=markdown) for text in (source, translation))
    found += part_faults(ours, theirs, markdown=markdown, codes=(code, to.base))
    one, other = ours.words, theirs.words
    if markdown:
        one, other = _words(one), _words(other)
    found += number_faults(one, other, code, to.base)
    for text, translated in _pairs(one, other):
        found += wording_faults(text, translated, to=to, source_language=source_language)
    if terms:
        found += term_faults(one, other, terms)
    return list(dict.fromkeys(found))


def _pairs(source: str, translation: str) -> list[tuple[str, str]]:
    """Return the paragraphs of a text with those of its translation; the whole if they differ."""
    ours, theirs = _BLANK.split(source.strip()), _BLANK.split(translation.strip())
    if len(ours) != len(theirs):
        return [(source, translation)]
    return list(zip(ours, theirs, strict=True))


def _words(text: str) -> str:
    """Return a Markdown text without the signs that structure it."""
    return _LIST_MARK.sub("", _MARKERS.sub("", text))
