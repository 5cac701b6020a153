"""The two keys of a request: in the answer cache, and in cassettes.

A key is a hash of everything that can change the answer. Two requests that differ only in the order
of parameters, in the type of a number or in explicit defaults have the same key. Another spelling
is another question: Unicode is not normalized.

May import `params`, `values` and the packages below them.
"""

from __future__ import annotations

import hashlib
import json
import struct
import urllib.parse
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mixmagic.core.hub import HubFile
from mixmagic.core.params import canonical, without_defaults
from mixmagic.core.values import Image, Message, Model, Request, Text

# Part of every key: increase it if keys are computed in another way.
VERSION = 1

# Files up to this size are hashed whole, larger ones by samples of this many bytes.
_WHOLE_FILE, _SAMPLE, _SAMPLES = 256 << 20, 1 << 20, 64
# Bytes of the pixels of an image that are hashed: more than images of ours have.
_PNG, _MOST_PIXELS = b"\x89PNG\r\n\x1a\n", 32 << 20
_PORTS = {"http": 80, "https": 443}


def cache_key(request: Request, endpoint: str | Path) -> str:
    """Return the key of a request in the answer cache, 32 hex digits.

    It is the same for equal questions to the same model at the same endpoint. It does not include
    `asked`, `stream` or `control`, which cannot change the answer.

    Args:
        request: The question; its model is the one that will answer.
        endpoint: The provider's base URL, or the file of a local model, of which the content counts
            and the path does not.

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
        "most": {**model.provider.dialect.most, **model.most},
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

    It includes the name that was asked for, and not the model, which depends on the API keys of the
    user. It includes neither the endpoint nor the folder of a local model.
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
    """Return the content of a message, with hashes in place of images."""
    content = message.content
    if isinstance(content, tuple) and len(content) == 1 and isinstance(content[0], Text):
        content = content[0].text
    if isinstance(content, str):
        return content
    return [
        {"text": part.text} if isinstance(part, Text) else [part.type, image_hash(part)]
        for part in content
    ]


def image_hash(image: Image) -> str:
    """Return a hash of an image: of a PNG, that of its pixels, however they are compressed.

    Versions of zlib compress the same figure into different bytes, on other machines.
    """
    pixels = _inflated(image.data) if image.data.startswith(_PNG) else None
    return _hash(image.data if pixels is None else pixels)


def _inflated(png: bytes) -> bytes | None:
    """Return the header and the filtered pixels of a PNG; `None` if it is damaged or too large."""
    at, head, packed = len(_PNG), b"", []
    while at + 8 <= len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        data = png[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            packed.append(data)
        elif kind in (b"IHDR", b"PLTE", b"tRNS"):
            head += kind + data
        at += 12 + length
    inflate = zlib.decompressobj()
    try:
        pixels = inflate.decompress(b"".join(packed), _MOST_PIXELS)
    except zlib.error:
        return None
    return head + pixels if pixels and inflate.eof else None


def _ordered(value: Any) -> Any:
    """Return canonical JSON in which the order of a schema's properties counts.

    Models answer in that order. The order of other objects does not change an answer.
    """
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    ordered = {name: _ordered(item) for name, item in value.items()}
    if isinstance(properties := ordered.get("properties"), dict):
        ordered["properties"] = {"": list(properties.items())}  # no list of pairs is equal to it
    return ordered


def _digest(identity: Mapping[str, Any]) -> str:
    """Return the hash of canonical JSON."""
    whole = {"v": VERSION, **canonical(identity)}
    return _hash(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode())


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _content_hash(path: Path) -> str:
    """Return a hash of the content of a file, read again only if the file has changed."""
    status = path.stat()
    return _file_hash(str(path), status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=32)
def _file_hash(path: str, size: int, modified: int, _inode: int) -> str:
    """Return a hash of all bytes of a file; of a large file, of samples, size and time."""
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
    """Return the name of a local model without the folder of its file on this machine."""
    provider, colon, path = name.partition(":")
    if model.provider.backend != "local" or not colon or HubFile.parse(path) is not None:
        return name
    return provider + colon + path.replace("\\", "/").rpartition("/")[2]
