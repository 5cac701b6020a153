r"""Redact what is written like a key, though no setting says that it is one.

`redact` finds the keys that mixmagic knows. A traceback, or a cell, may contain others: those of
other services. Only forms that hardly anything else has are replaced, so that a cell stays as it
is: the prefixes of well-known services, `Bearer …`, private keys, JWTs, secrets in the query of a
URL, and long strings that are given a name such as `api_key`.
"""

from __future__ import annotations

import re

from mixmagic.keys.environment import sounds_secret
from mixmagic.keys.placeholders import is_secret
from mixmagic.keys.redact import HIDDEN
from mixmagic.keys.urls import query_secrets

# Compiled when they are used: most sessions need none of them. Repetitions are bounded, so that
# the time is linear.
_KEY = r"""(?<![A-Za-z0-9])(?:
      (?:sk|xai|pplx|nvapi|glpat|xox[a-z])-[\w-]{0,40}?[A-Za-z0-9]{16}[\w-]*
    | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}
    | (?:gh[opsur]|github_pat|gsk|hf|fw|npm|r8|tgp_v1)_[A-Za-z0-9]{20}\w*
    | (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])
    | AIza[\w-]{35}
    | (?<=-Signature=)[0-9A-Fa-f]{32,}
    | eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}
    | (?-x:-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----)[\w+/=\s\\,"']{16,}
    )"""
_HEADER = r"(?i:\b(bearer|basic)\s{1,3})(?=\S{0,200}\d)[\w.~+/-]{16,}=*"
_URL = r"\b\w{2,20}://[^\s\"'<>?]{1,2000}\?[^\s\"'<>]+"
_NAMED = r"""\b(?P<name>[A-Za-z][\w.-]{0,60})["']?\s{0,3}[=:]\s{0,3}["']"""
_VALUE = r"""(?=[^"']{0,200}\d)[^\s"']{16,}(?=["'])"""


def redact_likely(text: str) -> str:
    """Return a text without what is written like a key.

    Example:
        >>> redact_likely("GET https://host/v1?page=2&api_key=9f8e7d6c5b4a3210")
        'GET https://host/v1?page=2&api_key=[key]'
    """
    for url in re.findall(_URL, text):
        for secret in filter(is_secret, query_secrets(url)):
            text = text.replace(secret, HIDDEN)
    text = re.sub(_KEY, HIDDEN, text, flags=re.VERBOSE)
    text = re.sub(_HEADER, rf"\1 {HIDDEN}", text)
    return re.sub(f"({_NAMED})({_VALUE})", _redact_named, text)


def _redact_named(match: re.Match[str]) -> str:
    """Return a string that is given a name, without it if the name is that of a secret."""
    given, name, value = match.groups()
    return f"{given}{HIDDEN}" if sounds_secret(name) and is_secret(value) else match[0]
