"""Makes an answer of the pieces of a stream.

May import `completion`, `tally`, `tokens` and the packages below them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal

from mixmagic.calls import tokens
from mixmagic.calls.completion import Completion
from mixmagic.calls.tally import Tally
from mixmagic.core.money import Usage, bill
from mixmagic.core.values import Delta, Origin, Request, Timing, Tried
from mixmagic.errors import Stopped


class Collector:
    """Adds up the pieces of one stream, with their times.

    Attributes:
        request: The question; with the model that answers once a piece has named it.
        notes: Notes of the pieces so far.
        tried: Tries that failed, and that the provider may bill.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.notes: list[str] = []
        self.tried: list[Tried] = []
        self._tally = Tally(request.candidates)
        self._tool_tokens = 0
        self._finishes: dict[int, str] = {}  # of each answer
        self._refused = False
        self._tools: list[str] = []
        self._texts: dict[int, list[str]] = {0: []}  # of each answer
        self._logprobs: list[float] = []
        self._reasoning: dict[int, list[str]] = {}
        self._pieces = self._characters = 0
        self._origin: Origin | None = None  # of the first content
        self._timing: Timing | None = None
        self._recorded_usage: Usage | None = None
        self._started = time.perf_counter()
        self._first_text: float | None = None
        self._first_thought: float | None = None

    def add(self, delta: Delta) -> None:
        """Take the next piece."""
        text, choice, usage, tally = delta.text, delta.choice, delta.usage, self._tally
        more = text or delta.reasoning
        if text:
            if self._first_text is None:
                self._first_text = time.perf_counter()
            self._texts.setdefault(choice, []).append(text)
            self._characters += len(text)
            self._pieces += 1
        if delta.reasoning:
            if self._first_thought is None:
                self._first_thought = time.perf_counter()
            self._reasoning.setdefault(choice, []).append(delta.reasoning)
            self._characters += len(delta.reasoning)
            self._pieces += 1
        if self._origin is None and (more or delta.finish or usage is not None):
            self._origin = delta.origin
        if delta.logprobs and not choice:
            self._logprobs += delta.logprobs
        if delta.resumed:
            self._finishes.pop(choice, None)
            tally.ended.discard(choice)
            tally.behind.add(choice)
        if usage is not None:
            self._count(delta, usage)
        elif more and choice not in tally.ended:
            tally.behind.add(choice)  # text that was held back follows the end
        if delta.finish:
            if usage is None:
                tally.add(delta)
            self._finishes[choice] = delta.finish
        self._add_rare(delta)

    def _add_rare(self, delta: Delta) -> None:
        """Take what most pieces do not have."""
        if delta.note and delta.note not in self.notes:  # each try repeats it
            self.notes.append(delta.note)
        if delta.tried is not None:
            self.tried.append(delta.tried)
        if delta.tool and delta.tool not in self._tools:
            self._tools.append(delta.tool)
        if delta.refusal:
            self._refused = True
        if delta.instead is not None:
            text, reasoning = delta.instead
            self._texts[delta.choice] = [text] if text else []
            self._reasoning[delta.choice] = [reasoning] if reasoning else []
        if delta.timing is not None:
            self._timing = delta.timing
        if delta.model is not None:
            self.request = replace(self.request, model=delta.model)

    def _count(self, delta: Delta, usage: Usage) -> None:
        """Take the provider's count, or our own of a call to a tool; or a recorded one."""
        if delta.origin != "live":
            self._recorded_usage = usage
            return
        if usage.estimated:
            self._tool_tokens += usage.completion_tokens
            self._tally.behind.add(delta.choice)
            delta = delta._replace(usage=None)
        self._tally.add(delta)

    @property
    def origin(self) -> Origin:
        """Origin of the first content: a later note does not change it."""
        return self._origin or "live"

    @property
    def finish(self) -> str | None:
        """Reason why the answer has ended; `None` if it has not.

        Of several answers, the one that was cut short decides.
        """
        finishes = list(self._finishes.values())
        if self.request.candidates == 1:
            finishes = [reason for choice, reason in self._finishes.items() if not choice]
        if "length" in finishes:
            return "length"
        unusual = next((reason for reason in finishes if reason != "stop"), None)
        if unusual or not finishes:
            return unusual
        if self._refused or self._tools:
            return "refusal" if self._refused else "tool_calls"
        return "stop"

    @property
    def usage(self) -> Usage | None:
        """The provider's count, with its charge; `None` if it has sent none."""
        return self._tally.usage

    @property
    def received(self) -> tuple[int, int]:
        """Characters of the answer so far, thoughts included, and its pieces: about its tokens."""
        return self._characters, self._pieces

    @property
    def begun(self) -> bool:
        """True if a piece of the text or of the thinking has been received."""
        return self._first_text is not None or self._first_thought is not None

    def completion(self, finish: str = "") -> Completion:
        """Return the answer so far, priced.

        Args:
            finish: Reason why the call ended, if the stream itself did not end.
        """
        reasoning = "".join(
            part for choice in sorted(self._reasoning) for part in self._reasoning[choice]
        ).strip("\n")
        text, *others = ("".join(self._texts[choice]) for choice in sorted(self._texts))
        usage = self._recorded_usage
        if usage is None:
            usage = self._usage("".join([text, *others, reasoning]), early=bool(finish))
        live = self.origin == "live"
        timing = self._timing or self._measured()
        return Completion(
            text=text,
            usage=usage,
            cost=bill(usage, self.request.model.price) if live else Decimal(0),
            finish=finish or self.finish or ("refusal" if self._refused else "stop"),
            request=self.request,
            elapsed=timing.elapsed,
            ttft=timing.ttft,
            reasoning=reasoning,
            thinking=timing.thinking,
            notes=(*self.notes, *self._tool_notes()),
            origin=self.origin,
            others=tuple(others),
            logprobs=tuple(self._logprobs),
            recorded=timing.recorded,
        )

    def _measured(self) -> Timing:
        """Return the times of a live answer."""
        now, first, thought = time.perf_counter(), self._first_text, self._first_thought
        return Timing(
            now - self._started,
            None if first is None else first - self._started,
            None if thought is None else max((first or now) - thought, 0.0),
        )

    def _tool_notes(self) -> list[str]:
        """Return a note on the tools that the model calls: nothing here runs them."""
        names = ", ".join(self._tools)
        return [f"it calls {names}: tools are not run"] if names else []

    def _usage(self, everything: str, *, early: bool) -> Usage:
        """Return the provider's count, completed by our own if it lacks something or was early."""
        reported = self.usage or Usage(0, 0)
        prompt, answer = reported.prompt_tokens, reported.completion_tokens
        cut = early and len(self._tally.ended) < self.request.candidates
        missing = self._tally.missing({choice for choice, texts in self._texts.items() if texts})
        complete = not (self._tally.behind or missing)
        final = answer and complete and not cut
        if final and prompt:
            return reported
        ours = self._counted(everything)
        prompt = prompt or ours.prompt_tokens
        if not final:
            texts = "".join("".join(self._texts[choice]) for choice in missing)
            uncounted = tokens.count_text(texts, self.request.model).tokens if texts else 0
            answer = max(answer + uncounted, ours.completion_tokens)
        if (prompt, answer) != (reported.prompt_tokens, reported.completion_tokens):
            reported = replace(
                reported, prompt_tokens=prompt, completion_tokens=answer, counted=ours.counted
            )
        price = self.request.model.price
        if reported.charge and not complete and price and price.cost(reported) > reported.charge:
            return replace(reported, charge=None)  # it lacks what was generated since
        return reported

    def _counted(self, text: str) -> Usage:
        """Return our own count, for want of the provider's."""
        model = self.request.model
        prompt, answer = tokens.count(self.request.messages, model), tokens.count_text(text, model)
        # A streamed piece is mostly one token; the length may suggest more.
        pieces = self.request.stream * self._pieces
        return Usage(
            prompt.tokens,
            self._tool_tokens + (answer.tokens if answer.exact else max(pieces, answer.tokens)),
            counted="exact"
            if prompt.exact and answer.exact and not self._tool_tokens
            else "estimate",
        )


def stopped_with(completion: Completion, where: str = "") -> Stopped:
    """Return the exception of a call that the user stopped: what is kept, and what it costs.

    Args:
        completion: The answer so far.
        where: The expression that returns it, if no cell shows it.
    """
    kept = f"{completion.usage.completion_tokens:,} tokens kept{where and f' in {where}'}"
    price = completion.bill
    if "$" in price:
        price = f"priced as {price}{': it may be billed in full' * completion.at_most}"
    return Stopped(f"Stopped: {', '.join(filter(None, (kept, price)))}.", completion)
