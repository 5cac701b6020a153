"""The forms in which an answer can be asked for and shown: one row each.

May import `completion` and what stands below it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mixmagic import defuse
from mixmagic.completion import Completion, quiet

Bundle = dict[str, str]  # MIME types and what is shown for each


@dataclass(frozen=True, slots=True)
class Format:
    """One form.

    Attributes:
        instruction: What the model is told about it, behind the user's own instructions.
        whole: The MIME types of a finished answer and its footer's session total.
        piece: Those of a piece of one while it comes; `None` where pieces cannot be shown.
    """

    instruction: str
    whole: Callable[[Completion, str], Bundle]
    piece: Callable[[str], Bundle] | None = None


def _markdown(piece: str) -> Bundle:
    """A piece of Markdown."""
    return {"text/markdown": defuse.markdown(piece), "text/plain": defuse.plain(piece)}


# Nothing is fetched, sent or run: no script, no form, no picture but those in the page itself.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_HEAD = (
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    '<meta http-equiv="x-dns-prefetch-control" content="off">'
)
# A page inside the page is not loaded, but the browser calls its server before it knows.
_FRAMES = re.compile(
    r"<(?=/?(?:i?frame|frameset|object|embed|portal|fencedframe)\b)", re.IGNORECASE
)
_FENCED = re.compile(r"\s*```[\w-]*\n(.*?)\n?(?:```\s*)?$", re.DOTALL)


def _page(completion: Completion, session: str) -> Bundle:
    """An HTML page in a frame in which nothing of it can act."""
    fenced = _FENCED.match(completion.text)
    page = html.escape(_HEAD + _FRAMES.sub("&lt;", fenced[1] if fenced else completion.text))
    name = html.escape(completion.model.name)
    frame = (
        f'<iframe sandbox srcdoc="{page}" title="{name}\'s page" style="width:'
        " 100%; height: 24em; resize: vertical; border: 1px solid rgba(128, 128, 128, 0.4);"
        ' background: white"></iframe>'
    )
    return {
        "text/html": frame + quiet(completion.footer(session)),
        "text/plain": completion.bundle(session)["text/plain"],
    }


FORMATS: Mapping[str, Format] = {
    "markdown": Format("", Completion.bundle, _markdown),
    "html": Format(
        "Answer with HTML alone, with its styles inside it and without scripts; explain nothing.",
        _page,
    ),
}
