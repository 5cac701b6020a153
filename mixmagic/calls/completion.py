"""The answer to a request, as a value that can show itself.

May import `text`, `values` and the packages below them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from mixmagic.core.logprobs import Logprobs
from mixmagic.core.money import Usage, bill, format_dollars
from mixmagic.core.terminal import encodable
from mixmagic.core.values import Model, Origin, Request
from mixmagic.errors import counted, one_line
from mixmagic.text.code_blocks import CodeBlock, code_blocks
from mixmagic.text.escape import as_text, plain
from mixmagic.text.sanitize import sanitize

# Reasons why an answer ended, as the footer has them; another reason stands there as it is.
_FINISHES = {
    "stop": "",
    "tool_calls": "",  # a note names the tools
    "length": "cut off at its token limit",
    "refusal": "the model refused",
}
# Reasons why an answer ended before its end.
_EARLY = ("stopped", "broken off")
# The heading above each of several answers, in each MIME type.
_HEADINGS = {
    "text/markdown": "**{}**\n\n",
    "text/html": "<p><strong>{}</strong></p>",
    "text/plain": "{}:\n",
}
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def muted_html(line: str) -> str:
    """Return a line as small, pale HTML, which no reader of Markdown reads as Markdown."""
    return f'<div style="opacity: 0.65; font-size: 85%">{as_text(line)}</div>'


def safe_bundle(text: str) -> dict[str, str]:
    """Return a model's text, sanitized, as Markdown and as plain text."""
    return {"text/markdown": sanitize(text), "text/plain": plain(text)}


def answer_titles(count: int) -> list[str]:
    """Return the headings of `count` answers."""
    return [f"Answer {number} of {count}" for number in range(1, count + 1)]


def with_headings(bundles: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return the bundles of several answers, each under its heading; a single one has none."""
    if len(bundles) == 1:
        return list(bundles)
    titled = zip(answer_titles(len(bundles)), bundles, strict=True)
    return [
        {mime: _HEADINGS[mime].format(title) + body.strip("\n") for mime, body in bundle.items()}
        for title, bundle in titled
    ]


def stack(bundles: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return one bundle of several, which have the same MIME types: one below the other."""
    return {mime: "\n\n".join(bundle[mime] for bundle in bundles) for mime in bundles[0]}


def _ago(moment: datetime) -> str:
    """Return how long ago a moment was, in its largest unit.

    Example:
        >>> _ago(datetime.now(UTC) - timedelta(days=12))
        '12 days ago'
    """
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in _UNITS:
        if (count := int(seconds // length)) > 0:
            return f"{count:,} {unit}{'s' * (count > 1)} ago"
    return "just now"


@dataclass(frozen=True, slots=True, repr=False)
class Completion:
    """An answer, whole or stopped. `str(completion)` is its text.

    Attributes:
        text: The text that the model wrote.
        usage: Tokens in and out: `prompt_tokens`, `completion_tokens`, `counted` by whom.
        cost: US dollars: the provider's own charge, else the list price; the most that it can be
            if `at_most`; 0 if the answer is not live; `None` if unknown, never 0.
        finish: Reason why it ended: `stop`, `length`, `stopped` (by the user), …
        request: The question. Its model is the one that answered.
        elapsed: Seconds from the call to the end; as recorded if the answer is not live.
        ttft: Seconds from the call to the first piece of the text; `None` if there was none.
        reasoning: The model's thinking, if the provider sends it apart from the text.
        thinking: Seconds of the thinking; `None` if there was none.
        notes: Notes for the user on what happened during the call.
        origin: `live`, `cache` or `cassette`.
        others: The other answers, if several were asked for.
        logprobs: The answer's tokens with their probabilities, if they were asked for and sent:
            each has `token`, `logprob`, `probability` and `top`, the alternatives. It is shown as a
            table.
        billed_tries: Tries whose end was not received, but that the provider may bill: they are in
            the cost at the most that they can cost.
        value: Value that a format or a schema read from the text: a DataFrame, an instance, …
        excerpt: The part of the text that a schema read `value` from; empty if it is all of it.
        recorded: When an answer that is not live was recorded, in UTC; `None` if unknown.

    Example:
        >>> answer = mixmagic.ask("Name three colors.", model="local")
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
    thinking: float | None = None
    notes: tuple[str, ...] = ()
    origin: Origin = "live"
    others: tuple[str, ...] = ()
    logprobs: Logprobs = field(default_factory=Logprobs)
    billed_tries: int = 0
    value: Any = field(default=None, compare=False)  # a DataFrame has no one truth value
    excerpt: str = ""
    recorded: datetime | None = None

    @property
    def code_blocks(self) -> tuple[CodeBlock, ...]:
        """The code blocks of the text, each with its `language` and its `code`."""
        return code_blocks(self.text)

    @property
    def model(self) -> Model:
        """The model that answered."""
        return self.request.model

    @property
    def at_most(self) -> bool:
        """True if `cost` is an upper limit: the answer was not received completely."""
        if self.origin != "live":
            return False
        unseen = not self.request.stream and self.finish in _EARLY
        at_most = unseen and self.usage.estimated and self.usage.charge is None
        return at_most or self.billed_tries > 0

    @property
    def approximate(self) -> bool:
        """True if the cost of `usage` is an estimate: of the tokens, or of the price of some."""
        usage, price = self.usage, self.model.price
        if usage.charge is not None:
            return False
        return usage.estimated or (price is not None and price.estimates(usage))

    @property
    def saved(self) -> Decimal | None:
        """US dollars that an answer which is not live would have cost; `None` if unknown."""
        return Decimal(0) if self.origin == "live" else bill(self.usage, self.model.price)

    @property
    def bill(self) -> str:
        """The cost for people: `free`, `$0.00013`, `≈ $0.00013`, `≤ $0.020`.

        Empty if nothing was sent and the price is unknown.
        """
        if self.cost == 0 and self.model.provider.free:
            return "free"
        if self.cost == 0 and self.model.price is None:
            return ""
        sign = "≤ " if self.at_most else "≈ " * self.approximate
        return sign * bool(self.cost) + format_dollars(self.cost)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of the text per second after its first piece; `None` if unknown.

        Neither the tokens of the thinking before the text nor its time count.
        """
        if self.ttft is None or not self.request.stream or self.elapsed <= self.ttft:
            return None
        # The first token was there at `ttft`; the others took the time since.
        return max(self._text_tokens - 1, 0) / (self.elapsed - self.ttft)

    @property
    def _text_tokens(self) -> float:
        """Tokens of the text; those of the thinking are estimated if they were not counted."""
        usage = self.usage
        if usage.reasoning_tokens or not self.reasoning:
            return usage.completion_tokens - usage.reasoning_tokens
        text = sum(map(len, (self.text, *self.others)))
        return usage.completion_tokens * text / (text + len(self.reasoning))

    @property
    def thought(self) -> str:
        """The time and tokens of the thinking, for people; empty if there was none.

        Example:
            >>> completion.thought
            'Thought for 12 s, 812 tokens'
        """
        if self.thinking is None and not self.reasoning:
            return ""
        parts = ["Thought"]
        if self.thinking is not None:
            parts = [f"Thought for {self.thinking:,.0f} s"]
        if self.usage.reasoning_tokens:
            parts.append(counted(self.usage.reasoning_tokens, "token"))
        return ", ".join(parts)

    def footer(self, session: str = "") -> str:
        """Return the line below the answer: model, tokens, cost, first token, speed, session."""
        parts = [
            self.model.name,
            "≈ " * self.usage.estimated
            + f"{self.usage.prompt_tokens:,} → {self.usage.completion_tokens:,} tokens",
            f"{self.usage.reasoning_tokens:,} of them thinking" * bool(self.usage.reasoning_tokens),
            self.bill,
        ]
        if self.ttft is not None:
            parts.append(f"first token {self.ttft:.2f} s")
        if self.tokens_per_second:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        parts += [self._source, _FINISHES.get(self.finish, self.finish)]
        if self.finish in ("stop", "length") and not "".join([self.text, *self.others]).strip():
            parts.append("the answer is empty")
        elif self._lacks_logprobs:
            parts.append("no log-probabilities were sent")
        parts.extend(self.notes)
        if session:
            parts.append(f"session {session}")
        return one_line(" · ".join(filter(None, parts)))

    @property
    def _lacks_logprobs(self) -> bool:
        """True if log-probabilities were asked for and are missing, and no note says so."""
        asked = self.request.params.get("logprobs") and self.finish in ("stop", "length")
        return bool(asked) and not (self.logprobs or any("logprobs" in note for note in self.notes))

    @property
    def _source(self) -> str:
        """The origin of an answer that is not live, with what it saved; empty if it is live."""
        if self.origin == "live":
            return ""
        if self.origin == "cache":
            source = f"cached {_ago(self.recorded)}" if self.recorded else "cached"
        else:  # the day, so that a replayed notebook looks the same on every day
            source = f"recorded {self.recorded:%Y-%m-%d}" if self.recorded else "replayed"
        if not self.saved:
            return source
        return f"{source}, saved {'≈ ' * self.approximate}{format_dollars(self.saved)}"

    def bundle(self, session: str = "") -> dict[str, str]:
        """Return the answer and its footer as MIME types for a notebook."""
        footer = self.footer(session)
        body = stack(with_headings([safe_bundle(text) for text in (self.text, *self.others)]))
        markdown, text = body["text/markdown"].rstrip(), body["text/plain"].rstrip()
        return {
            "text/markdown": f"{markdown}\n\n{muted_html(footer)}".lstrip("\n"),
            "text/plain": encodable(f"{text}\n\n{footer}".lstrip("\n")),
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
        return encodable(f"<Completion {text!r}: {self.footer()}>")
