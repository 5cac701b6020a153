"""Names and values of the headers in a catalog file; `$NAME` in a value stands for a variable."""

from __future__ import annotations

import re
from collections.abc import Callable

from mixmagic.core.values import Provider
from mixmagic.keys.environment import sounds_secret

_VARIABLE = re.compile(r"\$(\{)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?(1)\})")
_CONFIDENTIAL = ("authorization", "proxy-authorization", "cookie")
_BEARER = "Bearer "


def key_header(provider: Provider) -> tuple[str, str]:
    """Return the header that carries the provider's key, and the text before the key in it.

    Example:
        >>> key_header(Provider("azure", "Azure", key_header="api-key"))
        ('api-key', '')
    """
    name = provider.key_header or "Authorization"
    return name, _BEARER if name.lower() == "authorization" else ""


def variables(provider: Provider) -> list[str]:
    """Return the environment variables that the provider's headers name."""
    texts = provider.headers.values()
    names = (match["name"] for text in texts for match in _VARIABLE.finditer(text))
    return list(dict.fromkeys(names))


def filled(text: str, value: Callable[[str], str]) -> str:
    """Return a header's value with each `$NAME` or `${NAME}` replaced by `value(NAME)`."""
    return _VARIABLE.sub(lambda match: value(match["name"]), text)


def pieces(text: str) -> list[tuple[str, bool]]:
    """Split a header's value into pieces, each with True if it is the name of a variable.

    Example:
        >>> pieces("Basic ${ACME_KEY}")
        [('Basic ', False), ('ACME_KEY', True)]
    """
    split, at = [], 0
    for variable in _VARIABLE.finditer(text):
        split += [(text[at : variable.start()], False), (variable["name"], True)]
        at = variable.end()
    return [(piece, is_name) for piece, is_name in (*split, (text[at:], False)) if piece]


def is_confidential(name: str) -> bool:
    """Return True if a header's value is a secret, judging by the header's name.

    Example:
        >>> is_confidential("X-Portkey-Api-Key"), is_confidential("HTTP-Referer")
        (True, False)
    """
    return name.lower() in _CONFIDENTIAL or sounds_secret(name.replace("-", "_"))
