"""The two keys of a request: in the answer cache, and in cassettes.

A key is a hash of what can change the answer. Equal questions have one key, in whatever order, type
of number or sequence they are written; other text is another question, so Unicode is not
normalized.

May import `params`, `values` and what stands below them.
"""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mixmagic.core.params import canonical, without_defaults
from mixmagic.core.values import Message, Model, Request, Text

# Part of each key: a change of how keys are made gives them another number.
VERSION = 1

# Files up to this size are hashed whole, larger ones by samples of this many bytes.
_WHOLE_FILE, _SAMPLE, _SAMPLES = 256 << 20, 1 << 20, 64
_PORTS = {"http": 80, "https": 443}


def cache_key(request: Request, endpoint: str | Path) -> str:
    """Return the key of a request in the answer cache, 32 hex digits.

    Equal for equal questions to the same model at the same endpoint. The name that was asked for
    does not count, nor does what cannot change the answer: `stream` and `control`.

    Args:
        request: The question; its model is the one that will answer.
        endpoint: The provider's base URL, or the file of a local model. Other content of the file
            is another endpoint, whatever its path.

    Raises:
        OSError: The file cannot be read.
    """
    model = request.model
    if isinstance(endpoint, Path):
        answered_by: dict[str, Any] = {"file": _content_hash(endpoint)}
    else:
        headers = model.provider.headers  # one may select a version
        answered_by = {"url": normalized_url(endpoint), "id": model.id, "headers": headers}
    row = {
        # What the catalog adds to each call, and what it leaves out.
        "always": model.provider.dialect.always,
        "options": {name: value for name, value in model.options.items() if name != "path"},
        "refuses": [*model.provider.dialect.refuses, *model.refuses],
        "rename": model.wire_names,
    }
    return _digest(
        {
            "provider": model.provider.name,
            "endpoint": answered_by,
            "row": {name: value for name, value in row.items() if value},
            **_question(request),
        }
    )


def cassette_key(request: Request) -> str:
    """Return the key of a request in a cassette, 32 hex digits: the same on every machine.

    It has the name that was asked for in the place of the model, which depends on the keys that are
    set, and neither endpoint nor folder.
    """
    model = request.model
    name = request.asked or f"{model.provider.name}:{model.id}"
    return _digest({"asked": without_folder(name, model), **_question(request)})


def normalized_url(url: str) -> str:
    """Return a base URL in one form: no user, default port, fragment or final slash.

    Example:
        >>> normalized_url("HTTPS://Me:Secret@API.Example.com:443/v1/")
        'https://api.example.com/v1'
    """
    parts = urllib.parse.urlsplit(url.strip())
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:  # not a port
        return url.strip()
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    path = parts.path.rstrip("/")
    return urllib.parse.urlunsplit((parts.scheme, host, path, parts.query, ""))


def _question(request: Request) -> dict[str, Any]:
    """Return the messages and parameters of a request, for a key."""
    return {
        "messages": [[message.role, _content_for_key(message)] for message in request.messages],
        "params": _ordered(without_defaults(request.params)),
    }


def _content_for_key(message: Message) -> Any:
    """Return the content of a message; an image by its hash, one text as itself."""
    content = message.content
    if isinstance(content, tuple) and len(content) == 1 and isinstance(content[0], Text):
        content = content[0].text
    if isinstance(content, str):
        return content
    return [
        {"text": part.text} if isinstance(part, Text) else [part.type, _hash(part.data)]
        for part in content
    ]


def _ordered(value: Any) -> Any:
    """Return canonical JSON in which the order of a schema's properties counts.

    Models answer in the order of the schema; no other order in an object changes an answer.
    """
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: [[key, _ordered(each)] for key, each in item.items()]
        if name == "properties" and isinstance(item, dict)
        else _ordered(item)
        for name, item in value.items()
    }


def _digest(identity: Mapping[str, Any]) -> str:
    """Return the hash of canonical JSON."""
    whole = {"v": VERSION, **canonical(identity)}
    return _hash(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode())


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _content_hash(path: Path) -> str:
    """Return a hash of a file's content, which is read once for each version of the file."""
    status = path.stat()
    return _file_hash(str(path), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=32)
def _file_hash(path: str, size: int, modified: int, _inode: int) -> str:
    """Return a hash of a file: of all its bytes; of a large one's samples, size and time."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:  # noqa: PTH123  # a text is a key of the cache
        if size <= _WHOLE_FILE:
            while chunk := file.read(_SAMPLE):
                digest.update(chunk)
        else:
            digest.update(f"{size} {modified}".encode())
            for number in range(_SAMPLES):
                file.seek((size - _SAMPLE) * number // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def without_folder(name: str, model: Model) -> str:
    """Return the name of a local model without the folder of its file."""
    provider, colon, path = name.partition(":")
    if model.provider.backend != "local" or not colon:
        return name
    return provider + colon + path.replace("\\", "/").rpartition("/")[2]
