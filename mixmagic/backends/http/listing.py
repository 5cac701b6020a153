"""A provider's list of models, in any of the shapes in use. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from mixmagic.backends.error_bodies import parse_body, provider_message
from mixmagic.core.values import Provider
from mixmagic.errors import MixmagicError, ProviderError
from mixmagic.keys import urls

# Fields that hold the list, and the name of an entry.
_LISTS = ("data", "models", "items", "results")
_NAMES = ("id", "name", "model", "model_id", "modelId")
# Fields for a model's context length; below, objects of an entry that may have these fields.
_CONTEXTS = (
    "context_length", "context_window", "max_model_len", "max_context_length", "contextLength",
    "contextWindow", "max_context_window_tokens", "max_context_tokens", "context_size",
    "max_sequence_length", "max_seq_len", "n_ctx", "max_input_tokens", "inputTokenLimit",
    "input_token_limit",
)  # fmt: skip
# Fields of an entry, its architecture or its capabilities: kinds of input, or a boolean.
_SEES = (
    "input_modalities", "supported_input_modalities", "vision", "image_input",
    "supports_image_input", "supports_vision",
)  # fmt: skip
_NOT_THERE = (404, 405)
_DIGITS = re.compile(r"[0-9]{1,10}")
_HOLDERS = ("limits", "capabilities", "top_provider", "model_spec", "meta")


def fetch(provider: Provider, get: Callable[[str], bytes]) -> bytes:
    """Return the body of a provider's `/models`, from the first base URL that has one.

    Args:
        provider: The provider.
        get: Returns the body for a base URL.

    Raises:
        MixmagicError: All of them failed: the error of the first.
    """
    first, *others = urls.base_urls(provider)
    try:
        return get(first)
    except MixmagicError as error:
        for url in others if error.status in _NOT_THERE else ():
            try:
                body = get(url)
            except MixmagicError as late:
                if late.status not in _NOT_THERE:
                    raise
            else:
                urls.remember(provider, url)
                return body
        raise


def entries(provider: Provider, raw: bytes) -> list[dict[str, Any]]:
    """Return a provider's models, each with an `id` and, if known, `context_length` and `images`.

    The list may be bare, or under `data` or `models`; its entries are objects or names.

    Raises:
        ProviderError: It is not a list.

    Example:
        >>> entries(provider, b'{"data": [{"name": "x", "max_model_len": 8192}]}')
        [{'name': 'x', 'max_model_len': 8192, 'id': 'x', 'context_length': 8192}]
    """
    parsed = parse_body(raw)
    if isinstance(parsed, dict):
        name = next((name for name in _LISTS if name in parsed), "")
        # Ollama's list is null if it has no models.
        listed = parsed[name] or [] if name and "error" not in parsed else None
    else:
        listed = parsed
    if not isinstance(listed, list):
        words = provider_message(parsed)
        raise ProviderError(
            f"{provider.label} answered /models with something that is not a list"
            f"{f': {words}' if words else '.'}",
            f"Check {provider.url_env or 'the URL'}.",
        )
    made = ({"id": entry} if isinstance(entry, str) else entry for entry in listed)
    return [_entry(entry, provider) for entry in made if isinstance(entry, dict)]


def _entry(fields: dict[str, Any], provider: Provider) -> dict[str, Any]:
    """One entry under OpenAI's names."""
    entry = dict(fields)
    names = [fields[name] for name in _NAMES if isinstance(fields.get(name), str) and fields[name]]
    if names and "://" in names[0]:  # GitHub's ids are URLs of a registry
        names = names[1:] or names
    if names:
        entry["id"] = names[0].removeprefix(provider.list_prefix) or names[0]
    inner = _inner([fields])
    context = next(_contexts([fields, *inner, *_inner(inner)]), None)
    if context is not None:
        entry["context_length"] = context
    if (images := _sees(fields)) is not None:
        entry["images"] = images
    return entry


def _sees(fields: dict[str, Any]) -> bool | None:
    """True if an entry says that its model sees images, False if it says otherwise."""
    holders = (fields, fields.get("architecture"), fields.get("capabilities"))
    for holder in (each for each in holders if isinstance(each, dict)):
        for name in _SEES:
            value = holder.get(name)
            if isinstance(value, dict):  # Anthropic's
                value = value.get("supported")
            if isinstance(value, list):
                return any(isinstance(each, str) and each.lower() == "image" for each in value)
            if isinstance(value, bool):
                return value
    return None


def _inner(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects inside others that may have a context length."""
    values = (fields.get(name) for fields in objects for name in _HOLDERS)
    return [value for value in values if isinstance(value, dict)]


def _contexts(objects: list[dict[str, Any]]) -> Iterator[int]:
    """The context lengths in some objects, the likeliest first."""
    for fields in objects:
        for name in _CONTEXTS:
            value = fields.get(name)
            if isinstance(value, str) and _DIGITS.fullmatch(value):
                value = int(value)
            if type(value) is int and value > 0:
                yield value
