"""The recorded request that is most like one which was not recorded, and what differs."""

from __future__ import annotations

import difflib
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mixmagic.core.params import canonical

# Pairs of words that are looked for in every line, and lines whose words are compared.
_PAIRS, _COMPARED = 5, 500
# Lines whose words are most alike, and whose texts are compared.
_SHORTLIST = 5
# Differences that are named, at most; characters of a value, and around a difference.
_MOST, _VALUE, _AROUND = 3, 24, 12
# The beginning and the end of the messages in a line.
_MESSAGES, _ANSWER, _ERROR = b'"messages": ', b'}, "answer": {', b'}, "error": {'


def shortlist(request: Mapping[str, Any], lines: Sequence[bytes]) -> list[int]:
    """Return the indexes of the lines of a cassette whose messages share most words with a request.

    The lines are not parsed. All are searched for a few pairs of words, and the words of those that
    have most of them are compared.

    Args:
        request: The request as JSON.
        lines: The lines of a cassette.
    """
    messages = json.dumps(request.get("messages", []), ensure_ascii=False)
    words = messages.encode(errors="replace").split()
    step = max((len(words) - 1) // _PAIRS, 1)
    pairs = [b" ".join(words[at : at + 2]) for at in range(0, max(len(words) - 1, 1), step)]
    hits = []
    for index, line in enumerate(lines):
        start, end = _messages(line)
        found = [line.find(pair, start, end) for pair in pairs]
        hits.append((found.count(-1), index))
    wanted = frozenset(words)
    alike = []
    for _, index in heapq.nsmallest(_COMPARED, hits):
        start, end = _messages(lines[index])
        theirs = frozenset(lines[index][start:end].split())
        alike.append((-len(wanted & theirs) / (len(wanted | theirs) or 1), index))
    return [index for _, index in heapq.nsmallest(_SHORTLIST, alike)]


def likeness(request: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return how much two requests are alike, from 0 to 1, more exactly than by their words."""
    one, two = _last_text(request)[-2000:], _last_text(other)[-2000:]
    ratio = difflib.SequenceMatcher(None, one, two, autojunk=len(one) > 200).ratio()
    return ratio - 0.01 * len(list(_differences(request, other)))


def differences(request: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    """Return what differs between a request and a recorded one, for people, in one line.

    Example:
        >>> differences(asked, recorded)
        'temperature (0.2, recorded 0) and prompt character 5 ("…median…", recorded "…mean…")'
    """
    parts = list(_differences(request, recorded))
    if len(parts) > _MOST:
        parts[_MOST - 1 :] = [f"{len(parts) - _MOST + 1} more"]
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]])) or "nothing visible"


def _differences(request: Mapping[str, Any], recorded: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs: the model, parameters, the number of messages, the texts."""
    yield from _value("model", request.get("asked"), recorded.get("asked"))
    now, then = (canonical(each.get("params", {})) for each in (request, recorded))
    for name in dict.fromkeys([*now, *then]):
        yield from _value(name, now.get(name), then.get(name))
    ours, theirs = (each.get("messages", []) for each in (request, recorded))
    if len(ours) != len(theirs):
        yield f"the number of messages ({len(ours)}, recorded {len(theirs)})"
    for at, (one, two) in enumerate(zip(ours, theirs, strict=False)):
        role = one.get("role")
        name = {"system": "system prompt", "user": "prompt"}.get(role, f"{role}'s message")
        if len(ours) > at + 1 and role == "user":
            name = f"message {at + 1}"
        if role != two.get("role"):
            yield f"the role of message {at + 1} ({role}, recorded {two.get('role')})"
        elif (a := _text(one)) != (b := _text(two)):
            yield _difference(name, a, b)
        elif one.get("content") != two.get("content"):
            yield f"another image in the {name}"


def _value(name: str, now: Any, then: Any) -> Iterator[str]:
    """Yield the difference of two values, if there is one; a schema by its name alone."""
    if now == then:
        return
    if isinstance(now, dict | list) or isinstance(then, dict | list):
        yield name
        return
    recorded = "not recorded" if then is None else f"recorded {_short(then)}"
    yield f"{name} ({'not set' if now is None else _short(now)}, {recorded})"


def _difference(name: str, now: str, then: str) -> str:
    """Return the first place in which two texts differ, and the words there."""
    pairs = enumerate(zip(now, then, strict=False))
    start = next((at for at, (one, two) in pairs if one != two), min(len(now), len(then)))
    back = start
    while back and not now[back - 1].isspace() and start - back < _AROUND:
        back -= 1  # to the beginning of the word
    ours, theirs = (_excerpt(text, back) for text in (now, then))
    return f"{name} character {start + 1} ({ours}, recorded {theirs})"


def _excerpt(text: str, start: int) -> str:
    """Return a few characters of a text, quoted."""
    shown = " ".join(text[start : start + 2 * _AROUND].split())
    if not shown:
        return "its end"
    more = "…" * (start + 2 * _AROUND < len(text))
    return f'"{"…" * (start > 0)}{shown}{more}"'


def _short(value: Any) -> str:
    shown = str(value)
    return shown if len(shown) <= _VALUE else f"{shown[: _VALUE - 1]}…"


def _text(message: Mapping[str, Any]) -> str:
    """Return the text of a message, without its images."""
    content = message.get("content", "")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _last_text(request: Mapping[str, Any]) -> str:
    messages = request.get("messages") or [{}]
    return _text(messages[-1])


def _messages(line: bytes) -> tuple[int, int]:
    """Return where the messages in a line begin and end."""
    start = line.find(_MESSAGES) + len(_MESSAGES)
    end = line.find(_ANSWER, start)
    if end < 0:
        end = line.find(_ERROR, start)
    return start, len(line) if end < 0 else end
