"""Separates the thoughts in an answer from its text. No I/O.

Models think between tags (`<think>`, `[THINK]`, …) or in the channels of OpenAI's harmony format.
If a server does not separate the thoughts, they are in the text; if the chat template has the
opening tag, only the closing one is. An opening tag counts at the beginning of a line, but not in a
code block; a closing tag counts unless it is between quotation marks or backticks.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing

from mixmagic.backends import lone_tags
from mixmagic.backends.lone_tags import FENCE, PAIRS
from mixmagic.calls import tokens
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta, Request, Stream
from mixmagic.errors import MixmagicError, Stopped

# With tags that may also be data: they count only at the beginning of an answer.
_FIRST_PAIRS = PAIRS | {
    "<thought>": "</thought>",
    "<thoughts>": "</thoughts>",
    "<reasoning>": "</reasoning>",
}
_HEADS = ("<|start|>", "<|channel|>")
_ENDS = ("<|end|>", "<|return|>", "<|call|>", *_HEADS)
_LONGEST_HEAD = 250
_HEAD = re.compile(
    r" {0,3}(?=<\|(?:start|channel)\|>)(?:<\|start\|>(?P<role>[^<\n]{0,80}))?"
    r"(?:<\|channel\|>(?P<channel>[^<\n]{0,80}))?(?:<\|constrain\|>[^<\n]{0,40})?<\|message\|>"
)
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([^\s<]+)")
_HEAD_BEGUN = re.compile(r" {0,3}<\|(?:start|channel)\|>[^\n]*\Z")
_BLANK, _SPACE = re.compile(r"[ \t]*"), re.compile(r"\s*")
_LINE_END = re.compile(r"[ \t]*(?:\r\n?|\n)")
_LONGEST_LINE = 200  # characters of a line that may begin or end a code block
_QUOTES = "\"'`"


def _pattern(before: str, words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(f"{before}({'|'.join(map(re.escape, words))})", re.IGNORECASE)


_OPENING = _pattern(" {0,3}", PAIRS)
_FIRST_OPENING = _pattern(" {0,3}", _FIRST_PAIRS)
_MARK_OR_END = re.compile("|".join(["\n", *map(re.escape, _ENDS)]))
_CLOSING_TAGS = tuple(PAIRS.values())


def apart(inner: Stream) -> Stream:
    """Return a stream in which the thoughts in `inner`'s text are `reasoning`.

    A closing tag without an opening one is recognized when the answer ends: then the last piece has
    the corrected text and thoughts, as `instead`.
    """

    def stream(request: Request) -> Generator[Delta, None, None]:
        splitters: dict[int, Splitter] = {}
        with closing(inner(request)) as deltas:
            try:
                for delta in deltas:
                    text, thought, finish = delta[:3]
                    if not (text or thought or finish) or delta.refusal:
                        yield delta
                        continue
                    splitter = splitters.get(delta.choice)
                    if splitter is None:
                        splitter = Splitter(opened=request.model.thinks)
                        splitters[delta.choice] = splitter
                    if thought or finish or not splitter.takes(text):
                        yield from _parts(delta, splitter)
                    else:
                        yield delta
            except (MixmagicError, Stopped):
                yield from _rest(splitters, whole=False)
                raise
            yield from _rest(splitters, whole=True)

    return stream


def _parts(delta: Delta, splitter: Splitter) -> Iterator[Delta]:
    """Yield a piece of an answer as pieces of thoughts or text."""
    splitter.finish = delta.finish or splitter.finish
    if delta.reasoning:
        splitter.take_reasoning(delta.reasoning)
    parts = splitter.feed(delta.text) if delta.text else []
    if len(parts) == 1 and parts[0] == (delta.text, ""):
        yield delta
        return
    for text, reasoning in parts[:-1]:
        yield Delta(text, reasoning, origin=delta.origin, choice=delta.choice)
    text, reasoning = parts[-1] if parts else ("", "")
    if delta.reasoning and reasoning:
        yield Delta(reasoning=delta.reasoning, origin=delta.origin, choice=delta.choice)
    hidden, tool = splitter.hidden()
    yield delta._replace(
        text=text,
        reasoning=reasoning or delta.reasoning,
        usage=delta.usage or hidden,
        tool=delta.tool or tool,
    )


def _rest(splitters: dict[int, Splitter], *, whole: bool) -> Iterator[Delta]:
    """Yield the held-back ends of finished answers, and their corrections."""
    for choice, splitter in splitters.items():
        for text, reasoning in splitter.close():
            yield Delta(text, reasoning, choice=choice)
        if (instead := splitter.instead(whole=whole)) is not None:
            yield Delta(choice=choice, instead=instead)


class Splitter:
    r"""Separates the thoughts of one answer from its text, piece by piece, in linear time.

    Args:
        opened: True if the model's chat template has the opening tag.

    Attributes:
        finish: The finish reason, once it is known.

    Example:
        >>> splitter = Splitter(opened=False)
        >>> splitter.feed("<think>A draft.</th"), splitter.feed("ink>\nThe answer")
        ([('', 'A draft.')], [('The answer', '')])
    """

    def __init__(self, *, opened: bool) -> None:
        self.finish: str | None = None
        self._opened = opened  # until the first text shows if the template's thoughts are in it
        self._unclosed = False  # True if they are, and have no end yet
        self._held = ""  # text that may begin a tag
        self._closing: re.Pattern[str] | None = None  # within thoughts: the end of them
        self._tags: tuple[str, ...] = ()  # within thoughts: the tags that end them
        self._harmony = False
        self._fresh = True  # until text that is neither thoughts nor whitespace
        self._after = False  # True after thoughts, or a head of harmony's
        self._trim = False  # True on the line of a closing tag, after the tag
        self._inline = False  # True within a line of text
        self._line: str | None = None  # its beginning, if it may begin or end a code block
        self._fence = ""
        self._blanks: list[str] = []
        self._before = ""  # the last character
        self._lead = False  # within thoughts: until the first character that is not whitespace
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._hidden: list[str] = []
        self._tools: list[str] = []
        self._parts: list[tuple[bool, list[str]]] = []

    def take_reasoning(self, reasoning: str) -> None:
        """Take thoughts that the server has separated."""
        self._thoughts.append(reasoning)
        self._after = True
        if not self._unclosed:
            self._opened = False

    def takes(self, piece: str) -> bool:
        """Take the next piece if it is in the middle of a line of text, as most are."""
        if not self._inline or self._harmony or "\n" in piece:
            return False
        if self._line is not None and len(self._line) < _LONGEST_LINE:
            self._line += piece[:_LONGEST_LINE]
        self._text.append(piece)
        return True

    def feed(self, piece: str) -> list[tuple[str, str]]:
        """Take the next piece; return pairs of text and thoughts, one of each pair empty."""
        if self.takes(piece):
            return [(piece, "")]
        text, self._held = self._held + piece, ""
        return self._read(text, last=False)

    def close(self) -> list[tuple[str, str]]:
        """Return the text that was held back: the answer has ended."""
        text, self._held = self._held, ""
        parts = self._read(text, last=True)
        if self._fresh and self._blanks and not self._after:
            parts.append(("".join(self._blanks), ""))
        return parts

    def hidden(self) -> tuple[Usage | None, str]:
        """Return an estimate for the removed tags, and the called tools; each only once."""
        tags, self._hidden = "".join(self._hidden), []
        tools, self._tools = self._tools, []
        count = Usage(0, tokens.estimate(tags), counted="estimate") if tags else None
        return count, ", ".join(tools)

    def instead(self, *, whole: bool) -> tuple[str, str] | None:
        """Return corrected text and thoughts, if they were misread; call it after `close`.

        Args:
            whole: True if the answer has ended normally.
        """
        text, thoughts = "".join(self._text), "".join(self._thoughts)
        if self._unclosed and not text.strip() and whole and self.finish != "length":
            return thoughts, ""  # the server has removed the thoughts: this is the answer
        span = lone_tags.last(text)
        if span is None:
            return None
        start, end = span
        return text[end:].lstrip("\r\n \t") if end else text, thoughts + text[:start]

    def _read(self, text: str, *, last: bool) -> list[tuple[str, str]]:
        at = 0
        while at < len(text):
            if self._closing is not None:
                at = self._in_thoughts(text, at, self._closing, last=last)
            elif self._inline:
                at = self._in_line(text, at, last=last)
            else:
                at = self._at_line(text, at, last=last)
        parts, self._parts = self._parts, []
        joined = [(thought, "".join(texts)) for thought, texts in parts]
        return [("", text) if thought else (text, "") for thought, text in joined]

    def _emit(self, text: str, *, thought: bool) -> None:
        """Add a piece to those that are returned."""
        if not text:
            return
        (self._thoughts if thought else self._text).append(text)
        if not self._parts or self._parts[-1][0] is not thought:
            self._parts.append((thought, []))
        self._parts[-1][1].append(text)
        self._before = text[-1]

    def _in_thoughts(self, text: str, at: int, ending: re.Pattern[str], *, last: bool) -> int:
        """Read thoughts up to their end."""
        if self._lead:
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it always matches
            if at == len(text):
                return at
            self._lead = False
        end = ending.search(text, at)
        while end is not None:
            before = text[end.start() - 1] if end.start() > at else self._before
            quoted = bool(before) and before in _QUOTES
            if not (quoted and text[end.end() : end.end() + 1] in (before, "")):
                break
            if end.end() == len(text):
                if last:
                    break
                self._emit(text[at : end.start()], thought=True)
                self._before = before
                self._held = text[end.start() :]
                return len(text)
            end = ending.search(text, end.end())
        if end is None:
            held = len(text) if last else _tail(text, at, self._tags)
            self._emit(text[at:held], thought=True)
            self._held = text[held:]
            return len(text)
        self._emit(text[at : end.start()], thought=True)
        self._closing, self._unclosed = None, False
        self._fresh = self._trim = True
        self._blanks.clear()
        if end[0] in _HEADS:
            return end.start()
        self._hidden.append(end[0])
        return end.end()

    def _at_line(self, text: str, at: int, *, last: bool) -> int:
        """Read the beginning of a line."""
        if self._trim:
            at = _BLANK.match(text, at).end()  # type: ignore[union-attr]  # it always matches
            if at == len(text):
                return at
        if self._fresh and (blank := _LINE_END.match(text, at)):
            self._trim = False
            self._blanks.append(blank[0])
            return blank.end()
        if not self._fence:
            opening = (_FIRST_OPENING if self._fresh else _OPENING).match(text, at)
            if opening:
                return self._open(opening, (_FIRST_PAIRS[opening[1].lower()],))
            if head := _HEAD.match(text, at):
                return self._head(head)
            if not last and self._may_open(text, at):
                self._held = text[at:]
                return len(text)
        if self._opened:
            self._opened, self._unclosed = False, True
            self._thoughts_until(_CLOSING_TAGS)
            return at
        if self._fresh:
            if not self._after:
                self._emit("".join(self._blanks), thought=False)
            self._blanks.clear()
        self._fresh = self._trim = False
        self._inline = True
        first = text[at : at + _LONGEST_LINE].lstrip(" \t")[:1]
        self._line = "" if first in ("", "`", "~") else None
        return at

    def _in_line(self, text: str, at: int, *, last: bool) -> int:
        """Read a line of text to its end, or to one of harmony's marks."""
        if self._harmony and not self._fence:
            sign = _MARK_OR_END.search(text, at)
            if sign is not None and sign[0] != "\n":
                self._emit(text[at : sign.start()], thought=False)
                self._inline, self._line = False, None
                self._fresh = self._trim = True
                if sign[0] in _HEADS:
                    return sign.start()
                self._hidden.append(sign[0])
                return sign.end()
            line_end = -1 if sign is None else sign.start()
        else:
            line_end = text.find("\n", at)
        stop = line_end + 1 or len(text)
        if self._harmony and line_end < 0 and not last:
            stop = _tail(text, at, _ENDS)
            self._held = text[stop:]
        self._emit(text[at:stop], thought=False)
        if self._line is not None and len(self._line) < _LONGEST_LINE:
            self._line += text[at : min(stop, at + _LONGEST_LINE)]
        if line_end < 0:
            return len(text)
        if self._line is not None:
            self._end_line(self._line)
        self._inline, self._line = False, None
        return stop

    def _end_line(self, line: str) -> None:
        """Take a whole line that may begin or end a code block."""
        if not (fence := FENCE.match(line)):
            return
        marks, info = fence[1], fence[2].strip()
        if not self._fence:
            self._fence = "" if marks[0] == "`" and "`" in info else marks
        elif not info and marks.startswith(self._fence):
            self._fence = ""

    def _may_open(self, text: str, at: int) -> bool:
        """True if the rest may be the beginning of a tag, or of one of harmony's heads."""
        rest = text[at:] if len(text) - at <= _LONGEST_HEAD else ""
        tag = rest.lstrip(" ").lower()
        if len(rest) - len(tag) > 3 or not rest:
            return False
        pairs = _FIRST_PAIRS if self._fresh else PAIRS
        return any(word.startswith(tag) for word in (*pairs, *_HEADS)) or bool(
            _HEAD_BEGUN.match(rest)
        )

    def _open(self, opening: re.Match[str], closings: tuple[str, ...]) -> int:
        """Begin thoughts after their opening tag."""
        self._opened = False
        self._hidden.append(opening[1])
        self._thoughts_until(closings)
        return opening.end()

    def _thoughts_until(self, closings: tuple[str, ...]) -> None:
        """Read thoughts from here on."""
        self._tags, self._closing = closings, _pattern("", closings)
        self._blanks.clear()
        self._before, self._lead, self._after = "", True, True

    def _head(self, head: re.Match[str]) -> int:
        """Begin a message of harmony's: only those of the channel `final` are the answer."""
        self._harmony, self._opened, self._after = True, False, True
        self._hidden.append(head[0])
        head_text = f"{head['role'] or ''} {head['channel'] or ''}"
        if (recipient := _RECIPIENT.search(head_text)) is not None:
            self._tools.append(recipient[1][:60])
        channel = (head["channel"] or "final").strip()
        if channel.startswith("final") and recipient is None:
            self._fresh = self._trim = True
        else:
            self._thoughts_until(_ENDS)
        return head.end()


def _tail(text: str, at: int, tags: tuple[str, ...]) -> int:
    """The index of an unfinished tag at the end of a text; the text's length if there is none."""
    longest = max(map(len, tags)) - 1
    for index in range(max(at, len(text) - longest), len(text)):
        if text[index] in "<[◁":
            rest = text[index:].lower()
            if any(tag.startswith(rest) for tag in tags):
                return index
    return len(text)
