"""The sentences of a text, as far as they can be told without a parser."""

from __future__ import annotations

import re

_END = re.compile(
    r"[.!?…\u3002\uff01\uff1f]+[\"'»”\u2019“)\]*_]*"
    # The next sentence; a point without a space after it is a mistake, but an end.
    r"(?=\s+[\"'«“„\u2018\[¿¡*_`>-]*[^\W_a-zß-öø-ÿœ]|\s+\ufffc|\s*$|(?<=[a-zà-ÿ]\.)[A-ZÀ-Þ][a-zà-ÿ])"
    r"|[\u3002\uff01\uff1f]"
)
# Before a point that ends no sentence.
_SHORT = re.compile(
    r"(?:\b(?:e\.g|i\.e|p\.\s?ex|par ex|z\.\s?B|u\.\s?a|d\.\s?h|p\.\s?ej|p\.\s?es|ad es|por ej|ex"
    r"|vs|cf|mr|mrs|dr|st|no|nos|nr|núm|bzw|ca|approx|fig|eq|vgl|inkl|ggf|evtl|usw|art"
    r"|sr|sra|sig|prof|vol|ed|al|bspw|sog|[^\W\d_])|(?<!\S)[0-9]{1,2})$",
    re.IGNORECASE,
)
# Where a paragraph, a list item or a cell begins.
_BLOCK = re.compile(r"\n\s*\n|\n(?=[ >\t]*(?:[-*+]|\d+[.)]|#{1,6})\s)|(?<=\S) ?\| ?|\s*\n\s*(?=\|)")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; a heading or a list item without a point is one, too.

    Args:
        text: The text, without code, formulas, links and placeholders.

    Example:
        >>> sentences("It is e.g. a file. Open it!")
        ['It is e.g. a file.', 'Open it!']
    """
    found = []
    for block in _BLOCK.split(text):
        start = 0
        for match in _END.finditer(block):
            inside = block[start : match.start()]
            if match[0][0] == "." and _SHORT.search(inside) and match.end() < len(block.rstrip()):
                continue
            found.append(block[start : match.end()].strip())
            start = match.end()
        found.append(block[start:].strip())
    return [sentence for sentence in found if re.search(r"\w", sentence)]
