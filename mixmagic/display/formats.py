"""The output formats of `-f`: one row each."""

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
from mixmagic.display.bundles import Bundle, in_tabs, thoughts_bundle, with_footer
from mixmagic.display.segments import PlainText, Segments
from mixmagic.errors import AnswerUnusable, BadArguments, MixmagicError, counted, did_you_mean
from mixmagic.structured import extract, tables
from mixmagic.text import page
from mixmagic.text.code_blocks import code_blocks, fenced
from mixmagic.text.escape import as_text, plain, preformatted
from mixmagic.text.sanitize import Closed, Sanitizer, sanitize


@dataclass(frozen=True, slots=True)
class Format:
    """One output format.

    Attributes:
        instruction: Appended to the system prompt.
        render: Returns the bundle of one answer, with the same MIME types for all; raises
            `AnswerUnusable` if the answer is not in this format.
        segments: Shows the answer while it streams; `None` if only a whole answer can be shown.
        parse: Converts the text to a Python object, `Completion.value`; raises `AnswerUnusable` or
            `MissingPackage`. `None` if the text has no other value.
        note: Returns a note about the text for the footer.
        check: Raises `AnswerUnusable` if the text is not in this format; `parse` does so itself.
    """

    instruction: str
    render: Callable[[Completion], Bundle]
    segments: Callable[[], Segments] | None = None
    parse: Callable[[str], Any] | None = None
    note: Callable[[str], str] | None = None
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
        """Return the bundle of an answer; its plain text if it is not in this format.

        Args:
            completion: The answer, which may have been stopped.
            session: The session total, for the footer.
            tabs: True to show several answers as tabs; otherwise they stand below each other.
            after: Number of answers that are shown already.
            with_thoughts: True to put the model's thoughts first.

        Example:
            >>> FORMATS["json"].whole(completion, "$0.12")["text/plain"]
        """
        texts = (completion.excerpt or completion.text, *completion.others)
        answers = [replace(completion, text=text, others=()) for text in texts]
        try:
            bodies = [self.render(answer) for answer in answers]
        except (AnswerUnusable, RecursionError):  # nested too deeply for the sanitizer
            bodies = [_text_bundle(answer) for answer in answers]
        rest, names = with_headings(bodies)[after:], answer_titles(len(bodies))[after:]
        body = in_tabs(names, rest) if tabs and len(rest) > 1 else stack(rest)
        if with_thoughts and completion.reasoning:
            body = stack([thoughts_bundle(completion, body), body])
        return with_footer(body, self.footer(completion, session))

    def footer(self, completion: Completion, session: str) -> str:
        """Return the footer of an answer, with this format's note."""
        return self._with_note(completion).footer(session)

    def finished(self, completion: Completion) -> Completion:
        """Return the answer with its `value`.

        Raises:
            AnswerUnusable: It is not in this format; `partial` is the unchanged answer.
            MissingPackage: A package that `parse` needs is missing; `partial` is the answer.

        Example:
            >>> FORMATS["json"].finished(completion).value["age"]
        """
        try:
            if self.check is not None:
                self.check(completion.text)
            if self.parse is None:
                return completion
            return replace(self._with_note(completion), value=self.parse(completion.text))
        except MixmagicError as error:
            if isinstance(error, AnswerUnusable):
                error = extract.explained(error, completion)
            error.partial = completion
            raise error from None

    def _with_note(self, completion: Completion) -> Completion:
        if completion.excerpt:
            return completion  # the schema's notes say it
        note = "" if self.note is None else self.note(completion.text)
        return replace(completion, notes=(*completion.notes, note)) if note else completion


# Rows of a table that are shown.
_ROWS = 100
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _find_html(text: str) -> tuple[str, str]:
    """Return the page of an answer, and a note about omitted code blocks.

    That is the first block in HTML, or else the first one that begins with `<`, or the whole text.
    """
    blocks = code_blocks(text)
    named = [i for i, block in enumerate(blocks) if block.language.lower() in ("html", "xhtml")]
    markup = [i for i, block in enumerate(blocks) if block.code.lstrip().startswith("<")]
    found = named[:1] or markup[:1]
    if not found or text.lstrip().startswith("<"):  # a page may contain code blocks
        return text, ""
    return blocks[found[0]].code, extract.position_note(found[0], len(blocks), "code blocks")


def _page_bundle(completion: Completion) -> Bundle:
    """Return an HTML page in a frame in which it can neither run scripts nor load anything."""
    frame = page.frame(_html_source(completion.text), f"{completion.model.name}'s page")
    return {"text/html": frame, "text/plain": plain(completion.text)}


def _html_source(text: str) -> str:
    """Return the page of an answer; raise `AnswerUnusable` if there is none."""
    source, _ = _find_html(text)
    if not page.is_page(source):
        raise AnswerUnusable(
            "The answer has no HTML in it.", "Ask again, or without -f html to read the answer."
        )
    return source


def _markdown_segments() -> Segments:
    return Segments(
        Sanitizer(),
        lambda part, final: _segment_bundle({"text/markdown": part.markdown}, part, final),
    )


def _text_segments() -> Segments:
    return Segments(
        PlainText(),
        lambda part, final: _segment_bundle({"text/html": preformatted(part.source)}, part, final),
    )


def _segment_bundle(bundle: Bundle, part: Closed, final: bool) -> Bundle:
    """Return a segment, with its plain text if it cannot change any more."""
    return bundle | {"text/plain": plain(part.source).strip("\n")} if final else bundle


def _text_bundle(completion: Completion) -> Bundle:
    """Return an answer's unchanged text."""
    text = completion.text.strip("\n")
    return {
        "text/html": preformatted(text) if text else "",
        "text/plain": plain(completion.text),
    }


def _highlighted(code: str, language: str) -> Bundle:
    return {"text/markdown": sanitize(fenced(code, language)), "text/plain": plain(code)}


def _code_bundle(completion: Completion) -> Bundle:
    """Return only the code of an answer."""
    block = extract.main_code_block(completion.text)
    if not block.code.strip():
        return safe_bundle(completion.text)
    return _highlighted(block.code, block.language)


def _json_bundle(completion: Completion) -> Bundle:
    """Return the JSON of an answer, one item a line.

    Not as `application/json`, which JupyterLab would show alone, without the footer.
    """
    value = extract.loads(completion.text)
    pretty = json.dumps(value, indent=2, ensure_ascii=False)
    if not pretty.isascii() and _LONE_SURROGATE.search(pretty):  # a front end cannot receive it
        pretty = json.dumps(value, indent=2)
    return _highlighted(pretty, "json")


def _latex_bundle(completion: Completion) -> Bundle:
    """Return the formulas of an answer, to be typeset."""
    return safe_bundle(extract.latex(completion.text)) | {"text/plain": plain(completion.text)}


def _table_bundle(completion: Completion) -> Bundle:
    """Return the table of an answer."""
    table = tables.text_table(completion.text)
    rows, more = table.rows[:_ROWS], len(table.rows) - _ROWS

    def line(cells: tuple[str, ...], tag: str) -> str:
        inside = (as_text(plain(cell)) for cell in cells)
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in inside) + "</tr>"

    head, body = line(table.columns, "th"), "".join(line(row, "td") for row in rows)
    rest = f"… and {counted(more, 'more row')}" if more > 0 else ""
    return {
        # Dollars in cells do not delimit formulas.
        "text/html": f'<table class="mathjax_ignore tex2jax_ignore"><thead>{head}</thead>'
        f"<tbody>{body}</tbody></table>{muted_html(rest) if rest else ''}",
        "text/plain": plain(completion.text),
    }


def _other_tables_note(text: str) -> str:
    try:
        others = tables.text_table(text).others
    except AnswerUnusable:
        return ""
    return extract.position_note(0, others + 1, "tables")


FORMATS: Mapping[str, Format] = {
    "markdown": Format("", lambda answer: safe_bundle(answer.text), _markdown_segments),
    "text": Format("Answer in plain text, without any markup.", _text_bundle, _text_segments),
    "code": Format(
        "Answer with one fenced code block alone; explain in its comments what needs it.",
        _code_bundle,
        _markdown_segments,
        extract.code,
        extract.other_blocks_note,
    ),
    "json": Format(
        "Answer with JSON alone; explain nothing.",
        _json_bundle,
        parse=extract.loads,
        note=extract.other_values_note,
    ),
    "html": Format(
        "Answer with HTML alone, with its styles inside it and without scripts; explain nothing.",
        _page_bundle,
        check=_html_source,
        note=lambda text: _find_html(text)[1],
    ),
    "latex": Format(
        "Answer in LaTeX mathematics: formulas alone, between \\[ and \\]; no document.",
        _latex_bundle,
        parse=extract.latex,
    ),
    "table": Format(
        "Answer with one GitHub Markdown table alone; numbers without thousands separators and"
        " without units, which belong into the column's head.",
        _table_bundle,
        parse=tables.data_frame,
        note=_other_tables_note,
    ),
}


def format_named(name: str) -> Format:
    """Return a format by its name.

    Raises:
        BadArguments: There is no such format.
    """
    if name in FORMATS:
        return FORMATS[name]
    raise BadArguments(
        f"There is no format {name!r:.40}.",
        f"{did_you_mean(name, FORMATS)}Formats are {', '.join(FORMATS)}.",
    )
