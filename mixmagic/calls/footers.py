"""Parts of the lines below answers, and of progress, that differ between two runs of a notebook.

Times, prices and the origin of an answer go, so that a notebook that was saved with its first, paid
answers equals its replay. The tokens, the reason why an answer ended and the notes stay.
"""

from __future__ import annotations

import re

_DOLLARS = r"(?:\$|<span>&#36;</span>)[\d,.]+"
_SAVED = rf"(?:, saved (?:≈ )?{_DOLLARS})?"

# Regular expressions and their replacements, as nbval takes them.
VARYING = {
    r" · first token [\d,.]+ s\b": "",
    r" · [\d,]+ tokens/s": "",
    r" · cached(?: just now| [\d,]+ (?:minute|hour|day)s? ago)?" + _SAVED: "",
    r" · (?:recorded \d{4}-\d\d-\d\d|replayed)" + _SAVED: "",
    rf" · session (?:unknown|(?:at least )?{_DOLLARS}(?: of {_DOLLARS})?)": "",
    rf"( tokens| thinking) · (?:free|price unknown|(?:[≈≤] )?{_DOLLARS})(?= · |<|\s|$)": r"\1",
    r"\bThought for [\d,]+ s\b": "Thought",
    # The progress of a job over many rows.
    r"( (?:row|text)s?) in (?:[\d.]+ s|\d+(?::\d\d)+)(?= · |\.|<|\s|$)": r"\1",
    rf"( (?:row|text)s?) · (?:price unknown|(?:at least )?{_DOLLARS})(?= · |\.|<|\s|$)": r"\1",
    r" · [\d,]+ answered before": "",
    # The line below a translation.
    rf" · [\d,]+ calls?(?: · (?:free|price unknown|{_DOLLARS}))?(?= · |<|\s|$)": "",
}


def without_varying(text: str) -> str:
    """Return a text without what differs from run to run.

    Example:
        >>> without_varying("8x7b · 9 → 2 tokens · $0.0001 · first token 0.31 s · session $0.12")
        '8x7b · 9 → 2 tokens'
    """
    for regex, replacement in VARYING.items():
        text = re.sub(regex, replacement, text)
    return text
