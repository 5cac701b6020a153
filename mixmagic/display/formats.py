"""The forms in which an answer can be asked for and shown: one row each.

May import `completion` and what stands below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mixmagic.calls.completion import (
    Completion,
    answer_titles,
    muted_html,
    safe_bundle,
    stack,
    with_headings,
)
from mixmagic.display.bundles import Bundle, signed, tabbed, thoughts
from mixmagic.display.segments import PlainText, Segments
from mixmagic.errors import AnswerUnusable, MixmagicError
from mixmagic.structured import extract, tables
from mixmagic.text import page
from mixmagic.text.code_blocks import code_blocks, fenced
from mixmagic.text.escape import as_text, plain, preformatted
from mixmagic.text.sanitize import Closed, Sanitizer, sanitize


@dataclass(frozen=True, slots=True)
class Format:
    """One form.

    Attributes:
        instruction: What the model is told about it, behind the user's own instructions.
        render: The MIME types of one answer, the same for all; raises `AnswerUnusable` where it
            is not in this form.
        segments: What shows it while it comes; `None` if only the whole can be shown.
        parse: What the answer's text says, as a Python object: `Completion.value`. Raises
            `AnswerUnusable` or `MissingPackage`; `None` where the text is all that there is.
        remark: What the user should read below the answer, of its text.
        check: Raises `AnswerUnusable` if the text is not in this form; `parse` does so itself.
    """

    instruction: str
    render: Callable[[Completion], Bundle]
    segments: Callable[[], Segments] | None = None
    parse: Callable[[str], Any] | None = None
    remark: Callable[[str], str] | None = None
    check: Callable[[str], object] | None = None

    def whole(
        self,
        completion: Completion,
        session: str,
        *,
        tabs: bool = False,
        after: int = 0,
        with_thoughts: bool = False,
    ) -> Bundle:
        """What is shown of an answer: its text as it came, where it is not in this form.

        Args:
            completion: The answer, which may have been stopped.
            session: The footer's session total.
            tabs: Whether several answers are tabs where they can be, or one under the other.
            after: How many of several answers are shown already.
            with_thoughts: Whether the model's thoughts come first.

        Example:
            >>> FORMATS["json"].whole(completion, "$0.12")["text/plain"]
        """
        texts = (completion.excerpt or completion.text, *completion.others)
        each = [replace(completion, text=text, others=()) for text in texts]
        try:
            bodies = [self.render(answer) for answer in each]
        except (AnswerUnusable, RecursionError):  # nested too deep to be written anew
            bodies = [_text(answer) for answer in each]
        left, names = with_headings(bodies)[after:], answer_titles(len(bodies))[after:]
        body = tabbed(names, left) if tabs and len(left) > 1 else stack(left)
        if with_thoughts and completion.reasoning:
            body = stack([thoughts(completion, body), body])
        return signed(body, self.footer(completion, session))

    def footer(self, completion: Completion, session: str) -> str:
        """Return the line below an answer, with what the user should read of this form."""
        return self._remarked(completion).footer(session)

    def finished(self, completion: Completion) -> Completion:
        """The answer with its `value`.

        Args:
            completion: The whole answer.

        Raises:
            AnswerUnusable: It is not in this form; `partial` is the answer, its text untouched.
            MissingPackage: What makes the value is not installed; `partial` is the answer.

        Example:
            >>> FORMATS["json"].finished(completion).value["age"]
        """
        try:
            if self.check is not None:
                self.check(completion.text)
            if self.parse is None:
                return completion
            return replace(self._remarked(completion), value=self.parse(completion.text))
        except MixmagicError as error:
            if isinstance(error, AnswerUnusable) and completion.finish == "length":
                error = AnswerUnusable(
                    error.message, "It was cut off at its token limit: raise --max-tokens."
                )
            error.partial = completion
            raise error from None

    def _remarked(self, completion: Completion) -> Completion:
        """The answer with what the user should read below it."""
        if completion.excerpt:
            return completion  # whoever took it has said so
        remark = "" if self.remark is None else self.remark(completion.text)
        return replace(completion, notes=(*completion.notes, remark)) if remark else completion


# Rows of a table that are shown.
_ROWS = 100
_HALF = re.compile("[\ud800-\udfff]")


def _html(text: str) -> tuple[str, str]:
    """The page of an answer: its first block in HTML, or its only one without a language, or all.

    And a remark on the blocks that are left out.
    """
    blocks = code_blocks(text)
    named = [at for at, each in enumerate(blocks) if each.language.lower() in ("html", "xhtml")]
    markup = [at for at, each in enumerate(blocks) if each.code.lstrip().startswith("<")]
    found = named[:1] or markup[:1]
    if not found or text.lstrip().startswith("<"):  # a page may have fences in it
        return text, ""
    return blocks[found[0]].code, extract.position_note(found[0], len(blocks), "code blocks")


def _page(completion: Completion) -> Bundle:
    """An HTML page in a frame in which nothing of it can act."""
    frame = page.frame(_source(completion.text), f"{completion.model.name}'s page")
    return {"text/html": frame, "text/plain": plain(completion.text)}


def _source(text: str) -> str:
    """Return the page of an answer.

    Raises:
        AnswerUnusable: There is none.
    """
    source, _ = _html(text)
    if not page.is_page(source):
        raise AnswerUnusable(
            "The answer has no HTML in it.", "Ask again, or without -f html to read the answer."
        )
    return source


def _markdown_segments() -> Segments:
    return Segments(
        Sanitizer(), lambda part, final: _both({"text/markdown": part.markdown}, part, final)
    )


def _text_segments() -> Segments:
    return Segments(
        PlainText(),
        lambda part, final: _both({"text/html": preformatted(part.source)}, part, final),
    )


def _both(bundle: Bundle, part: Closed, final: bool) -> Bundle:
    """Return a segment, with its text if it does not change any more."""
    return bundle | {"text/plain": plain(part.source).strip("\n")} if final else bundle


def _text(completion: Completion) -> Bundle:
    """A text as it came."""
    text = completion.text.strip("\n")
    return {
        "text/html": preformatted(text) if text else "",
        "text/plain": plain(completion.text),
    }


def _highlighted(code: str, language: str) -> Bundle:
    """Code, highlighted in the way of its language."""
    return {"text/markdown": sanitize(fenced(code, language)), "text/plain": plain(code)}


def _code(completion: Completion) -> Bundle:
    """The answer's code alone."""
    block = extract.main_code_block(completion.text)
    if not block.code.strip():
        return safe_bundle(completion.text)
    return _highlighted(block.code, block.language)


def _json(completion: Completion) -> Bundle:
    """The answer's JSON, one item a line.

    Not as `application/json`: JupyterLab would show that instead, without the footer.
    """
    value = extract.loads(completion.text)
    pretty = json.dumps(value, indent=2, ensure_ascii=False)
    # Half a surrogate pair cannot be sent to the front end.
    pretty = pretty if pretty.isascii() or not _HALF.search(pretty) else json.dumps(value, indent=2)
    return _highlighted(pretty, "json")


def _latex(completion: Completion) -> Bundle:
    """The answer's formulas, set."""
    return safe_bundle(extract.latex(completion.text)) | {"text/plain": plain(completion.text)}


def _table(completion: Completion) -> Bundle:
    """The answer's table."""
    found = tables.text_table(completion.text)
    rows, more = found.rows[:_ROWS], len(found.rows) - _ROWS

    def line(cells: tuple[str, ...], tag: str) -> str:
        inside = (as_text(plain(cell)) for cell in cells)
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in inside) + "</tr>"

    head, body = line(found.columns, "th"), "".join(line(row, "td") for row in rows)
    rest = f"… and {more:,} rows more" if more > 0 else ""
    return {
        # Cells are text, not mathematics.
        "text/html": f'<table class="mathjax_ignore tex2jax_ignore"><thead>{head}</thead>'
        f"<tbody>{body}</tbody></table>{muted_html(rest) if rest else ''}",
        "text/plain": plain(completion.text),
    }


def _other_tables(text: str) -> str:
    """A remark on the tables that are left out."""
    try:
        others = tables.text_table(text).others
    except AnswerUnusable:
        return ""
    return f"the first of {others + 1} tables" if others else ""


FORMATS: Mapping[str, Format] = {
    "markdown": Format("", lambda answer: safe_bundle(answer.text), _markdown_segments),
    "text": Format("Answer in plain text, without any markup.", _text, _text_segments),
    "code": Format(
        "Answer with one fenced code block alone; explain in its comments what needs it.",
        _code,
        _markdown_segments,
        extract.code,
        extract.other_blocks_note,
    ),
    "json": Format(
        "Answer with JSON alone; explain nothing.",
        _json,
        parse=extract.loads,
        remark=extract.other_values_note,
    ),
    "html": Format(
        "Answer with HTML alone, with its styles inside it and without scripts; explain nothing.",
        _page,
        check=_source,
        remark=lambda text: _html(text)[1],
    ),
    "latex": Format(
        "Answer in LaTeX mathematics: formulas alone, between \\[ and \\]; no document.",
        _latex,
        parse=extract.latex,
    ),
    "table": Format(
        "Answer with one GitHub Markdown table alone; numbers without thousands separators and"
        " without units, which belong into the column's head.",
        _table,
        parse=tables.data_frame,
        remark=_other_tables,
    ),
}
