"""Schemas whose root is not an object: wrapped in one for a provider, unwrapped in its answer.

OpenAI's structured output accepts only objects. No I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

from mixmagic.backends.error_bodies import is_json
from mixmagic.core.values import Delta
from mixmagic.errors import MixmagicError

# Names for the property that holds the value; the first that is not in the schema is used.
_NAMES = ("answer", "value", "result", "wrapped_answer")
# Keywords that are not allowed at the root of a schema.
_NOT_AT_ROOT = frozenset({"$ref", "allOf", "anyOf", "const", "enum", "not", "oneOf"})
_HOISTED = ("$schema", "$defs", "definitions")
# Keywords that hold values, and those that hold schemas by name.
_DATA = frozenset({"const", "default", "enum", "examples"})
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
# A reference to the root or into it, but not to the definitions, which stay at the root.
_INSIDE = re.compile(r"#(?:/(?!\$?def(?:s|initions)/)|\Z)")
_BLANKS = " \t\r\n"
_LONGEST_BEGIN = 1000  # characters that are more than enough to tell if an answer is wrapped


def wrapped(form: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return a `response_format` whose schema is an object's, and the property that was added.

    Args:
        form: A `response_format`. One that needs no wrapper is returned unchanged, with an empty
            name.

    Example:
        >>> form = {"type": "json_schema", "json_schema": {"schema": {"type": "integer"}}}
        >>> wrapped(form)[0]["json_schema"]["schema"]["properties"]
        {'answer': {'type': 'integer'}}
    """
    inner = form.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    if not inner or not isinstance(schema, Mapping) or is_object(schema) or "$id" in schema:
        return form, ""
    written = json.dumps(schema)
    name = next((name for name in _NAMES if f'"{name}"' not in written), _NAMES[-1])
    moved = _moved(schema, f"#/properties/{name}")
    outer = {
        "type": "object",
        "properties": {name: {key: moved[key] for key in moved if key not in _HOISTED}},
        "required": [name],
        "additionalProperties": False,
        **{key: moved[key] for key in _HOISTED if key in moved},
    }
    return {**form, "json_schema": {**inner, "schema": outer}}, name


def is_object(schema: Mapping[str, Any]) -> bool:
    """Return True if structured output accepts the root of a schema."""
    return schema.get("type") == "object" and not _NOT_AT_ROOT & schema.keys()


def unwrapped(deltas: Generator[Delta, None, None], name: str) -> Iterator[Delta]:
    """Yield the pieces of an answer without the object around it.

    An answer that does not begin with that object is left unchanged.

    Args:
        deltas: The pieces of an answer.
        name: The property that `wrapped` has added.
    """
    answers: dict[int, _Unwrapper] = {}
    try:
        with closing(deltas):
            for delta in deltas:
                if delta.text:
                    if delta.choice not in answers:
                        answers[delta.choice] = _Unwrapper(name)
                    delta = delta._replace(text=answers[delta.choice].feed(delta.text))  # noqa: PLW2901
                yield delta
    except MixmagicError:
        yield from _rest(answers)
        raise
    yield from _rest(answers)


def _rest(answers: Mapping[int, _Unwrapper]) -> Iterator[Delta]:
    """Yield the text that is held back of answers that have ended."""
    for choice, answer in answers.items():
        if text := answer.close():
            yield Delta(text, choice=choice)


class _Unwrapper:
    """Removes the object around a value from a streamed JSON text."""

    def __init__(self, name: str) -> None:
        self._open = re.compile(rf'\s*\{{\s*"{name}"\s*:\s*')
        self._prefix = f'{{"{name}":'
        self._begins = True
        self._wrapped = False
        self._held: list[str] = []  # a brace that may be the last one, and whitespace after it
        self._shown: list[str] = []

    def feed(self, text: str) -> str:
        """Take the next piece; return the text that is surely part of the value."""
        if not self._begins and not self._wrapped:
            return text
        self._held.append(text)
        if self._wrapped and not text.strip(_BLANKS):
            return "" if len(self._held) > 1 else self._show(len(text))
        if self._begins:
            text = "".join(self._held)
            if opening := self._open.match(text):
                self._wrapped, self._held = True, [text[opening.end() :]]
            elif len(text) < _LONGEST_BEGIN and self._prefix.startswith("".join(text.split())):
                return ""
            self._begins = False
            if not self._wrapped:
                self._held = []
                return text
        rest = "".join(self._held).rstrip(_BLANKS)
        return self._show(len(rest) - 1 if rest.endswith("}") else None)

    def _show(self, end: int | None) -> str:
        """Return the held text up to an index, and hold the rest."""
        text = "".join(self._held)
        shown, rest = text[:end], "" if end is None else text[end:]
        self._held = [rest] if rest else []
        self._shown.append(shown)
        return shown

    def close(self) -> str:
        """Return the held text, unless it closes the object that was removed."""
        held, self._held = "".join(self._held), []
        return "" if self._wrapped and "}" in held and is_json("".join(self._shown)) else held


def _moved(schema: Any, root: str, *, named: bool = False) -> Any:
    """A schema with references to its root, and into it, changed to `root`."""
    if isinstance(schema, list):
        return [_moved(item, root) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if named:
        return {name: _moved(item, root) for name, item in schema.items()}
    copy = {
        key: item if key in _DATA else _moved(item, root, named=key in _NAMED)
        for key, item in schema.items()
    }
    reference = schema.get("$ref")
    if isinstance(reference, str) and _INSIDE.match(reference):
        copy["$ref"] = f"{root}{reference[1:]}"
    return copy
