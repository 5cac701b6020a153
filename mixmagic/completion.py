"""The finished answer, and the collector that makes it of the pieces of a stream.

May import `tokens`, `defuse` and what stands below them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from mixmagic import defuse, tokens
from mixmagic.blocks import CodeBlock, code_blocks
from mixmagic.errors import Stopped, one_line
from mixmagic.fences import in_html
from mixmagic.money import Usage
from mixmagic.values import Delta, Model, Origin, Request


def dollars(cost: Decimal | None) -> str:
    """A cost for people: two significant digits at the least, never $0 for an unknown one."""
    if cost is None:
        return "price unknown"
    if cost == 0:
        return "$0"
    if cost >= 1:
        return f"${cost:.2f}"
    return f"${cost:.{max(2, 1 - cost.adjusted())}f}"


def quiet(line: str) -> str:
    """A line below an answer as HTML, which no reader of Markdown reads as Markdown."""
    return f'<div style="opacity: 0.65; font-size: 85%">{in_html(line)}</div>'


@dataclass(frozen=True, slots=True, repr=False)
class Completion:
    """An answer, whole or stopped. `str(completion)` is its text.

    Attributes:
        text: What the model wrote.
        usage: Tokens in and out: `prompt_tokens`, `completion_tokens`, `counted` by whom.
        cost: US dollars, or `None` where no price is known (never 0 for that).
        finish: Why it ended: `stop`, `length`, `stopped` (by the user), …
        request: What was asked.
        elapsed: Seconds from the call to the end.
        ttft: Seconds from the call to the first piece of the answer, `None` if none came.
        reasoning: The model's thinking, where the provider tells it apart.
        notes: What happened on the way, for the user's eyes.
        origin: `live`, `cache` or `cassette`.
        others: The other answers, where several were asked for.
        logprobs: The natural logarithms of the probabilities of the answer's tokens, where they
            were asked for and told.
        value: What a format or a schema made of the text: a DataFrame, an instance, …

    Example:
        >>> answer = mixmagic.ask("Name three colours.", model="local")
        >>> print(answer.text, answer.usage.completion_tokens, answer.cost)
    """

    text: str
    usage: Usage
    cost: Decimal | None
    finish: str
    request: Request
    elapsed: float
    ttft: float | None
    reasoning: str = ""
    notes: tuple[str, ...] = ()
    origin: Origin = "live"
    others: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    value: Any = field(default=None, compare=False)  # a DataFrame does not say whether it equals

    @property
    def code_blocks(self) -> tuple[CodeBlock, ...]:
        """The fenced code blocks of the text, each with its `language` and its `code`."""
        return code_blocks(self.text)

    @property
    def model(self) -> Model:
        """The model that answered."""
        return self.request.model

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of the answer per second after its first piece; `None` where unknown."""
        if self.ttft is None or not self.request.stream or self.elapsed <= self.ttft:
            return None
        # The first token came at `ttft`: only the others took the time since.
        return max(self.usage.completion_tokens - 1, 0) / (self.elapsed - self.ttft)

    def footer(self, session: str = "") -> str:
        """The line under an answer: model · tokens · cost · first token · speed · session."""
        about = "≈ " if self.usage.estimated else ""
        caveat = f" ({self.model.caveat})" if self.model.caveat else ""
        parts = [
            f"{self.model.name}{caveat}",
            f"{about}{self.usage.prompt_tokens:,} → {self.usage.completion_tokens:,} tokens",
            "free" if self.model.provider.free else about * bool(self.cost) + dollars(self.cost),
        ]
        if self.ttft is not None:
            parts.append(f"first token {self.ttft:.2f} s")
        if self.tokens_per_second:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        if self.finish == "length":
            parts.append("cut off at its token limit")
        elif self.finish not in ("stop", "tool_calls"):
            parts.append(self.finish)
        parts.extend(self.notes)
        if session:
            parts.append(f"session {session}")
        return one_line(" · ".join(parts))

    def bundle(self, session: str = "") -> dict[str, str]:
        """The answer and its footer as MIME types for a notebook."""
        footer = self.footer(session)
        body, text = defuse.markdown(self.text).rstrip(), defuse.plain(self.text).rstrip()
        if self.others:
            texts = [self.text, *self.others]
            heads = [f"Answer {place} of {len(texts)}" for place in range(1, len(texts) + 1)]
            parts = list(zip(heads, texts, strict=True))
            body = "\n\n".join(f"**{head}**\n\n{defuse.markdown(t).strip()}" for head, t in parts)
            text = "\n\n".join(f"{head}:\n{defuse.plain(t).strip()}" for head, t in parts)
        return {
            "text/markdown": f"{body}\n\n{quiet(footer)}".lstrip("\n"),
            "text/plain": f"{text}\n\n{footer}".lstrip("\n"),
        }

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.bundle()

    def _repr_markdown_(self) -> str:
        return self.bundle()["text/markdown"]

    def __str__(self) -> str:
        return self.text

    _repr_prompt_ = __str__  # in a prompt, `{{ answer }}` is its text

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"<Completion {text!r}: {self.footer()}>"


class Collector:
    """Adds up the pieces of one stream, with their times."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.usage: Usage | None = None
        self.finish: str | None = None
        self.notes: list[str] = []
        self._parts: dict[int, list[str]] = {0: []}  # of each answer
        self._logprobs: list[float] = []
        self._reasoning: list[str] = []
        self._origin: Origin = "live"
        self._started = time.perf_counter()
        self._first: float | None = None

    def add(self, delta: Delta) -> None:
        """Take the next piece."""
        if self._first is None and (delta.text or delta.reasoning):
            self._first = time.perf_counter()
        if delta.text:
            self._parts.setdefault(delta.choice, []).append(delta.text)
        if delta.logprobs and not delta.choice:
            self._logprobs += delta.logprobs
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        if delta.finish and self._ends(delta):
            self.finish = delta.finish
        if delta.usage:
            self.usage = delta.usage
        if delta.note:
            self.notes.append(delta.note)
        self._origin = delta.origin

    def _ends(self, delta: Delta) -> bool:
        """Whether a piece's end is the whole's: one that was cut short tells more than others."""
        if "n" not in self.request.params:
            return not delta.choice
        return self.finish in (None, "stop") or delta.finish == "length"

    @property
    def begun(self) -> bool:
        """Whether a piece of the answer has come."""
        return self._first is not None

    def completion(self, finish: str = "") -> Completion:
        """What has come so far, priced; `finish` where the stream itself did not say."""
        reasoning = "".join(self._reasoning)
        text, *others = ("".join(self._parts[choice]) for choice in sorted(self._parts))
        everything = "".join([text, *others, reasoning])
        usage = self.usage or self._counted(everything)
        if self.finish is None and finish and not usage.estimated:
            # A count on the way may be older than what has come since.
            ours = self._counted(everything)
            if ours.completion_tokens > usage.completion_tokens:
                usage = replace(
                    usage, completion_tokens=ours.completion_tokens, counted=ours.counted
                )
        price = self.request.model.price
        return Completion(
            text=text,
            usage=usage,
            cost=None if price is None else price.cost(usage),
            finish=finish or self.finish or "stop",
            request=self.request,
            elapsed=time.perf_counter() - self._started,
            ttft=None if self._first is None else self._first - self._started,
            reasoning=reasoning,
            notes=tuple(self.notes),
            origin=self._origin,
            others=tuple(others),
            logprobs=tuple(self._logprobs),
        )

    def _counted(self, text: str) -> Usage:
        """Our own count, where the provider's has not come."""
        model = self.request.model
        prompt, answer = tokens.count(self.request.messages, model), tokens.count_text(text, model)
        # A streamed piece is mostly one token; never less than what the length suggests.
        streamed = sum(map(len, self._parts.values())) + len(self._reasoning)
        pieces = streamed if self.request.stream else 0
        return Usage(
            prompt.tokens,
            answer.tokens if answer.exact else max(pieces, answer.tokens),
            counted="exact" if prompt.exact and answer.exact else "estimate",
        )


def stopped_with(completion: Completion) -> Stopped:
    """The exception of a call that the user stopped: what is kept, and what it costs."""
    kept = f"Stopped: {completion.usage.completion_tokens:,} tokens kept"
    if completion.model.provider.free:
        price = "free"
    elif not completion.request.stream and not completion.text:
        price = "it may be billed in full"
    elif completion.cost is None:
        price = "price unknown"
    else:
        price = f"priced as ≈ {dollars(completion.cost)}"
    return Stopped(f"{kept}, {price}.", completion)
