"""The thoughts of a model, folded above its answer."""

from __future__ import annotations

from collections.abc import Iterable

from mixmagic.calls.completion import Completion
from mixmagic.display.segments import Bundle
from mixmagic.text.escape import as_text, preformatted
from mixmagic.text.sanitize import sanitize

# Characters of the last thought that are shown while a model thinks.
_LAST_WORDS = 60
_QUIET = 'style="opacity: 0.65; font-size: 85%"'


def thoughts(completion: Completion, kinds: Iterable[str]) -> Bundle:
    """Return the thoughts in these MIME types, folded if they can fold."""
    opening = f"<details {_QUIET}><summary>{as_text(completion.thought)}</summary>"
    block = {
        "text/markdown": f"{opening}\n\n{sanitize(completion.reasoning)}\n\n</details>",
        "text/html": f"{opening}{preformatted(completion.reasoning)}</details>",
        "text/plain": f"({completion.thought}.)",
    }
    return {kind: block[kind] for kind in kinds}


def thinking(reasoning: str, seconds: float) -> str:
    """Return what is shown while a model thinks: for how long, and its last words.

    Example:
        >>> thinking("First, the regions.", 12.3)
        'thinking … 12 s · First, the regions.'
    """
    words = " ".join(reasoning[-4 * _LAST_WORDS :].split())
    if len(words) > _LAST_WORDS:
        words = "…" + words[-_LAST_WORDS:].partition(" ")[2]
    return f"thinking … {seconds:.0f} s · {words}"
