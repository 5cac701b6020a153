"""Problems of sanitized texts in any reader."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.fidelity import lost
from attacks.minimize import minimize

from browser.readers import Readers
from mixmagic.text.sanitize import sanitize


def examine(readers: Readers, texts: Sequence[str]) -> list[dict[str, list[str]]]:
    """What is wrong with each text, by kind.

    A reader's name: it acts there. `text`: readers differ in what they show. `twice`: written
    again, it is another. `lost`: words are not shown.
    """
    written = [sanitize(text) for text in texts]
    verdicts = readers.verdicts(written)
    shown = readers.shown
    for text, safe, seen, verdict in zip(texts, written, shown, verdicts, strict=True):
        if sanitize(safe) != safe:
            verdict["twice"] = [safe[:200]]
        if (words := lost(text, seen)) is not None:
            verdict["lost"] = [words]
    return verdicts


def least(readers: Readers, text: str, kind: str) -> str:
    """Return the shortest part of a text that has a problem."""
    return minimize(text, lambda some: [kind in each for each in examine(readers, some)])
