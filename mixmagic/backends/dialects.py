"""Parts of OpenAI's API that a model does not accept, from the catalog or from a refusal.

A refused request is sent again without them. A refusal is free. No I/O.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mixmagic.backends import schema_roots
from mixmagic.backends.error_bodies import codes, is_overflow, parts, provider_message
from mixmagic.core.params import is_number
from mixmagic.core.values import Model, Request

# Not parameters: a role, and the two types of structured output.
_SYSTEM, _SCHEMA, _JSON = "system", "json_schema", "json_object"
_FORM = "response_format"
# Parameters that are invalid without another one.
_DEPENDENT = {"top_logprobs": "logprobs", "stream_options": "stream"}
_LIMITS = ("max_completion_tokens", "max_tokens")
# Parameters that a request cannot do without.
_NEEDED = frozenset({
    "model", "messages", "n", "best_of", "tools", "tool_choice", "functions", "function_call",
})  # fmt: skip
_TELLS_SCHEMA = "Answer with JSON alone that fits this JSON Schema: "
_LONGEST = 2000  # characters of an error's message that are searched for a reason

# Statuses for an invalid request. The failure of a chat template is a server error, too.
_BLAMES, _FAILS, _NOT_FOUND = (400, 415, 422, 501), (424, 500), 404
_OF_ROLES = re.compile(
    r"""roles?\ must\ alternate|alternat\w+\ (?:roles|between)|['"`]?system['"`]?\ role
      | role\ ['"`]?system|system\ (?:message|prompt|instruction)s?\ (?:is|are)?\ ?(?:not|un)
      | (?:support|allow|accept)\w*\ ['"`]system['"`]|unknown\ variant\ ['"`]system
      | only\ (?:supports?\ )?['"`]?user['"`]?,?\ and\ ['"`]?(?:assistant|model)
      | developer\ instruction|(?:invalid|unexpected|unknown|unsupported)\ role
      | (?:first|conversation)\b.{0,30}\bmust\ (?:be|start)\b.{0,20}\buser""",
    re.IGNORECASE | re.VERBOSE,
)
_OF_FORM = re.compile(
    r"response[_ ]?format|json[_ -]?(?:schema|object|mode)|structured[_ -]?output"
    r"|guided[_ -](?:json|decoding|grammar)|\bx?grammar\b|\bschema\b|the word .?json",
    re.IGNORECASE,
)
_OF_SCHEMA = re.compile(
    r"invalid (?:json[_ ])?schema|schema (?:must|is (?:invalid|not valid|too))|\bin context="
    r"|not a valid format|\b(?:keyword|format) ['\"`][^'\"`]+['\"`] (?:is )?not",
    re.IGNORECASE,
)
_NAMES_FORM = re.compile(
    r"response[_ ]?format|json[_ ]schema|structured[_ -]?output", re.IGNORECASE
)
_NOT_TAKEN = re.compile(
    r"""unsupported|unknown|unrecogni[sz]ed|unexpected|unavailable|deprecated|no\ longer
      | \bnot\ (?:\w+\ ){0,2}(?:support|permit|allow|accept|available|enabled|implemented|recogni)
      | n't\ (?:support|accept|allow)|extra[_ ](?:input|field|forbidden)|cannot\ find\ field
      | only\ (?:the\ default|[\d.]+\ is\ allowed)""",
    re.IGNORECASE | re.VERBOSE,
)
# Words that blame a value: the parameter itself is accepted.
_OF_RANGE = re.compile(
    r"maximum|minimum|at most|at least|between|(?:greater|less|more|larger|smaller) than"
    r"|\brange\b|<=|>=|too (?:large|small|long|many)|supported values|must be one",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[\n;]|\.\s|\},\s*\{")
_ADVICE = re.compile(r"\b(?:did you mean|use|try|please|instead)\b.*", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(r"[\w./-]*\w")
# Words that tell a parameter's name from an ordinary word.
_BEFORE = re.compile(
    r"""(?:['"`“] | (?:^|\b(?:param(?:eter)?|arg(?:ument)?|field|propert(?:y|ie)|option|key|name
      | input|(?:unknown|unsupported|unrecogni[sz]ed|unexpected))s?)\s*:?\s* | :\s)$""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Habits:
    """Differences between a model's API and OpenAI's.

    Attributes:
        refused: Parameters that the model does not accept, under the provider's names, and
            `system`, `response_format`, `json_schema`, `json_object`.
        renamed: Pairs of the name for the answer's limit that it refuses and the one it accepts.
        any_root: True if an answer's schema may be of any type, not only an object.
        most: Pairs of a parameter, under the provider's name, and its highest value.
    """

    refused: frozenset[str] = frozenset()
    renamed: frozenset[tuple[str, str]] = frozenset()
    any_root: bool = False
    most: frozenset[tuple[str, float]] = frozenset()

    def __or__(self, other: Habits) -> Habits:
        renamed, any_root = self.renamed | other.renamed, self.any_root or other.any_root
        return Habits(self.refused | other.refused, renamed, any_root, self.most | other.most)

    def __sub__(self, other: Habits) -> Habits:
        return Habits(self.refused - other.refused, self.renamed - other.renamed)


class Adapted(NamedTuple):
    """A request's JSON in the form that a model accepts.

    Attributes:
        body: The JSON.
        wrapper: The property of the answer that holds the requested value; empty if the answer is
            that value.
    """

    body: dict[str, Any]
    wrapper: str = ""


class Dialects:
    """The habits of the models that one session has called.

    Example:
        >>> dialects.learn(model, "https://host/v1", Habits(frozenset({"temperature"})))
        >>> dialects.of(model, "https://host/v1").refused
        frozenset({'temperature'})
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._learned: dict[tuple[int, str], Habits] = {}

    def of(self, model: Model, url: str) -> Habits:
        """Return the known habits of a model at a URL."""
        return known(model) | self._learned.get((hash(url), model.id), Habits())

    def learn(self, model: Model, url: str, lesson: Habits) -> Habits:
        """Add the habits that a refusal has revealed; return the new ones."""
        key = (hash(url), model.id)  # a URL may hold a password
        with self._lock:
            before = self._learned.get(key, Habits())
            self._learned[key] = before | lesson
            return lesson - before


def known(model: Model) -> Habits:
    """Return the habits of a model that the catalog knows."""
    names = model.wire_names
    refuses = (*model.provider.dialect.refuses, *model.refuses)
    refused = frozenset(names.get(name, name) for name in refuses) - _limits(model)
    most = {**model.provider.dialect.most, **model.most}.items()
    limits = frozenset((names.get(name, name), limit) for name, limit in most)
    return Habits(refused, any_root=model.provider.dialect.any_root, most=limits)


def adapted(body: Mapping[str, Any], habits: Habits) -> Adapted:
    """Return a request's JSON in the form that a model with these habits accepts.

    Example:
        >>> adapted({"temperature": 0, "seed": 7}, Habits(frozenset({"temperature"}))).body
        {'seed': 7}
    """
    refused, wrapper = habits.refused, ""
    sent = {
        name: value for name, value in body.items() if not {name, _DEPENDENT.get(name)} & refused
    }
    for old, new in habits.renamed:
        limits = [sent.pop(name) for name in (old, new) if name in sent]
        if limits:  # the lowest one; the provider will refuse one that is not a number
            sent[new] = min(limits, key=lambda limit: limit if type(limit) is int else math.inf)
    sent |= _lowered(sent, habits)
    form = body.get(_FORM)
    form = form if isinstance(form, Mapping) else {}
    kind, schema = form.get("type"), _schema(form)
    if kind == _SCHEMA and refused & {_FORM, _SCHEMA}:
        sent["messages"] = _with_schema(sent["messages"], schema)
        if schema_roots.is_object(schema) and not refused & {_FORM, _JSON}:
            sent[_FORM] = {"type": _JSON}
        else:
            sent.pop(_FORM, None)
    elif kind == _SCHEMA and not habits.any_root:
        sent[_FORM], wrapper = schema_roots.wrapped(form)
    elif kind in refused:
        sent.pop(_FORM, None)
    if _SYSTEM in refused:
        sent["messages"] = _alternating(sent["messages"])
    return Adapted(sent, wrapper)


def lowered_notes(model: Model, body: Mapping[str, Any], habits: Habits) -> Iterator[str]:
    """Yield a note for each parameter of a request that is sent with a lower value."""
    for name, limit in sorted(_lowered(body, habits).items()):
        if name not in habits.refused:
            yield f"sent with {name} {limit:g}, the most that {model.name} accepts"


def _lowered(body: Mapping[str, Any], habits: Habits) -> dict[str, float]:
    """Return the parameters whose values are too high, with the highest ones that are accepted."""
    return {
        name: limit
        for name, limit in habits.most
        if is_number(body.get(name)) and body[name] > limit
    }


def left_out(request: Request, habits: Habits) -> list[str]:
    """Return the parameters that the user set, but that are not sent."""
    names, params = request.model.wire_names, request.params
    requested = {names.get(name, name) for name in params} | params.get("extra_body", {}).keys()
    return sorted((requested - {_FORM}) & habits.refused)


def is_of_schema(lesson: Habits, body: Any) -> bool:
    """Return True if a refusal is about this schema only: another one may be accepted."""
    return (
        _SCHEMA in lesson.refused
        and _OF_SCHEMA.search(provider_message(body, _LONGEST)) is not None
    )


def lesson(model: Model, sent: Mapping[str, Any], status: int, body: Any) -> Habits | None:
    """Return the habits that a refusal reveals; `None` if it is about something else.

    Args:
        model: The model.
        sent: The request's JSON.
        status: The refusal's status.
        body: The result of `error_bodies.parse_body` for its body.

    Example:
        >>> refusal = {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}
        >>> lesson(model, {"seed": 7}, 400, refusal).refused
        frozenset({'seed'})
    """
    words = provider_message(body, _LONGEST)
    if is_overflow(words, codes(body)):
        return None
    refused: set[str] = set()
    for field, complaint in _complaints(body, words):
        refused |= _blamed(sent, status, field, complaint)
    limits = refused & _limits(model)
    other = next((name for name in _LIMITS if name not in limits), "")
    if not refused or (limits and not other):  # an answer without a limit could cost anything
        return None
    return Habits(frozenset(refused - limits), frozenset((name, other) for name in limits))


def lesson_notes(model: Model, lesson: Habits, left_out: Collection[str]) -> Iterator[str]:
    """Yield notes for the user on a lesson, except on the parameters that are left out."""
    refused, model_name = lesson.refused, model.name
    if _SYSTEM in refused:
        yield f"{model_name} does not accept a system prompt: it was sent in the first message"
    if _SCHEMA in refused:
        yield f"{model_name} does not accept a JSON Schema: the prompt asks for JSON instead"
    if _JSON in refused:
        yield f"{model_name} does not accept response_format: the prompt asks for JSON instead"
    for old, new in sorted(lesson.renamed):
        yield f"sent with {new} instead of {old}, which {model_name} does not accept"
    for name in sorted(refused - {_SYSTEM, _SCHEMA, _JSON, *left_out}):
        yield without(model, name)


def without(model: Model, name: str) -> str:
    """Return the note that a parameter was not sent."""
    return f"sent without {name}, which {model.name} does not accept"


def _limits(model: Model) -> frozenset[str]:
    """The possible names of the answer's limit in a request's JSON."""
    return frozenset({*_LIMITS, model.wire_names.get("max_tokens", "max_tokens")})


def _complaints(body: Any, words: str) -> Iterator[tuple[str, str]]:
    """Yield the complaints of an error: the field, if it is named separately, and the words."""
    has_texts = False
    for part in parts(body):
        field = part.get("param") or part.get("field") or part.get("loc") or ""
        if isinstance(field, list):
            field = ".".join(str(step) for step in field if step != "body")
        texts = [text[:_LONGEST] for text in part.values() if isinstance(text, str)]
        if texts:
            has_texts = True
            yield (field if isinstance(field, str) else ""), "\n".join(texts)
    if not has_texts:
        yield "", words


def _blamed(sent: Mapping[str, Any], status: int, field: str, complaint: str) -> set[str]:
    """The parts of a request that a complaint blames."""
    top = re.split(r"[.\[]", field.strip("#/ "), maxsplit=1)[0]
    if status in (*_BLAMES, *_FAILS) and (
        _OF_ROLES.search(complaint) or re.search(r"\brole$", field)
    ):
        messages = sent.get("messages")
        return {_SYSTEM} if _alternating(messages) != messages else set()
    if _FORM in sent and (top in (_FORM, "messages", "") or top not in sent):
        pattern = _NAMES_FORM if status == _NOT_FOUND else _OF_FORM
        if status in (*_BLAMES, _NOT_FOUND) and (top == _FORM or pattern.search(complaint)):
            kind = sent[_FORM].get("type") if isinstance(sent[_FORM], Mapping) else None
            return {kind} if kind in (_SCHEMA, _JSON) else {_FORM}
    if status not in _BLAMES:
        return set()
    if top in sent:
        clear = _NOT_TAKEN.search(complaint) and not _OF_RANGE.search(complaint)
        return {top} - _NEEDED if clear else set()
    return _named_parameters(sent, complaint)


def _named_parameters(sent: Mapping[str, Any], complaint: str) -> set[str]:
    """The parameters that a message says are not accepted, from clauses that name exactly one."""
    plain = {name.replace("_", "").lower(): name for name in sent.keys() - _NEEDED}
    blamed = set()
    for clause in _CLAUSE.split(complaint):
        text = _ADVICE.sub("", clause)
        if not _NOT_TAKEN.search(text) or _OF_RANGE.search(text):
            continue
        names = set()
        for token in _TOKEN.finditer(text):
            name = plain.get(token[0].strip("/").replace("_", "").lower())
            if name and (
                "_" in name or name in ("temperature", "logprobs") or _marked(text, token)
            ):
                names.add(name)
        if len(names) == 1:
            blamed |= names
    return blamed


def _marked(text: str, token: re.Match[str]) -> bool:
    """True if a word is marked as a parameter's name."""
    after = text[token.end() :]
    return bool(
        _BEFORE.search(text[: token.start()])
        or re.match(r"\W?\s*(?:param|arg|field|option|propert)|\s*:", after)
    )


def _alternating(messages: Any) -> Any:
    """A conversation in which the user and the assistant alternate."""
    turns: list[dict[str, Any]] = []
    for message in messages if _is_plain(messages) else []:
        role = "user" if message["role"] == "system" else message["role"]
        if turns and turns[-1]["role"] == role:  # like the first Mixtral's template
            turns[-1]["content"] = _joined(turns[-1]["content"], message["content"])
        else:
            turns.append({**message, "role": role})
    return turns or messages


def _schema(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema in a `response_format`; an empty one if there is none."""
    inner = form.get(_SCHEMA)
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    return schema if isinstance(schema, Mapping) else {}


def _with_schema(messages: Any, schema: Mapping[str, Any]) -> Any:
    """A conversation with the schema of the answer added, unless it has one."""
    if not _is_plain(messages) or not schema:
        return messages
    if any("json schema" in _text(message["content"]).lower() for message in messages):
        return messages
    at = 0 if messages[0]["role"] == "system" else len(messages) - 1
    content = _joined(messages[at]["content"], f"{_TELLS_SCHEMA}{json.dumps(schema)}")
    return [*messages[:at], {**messages[at], "content": content}, *messages[at + 1 :]]


def _is_plain(messages: Any) -> bool:
    """True for messages of texts and images; those in `extra_body` may be anything."""
    return (
        isinstance(messages, list)
        and all(
            isinstance(item, dict) and _is_content(item.get("content")) and "role" in item
            for item in messages
        )
        and bool(messages)
    )


def _is_content(content: Any) -> bool:
    """True for a text, or a list of parts."""
    return isinstance(content, str) or (
        isinstance(content, list) and all(isinstance(part, dict) for part in content)
    )


def _text(content: Any) -> str:
    """The text of a message's content."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _joined(first: Any, second: Any) -> Any:
    """Two contents as one: a text, or a list of parts if one of them has images."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [
        part
        for content in (first, second)
        for part in ([{"type": "text", "text": content}] if isinstance(content, str) else content)
    ]
