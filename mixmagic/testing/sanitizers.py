"""Patterns for what differs between two runs of a notebook in the footers of its answers.

The tokens, the reason why an answer ended and the notes stay. Times, prices and the origin of an
answer go, so that a notebook that was saved with its first, paid answers equals its replay.
"""

from __future__ import annotations

_DOLLARS = r"(?:\$|<span>&#36;</span>)[\d,.]+"
_SAVED = rf"(?:, saved (?:≈ )?{_DOLLARS})?"

# Regular expressions and their replacements, in nbval's form.
SANITIZERS = {
    r" · first token [\d,.]+ s\b": "",
    r" · [\d,]+ tokens/s": "",
    r" · cached(?: just now| [\d,]+ (?:minute|hour|day)s? ago)?" + _SAVED: "",
    r" · (?:recorded \d{4}-\d\d-\d\d|replayed)" + _SAVED: "",
    rf" · session (?:unknown|(?:≥ )?{_DOLLARS}(?: of {_DOLLARS})?)": "",
    rf"( tokens| thinking) · (?:free|price unknown|(?:[≈≤] )?{_DOLLARS})(?= · |<|$)": r"\1",
    r"\bThought for [\d,]+ s\b": "Thought",
}
