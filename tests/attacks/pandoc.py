"""pandoc as nbconvert uses it: the parts of answers that act in LaTeX and reStructuredText."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from nbconvert.filters import citation2latex, strip_files_prefix

from attacks.tex import foreign

PANDOC = shutil.which("pandoc")
_SCRIPT = Path(__file__).with_name("pandoc.lua")
# As in nbconvert's templates for outputs.
_LATEX, _RST = "markdown+tex_math_double_backslash", "markdown"
_ENVIRONMENT = re.compile(r"\\begin\{([a-z]+\*?)\}.*\\end\{\1\}\Z", re.DOTALL)
_ADDRESS = re.compile(r"(?:https?://[^\s/?#@\\\"<>]+(?:[/?#]|$)|mailto:|#)", re.IGNORECASE)
# What begins a line of reStructuredText and acts, and what pandoc itself writes of code and
# headings.
_DIRECTIVE = re.compile(r"^[ \t]*(?:\|.*\|[ \t]+|\|[ \t]+(?=.*\|$))?(?:\.\. |__ ).*", re.MULTILINE)
_OWN = re.compile(r"\s*\.\. (?:code:: [\w+#.-]+|rubric:: .*|_[\w.-]+:)$")
# A link or a role: text between backticks that are not escaped.
_MARKED = re.compile(
    r"(?<![\\\w`])(?::[a-z-]+:)?`(?=[^\s`])(?:\\.|[^`\\\n]|\n(?! *\n))*?(?<![\s\\])`_{0,2}(?![\w`])"
)


def _harm(items: Iterable[str], *, latex: bool) -> list[str]:
    """Return the parts of a text that act, from the items that the script wrote."""
    found: list[str] = []
    for kind, _, what in (item.partition(" ") for item in items):
        if kind == "raw":
            form, _, text = what.partition(":")
            if (form, text) in (("html", "<code>"), ("html", "</code>")):
                continue
            inert = form == "tex" and _ENVIRONMENT.match(text) and not foreign(text)
            found += [] if inert else [f"raw {what[:80]}"]
        elif kind == "formula":
            found += [f"formula {each}" for each in foreign(what)]
        elif kind == "link":
            found += [] if _ADDRESS.match(what) else [f"link {what[:80]}"]
        elif kind == "rst":
            lines = [] if latex else _DIRECTIVE.findall(what)
            found += [f"rst {line[:80]}" for line in lines if not _OWN.match(line)]
            marked = [] if latex else _MARKED.findall(what)
            found += [f"rst {each[:80]}" for each in marked]
        elif kind:
            found.append(f"{kind} {what[:80]}")
    return found


def _read(texts: Sequence[str], form: str) -> list[list[str]]:
    """The items of each text."""
    assert PANDOC
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace") as file:
        file.write("\1".join(text.replace("\1", " ") for text in texts))
        file.flush()
        command = [PANDOC, "-f", "markdown", "-t", "native", "-L", str(_SCRIPT), os.devnull]
        env = {**os.environ, "IN": file.name, "FORMAT": form}
        ran = subprocess.run(command, env=env, capture_output=True, check=True, timeout=300)
    found = [text.split("\2") for text in ran.stdout.decode("utf-8", "replace").split("\1")]
    assert len(found) == len(texts), "the script wrote of each text"
    return found


def _cited(text: str) -> str:
    """Convert citations as nbconvert does, in Markdown that it takes for HTML."""
    try:
        return citation2latex(text)
    except AssertionError as error:  # of Python's parser of HTML: there is no export then
        return f"no export: {error}"


def read(texts: Sequence[str]) -> list[list[str]]:
    """Return the parts of each text that act in the LaTeX and reStructuredText of nbconvert."""
    cited = [_cited(text) for text in texts]
    prepared = [strip_files_prefix(text) for text in cited]
    latex = [_harm(items, latex=True) for items in _read(prepared, _LATEX)]
    rst = [_harm(items, latex=False) for items in _read(texts, _RST)]
    cites = [[] if same == text else ["citation"] for same, text in zip(cited, texts, strict=True)]
    return [list(dict.fromkeys([*a, *b, *c])) for a, b, c in zip(latex, rst, cites, strict=True)]
