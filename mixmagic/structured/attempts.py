"""Answers in the shape of a schema: what is sent for it, what is made of them, one repair."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mixmagic.calls.completion import Completion
from mixmagic.core.money import exact_sum
from mixmagic.core.values import Message, Request
from mixmagic.errors import AnswerUnusable, MixmagicError, Stopped, one_line
from mixmagic.structured import extract
from mixmagic.structured.schema import Schema

# Why an answer ended that is not all that the model would have said.
_CUT = ("length", "content_filter", "stopped", "broken off")
# Why an answer ended, where asking once more would end in the same way.
_NO_USE = {
    "length": "It was cut off at its token limit: raise --max-tokens.",
    "content_filter": "The provider's filter ended it: ask in other words.",
    "refusal": "Its text is kept: ask in other words.",
}
# Values of an answer that are tried, its last ones: each costs a check against the schema.
_MOST = 100
# Fixes that one value may take: out of a string, and out of what it is wrapped in.
_STEPS = 2
_TRAILING = re.compile(r'"(?:\\.|[^"\\])*"?|,(?=\s*[}\]])', re.DOTALL)
_ARGUMENTS = ("arguments", "parameters", "input")  # of a call to a tool


@dataclass(frozen=True, slots=True)
class Structured:
    """What came of a question with a schema.

    Attributes:
        instance: What was asked for: a model's, a dataclass's or a `TypedDict`'s instance, or the
            JSON value.
        completion: The answer that it was made of; tokens, cost and seconds of all rounds.
        rounds: How often the model was asked: once, or twice.
    """

    instance: Any
    completion: Completion
    rounds: int


def asking(request: Request, schema: Schema) -> Request:
    """A question that asks for an answer in the shape of `schema`.

    The provider is told by its structured output, the model by the instructions: not every server
    that keeps an answer to a schema shows it to the model.

    Args:
        request: The question.
        schema: What its answer is to be.

    Example:
        >>> asking(session.request("Who wrote Emma?"), Schema.of(Person, "Person"))
    """
    told = f"Answer with JSON alone, which fits this JSON Schema: {json.dumps(schema.json)}"
    first, *rest = request.messages
    if first.role == "system":
        messages = (Message("system", f"{first.text}\n\n{told}"), *rest)
    else:
        messages = (Message("system", told), *request.messages)
    form = {"response_format": schema.response_format()}
    return replace(request, messages=messages, params={**request.params, **form})


def read(completion: Completion, schema: Schema) -> Any:
    """What an answer says, in the shape of `schema`: the last value that fits.

    Args:
        completion: The answer.
        schema: What it is to be.

    Raises:
        AnswerUnusable: It is no JSON, does not fit, or is a refusal; `partial` is the completion.

    Example:
        >>> read(completion, Schema.of(Person, "Person")).name
    """
    return _read_fitting(completion, schema).instance


def _read_fitting(completion: Completion, schema: Schema) -> Fitting:
    """The value of an answer, with the JSON that it was made of."""
    try:
        if completion.finish == "refusal":
            raise AnswerUnusable(f"The model refused: {one_line(completion.text, 200)!r}.", "")
        return fitting(completion.text, schema.instance, cut=completion.finish in _CUT)
    except AnswerUnusable as error:
        hint = _NO_USE.get(completion.finish, error.hint)
        problem = AnswerUnusable(error.message, hint)
        problem.partial = completion
        raise problem from None


def repair(request: Request, completion: Completion, problem: str) -> Request:
    """The question that asks for the answer once more, and says what is wrong with it.

    Args:
        request: What was asked.
        completion: The answer that does not fit.
        problem: Why it does not.

    Example:
        >>> repair(request, completion, "$.age: 'old' is not of type 'integer'").messages[-1].role
        'user'
    """
    told = f"This is not what was asked for. {problem}\nAnswer again: the whole JSON, mended."
    said = completion.text if completion.text.strip() else "(no answer)"
    messages = (*request.messages, Message("assistant", said), Message("user", told))
    return replace(request, messages=messages)


def ask_structured(
    show: Callable[[Request], Completion], request: Request, schema: Schema
) -> Structured:
    """Ask for an answer in the shape of a schema; once more where the first does not fit.

    What has been paid for is never lost: whatever goes wrong carries the answer's text, and what
    all rounds took and cost.

    Args:
        show: Asks, and returns the whole answer; what it raises is passed on.
        request: The question, without the schema: see `asking`.
        schema: What its answer is to be.

    Returns:
        The instance, its completion (`value` is the instance) and the number of rounds.

    Raises:
        AnswerUnusable: No answer fits; `partial` is the last one.
        MixmagicError: What `show` raises.
        Stopped: The user stopped it; `completion` is what had come.

    Example:
        >>> found = ask_structured(ask, session.request("Who wrote Emma?"), schema)
        >>> found.instance, found.completion.cost, found.rounds
    """
    asked = asking(request, schema)
    first = show(asked)
    try:
        return _structured(first, schema, 1)
    except AnswerUnusable as problem:
        if first.finish in _NO_USE:
            raise
        again = repair(asked, first, problem.message)
    try:
        second = show(again)
    except MixmagicError as error:
        late = error.partial
        error.partial = both(first, late) if isinstance(late, Completion) else first
        raise
    except Stopped as stopped:
        late = stopped.completion
        stopped.completion = both(first, late) if isinstance(late, Completion) else first
        raise
    return _structured(both(first, second), schema, 2)


def _structured(completion: Completion, schema: Schema, rounds: int) -> Structured:
    """What came of the last round."""
    found = _read_fitting(completion, schema)
    notes = tuple(dict.fromkeys([*completion.notes, *found.remarks]))
    made = replace(completion, value=found.instance, excerpt=found.text, notes=notes)
    return Structured(found.instance, made, rounds)


def both(first: Completion, second: Completion) -> Completion:
    """The second answer, with what both took and cost, as an answer to the first's question.

    Args:
        first: The answer that did not fit.
        second: The answer to its repair.

    Example:
        >>> both(first, second).notes
        ('one repair round',)
    """
    costs = [cost for cost in (first.cost, second.cost) if cost is not None]
    return replace(
        second,
        request=first.request,
        usage=first.usage + second.usage,
        cost=exact_sum(costs) if len(costs) == 2 else None,
        elapsed=first.elapsed + second.elapsed,
        ttft=first.ttft,
        billed_tries=first.billed_tries + second.billed_tries,
        notes=(*dict.fromkeys([*first.notes, *second.notes]), "one repair round"),
    )


@dataclass(frozen=True, slots=True)
class Fitting:
    """A value that fits.

    Attributes:
        instance: The value, as the schema makes it.
        text: The JSON that it was made of.
        remarks: What was left out, and what was fixed, for the user.
    """

    instance: Any
    text: str
    remarks: tuple[str, ...]


def fitting(answer: str, fits: Callable[[Any], Any], *, cut: bool = False) -> Fitting:
    """Return the last value in an answer that fits.

    A trailing comma is dropped; a value is taken out of a string of JSON, out of a list of one and
    out of an object with one key, or a call to a tool, around it.

    Args:
        answer: What the model wrote; time is linear in its length.
        fits: Makes an instance of a value, or raises `AnswerUnusable`.
        cut: True if the answer was cut off: then a value that was cut is not replaced by an
            earlier one.

    Raises:
        AnswerUnusable: None fits: the problem of the value that `parsing.loads` takes.

    Example:
        >>> fitting('First {"a": 1}, then [{"a": 2,}].', schema.instance).remarks
        ('the last of 2 JSON values', 'a trailing comma dropped', 'taken out of a list')
    """
    texts, listed = extract.texts(answer)
    if listed and (found := _fitted(f"[{', '.join(texts)}]", fits)):
        return found
    texts = texts[-_MOST:]
    for place, text in reversed(list(enumerate(texts))):
        if found := _fitted(text, fits):
            return replace(found, remarks=(*_one_of(place, texts), *found.remarks))
        if cut:
            break
    meant = texts[-1] if cut and texts else answer
    return Fitting(fits(extract.loads(meant, exact=True)), "", ())


def _one_of(place: int, texts: Sequence[str]) -> tuple[str, ...]:
    """A remark on the other values."""
    read = [at for at, text in enumerate(texts) if at == place or _read(text) is not None]
    remark = extract.one_of(read.index(place), len(read), "JSON values")
    return (remark,) if remark else ()


def _fitted(text: str, fits: Callable[[Any], Any]) -> Fitting | None:
    """The value of a text of JSON; `None` if nothing makes it fit."""
    read = _read(text)
    if read is None:
        return None
    value, fixed, remarks = read
    for inner, opened in _opened(value, _STEPS):
        try:
            return Fitting(fits(inner), fixed, (*remarks, *opened))
        except AnswerUnusable:
            continue
    return None


def _read(text: str) -> tuple[Any, str, list[str]] | None:
    """The value of a text of JSON, the text that it was read from, and what was fixed in it."""
    try:
        return extract.value(text), text, []
    except ValueError:
        plain = extract.uncommented(text)
        fixed = _TRAILING.sub(lambda part: "" if part[0] == "," else part[0], plain)
        try:
            value = extract.value(fixed)
        except ValueError:
            return None
        return value, fixed, ["a trailing comma dropped"] if fixed != plain else []


def _opened(value: Any, steps: int) -> Iterator[tuple[Any, list[str]]]:
    """A value, and what it is wrapped around, each with what was fixed."""
    yield value, []
    if not steps:
        return
    inner, remark = None, ""
    if isinstance(value, str):
        try:
            inner, remark = extract.value(value), "read out of a string"
        except ValueError:
            return
    elif isinstance(value, list) and len(value) == 1:
        inner, remark = value[0], "taken out of a list"
    elif isinstance(value, dict):
        names = [name for name in _ARGUMENTS if name in value and "name" in value]
        if len(value) == 1 or (names and len(value) <= 3):
            name = names[0] if names else next(iter(value))
            inner, remark = value[name], f"taken out of {name!r:.40}"
    if remark:
        for deeper, remarks in _opened(inner, steps - 1):
            yield deeper, [remark, *remarks]
