"""Count tokens: exactly with the model's own tokenizer, or else as a declared estimate.

May import `values` and the packages below it.
"""

from __future__ import annotations

import hashlib
import math
import re
import string
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Protocol

from mixmagic.calls.image_tokens import ImageTokens, image_tokens
from mixmagic.core import lazy
from mixmagic.core.values import Message, Model

# Mixtral's tokenizer makes a token of about 3.6 bytes of English; len/4 counts 10 % low.
_BYTES_PER_TOKEN = 3.6
# For `high_estimate`: letters and blanks, and the bytes of all other scripts.
_LETTERS, _HIGH_BYTES = f"{string.ascii_letters} ".encode(), bytes(range(0x80, 0x100))
_HIGH_BYTES_PER_TOKEN = 2
# Tokens that an answer needs, if the call does not limit it.
RESERVE = 1_024
# Tokens that a chat template adds to each message; and the most that it can add: markers that are
# read as plain text, and the role (`<|im_start|>assistant`).
_PER_MESSAGE, PER_MESSAGE_MOST = 4, 24
# The most tokens of a system prompt that the template itself has, like Llama 3.1's and gpt-oss's.
PER_PROMPT_MOST = 96
# Pairs of characters that are one token in every tokenizer that we examined. A pair never becomes
# two tokens of one character, so that at least one of the three positions before, inside and after
# it is not a boundary of tokens. The third character keeps these positions of two pairs apart. The
# last blank of a run belongs to the word after it.
_JOINED = re.compile(
    rb"(?:[aeiou][a-ik-npr-vx-z]|[b-dfghj-nprstz][aeiou]| [!-/:-~]|  (?= )).?", re.DOTALL
)

# The tokenizers' names in the catalog, and their files, which are Mistral AI's.
_FOLDER = Path(__file__).parent / "tokenizers"
_FILES = {
    "mistral-v1": "tokenizer.model.v1",
    "mistral-v3": "mistral_instruct_tokenizer_240323.model.v3",
}
_Encode = Callable[[bytes], Sequence[int]]
_loaded: dict[str, _Encode | None] = {}
# Seconds until packages that are missing are looked for again, and when that is, by tokenizer.
_LOOK_AGAIN = 5.0
_missing_until: dict[str, float] = {}
# Counts that are remembered: the layers of a call count the same texts.
_REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class Count:
    """Number of tokens of a text or a conversation.

    Attributes:
        tokens: The likely number.
        most: The most that it can be; equal to `tokens` if `exact`.
        exact: True if the model's own tokenizer counted.
    """

    tokens: int
    most: int
    exact: bool


class Counter(Protocol):
    """A backend with the tokenizers of its models: that of the embedded ones."""

    def count(self, messages: Sequence[Message], model: Model, *, load: bool) -> int | None:
        """Return the tokens of a conversation; `None` if unknown, or not without `load`."""

    def count_text(self, text: str, model: Model) -> int | None:
        """Return the tokens of a text; `None` if unknown, or if the model must be loaded."""


# Changes in single atomic steps, without a lock, since a fork may happen at any moment.
_counters: list[weakref.ref[Counter]] = []


def register(counter: Counter) -> None:
    """Have `count` and `count_text` ask `counter`, as long as it lives."""
    _counters.append(weakref.ref(counter, _counters.remove))


class Memo:
    """The last few counts, by the hashes of the texts: no text is held in memory.

    It has no lock: two threads that count the same text at once count it twice.
    """

    def __init__(self) -> None:
        self._entries: tuple[tuple[bytes, int], ...] = ()

    def get(self, text: str, counting: Callable[[], int | None]) -> int | None:
        """Return the remembered count of a text, or else count it and remember the result."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for known, tokens in self._entries:
            if known == key:
                return tokens
        counted = counting()
        if counted is not None:
            self._entries = ((key, counted), *self._entries[: _REMEMBERED - 1])
        return counted


_memo = Memo()
_NO_IMAGES = ImageTokens(0, 0)


def count(messages: Sequence[Message], model: Model) -> Count:
    """Return the tokens of a conversation with the model's chat template, as a prompt.

    The count is exact for Mistral's tokenizers v1 and v3 with the package of the extra `tokens`,
    if their template can express the conversation: it begins and ends with the user, system prompts
    aside. It is exact for an embedded model that is loaded (`mixmagic.Session.count` loads it).
    Otherwise, and for images, it is an estimate. Neither includes what a provider adds: tools, a
    long system prompt, another template than Mistral's.

    Args:
        messages: The conversation, oldest first.
        model: The model; its `tokenizer` decides.

    Returns:
        Counts in tokens. `most` of an estimate is right for tokenizers that fall back to bytes and
        do not rewrite their text (byte pair encoding, like nearly all since 2023): at most one
        token for each byte of UTF-8, less one for every three characters that begin with a pair
        which every examined tokenizer joins, plus 24 for each message, 96 for the template, and
        for each image the most by the model's rule (`image_tokens`), or 48,169.

    Example:
        >>> from mixmagic.core.values import Provider
        >>> mixtral = Model("8x7b", Provider("here", "Here"), tokenizer="mistral-v1")
        >>> count([Message("user", "Hello")], mixtral)
        Count(tokens=9, most=9, exact=True)
    """
    images = sum(len(message.images) for message in messages)
    # Each provider counts images by its own rules.
    exact = None if images else _exact_count(messages, model)
    if exact is not None:
        return Count(exact, exact, exact=True)
    return estimated(messages, model)


def estimated(messages: Sequence[Message], model: Model) -> Count:
    """Return the tokens of a conversation as an estimate, the same on every machine."""
    return Count(estimate_prompt(messages, model), most(messages, model), exact=False)


def most(messages: Sequence[Message], model: Model) -> int:
    """Return the most tokens that a conversation can have, as `count` estimates it."""
    return PER_PROMPT_MOST + sum(
        _most(message.text) + PER_MESSAGE_MOST + _of_images(message, model).most
        for message in messages
    )


def _exact_count(messages: Sequence[Message], model: Model) -> int | None:
    """Return the tokens of a conversation; `None` if no tokenizer of the model is at hand."""
    exact = _from_counters(lambda counter: counter.count(messages, model, load=False))
    if exact is None and (encode := _encoder(model.tokenizer)):
        written = repr([model.tokenizer, *((m.role, m.text) for m in messages)])
        exact = _memo.get(
            written,
            # The beginning's token is one, too.
            lambda: _encoded(encode, _written(messages, model.tokenizer), 1),
        )
    return exact


def count_text(text: str, model: Model) -> Count:
    """Return the tokens of a text by itself, such as an answer: without a template.

    The count is exact if that of `count` is. A provider also counts the end token, and a model may
    write a text in other tokens than its tokenizer splits it into: the provider's count wins.

    Args:
        text: Any text.
        model: The model; its `tokenizer` decides.

    Returns:
        Counts in tokens; `most` as for `count`, without what a template adds.

    Example:
        >>> from mixmagic.core.values import Provider
        >>> count_text("Bonjour !", Model("x", Provider("here", "Here")))
        Count(tokens=3, most=7, exact=False)
    """
    exact = _from_counters(lambda counter: counter.count_text(text, model))
    if exact is None and (encode := _encoder(model.tokenizer)):
        written = repr((model.tokenizer, text))
        exact = _memo.get(written, lambda: _encoded(encode, [(text, 0)]))
    if exact is not None:
        return Count(exact, exact, exact=True)
    return Count(estimate(text), _most(text), exact=False)


def estimate(text: str) -> int:
    """Return an estimate of the tokens of a text, from its length in UTF-8."""
    return math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN)


def estimate_prompt(messages: Iterable[Message], model: Model | None = None) -> int:
    """Return an estimate of the tokens of a conversation, with its chat template.

    Args:
        messages: The conversation.
        model: The model; its `image_tokens` decides. Without one, an image counts as usual.
    """
    return sum(
        estimate(message.text) + _PER_MESSAGE + _of_images(message, model).likely
        for message in messages
    )


def _of_images(message: Message, model: Model | None) -> ImageTokens:
    """Return the tokens of all images of a message."""
    if not (images := message.images):
        return _NO_IMAGES
    rule = None if model is None else model.image_tokens
    counts = [image_tokens(image, rule) for image in images]
    return ImageTokens(sum(each.likely for each in counts), sum(each.most for each in counts))


def high_estimate(text: str) -> int:
    """Return the tokens of a text, rather too many than too few, the same on every machine.

    Prompts and conversations are cut by it, whatever tokenizers are installed. Letters and blanks
    count as in `estimate`; digits and signs, which most tokenizers keep apart, one token each.

    Example:
        >>> high_estimate("Count to ten"), high_estimate("3.14159")
        (4, 7)
    """
    data = text.encode("utf-8", "replace")
    rest = data.translate(None, _LETTERS)
    signs = rest.translate(None, _HIGH_BYTES)
    letters, high = len(data) - len(rest), len(rest) - len(signs)
    return math.ceil(letters / _BYTES_PER_TOKEN + len(signs) + high / _HIGH_BYTES_PER_TOKEN)


def high_estimate_prompt(messages: Iterable[Message]) -> int:
    """Return the tokens of a conversation with its chat template, as `high_estimate` does."""
    return sum(
        high_estimate(message.text) + _PER_MESSAGE + _of_images(message, None).likely
        for message in messages
    )


def _most(text: str) -> int:
    """Return the most tokens that a tokenizer can split a text into: see `_JOINED`."""
    data = text.encode("utf-8", "surrogatepass")
    # SentencePiece adds a blank before a text.
    return 1 + len(data) - len(_JOINED.findall(data))


def _written(messages: Sequence[Message], tokenizer: str) -> list[tuple[str, int]]:
    """Return the texts of a conversation in Mistral's template, and the markers around each.

    Empty if the template cannot express the conversation, by the rules of mistral-common.
    """
    runs = [
        (role, [message.text for message in group])
        for role, group in groupby(messages, lambda message: message.role)
    ]
    joined = [(role, "\n\n".join(filter(None, texts))) for role, texts in runs]
    system = "\n\n".join(text for role, text in joined if role == "system" and text)
    turns = [turn for turn in joined if turn[0] != "system"] or [("user", "")]
    if (
        not messages
        or "assistant" in (turns[0][0], turns[-1][0])
        or any(role == "assistant" and not all(texts) for role, texts in runs)
        or any(pair == ("assistant", "system") for pair in pairwise(role for role, _ in runs))
    ):
        return []
    first = tokenizer == "mistral-v1"  # the brackets of the others are markers, not text
    # v1 writes the system prompt into the first turn, the others into the last.
    system_turn = 0 if first else len(turns) - 1
    texts = []
    for number, (role, text) in enumerate(turns):
        if number == system_turn and system:
            text = f"{system}\n\n{text}"  # noqa: PLW2901  # as it is written
        if role == "assistant":
            texts.append((text if first else text.rstrip(" "), 1))
        else:
            texts.append((f"[INST] {text} [/INST]", 0) if first else (text, 2))
    return texts


def _from_counters(ask: Callable[[Counter], int | None]) -> int | None:
    """Return the count of the first registered counter that knows it; `None` if none does."""
    for reference in tuple(_counters):
        counter = reference()
        if counter is not None and (tokens := ask(counter)) is not None:
            return tokens
    return None


def _encoded(encode: _Encode, texts: list[tuple[str, int]], more: int = 0) -> int | None:
    """Return the tokens of texts with their markers, and `more`; `None` if there are no texts."""
    if not texts:
        return None
    try:
        return more + sum(len(encode(text.encode())) + marks for text, marks in texts)
    except UnicodeEncodeError:
        return None  # half a surrogate pair cannot be sent either


def _encoder(tokenizer: str) -> _Encode | None:
    """Return the encoder of a tokenizer; `None` if it is unknown, or its package is missing."""
    if tokenizer not in _FILES or time.monotonic() < _missing_until.get(tokenizer, 0.0):
        return None
    encode = lazy.get_or_make(_loaded, tokenizer, lambda: _load_encoder(_FILES[tokenizer]))
    if encode is None:
        _missing_until[tokenizer] = time.monotonic() + _LOOK_AGAIN
    return encode


def _load_encoder(file: str) -> _Encode | None:
    """Return the encoder of a tokenizer's file; `None` if sentencepiece is missing."""
    try:
        model = (_FOLDER / file).read_bytes()
        sentencepiece = lazy.load("sentencepiece")
        encode: _Encode = sentencepiece.SentencePieceProcessor(model_proto=model).encode
        encode(b"")  # an empty file fails at the first use
    except (ImportError, OSError, RuntimeError):
        return None  # missing, or incomplete
    return encode
