"""Replace each `{{ expression }}` in a prompt by its value, as data."""

from __future__ import annotations

import builtins
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from mixmagic.calls.image_tokens import USUAL
from mixmagic.errors import BadArguments, MixmagicError, did_you_mean, one_line
from mixmagic.prompting.expressions import LITERAL_BRACES_HINT, Expression, Literal, parse_prompt
from mixmagic.prompting.marks import Marks
from mixmagic.prompting.present import excerpts, presents_itself
from mixmagic.prompting.present.media import images, names_image
from mixmagic.prompting.present.rich import unwrapped
from mixmagic.prompting.truncate import CountTokens, Excerpt, Excerpts, fair_shares

Evaluate = Callable[[str], object]
_T = TypeVar("_T")

# Characters of an expression in messages, and in the footer.
_IN_MESSAGE, _IN_FOOTER = 80, 40
# Starts of the lines that end a code block, which a table may be in.
_FENCES = ("```", "~~~")
# Tokens of an unknown context, and the most that a chat template adds.
_CONTEXT, _TEMPLATE = 32_768, 128


class Expanded(NamedTuple):
    """A text whose expressions are replaced.

    Attributes:
        text: The text with the values.
        notes: For the footer: `df cut to 20 of 1,000,000 rows`, `photo scaled down from
            4000×3000`, `"a.png" sent as text: it names no PNG, JPEG, GIF or WebP file that
            is there`.
    """

    text: str
    notes: tuple[str, ...]


def expand(
    texts: Sequence[str],
    evaluate: Evaluate,
    *,
    names: Iterable[str],
    limit: int,
    count: CountTokens,
    marks: Marks,
) -> list[Expanded]:
    r"""Replace each `{{ expression }}` in a call's texts by its value, as `present` writes it.

    Text without `{{` stays as it is, and so do single braces, three or more in a row, a `{{` that
    never closes, and `{{}}`; `\{{` loses its backslash: see `expressions`. Values are data: braces
    in them are not expressions. A value of several lines, such as a table, is set apart from the
    text around it by blank lines; a string is inserted as it is. If not all values fit, the small
    ones stay whole and the others share the rest. Images are never cut. Nothing is evaluated
    unless every expression in every text is valid Python.

    Args:
        texts: For example the system prompt and the prompt, in the order of their evaluation.
        evaluate: Evaluates the source of one expression.
        names: All defined names, for the hint about an unknown one.
        limit: Tokens that all values in all texts may take together.
        count: Counts the tokens of a text.
        marks: Takes the images among the values; their marks are in the texts.

    Returns:
        Each text with its values, and notes about cuts and about names of missing images.

    Raises:
        BadArguments: An expression is not valid Python, before any is evaluated; or evaluating one
            failed; or a value is neither text nor an image.
        MixmagicError: Raised by an expression.

    Example:
        >>> texts, marks = ["Be {{ 1 }}.", "{{ 6 * 7 }}?"], Marks()
        >>> both = expand(texts, eval, names=(), limit=9, count=len, marks=marks)
        >>> [one.text for one in both]
        ['Be 1.', '42?']
    """
    parsed = [list(parse_prompt(text)) for text in texts]
    known = list(names)
    values = [
        _Value(part, evaluate, known, limit=limit, count=count, marks=marks)
        for parts in parsed
        for part in parts
        if isinstance(part, Expression)
    ]
    limit -= sum(value.images for value in values) * USUAL
    wanted = [0 if value.images else count(value.excerpt.text) for value in values]
    if sum(wanted) > limit:
        for value, share in zip(values, fair_shares(wanted, limit), strict=True):
            value.cut(share, count)
    following = iter(values)
    return [_fill(parts, following) for parts in parsed]


def _fill(parts: list[Literal | Expression], values: Iterator[_Value]) -> Expanded:
    """Join the parts of one text; its expressions take the next values."""
    text, notes = _Text(), []
    for part in parts:
        if isinstance(part, Literal):
            text.add(part.text)
            continue
        value = next(values)
        text.add(value.excerpt.text, is_block=value.is_block)
        if note := value.note:
            notes.append(f"{one_line(part.text, _IN_FOOTER)} {note}")
    return Expanded("".join(text.pieces), tuple(notes))


class _Text:
    """A text in which blocks are set apart by blank lines, and tables also from the next line.

    Attributes:
        pieces: Its pieces, in order.
    """

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._line_has_text = self._ends_block = False
        self._lines_below = -1  # line breaks since the last row of a table; -1 if there is none

    def add(self, text: str, *, is_block: bool = False) -> None:
        """Add a piece; a block on a line of its own."""
        first, _, _ = text.partition("\n")
        if self._line_has_text and first.strip() and (is_block or self._ends_block):
            self.pieces[-1] = self.pieces[-1].rstrip(" \t")
            text = "\n\n" + text.lstrip(" \t")
        text = self._below_table(text)
        if is_block and text.rpartition("\n")[2].startswith("|"):
            self._lines_below = 0
        self.pieces.append(text)
        _, line_break, last = text.rpartition("\n")
        self._line_has_text = bool(last.strip()) or (self._line_has_text and not line_break)
        self._ends_block = is_block or (self._ends_block and not text.strip())

    def _below_table(self, text: str) -> str:
        """Return a text, after a blank line if it would be one more row of the table above."""
        if self._lines_below < 0:
            return text
        above, line_break, below = text.partition("\n")
        if self._lines_below:
            above, line_break, below = "", "", text
        elif above.strip() or not line_break:
            return text
        self._lines_below = 1
        line, ends, _ = below.partition("\n")
        if line.strip() or ends:
            self._lines_below = -1
        is_row = line.strip() and not line.lstrip().startswith(_FENCES)
        return f"{above}{line_break}\n{below}" if is_row else text


class _Value:
    """The value of one expression, presented at once: a later expression may change it.

    Attributes:
        excerpt: Its text, or the marks of its images.
        images: The number of images that it is.
        is_block: True if it has several lines, and is neither a string nor images.
    """

    def __init__(
        self,
        expression: Expression,
        evaluate: Evaluate,
        names: list[str],
        *,
        limit: int,
        count: CountTokens,
        marks: Marks,
    ) -> None:
        self._expression = expression
        self._names = names
        self._kind = ""  # the type of the value, once it is there
        value = self._run(lambda: evaluate(expression.source))
        self._kind = type(value).__name__
        name = one_line(expression.text, _IN_MESSAGE)
        is_string = issubclass(type(value), str)  # a lazy value's `__class__` may raise
        if not presents_itself(value):
            value = self._run(lambda: unwrapped(value))
        pictures = self._run(lambda: None if presents_itself(value) else images(value, name))
        self.images, self.is_block = len(pictures or ()), False
        self._lacks_file = not pictures and self._run(lambda: names_image(value))
        if pictures:
            text = "\n".join(marks.add(each.image) for each in pictures)
            before = (each.scaled_from for each in pictures if each.scaled_from)
            scaled = ", ".join(f"{width}×{height}" for width, height in before)
            self.excerpt: Excerpt = Excerpt(text, scaled)
            return
        self._excerpts: Excerpts = self._run(lambda: excerpts(value, name))
        self.cut(limit, count)
        self.is_block = "\n" in self.excerpt.text and not is_string

    @property
    def note(self) -> str:
        """The note for the footer; empty if the value is whole."""
        if self._lacks_file:
            return "sent as text: it names no PNG, JPEG, GIF or WebP file that is there"
        cut = self.excerpt.cut
        return cut and f"{'scaled down from' if self.images else 'cut to'} {cut}"

    def cut(self, limit: int, count: CountTokens) -> None:
        """Cut the text to so many tokens; images stay whole."""
        if self.images:
            return
        self.excerpt = self._run(lambda: self._excerpts.within(limit, count))

    def _run(self, step: Callable[[], _T]) -> _T:
        """Return the result of a step; turn an exception of the user's code into ours."""
        try:
            return step()
        except MixmagicError:
            raise
        except Exception as error:  # noqa: BLE001  # the user's code may raise anything
            problem = self._problem(error)
        raise problem  # outside of the handler, so that nothing is chained to it

    def _problem(self, error: Exception) -> BadArguments:
        """Return an exception of the user's code as an error of two lines."""
        source = self._expression.text
        expression = f"`{{{{ {one_line(source, _IN_MESSAGE)} }}}}`"
        name = error.name if isinstance(error, NameError) else None
        # An unknown name inside of a function that was called is that function's failure.
        if name and name in re.findall(r"\w+", source) and name not in self._names:
            similar = similar_variables(name, [*self._names, *dir(builtins)])
            return BadArguments(
                f"{expression}: there is no variable {name!r}.", f"{similar}{LITERAL_BRACES_HINT}"
            )
        # Works even if the exception's own `__str__` raises.
        message = "".join(traceback.format_exception_only(error)).strip()
        if self._kind:
            return BadArguments(
                f"{expression} cannot be inserted: {message}",
                f"Its type is {self._kind}: insert one of its attributes, or the result of a"
                " method.",
            )
        return BadArguments(
            f"{expression} failed: {message}",
            "Run the expression in a cell of its own to see where it fails.",
        )


def values_limit(
    texts: Iterable[str], *, context: int | None, answer: int | None, count: CountTokens
) -> int:
    """Return the tokens that all values in a call's texts may take together.

    This reserves more for the answer than `chats.prompt_limit`: a value that is cut still tells
    most of its content, while an answer or a conversation that does not fit is lost. An unknown
    context counts as 32,768 tokens, since a value can have any length.

    Args:
        texts: The texts before expansion.
        context: Tokens of the model's context; `None` if unknown.
        answer: Tokens of the answer; `None` means a quarter of the context. At most half of it.
        count: Counts the tokens of a text.

    Returns:
        Tokens, at least 0.

    Example:
        >>> values_limit(["Explain {{ df }}."], context=4096, answer=1000, count=len)
        2951
    """
    context = context or _CONTEXT
    answer = min(answer or context // 4, context // 2)
    return max(context - answer - _TEMPLATE - sum(map(count, texts)), 0)


def similar_variables(name: str, names: Iterable[str]) -> str:
    """Start a hint with up to three similar names; private ones only if `name` is private.

    Example:
        >>> similar_variables("dff", ["df", "x", "_dff"])
        'Did you mean df? '
    """
    known = (other for other in names if name.startswith("_") or not other.startswith("_"))
    return did_you_mean(name, known, 3)
