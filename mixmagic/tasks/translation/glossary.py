"""Glossaries: the terms of a project or a user, with their translations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

from mixmagic.tasks.translation.fault import Fault

# Endings that a term may change: of plurals, genders and cases.
_ENDING = re.compile(r"(?:es|en|er|em|s|n|e|a|o|i|x)$")


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
