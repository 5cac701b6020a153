"""Makes an answer of the pieces of a stream: its text, its token counts and its final cost.

May import `completion`, `tokens`, `worst_case` and the packages below them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from dataclasses import replace
from decimal import Decimal

from mixmagic.calls import tokens
from mixmagic.calls.completion import Completion
from mixmagic.calls.worst_case import worst_case
from mixmagic.core.logprobs import Logprobs, TokenLogprob
from mixmagic.core.money import Usage, bill, exact_sum
from mixmagic.core.values import Delta, Origin, Request, Timing, Tried
from mixmagic.errors import Stopped, counted

# The reasons of answers that have come to their own end.
_NATURAL = ("stop", "tool_calls")
# More tokens than a call can have; the ledger can price no more.
_MOST_TOKENS = 10**9


class Collector:
    """Adds up the pieces of one stream, with their times.

    Attributes:
        request: The question; with the model that answers once a piece has named it.
        notes: Notes of the pieces so far.
        tried: Tries that failed, and that the provider may bill.
        timing: The recorded times of an answer that is not live; `None` if there are none yet.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.notes: list[str] = []
        self.tried: list[Tried] = []
        self._started = time.perf_counter()
        self._begin()

    def _begin(self) -> None:
        """Begin an answer, which is empty."""
        self._tally = Tally(self.request.candidates)
        self._tool_tokens = 0
        self._finishes: dict[int, str] = {}  # of each answer
        self._refused = False
        self._tools: list[str] = []
        self._texts: dict[int, list[str]] = {0: []}  # of each answer
        self._logprobs: list[TokenLogprob] = []
        self._reasoning: dict[int, list[str]] = {}
        self._pieces = self._characters = 0
        self._origin: Origin | None = None  # of the first content
        self.timing: Timing | None = None
        self._recorded_usage: Usage | None = None
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
        if delta.restarted:
            self._begin()
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
            self.timing = delta.timing
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
    def whole(self) -> bool:
        """True if every answer that was asked for has come to its own end, and was counted."""
        natural = all(reason in _NATURAL for reason in self._finishes.values())
        ended = len(self._finishes) >= self.request.answers
        return natural and ended and not self._refused and self.usage is not None

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
        timing = self.timing or self._measured()
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
            logprobs=Logprobs(self._logprobs),
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


def finalize(
    collector: Collector, finish: str = "", *, sent: bool = True, unseen: bool = False
) -> Completion:
    """Return the answer of a call that is over, priced; our own counts at most at the worst case.

    Args:
        collector: The answer that was received.
        finish: Reason why the call ended, if the stream itself did not end: `stopped`,
            `broken off`.
        sent: True if the provider may have received the question.
        unseen: True if the provider may have generated, and may bill, more than was received.

    Example:
        >>> finalize(collector, "stopped", sent=False).cost
        Decimal('0')
    """
    completion = collector.completion(finish)
    if completion.origin != "live":
        return completion  # nothing was sent
    completion = _last_try(collector, completion, sent=sent, unseen=unseen)
    return _with_tries(completion, collector.tried) if collector.tried else completion


def _with_tries(completion: Completion, tried: Sequence[Tried]) -> Completion:
    """Add the possible costs of the tries that failed."""
    usage, costs = completion.usage, [completion.cost, *(each.cost for each in tried)]
    unsure = sum(not each.reported for each in tried)
    if unsure and not usage.total_tokens:
        usage = replace(usage, counted="estimate")  # the text generated is unknown
    notes = list(completion.notes)
    for count, verb in ((unsure, "may have been"), (len(tried) - unsure, "was")):
        if count:
            tries = "1 earlier try" if count == 1 else f"{count} earlier tries"
            notes.append(f"{tries} {'were' if verb == 'was' and count > 1 else verb} billed")
    return replace(
        completion,
        usage=usage,
        cost=None if None in costs else exact_sum(filter(None, costs)),
        billed_tries=completion.billed_tries + unsure,
        notes=tuple(notes),
    )


def _last_try(
    collector: Collector, completion: Completion, *, sent: bool, unseen: bool
) -> Completion:
    """Return the answer with the cost of the last try, without those before it."""
    request, usage, price = collector.request, completion.usage, completion.model.price
    if not (sent or collector.begun or collector.usage):
        # A call that was refused costs nothing, and there are no counts.
        return replace(completion, usage=Usage(0, 0, counted=None), cost=Decimal(0))
    if not usage.estimated or usage.charge is not None or price is None:
        return completion
    worst = worst_case(request)
    if (completion.at_most or unseen) and collector.usage is None:
        # The rest of the answer is unknown: the provider may have gone on.
        return replace(completion, cost=worst.cost, billed_tries=int(worst.cost != 0))
    most = worst.completion_tokens
    if most is None or usage.completion_tokens <= most:
        return completion
    usage = replace(usage, completion_tokens=most, counted="estimate")
    charge = collector.usage and collector.usage.charge  # of the answer when it was told
    return replace(completion, usage=usage, cost=max(price.cost(usage), charge or Decimal(0)))


def stopped_with(completion: Completion, where: str = "", *, shown: bool = False) -> Stopped:
    """Return the exception of a call that the user stopped: what is kept, and what it costs.

    Args:
        completion: The answer so far.
        where: The expression that returns it, if no cell shows it.
        shown: True if its footer is shown, which says that it was stopped, and what it costs.
    """
    if shown:
        begun = any((completion.text, completion.reasoning, *completion.others))
        line = "The answer so far is in `_`." if begun else "Stopped before the answer began."
        bill = " It may be billed in full." if completion.at_most else ""
        return Stopped(f"{line}{bill}", completion)
    kept = f"{counted(completion.usage.completion_tokens, 'token')} kept{where and f' in {where}'}"
    price = completion.bill
    if "$" in price:
        price = f"priced as {price}{': it may be billed in full' * completion.at_most}"
    return Stopped(f"Stopped: {', '.join(filter(None, (kept, price)))}.", completion)


class Tally:
    """The provider's counts of one call. No count becomes smaller or is added twice.

    Most providers count the whole call, some repeatedly as it grows. Of several answers, some
    count each one alone: on its own pieces or, like llama.cpp, after its end.

    Args:
        answers: The number of answers that may be received.

    Attributes:
        ended: The answers that have ended.
        behind: The answers of which more was received since they were counted.

    Example:
        >>> tally = Tally(2)
        >>> for choice in (0, 1):
        ...     tally.add(Delta(finish="stop", usage=Usage(9, 5), choice=choice))
        >>> tally.usage
        Usage(prompt_tokens=9, completion_tokens=10, ...)
    """

    def __init__(self, answers: int) -> None:
        self.ended: set[int] = set()
        self.behind: set[int] = set()
        self._answers = answers
        self._whole: Usage | None = None  # the largest count of all answers together
        self._alone: dict[int, Usage] = {}  # the largest count of each one alone
        self._counted_apart = False  # True if answers are surely counted alone
        self._in_turn = False  # True if the count of each one follows its end
        self._uncounted: set[int] = set()  # answers that have ended since the last count

    def add(self, delta: Delta) -> None:
        """Take a piece with a count, or with the end of an answer."""
        if delta.finish:
            self.ended.add(delta.choice)
            self._uncounted.add(delta.choice)
        if delta.usage is not None:
            choice = self._counted_alone(delta, delta.usage)
            if choice is None:
                self._add_whole(delta.usage)
            else:
                self._add_alone(choice, delta.usage)
            self._uncounted.clear()

    @property
    def usage(self) -> Usage | None:
        """The counts so far of all answers together; `None` if there are none."""
        counts = list(self._alone.values())
        charges = [count.charge for count in counts if count.charge is not None]
        usage = self._whole
        for count in counts:
            usage = _largest(usage, count)
        if usage is None or not counts:
            return usage
        together = Usage(
            0,
            min(sum(count.completion_tokens for count in counts), _MOST_TOKENS),
            charge=exact_sum(charges) if charges else None,
            reasoning_tokens=min(sum(count.reasoning_tokens for count in counts), _MOST_TOKENS),
        )
        return _largest(usage, together)

    def missing(self, begun: Set[int]) -> Set[int]:
        """Return the answers that have begun and have no count, if others have one of their own."""
        return begun - self._alone.keys() if self._counted_apart else set()

    def _counted_alone(self, delta: Delta, usage: Usage) -> int | None:
        """Return the answer that is counted alone; `None` if the count is of all of them."""
        if delta.alone:
            self._counted_apart = True
            return delta.choice
        if self._answers == 1 or delta.alone is False or not usage.completion_tokens:
            return None
        early = len(self.ended) < self._answers  # it cannot be of all of them
        if delta.text or delta.reasoning or delta.finish:
            self._counted_apart = self._counted_apart or early
            return delta.choice
        if len(self._uncounted) == 1 and (early or self._in_turn):
            self._counted_apart = self._in_turn = True
            return next(iter(self._uncounted))
        return None

    def _add_whole(self, now: Usage) -> None:
        """Take a count of all answers together."""
        less = any(_less(now, count) for count in (self._whole, *self._alone.values()))
        before = self.usage
        self._whole = _largest(self._whole, now)
        if not less:  # it includes the others
            for count in self._alone.values():
                self._whole = _largest(self._whole, count)
            if before and now.charge is None:
                self._whole = replace(self._whole, charge=before.charge)
            self._alone.clear()
            self._counted_apart = False
        self.behind = {0} if less else set()

    def _add_alone(self, choice: int, now: Usage) -> None:
        """Take a count of one answer."""
        if not self._counted_apart:
            self.behind.clear()  # it may be of all of them
        self.behind.discard(choice)
        was = self._alone.get(choice)
        if _less(now, was):
            self.behind.add(choice)
        self._alone[choice] = _largest(was, now)


def _less(now: Usage, was: Usage | None) -> bool:
    """Return True if fewer tokens are counted than before: one of the counts is wrong."""
    return was is not None and now.completion_tokens < was.completion_tokens


def _largest(one: Usage | None, other: Usage) -> Usage:
    """Return the larger of each count of two."""
    if one is None:
        return other
    prompt = max(one.prompt_tokens, other.prompt_tokens)
    cached = max(one.cached_tokens, other.cached_tokens)
    written = max(one.cache_write_tokens, other.cache_write_tokens)
    charges = [usage.charge for usage in (one, other) if usage.charge is not None]
    return Usage(
        prompt,
        max(one.completion_tokens, other.completion_tokens),
        cached,
        cache_write_tokens=min(written, prompt - cached),
        charge=max(charges, default=None),
        reasoning_tokens=max(one.reasoning_tokens, other.reasoning_tokens),
    )
