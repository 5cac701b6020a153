"""Scripted translators: they transform the text that they are given."""

from __future__ import annotations

import re

from server import Answer, whole

_FRENCH = {
    "a": "une", "and": "et", "are": "sont", "be": "être", "box": "boîte", "cat": "chatte",
    "data": "données", "dog": "chienne", "has": "a", "here": "ici", "house": "maison", "in": "dans",
    "is": "est", "it": "elle", "mean": "moyenne", "not": "pas", "of": "de", "pears": "poires",
    "rows": "lignes", "sum": "somme", "table": "table", "the": "la", "there": "là", "to": "à",
    "with": "avec",
}  # fmt: skip


def french(request) -> Answer:
    """Translate word by word."""
    return whole(_translated(request), completion=5)


def french_without_12(request) -> Answer:
    """Translate word by word, and lose a number."""
    return whole(_translated(request).replace("12", ""), completion=5)


def _translated(request) -> str:
    def word(found: re.Match[str]) -> str:
        translated = _FRENCH.get(found[0].lower(), found[0])
        return translated.capitalize() if found[0][0].isupper() else translated

    return re.sub(r"[A-Za-z]+", word, request.body["messages"][-1]["content"])
