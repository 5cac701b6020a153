"""Markdown readers: those of JupyterLab and Notebook 7 in their pages, nbconvert and pandoc."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from attacks import pandoc
from attacks.tex import foreign
from markdown_it import MarkdownIt
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from browser.chromium import Chromium
from browser.front_ends import FRONT_ENDS, served

ORACLE = Path(__file__).with_name("oracle.js").read_text("utf-8")
# VS Code's parser with all its caution off.
_COMMONMARK = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_COMMONMARK.validateLink = lambda url: True
_TIMEOUT = 120_000
# nbconvert shows a language that Pygments does not know.
_LANGUAGE = re.compile(
    r"^((?:[ >]|[-+] |\d+[.)] )*(`{3,}))[\w+#.-]*(\n(?:.*\n)*?[ >]*\2$)", re.MULTILINE
)


class Seen(NamedTuple):
    """A reader's result: the parts that could act, and the visible text."""

    harm: list[str]
    text: str


class Readers:
    """All readers, by the page of a front end with a notebook open.

    Args:
        page: Playwright's.
    """

    def __init__(self, page) -> None:
        page.set_default_timeout(_TIMEOUT)
        page.evaluate(ORACLE)
        self._page = page
        self.shown: list[str] = []  # what the page showed of the texts that were read last

    def verdicts(self, texts: Sequence[str]) -> list[dict[str, list[str]]]:
        """What of each text acts, by reader; `text` where they show different characters.

        The readers are the `page`, `nbconvert`, and `pandoc` where there is one.
        """
        page, nbconvert = self.page(texts), self.nbconvert(texts)
        self.shown = [front.text for front in page]
        others = pandoc.read(texts) if pandoc.PANDOC else [[] for _ in texts]
        verdicts = [
            {"page": front.harm, "nbconvert": export.harm, "pandoc": other}
            for front, export, other in zip(page, nbconvert, others, strict=True)
        ]
        for number in self._misread(texts, self.shown):
            verdicts[number]["text"] = [page[number].text[:200]]
        return [{reader: harm for reader, harm in verdict.items() if harm} for verdict in verdicts]

    def page(self, texts: Sequence[str]) -> list[Seen]:
        """Render texts as Markdown of trusted outputs in the front end."""
        return self._seen("texts => oracle.read(texts)", texts)

    def nbconvert(self, texts: Sequence[str]) -> list[Seen]:
        """Render texts with nbconvert."""
        return self._seen("pages => oracle.look(pages)", [*map(markdown2html_mistune, texts)])

    def _misread(self, texts: Sequence[str], shown: Sequence[str]) -> set[int]:
        """Which texts the page shows otherwise than the others do.

        It is enough that one agrees: CommonMark knows no mathematics, and nbconvert reads fewer
        tables.
        """
        different = set(range(len(texts)))
        for render in (markdown2html_mistune, _COMMONMARK.render):
            numbers = sorted(different)
            pages = [render(_LANGUAGE.sub(r"\1\3", texts[number])) for number in numbers]
            for number, seen in zip(
                numbers, self._seen("pages => oracle.look(pages)", pages), strict=True
            ):
                if _folded(seen.text) == _folded(shown[number]):
                    different.remove(number)
        return different

    def look(self, pages: Sequence[str]) -> list[list[str]]:
        """Return the parts of HTML pages that could act."""
        return [seen.harm for seen in self._seen("pages => oracle.look(pages)", pages)]

    def frames(self, outputs: Sequence[str], seconds: float) -> dict[str, object]:
        """Show HTML outputs for some seconds; return their elements, frames, and actions."""
        shown = "([outputs, seconds]) => oracle.frames(outputs, seconds)"
        return self._page.evaluate(shown, [list(outputs), seconds])

    def show(self, text: str) -> list[str]:
        """Return the problems of a text when it is shown and typeset."""
        return self._page.evaluate("text => oracle.show(text)", text)

    def load(self, *texts: str, quiet: float = 0.0) -> dict[str, float]:
        """How long the front end is busy with outputs, and how much there is then.

        Args:
            texts: The Markdown of each.
            quiet: Seconds without anything to do, after which it is taken for done.
        """
        return self._page.evaluate("([texts, quiet]) => oracle.load(texts, quiet)", [texts, quiet])

    def made(self, text: str) -> dict[str, Any]:
        """Render a text; return its elements by name, its formulas as MathML, and its words."""
        return self._page.evaluate("text => oracle.made(text)", text)

    def state(self) -> str:
        """Return the state that no text may change: macros, styles, the page's URL and elements."""
        return self._page.evaluate("() => oracle.page()")

    def _seen(self, function: str, texts: Sequence[str]) -> list[Seen]:
        found = self._page.evaluate(function, list(texts))
        return [
            Seen(
                [*each["harm"], *(part for tex in each["formulas"] for part in foreign(tex))],
                each["text"],
            )
            for each in found
        ]


@contextmanager
def opened(front_end: str) -> Iterator[Readers]:
    """Readers for a benchmark; in the end the hosts that were asked for are printed."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        home, root, profile = (Path(name, each) for each in ("home", "root", "chromium"))
        root.mkdir()
        profile.mkdir()
        chromium = Chromium(shutil.which("chromium") or "chromium", profile)
        try:
            with served(home, root) as url:
                context = playwright.chromium.connect_over_cdp(chromium.url).contexts[0]
                shown = FRONT_ENDS[front_end](context.new_page(), url, root)
                shown.load()
                shown.open("readers")
                yield Readers(shown.page)
        finally:
            print(f"hosts that were asked for: {sorted(chromium.close()) or 'none'}")


def _folded(text: str) -> str:
    """Return a text without white space, which readers keep or fold."""
    return "".join(text.split())
