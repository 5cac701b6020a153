"""The finished answer, and the collector that makes it of the pieces of a stream.

May import `tally`, `tokens` and what stands below them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from mixmagic.calls import tokens
from mixmagic.calls.tally import Tally
from mixmagic.core.money import Usage, amounts, bill
from mixmagic.core.terminal import encodable
from mixmagic.core.values import Delta, Model, Origin, Request, Tried
from mixmagic.errors import Stopped, one_line
from mixmagic.text.code_blocks import CodeBlock, code_blocks
from mixmagic.text.escape import as_text, plain
from mixmagic.text.sanitize import sanitize


def dollars(cost: Decimal | None) -> str:
    """A cost for people: two significant digits at the least, never $0 for an unknown one."""
    return amounts([cost])[0]


def quiet(line: str) -> str:
    """A line below an answer as HTML, which no reader of Markdown reads as Markdown."""
    return f'<div style="opacity: 0.65; font-size: 85%">{as_text(line)}</div>'


# What the line under an answer says of its end; of another than these, the word.
_ENDS = {
    "stop": "",
    "tool_calls": "",  # a note names the tools
    "length": "cut off at its token limit",
    "refusal": "the model refused",
}
# Why an answer ended that came to no end.
_EARLY = ("stopped", "broken off")
# What stands above each of several answers, in each MIME type.
_HEADS = {
    "text/markdown": "**{}**\n\n",
    "text/html": "<p><strong>{}</strong></p>",
    "text/plain": "{}:\n",
}


def shown(text: str) -> dict[str, str]:
    """A model's text as MIME types: Markdown and plain text in which nothing can act."""
    return {"text/markdown": sanitize(text), "text/plain": plain(text)}


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
        cost: US dollars: the charge that the provider told, else at the list price; the most
            where `at_most`; `None` where neither is known, never 0.
        finish: Why it ended: `stop`, `length`, `stopped` (by the user), …
        request: What was asked.
        elapsed: Seconds from the call to the end.
        ttft: Seconds from the call to the first piece of the text, `None` if none came.
        reasoning: The model's thinking, where it is told apart.
        thinking: Seconds of the thinking, `None` where there was none.
        notes: What happened on the way, for the user's eyes.
        origin: `live`, `cache` or `cassette`.
        others: The other answers, where several were asked for.
        logprobs: The natural logarithms of the probabilities of the answer's tokens, where they
            were asked for and told.
        billed_tries: Tries of which nobody has seen the end, and that the provider may bill: they
            are in the cost at the most that they can cost.
        value: What a format or a schema made of the text: a DataFrame, an instance, …
        excerpt: The part of the text that a schema made `value` of; empty if it is all of it.

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
    thinking: float | None = None
    notes: tuple[str, ...] = ()
    origin: Origin = "live"
    others: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    billed_tries: int = 0
    value: Any = field(default=None, compare=False)  # a DataFrame does not say whether it equals
    excerpt: str = ""

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
        """True if `cost` is the most that it can be: nobody saw all that was generated."""
        unseen = not self.request.stream and self.finish in _EARLY
        at_most = unseen and self.usage.estimated and self.usage.charge is None
        return at_most or self.billed_tries > 0

    @property
    def approximate(self) -> bool:
        """True if `cost` is an estimate: of the tokens, or of the price of some of them."""
        usage, price = self.usage, self.model.price
        if usage.charge is not None:
            return False
        return usage.estimated or (price is not None and price.estimates(usage))

    @property
    def bill(self) -> str:
        """What it costs, for people: `free`, `$0.00013`, `≈ $0.00013`, `≤ $0.020`.

        Empty if nothing was sent at a price that is not known: there is nothing to say of money.
        """
        if self.cost == 0 and self.model.provider.free:
            return "free"
        if self.cost == 0 and self.model.price is None:
            return ""
        sign = "≤ " if self.at_most else "≈ " * self.approximate
        return sign * bool(self.cost) + dollars(self.cost)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of the text per second after its first piece; `None` where unknown.

        Neither the tokens of the thoughts before the text nor the time that they took count.
        """
        if self.ttft is None or not self.request.stream or self.elapsed <= self.ttft:
            return None
        # The first token came at `ttft`: only the others took the time since.
        return max(self._text_tokens - 1, 0) / (self.elapsed - self.ttft)

    @property
    def _text_tokens(self) -> float:
        """Tokens of the text; by the length of the thoughts if nobody has counted those."""
        usage = self.usage
        if usage.reasoning_tokens or not self.reasoning:
            return usage.completion_tokens - usage.reasoning_tokens
        text = sum(map(len, (self.text, *self.others)))
        return usage.completion_tokens * text / (text + len(self.reasoning))

    @property
    def thought(self) -> str:
        """How long the model has thought, for people; empty if it has not.

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
            parts.append(f"{self.usage.reasoning_tokens:,} tokens")
        return ", ".join(parts)

    def footer(self, session: str = "") -> str:
        """The line under an answer: model · tokens · cost · first token · speed · session."""
        caveat = f" ({self.model.caveat})" if self.model.caveat else ""
        parts = [
            f"{self.model.name}{caveat}",
            "≈ " * self.usage.estimated
            + f"{self.usage.prompt_tokens:,} → {self.usage.completion_tokens:,} tokens",
            f"{self.usage.reasoning_tokens:,} of them thinking" * bool(self.usage.reasoning_tokens),
            self.bill,
        ]
        if self.ttft is not None:
            parts.append(f"first token {self.ttft:.2f} s")
        if self.tokens_per_second:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        parts.append(_ENDS.get(self.finish, self.finish))
        if self.finish in ("stop", "length") and not "".join([self.text, *self.others]).strip():
            parts.append("the answer is empty")
        parts.extend(self.notes)
        if session:
            parts.append(f"session {session}")
        return one_line(" · ".join(filter(None, parts)))

    def bundle(self, session: str = "") -> dict[str, str]:
        """The answer and its footer as MIME types for a notebook."""
        footer = self.footer(session)
        body = stacked(headed([shown(text) for text in (self.text, *self.others)]))
        return {
            "text/markdown": f"{body['text/markdown'].rstrip()}\n\n{quiet(footer)}".lstrip("\n"),
            "text/plain": encodable(f"{body['text/plain'].rstrip()}\n\n{footer}".lstrip("\n")),
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


class Collector:
    """Adds up the pieces of one stream, with their times."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._tally = Tally(request.candidates)
        self._called = 0  # tokens of calls to tools
        self._ends: dict[int, str] = {}  # why each answer has ended
        self._refused = False
        self._tools: list[str] = []
        self.notes: list[str] = []
        self.tried: list[Tried] = []  # tries that failed, and may be billed
        self._parts: dict[int, list[str]] = {0: []}  # of each answer
        self._logprobs: list[float] = []
        self._reasoning: dict[int, list[str]] = {}
        self._pieces = 0
        self._origin: Origin = "live"
        self._started = time.perf_counter()
        self._first: float | None = None  # when text came
        self._thought: float | None = None  # when reasoning came

    def add(self, delta: Delta) -> None:
        """Take the next piece."""
        text, choice, usage, tally = delta.text, delta.choice, delta.usage, self._tally
        more = text or delta.reasoning
        if text and self._first is None:
            self._first = time.perf_counter()
        if delta.reasoning and self._thought is None:
            self._thought = time.perf_counter()
        if text:
            self._parts.setdefault(choice, []).append(text)
        if delta.logprobs and not choice:
            self._logprobs += delta.logprobs
        if delta.reasoning:
            self._reasoning.setdefault(choice, []).append(delta.reasoning)
        if more:
            self._pieces += bool(text) + bool(delta.reasoning)
        if delta.resumed:
            self._ends.pop(choice, None)
            tally.ended.discard(choice)
            tally.behind.add(choice)
        if usage is not None:
            self._count(delta, usage)
        elif more and choice not in tally.ended:
            tally.behind.add(choice)  # after the end comes only what was held back
        if delta.finish:
            if usage is None:
                tally.add(delta)
            self._ends[choice] = delta.finish
        self._note(delta)
        self._origin = delta.origin

    def _note(self, delta: Delta) -> None:
        """Take what a piece has besides words and counts, which most have not."""
        if delta.note and delta.note not in self.notes:  # each try says it again
            self.notes.append(delta.note)
        if delta.model is not None:
            self.request = replace(self.request, model=delta.model)
        if delta.tried is not None:
            self.tried.append(delta.tried)
        if delta.tool and delta.tool not in self._tools:
            self._tools.append(delta.tool)
        if delta.refusal:
            self._refused = True
        if delta.instead is not None:
            text, reasoning = delta.instead
            self._parts[delta.choice] = [text] if text else []
            self._reasoning[delta.choice] = [reasoning] if reasoning else []

    @property
    def finish(self) -> str | None:
        """Why the answer has ended; `None` if it has not.

        Of several answers, one that was cut short tells more than the others.
        """
        ends = list(self._ends.values())
        if self.request.candidates == 1:
            ends = [end for choice, end in self._ends.items() if not choice]
        end = next((end for end in (*ends, "stop") if end != "stop"), "stop") if ends else None
        if "length" in ends:
            return "length"
        if end == "stop" and (self._refused or self._tools):
            return "refusal" if self._refused else "tool_calls"
        return end

    def _count(self, delta: Delta, usage: Usage) -> None:
        """Take the provider's count, or ours of a call to a tool."""
        if usage.estimated:
            self._called += usage.completion_tokens
            self._tally.behind.add(delta.choice)
            delta = delta._replace(usage=None)
        self._tally.add(delta)

    @property
    def usage(self) -> Usage | None:
        """The provider's count, its charge with it; `None` if it has told none."""
        return self._tally.usage

    @property
    def begun(self) -> bool:
        """Whether a piece of the answer has come, or a thought."""
        return self._first is not None or self._thought is not None

    def completion(self, finish: str = "") -> Completion:
        """What has come so far, priced; `finish` where the stream itself did not say."""
        reasoning = "".join(
            part for choice in sorted(self._reasoning) for part in self._reasoning[choice]
        ).strip("\n")
        text, *others = ("".join(self._parts[choice]) for choice in sorted(self._parts))
        usage = self._usage("".join([text, *others, reasoning]), early=bool(finish))
        now, first, thought = time.perf_counter(), self._first, self._thought
        return Completion(
            text=text,
            usage=usage,
            cost=bill(usage, self.request.model.price),
            finish=finish or self.finish or ("refusal" if self._refused else "stop"),
            request=self.request,
            elapsed=now - self._started,
            ttft=None if first is None else first - self._started,
            reasoning=reasoning,
            thinking=None if thought is None else max((first or now) - thought, 0.0),
            notes=(*self.notes, *self._called_tools()),
            origin=self._origin,
            others=tuple(others),
            logprobs=tuple(self._logprobs),
        )

    def _called_tools(self) -> list[str]:
        """A note on tools that the model calls, though nobody offers to run them."""
        names = ", ".join(self._tools)
        return [f"it calls {names}: tools are not run"] if names else []

    def _usage(self, everything: str, *, early: bool) -> Usage:
        """The provider's count, with ours in the place of what it lacks, or was too early for."""
        told = self.usage or Usage(0, 0)
        prompt, answer = told.prompt_tokens, told.completion_tokens
        cut = early and len(self._tally.ended) < self.request.candidates
        missing = self._tally.missing({choice for choice, texts in self._parts.items() if texts})
        complete = not (self._tally.behind or missing)
        last = answer and complete and not cut
        if last and prompt:
            return told
        ours = self._counted(everything)
        prompt = prompt or ours.prompt_tokens
        if not last:
            texts = "".join("".join(self._parts[choice]) for choice in missing)
            uncounted = tokens.count_text(texts, self.request.model).tokens if texts else 0
            answer = max(answer + uncounted, ours.completion_tokens)
        if (prompt, answer) != (told.prompt_tokens, told.completion_tokens):
            told = replace(
                told, prompt_tokens=prompt, completion_tokens=answer, counted=ours.counted
            )
        price = self.request.model.price
        if told.charge and not complete and price and price.cost(told) > told.charge:
            return replace(told, charge=None)  # what came since is not in it
        return told

    def _counted(self, text: str) -> Usage:
        """Our own count, where the provider's has not come."""
        model = self.request.model
        prompt, answer = tokens.count(self.request.messages, model), tokens.count_text(text, model)
        # A streamed piece is mostly one token; never less than what the length suggests.
        pieces = self.request.stream * self._pieces
        return Usage(
            prompt.tokens,
            self._called + (answer.tokens if answer.exact else max(pieces, answer.tokens)),
            counted="exact" if prompt.exact and answer.exact and not self._called else "estimate",
        )


def stopped_with(completion: Completion, where: str = "") -> Stopped:
    """Return the exception of a call that the user stopped: what is kept, and what it costs.

    Args:
        completion: What had come.
        where: What returns it, where no cell shows it.
    """
    kept = f"{completion.usage.completion_tokens:,} tokens kept{where and f' in {where}'}"
    price = completion.bill
    if "$" in price:
        price = f"priced as {price}{': it may be billed in full' * completion.at_most}"
    return Stopped(f"Stopped: {', '.join(filter(None, (kept, price)))}.", completion)
