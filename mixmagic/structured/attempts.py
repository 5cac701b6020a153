"""Answers that match a schema: the request, the matching value, and one repair attempt."""

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

# Finish reasons of incomplete answers.
_INCOMPLETE = ("length", "content_filter", "stopped", "broken off")
# Finish reasons that a second attempt would share, with hints.
_FINAL = {
    "length": "Raise --max-tokens, or ask for less. Everything received is kept.",
    "content_filter": "The provider's filter ended it: ask in other words.",
    "refusal": "Its text is kept: ask in other words.",
}
# The last values of an answer that are tried: each is validated against the schema.
_MOST = 100
# Wrappers that may be removed from one value: a string, and a list or an object.
_UNWRAPPINGS = 2
_TRAILING = re.compile(r'"(?:\\.|[^"\\])*"?|,(?=\s*[}\]])', re.DOTALL)
_ARGUMENTS = ("arguments", "parameters", "input")  # of a tool call


@dataclass(frozen=True, slots=True)
class Structured:
    """The result of a request with a schema.

    Attributes:
        instance: An instance of the schema's type, or the JSON value.
        completion: The answer; its tokens, cost and seconds are those of all attempts.
        attempts: 1, or 2 after a repair.
    """

    instance: Any
    completion: Completion
    attempts: int


def with_schema(request: Request, schema: Schema) -> Request:
    """Return the request for an answer that matches `schema`.

    The schema is in `response_format` and in the system prompt: not every server that enforces a
    schema shows it to the model.

    Example:
        >>> with_schema(session.request("Who wrote Emma?"), Schema.of(Person, "Person"))
    """
    instructions = f"Answer with JSON alone, which fits this JSON Schema: {json.dumps(schema.json)}"
    first, *rest = request.messages
    if first.role == "system":
        messages = (Message("system", f"{first.text}\n\n{instructions}"), *rest)
    else:
        messages = (Message("system", instructions), *request.messages)
    form = {"response_format": schema.response_format()}
    return replace(request, messages=messages, params={**request.params, **form})


def read_instance(completion: Completion, schema: Schema) -> Any:
    """Return the last value in an answer that matches `schema`, as an instance.

    Raises:
        AnswerUnusable: It has no JSON, does not match, or is a refusal; `partial` is the
            completion.

    Example:
        >>> read_instance(completion, Schema.of(Person, "Person")).name
    """
    return _match(completion, schema).instance


def _match(completion: Completion, schema: Schema) -> Match:
    """Return the matching value of an answer."""
    try:
        if completion.finish == "refusal":
            raise AnswerUnusable(f"The model refused: {one_line(completion.text, 200)!r}.", "")
        return find_match(completion.text, schema.instance, cut=completion.finish in _INCOMPLETE)
    except AnswerUnusable as error:
        problem = extract.explained(error, completion)
        problem = AnswerUnusable(problem.message, _FINAL.get(completion.finish, problem.hint))
        problem.partial = completion
        raise problem from None


def _matches(completion: Completion, schema: Schema) -> bool:
    """Return True if an answer has a value that matches the schema."""
    try:
        _match(completion, schema)
    except AnswerUnusable:
        return False
    return True


def repair(request: Request, completion: Completion, problem: str) -> Request:
    """Return the request that repeats the question and tells what is wrong with the answer.

    Example:
        >>> repair(request, completion, "$.age: 'old' is not of type 'integer'").messages[-1].role
        'user'
    """
    correction = (
        f"This is not what was asked for. {problem}\nAnswer again: the whole JSON, corrected."
    )
    answer = completion.text if completion.text.strip() else "(no answer)"
    messages = (*request.messages, Message("assistant", answer), Message("user", correction))
    return replace(request, messages=messages)


def ask_structured(
    show: Callable[[Request], Completion], request: Request, schema: Schema
) -> Structured:
    """Ask for an answer that matches a schema, a second time if the first does not.

    Nothing paid for is lost: every exception carries the answer's text, and the tokens and cost of
    all attempts.

    Args:
        show: Sends a request and returns the whole answer; its exceptions are passed on.
        request: The request without the schema: see `with_schema`.
        schema: The schema of the answer.

    Returns:
        The instance, its completion (`value` is the instance) and the number of attempts.

    Raises:
        AnswerUnusable: No answer matches; `partial` is the last one.
        MixmagicError: Raised by `show`.
        Stopped: The user stopped it; `completion` is the text received.

    Example:
        >>> result = ask_structured(ask, session.request("Who wrote Emma?"), schema)
        >>> result.instance, result.completion.cost, result.attempts
    """
    return ask_again_if_needed(show, with_schema(request, schema), schema)


def ask_again_if_needed(
    show: Callable[[Request], Completion], asked: Request, schema: Schema
) -> Structured:
    """Do what `ask_structured` does with a request that has its schema already.

    Example:
        >>> ask_again_if_needed(ask, with_schema(request, schema), schema).instance
    """
    first = show(asked)
    try:
        return _structured(first, schema, 1)
    except AnswerUnusable as problem:
        if first.finish in _FINAL:
            raise
        second_request = repair(asked, first, problem.message)
        # The cache keeps the first answer if it can keep the second: then both are wanted again.
        control = replace(asked.control, keep=lambda answer: _matches(answer, schema))
        second_request = replace(second_request, control=control)
    try:
        second = show(second_request)
    except MixmagicError as error:
        partial = error.partial
        error.partial = both(first, partial) if isinstance(partial, Completion) else first
        raise
    except Stopped as stopped:
        partial = stopped.completion
        stopped.completion = both(first, partial) if isinstance(partial, Completion) else first
        raise
    return _structured(both(first, second), schema, 2)


def _structured(completion: Completion, schema: Schema, attempts: int) -> Structured:
    match = _match(completion, schema)
    notes = tuple(dict.fromkeys([*completion.notes, *match.notes]))
    completion = replace(completion, value=match.instance, excerpt=match.text, notes=notes)
    return Structured(match.instance, completion, attempts)


def both(first: Completion, second: Completion) -> Completion:
    """Return the second completion with usage and cost of both, as the answer to the first request.

    Example:
        >>> both(first, second).notes
        ('repaired once',)
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
        notes=(*dict.fromkeys([*first.notes, *second.notes]), "repaired once"),
    )


@dataclass(frozen=True, slots=True)
class Match:
    """A value that matches a schema.

    Attributes:
        instance: The instance that the schema made of it.
        text: Its JSON text.
        notes: Omitted values and corrections, for the user.
    """

    instance: Any
    text: str
    notes: tuple[str, ...]


def find_match(answer: str, validate: Callable[[Any], Any], *, cut: bool = False) -> Match:
    """Return the last value in an answer that is valid.

    A trailing comma is dropped. A value is unwrapped from a JSON string, from a list of one, and
    from an object with one key or a tool call.

    Args:
        answer: The text of the answer; time is linear in its length.
        validate: Returns the instance for a value, or raises `AnswerUnusable`.
        cut: True if the answer was cut off: then an earlier value cannot replace the last one.

    Raises:
        AnswerUnusable: No value is valid; the problem is that of the value of `extract.loads`.

    Example:
        >>> find_match('First {"a": 1}, then [{"a": 2,}].', schema.instance).notes
        ('the last of 2 JSON values', 'a trailing comma dropped', 'taken out of a list')
    """
    texts, is_list = extract.json_texts(answer)
    if is_list and (match := _match_text(f"[{', '.join(texts)}]", validate)):
        return match
    texts = texts[-_MOST:]
    for index, text in reversed(list(enumerate(texts))):
        if match := _match_text(text, validate):
            return replace(match, notes=(*_others_note(index, texts), *match.notes))
        if cut:
            break
    text = texts[-1] if cut and texts else answer
    return Match(validate(extract.loads(text, exact=True)), "", ())


def _others_note(index: int, texts: Sequence[str]) -> tuple[str, ...]:
    """Return a note about the other values, if there are any."""
    valid = [
        at for at, text in enumerate(texts) if at == index or _parse_leniently(text) is not None
    ]
    note = extract.position_note(valid.index(index), len(valid), "JSON values")
    return (note,) if note else ()


def _match_text(text: str, validate: Callable[[Any], Any]) -> Match | None:
    """Return the valid value of a JSON text; `None` if there is none."""
    parsed = _parse_leniently(text)
    if parsed is None:
        return None
    value, corrected, notes = parsed
    for inner, unwrappings in _unwrap(value, _UNWRAPPINGS):
        try:
            return Match(validate(inner), corrected, (*notes, *unwrappings))
        except AnswerUnusable:
            continue
    return None


def _parse_leniently(text: str) -> tuple[Any, str, list[str]] | None:
    """Return the value of a JSON text, the corrected text, and notes about corrections."""
    try:
        return extract.parse_exact(text), text, []
    except ValueError:
        plain = extract.without_comments(text)
        corrected = _TRAILING.sub(lambda part: "" if part[0] == "," else part[0], plain)
        try:
            value = extract.parse_exact(corrected)
        except ValueError:
            return None
        return value, corrected, ["a trailing comma dropped"] if corrected != plain else []


def _unwrap(value: Any, levels: int) -> Iterator[tuple[Any, list[str]]]:
    """Yield a value and the values it wraps, each with notes about the wrappers removed."""
    yield value, []
    if not levels:
        return
    inner, note = None, ""
    if isinstance(value, str):
        try:
            inner, note = extract.parse_exact(value), "read out of a string"
        except ValueError:
            return
    elif isinstance(value, list) and len(value) == 1:
        inner, note = value[0], "taken out of a list"
    elif isinstance(value, dict):
        names = [name for name in _ARGUMENTS if name in value and "name" in value]
        if len(value) == 1 or (names and len(value) <= 3):
            name = names[0] if names else next(iter(value))
            inner, note = value[name], f"taken out of {name!r:.40}"
    if note:
        for innermost, notes in _unwrap(inner, levels - 1):
            yield innermost, [note, *notes]
