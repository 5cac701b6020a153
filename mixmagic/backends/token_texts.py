"""The texts of tokens with probabilities, read in each provider's form, and without keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mixmagic.core.logprobs import TokenLogprob
from mixmagic.core.params import is_number
from mixmagic.keys.redact import Redactor

# A bound for logarithms of probabilities; OpenAI's smallest is -9999.
_LEAST_LIKELY = 1e6
# Alternatives to a token, and characters of a token.
_MOST, _LONGEST = 20, 200


def logprobs(value: Any, text: str) -> tuple[TokenLogprob, ...]:
    """Return the tokens of a piece with their probabilities.

    OpenAI's form, which llama.cpp has too, is a list under `content`. Together's is a number for a
    streamed piece, which is one token, and lists under `tokens` and `token_logprobs` for a whole
    answer.

    Args:
        value: The field `logprobs` of a choice.
        text: The text of the piece.
    """
    if not isinstance(value, Mapping):
        return tuple(_tokens([(text, value, None)]))
    content = value.get("content")
    if isinstance(content, list):
        rows = (row for row in content if isinstance(row, Mapping))
        return tuple(
            _tokens((row.get("token"), row.get("logprob"), row.get("top_logprobs")) for row in rows)
        )
    numbers = value.get("token_logprobs")
    if not isinstance(numbers, list):
        return ()
    texts, tops = (
        found if isinstance(found := value.get(name), list) and len(found) == len(numbers) else None
        for name in ("tokens", "top_logprobs")
    )
    nothing = [None] * len(numbers)
    return tuple(_tokens(zip(texts or nothing, numbers, tops or nothing, strict=True)))


def _tokens(rows: Iterable[tuple[Any, Any, Any]]) -> Iterator[TokenLogprob]:
    """Yield the valid ones of tokens, logarithms and alternatives."""
    for token, number, top in rows:
        if is_number(number) and abs(number) < _LEAST_LIKELY:
            text = token if isinstance(token, str) and len(token) <= _LONGEST else ""
            yield TokenLogprob(text, float(number), tuple(_alternatives(top)))


def _alternatives(top: Any) -> list[TokenLogprob]:
    """Return the alternatives to a token: OpenAI sends a list of objects, Together one object."""
    if isinstance(top, Mapping):
        return list(_tokens((token, number, None) for token, number in top.items()))[:_MOST]
    rows = [row for row in top if isinstance(row, Mapping)] if isinstance(top, list) else []
    return list(_tokens((row.get("token"), row.get("logprob"), None) for row in rows))[:_MOST]


class TokenRedactor:
    """Removes the texts of tokens from where they spell a key, which may be split among them.

    A token is held back until it is certain that its text does not begin a key.

    Args:
        redactor: Redacts the texts, in order.
        redact: Redacts the text of an alternative.
    """

    def __init__(self, redactor: Redactor, redact: Callable[[str], str]) -> None:
        self._redactor, self._redact = redactor, redact
        self._held: deque[TokenLogprob] = deque()
        self._clear = 0  # characters of the held tokens that are no part of a key
        self._rest = ""  # the other characters
        self._has_key = False

    def feed(self, tokens: Iterable[TokenLogprob]) -> tuple[TokenLogprob, ...]:
        """Take the next tokens; return those that are safe to show."""
        for token in tokens:
            self._held.append(token)
            self._rest += token.token
            if not self._has_key:
                self._check(self._redactor.feed(token.token))
        return self._release()

    def close(self) -> tuple[TokenLogprob, ...]:
        """Return the tokens that are held back."""
        if not self._has_key:
            self._check(self._redactor.close())
        return self._release()

    def _check(self, shown: str) -> None:
        """Compare a redacted text with the tokens' own."""
        if self._rest.startswith(shown):
            self._rest = self._rest[len(shown) :]
            self._clear += len(shown)
        else:
            self._has_key = True

    def _release(self) -> tuple[TokenLogprob, ...]:
        released = []
        while self._held and (self._has_key or len(self._held[0].token) <= self._clear):
            token = self._held.popleft()
            self._clear -= len(token.token)
            if self._has_key:
                token = TokenLogprob("", token.logprob)
            released.append(token._replace(top=tuple(map(self._cleaned, token.top))))
        return tuple(released)

    def _cleaned(self, token: TokenLogprob) -> TokenLogprob:
        return token._replace(token=self._redact(token.token))
