"""The Markdown that the packages of this environment ship: READMEs, changelogs, licenses."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

_CODE = (
    r"^(?P<fence> *(?:`{3,}|~{3,}))[^\n]*\n(?:.*?\n)??\s*(?P=fence)[`~]*[ \t]*$"
    r"|(?P<ticks>`+)(?!`)[^`].*?(?<!`)(?P=ticks)(?!`)"
)
_LABEL = r"(?:[^\[\]\\]|\\.|\[[^\[\]]*\])*"
_TARGET = (
    r"\(\s*(?P<{0}><[^<>\n]*>|[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)"
)
_PARTS = re.compile(
    rf"(?P<code>{_CODE})"
    r"|(?P<kept>\\.|<code>[^<>`]*</code>|<(?:https?://|mailto:)[^\s<>]*>|<[\w.+-]+@[\w-]+(?:\.[\w-]+)+>)"
    rf"|(?P<referred>(?<=\[)!\[(?P<outer>{_LABEL})\]\[[^\]]*\]|!\[(?P<words>{_LABEL})\](?=\[))"
    rf"|(?P<picture>!\[(?P<alt>{_LABEL})\]{_TARGET.format('source')})"
    rf"|(?P<linked>\[!\[(?P<inner>{_LABEL})\]{_TARGET.format('a')}\]{_TARGET.format('b')})"
    rf"|(?P<local>\[(?P<label>{_LABEL})\](?!\(\s*<?(?:https?:|mailto:|\#)){_TARGET.format('path')})"
    r"|(?P<tag><(?=[A-Za-z/!?]))",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_WEB = re.compile(r"https?://|mailto:|#", re.IGNORECASE)


def documents() -> dict[str, str]:
    """All of them, by the package's name or the file's."""
    found: dict[str, str] = {}
    for package in distributions():
        name = package.metadata["Name"]
        if "markdown" in (package.metadata["Description-Content-Type"] or ""):
            found[name] = str(package.metadata.get_payload() or package.metadata["Description"])
        for file in package.files or ():
            path = Path(str(package.locate_file(file)))
            if path.suffix == ".md" and path.exists():
                found[str(file)] = path.read_text("utf-8", "replace")
    return {name: text for name, text in found.items() if text.strip()}


def without_html(text: str) -> str:
    """A document as it is meant to be shown: its HTML as text, its pictures and local links named.

    Code is left alone. A picture is a link to it; what is not on the web is named in brackets.
    """
    return _PARTS.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    if match["code"] or match["kept"]:
        return match[0]
    if match["tag"]:
        return "&lt;"
    if match["linked"]:
        return _named(f"image: {match['inner']}" if match["inner"] else "image", match["b"])
    if match["referred"]:
        words = match["words"] if match["words"] is not None else match["outer"]
        inside = match["outer"] is not None
        return f"image: {words}" if inside else f"[image: {words}]"
    if match["picture"]:
        return _named(f"image: {match['alt']}" if match["alt"] else "image", match["source"])
    return _named(without_html(match["label"]), match["path"])


def _named(label: str, target: str) -> str:
    target = target.strip("<>")
    if not target:
        return label
    return f"[{label}]({target})" if _WEB.match(target) else f"{label} ({target})"
