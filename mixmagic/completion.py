"""The finished answer, and the collector that makes it of the pieces of a stream.

May import `tokens`, `defuse` and what stands below them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mixmagic import defuse, tokens
from mixmagic.errors import Stopped, one_line
from mixmagic.fences import in_html
from mixmagic.money import Usage, amounts
from mixmagic.text.code_blocks import CodeBlock, code_blocks
from mixmagic.values import Delta, Model, Origin, Request


def dollars(cost: Decimal | None) -> str:
    """A cost for people: two significant digits at the least, never $0 for an unknown one."""
    return amounts([cost])[0]


def quiet(line: str) -> str:
    """A line below an answer as HTML, which no reader of Markdown reads as Markdown."""
    return f'<div style="opacity: 0.65; font-size: 85%">{in_html(line)}</div>'


# Why an answer ended that came to no end.
_EARLY = ("stopped", "broken off")
# What stands above each of several answers, in each MIME type.
_HEADS = {
    "text/markdown": "**{}**\n\n",
    "text/html": "<p><strong>{}</strong></p>",
    "text/latex": "{}:\n\n",
    "text/plain": "{}:\n",
}


def shown(text: str) -> dict[str, str]:
    """A model's text as MIME types: Markdown and plain text in which nothing can act."""
    return {"text/markdown": defuse.markdown(text), "text/plain": defuse.plain(text)}


def titles(count: int) -> list[str]:
    """What each of `count` answers is called."""
    return [f"Answer {place} of {count}" for place in range(1, count + 1)]


def headed(bodies: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Answers as MIME types, the same for all, each under its heading; a single one has none."""
    if len(bodies) == 1:
        return list(bodies)
    named = zip(titles(len(bodies)), bodies, strict=True)
    return [
        {kind: _HEADS[kind].format(title) + text.strip("\n") for kind, text in body.items()}
        for title, body in named
    ]


def stacked(bodies: Sequence[dict[str, str]]) -> dict[str, str]:
    """Answers as MIME types, the same for all, one under the other."""
    return {kind: "\n\n".join(body[kind] for body in bodies) for kind in bodies[0]}


@dataclass(frozen=True, slots=True, repr=False)
class Completion:
    """An answer, whole or stopped. `str(completion)` is its text.

    Attributes:
        text: What the model wrote.
        usage: Tokens in and out: `prompt_tokens`, `completion_tokens`, `counted` by whom.
        cost: US dollars, the most where `at_most`; `None` where no price is known, never 0.
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
    def at_most(self) -> bool:
        """Whether `cost` is the most that it can be: nobody saw what was generated."""
        return self.usage.estimated and not self.request.stream and self.finish in _EARLY

    @property
    def bill(self) -> str:
        """What it costs, for people: `free`, `$0.00013`, `≈ $0.00013`, `≤ $0.020`."""
        free = self.model.provider.free and not self.cost
        sign = "≤ " if self.at_most else "≈ " * self.usage.estimated
        return "free" if free else sign * bool(self.cost) + dollars(self.cost)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of the answer per second after its first piece; `None` where unknown."""
        if self.ttft is None or not self.request.stream or self.elapsed <= self.ttft:
            return None
        # The first token came at `ttft`: only the others took the time since.
        return max(self.usage.completion_tokens - 1, 0) / (self.elapsed - self.ttft)

    def footer(self, session: str = "") -> str:
        """The line under an answer: model · tokens · cost · first token · speed · session."""
        caveat = f" ({self.model.caveat})" if self.model.caveat else ""
        parts = [
            f"{self.model.name}{caveat}",
            "≈ " * self.usage.estimated
            + f"{self.usage.prompt_tokens:,} → {self.usage.completion_tokens:,} tokens",
            self.bill,
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
        body = stacked(headed([shown(text) for text in (self.text, *self.others)]))
        return {
            "text/markdown": f"{body['text/markdown'].rstrip()}\n\n{quiet(footer)}".lstrip("\n"),
            "text/plain": f"{body['text/plain'].rstrip()}\n\n{footer}".lstrip("\n"),
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
        self.usage: Usage | None = None  # the provider's count
        self._stale, self._called = False, 0  # more has come since; tokens of calls to tools
        self.finish: str | None = None
        self._ended: set[int] = set()  # which answers have
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
        if delta.usage is not None:
            self._told(delta.usage)
        elif delta.choice not in self._ended and (delta.text or delta.reasoning):
            self._stale = True  # behind the end comes only what was held back
        if delta.finish:
            self._ended.add(delta.choice)
            if self._ends(delta):
                self.finish = delta.finish
        if delta.note and delta.note not in self.notes:  # each try says it again
            self.notes.append(delta.note)
        self._origin = delta.origin

    def _told(self, now: Usage) -> None:
        """Take the provider's count, which never becomes less, or ours of a call to a tool."""
        if now.estimated:
            self._called, self._stale = self._called + now.completion_tokens, True
            return
        was, new = self.usage or now, now.completion_tokens
        prompt = max(was.prompt_tokens, now.prompt_tokens)
        self.usage = Usage(prompt, max(was.completion_tokens, new), now.cached_tokens)
        self._stale = new < was.completion_tokens

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
        usage = self._usage("".join([text, *others, reasoning]), early=bool(finish))
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

    def _usage(self, everything: str, *, early: bool) -> Usage:
        """The provider's count, with ours in the place of what it lacks, or was too early for."""
        told = self.usage or Usage(0, 0)
        prompt, answer = told.prompt_tokens, told.completion_tokens
        cut = early and len(self._ended) < self.request.params.get("n", 1)
        last = answer and not self._stale and not cut
        if last and prompt:
            return told
        ours = self._counted(everything)
        prompt = prompt or ours.prompt_tokens
        answer = answer if last else max(answer, ours.completion_tokens)
        same = (prompt, answer) == (told.prompt_tokens, told.completion_tokens)
        return told if same else Usage(prompt, answer, told.cached_tokens, ours.counted)

    def _counted(self, text: str) -> Usage:
        """Our own count, where the provider's has not come."""
        model = self.request.model
        prompt, answer = tokens.count(self.request.messages, model), tokens.count_text(text, model)
        # A streamed piece is mostly one token; never less than what the length suggests.
        pieces = self.request.stream * (sum(map(len, self._parts.values())) + len(self._reasoning))
        return Usage(
            prompt.tokens,
            self._called + (answer.tokens if answer.exact else max(pieces, answer.tokens)),
            counted="exact" if prompt.exact and answer.exact and not self._called else "estimate",
        )


def stopped_with(completion: Completion) -> Stopped:
    """The exception of a call that the user stopped: what is kept, and what it costs."""
    kept, price = f"{completion.usage.completion_tokens:,} tokens kept", completion.bill
    if "$" in price:
        price = f"priced as {price}{': it may be billed in full' * completion.at_most}"
    return Stopped(f"Stopped: {kept}, {price}.", completion)
