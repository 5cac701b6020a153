r"""Redact keys in whole values, and in streamed text.

A key is found in upper or lower case, with invisible characters in it, and in the usual encodings:
with escapes (`%73`, `&#115;`, `\u0073`, `\163`, `\_`), in hexadecimal, and in Base64 at each of the
three offsets in a longer Base64 text. A part of a key is redacted if it has at least half of the
key's characters and eight of them, or forty-eight.
"""

from __future__ import annotations

import base64
import html
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, SupportsIndex

HIDDEN = "[key]"
_DEEPEST = 50  # levels of a nested value; deeper ones are dropped
# A match is a run of `_WINDOW` characters that a text shares with a key. A run of `_LOOK` at every
# `_STEP`th character hits each match, so that most texts need no closer comparison.
_WINDOW, _LOOK, _STEP = 8, 4, 5
# Length of the shortest key of which half is as secret as the whole. A shorter key counts only as
# a whole word.
_LONG = 12
# Length of a part that counts however long the key is: encoded keys are broken into lines.
# Not less, because other tokens may begin in the same way: JWTs share 37 characters.
_MOST = 48
# The user and the password of a URL.
_USERINFO = re.compile(r"(?<=://)[^/?#\s]+(?=@)")
# Characters that are invisible, or dropped before display: a key may have them in it.
_UNSEEN = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
# One escaped character, even if the escape itself was escaped: `%2573`, `&amp;#115;`, `\\u0073`.
_ESCAPE = re.compile(
    r"""%(?:25){0,3}(?P<percent>[0-9a-f]{2})
      | &(?:amp;){0,3}(?P<entity>(?:\#[0-9]{1,16} | \#x[0-9a-f]{1,16} | [a-z]{1,8});?)
      | \\{1,8}(?: (?-i:u)(?P<unicode>[0-9a-f]{4}) | u\{(?P<braced>[0-9a-f]{1,8})\}
                 | (?-i:U)(?P<long>[0-9a-f]{8}) | x(?P<byte>[0-9a-f]{2}) | (?P<octal>[0-3][0-7]{2})
                 | (?P<blank>(?-i:[bfnrtv])) | (?P<sign>[^\w\s\\]|_) | )
      | (?P<unseen>\x1b\[[0-?]{0,16}[ -/]{0,4}[@-~] | \x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)
                 | UNSEEN)""".replace("UNSEEN", _UNSEEN),
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)
_INVISIBLE = re.compile(_UNSEEN)
# A text without these has nothing to unescape.
_SIGNS = re.compile(rf"[\\%&]|{_UNSEEN}")
# The end of a text that may be the beginning of an escaped character.
_BEGUN = re.compile(
    r"""(?: \\{0,8}%(?:25){0,3}[0-9a-f]?
          | \\{0,8}&(?:amp;){0,3}(?:\#[0-9]{0,16} | \#x[0-9a-f]{0,16} | [a-z]{0,8})
          | \\{1,8}(?: u\{?[0-9a-f]{0,8} | x[0-9a-f]? | [0-3][0-7]? | )
          | \x1b(?:\[[0-?]{0,16}[ -/]{0,4} | \][^\x07\x1b]{0,37}\x1b? | ) )\Z""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)
_LONGEST_ESCAPE = 40
# Characters to hold back at most; if there are more, the invisible ones are dropped.
_MOST_HELD = 100
# Typographic hyphens; and the one letter whose lower case is two characters.
_PLAIN = str.maketrans("\u2010\u2011\u2012\u2013\u2212\u0130", "-----i")


class Secret(str):
    """A string that hides itself when it is formatted, and in a traceback's variables.

    `reveal()` returns the plain string, and so does `+`.

    Example:
        >>> key = Secret("sk-0123")
        >>> f"{key}", "Bearer " + key
        ('[key]', 'Bearer sk-0123')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __getitem__(self, at: SupportsIndex | slice) -> Secret:
        return Secret(super().__getitem__(at))  # rich truncates long strings before display

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key cannot be pickled.")

    def reveal(self) -> str:
        """Return the plain string, for the code that sends it."""
        return str.__str__(self)


class Fingerprints:
    """All secrets, in all encodings, compiled into sets to compare texts with.

    Args:
        secrets: The secrets; they are not stored in any other form.
    """

    __slots__ = ("_begins", "_looks", "_needs", "_tails", "_words")

    def __init__(self, secrets: Iterable[str]) -> None:
        # Windows of the secrets, and the length from which a run of them is redacted.
        self._needs: dict[str, int] = {}
        self._looks: set[str] = set()
        self._begins: set[str] = set()  # beginnings shorter than `_LOOK`
        self._tails: set[str] = set()  # their last characters
        self._words: set[str] = set()  # the short secrets
        for secret in secrets:
            half = 2 if len(secret) >= _LONG else 1
            # Escapes of bytes are read byte by byte.
            by_bytes = secret.encode(errors="surrogateescape").decode("latin-1")
            by_bytes = _INVISIBLE.sub("", by_bytes)
            for spelling in {_lower(secret), _unescaped(secret), _lower(by_bytes)}:
                self._begins.update(spelling[:size] for size in range(1, _LOOK))
                self._tails.update(spelling[: _LOOK - 1])
                self._add(spelling, half)
                if half == 1:
                    self._words.add(spelling)
            for spelling in _encoded(secret):
                self._add(spelling, half)

    def __bool__(self) -> bool:
        return bool(self._needs)

    def _add(self, spelling: str, half: int) -> None:
        need = min(max(-(-len(spelling) // half), _WINDOW), _MOST)
        for at in range(len(spelling) - _WINDOW + 1):
            window = spelling[at : at + _WINDOW]
            self._needs[window] = min(need, self._needs.get(window, need))
        self._looks.update(spelling[at : at + _LOOK] for at in range(len(spelling) - _LOOK + 1))

    def redact(self, value: Any, depth: int = _DEEPEST) -> Any:
        """Return a text or JSON value without keys and without the passwords in URLs.

        Redact before truncating: a truncated key may be too short to recognize.

        Args:
            value: The text or JSON value.
            depth: The number of nested levels to keep.
        """
        if isinstance(value, str):
            if not self.is_clear(_unescaped(value)):
                value = Redactor(self).close(value)
            return _USERINFO.sub(HIDDEN, value) if "://" in value else value
        if isinstance(value, (Mapping, list)) and not depth:
            return None
        if isinstance(value, Mapping):
            return {self.redact(name): self.redact(item, depth - 1) for name, item in value.items()}
        if isinstance(value, list):
            return [self.redact(item, depth - 1) for item in value]
        return value

    def is_clear(self, text: str) -> bool:
        """Return True if unescaped text has no part of a secret, and does not begin one."""
        looks = self._looks
        for at in range(len(text) - _LOOK, -1, -_STEP):
            if text[at : at + _LOOK] in looks:
                return False
        return text[-1:] not in self._tails or not self.begun(text)

    def begun(self, text: str) -> int:
        """Return how many characters at the end of a text may be the beginning of a secret.

        Any part of a secret of at least `_LOOK` characters counts, and its first few characters.
        """
        size = _LOOK
        if text[-size:] in self._looks:
            while size < _WINDOW - 1 and text[-size - 1 :][:_LOOK] in self._looks:
                size += 1
            return size
        for size in range(_LOOK - 1, 0, -1):
            if text[-size:] in self._begins:
                return min(size, len(text))
        return 0

    def runs(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield the runs that unescaped text shares with secrets: start, end, limit to redact."""
        at, last = 0, len(text) - _WINDOW
        while at <= last:
            if (need := self._needs.get(text[at : at + _WINDOW])) is not None:
                begin = at
                while more := self._needs.get(text[at + 1 : at + 1 + _WINDOW]):
                    need = min(need, more)
                    at += 1
                yield begin, at + _WINDOW, need
            at += 1

    def is_word(self, run: str) -> bool:
        """Return True for a short secret, which counts only as a whole word."""
        return run in self._words

    def is_part(self, text: str, begin: int, end: int) -> bool:
        """Return True for a short secret that is part of a longer word."""
        around = text[max(begin - 1, 0) : begin] + text[end : end + 1]
        return self.is_word(text[begin:end]) and any(c.isalnum() or c == "_" for c in around)


class Redactor:
    """Redacts keys in streamed text, wherever it is split.

    The end of a piece is held back if it may begin a key: at most 48 characters, each of which may
    be escaped. Up to three characters of a key are shown if a piece ends after them, and the text
    has only a part of the key that is not its beginning.

    Args:
        fingerprints: The fingerprints of the secrets.

    Example:
        >>> redactor = Redactor(Fingerprints(["gsk_8fK2mQ9xW2rT7uY5"]))
        >>> [redactor.feed("It is gsk_8fK2"), redactor.feed("mQ9xW2rT7uY5!"), redactor.close()]
        ['It is ', '[key]!', '']
    """

    __slots__ = ("_fingerprints", "_held", "_hiding", "_seen")

    def __init__(self, fingerprints: Fingerprints) -> None:
        self._fingerprints = fingerprints
        self._held = ""
        # The last characters before the held ones, unescaped; and True if they end a redacted
        # part of a key, so that its continuation is redacted, too.
        self._seen, self._hiding = "", False

    def feed(self, text: str) -> str:
        """Take the next piece; return the text that is safe to show."""
        if not (self._held or self._hiding or _SIGNS.search(text)):
            seen = self._seen + (text.lower() if text.isascii() else _lower(text))
            if self._fingerprints.is_clear(seen):
                self._seen = seen[1 - _WINDOW :]
                return text
        return self._next(self._held + text, last=False)

    def close(self, text: str = "") -> str:
        """Take the last piece; return the rest."""
        return self._next(self._held + text, last=True)

    def _next(self, raw: str, *, last: bool) -> str:
        """Return the part of a text that is safe to show, and hold the rest."""
        rest = ""
        if not last and (begun := _BEGUN.search(raw, max(len(raw) - _LONGEST_ESCAPE, 0))):
            raw, rest = raw[: begun.start()], raw[begun.start() :]
        plain, ends = _aligned(raw)
        if not plain:
            self._held = rest
            return raw
        text, new = self._seen + plain, len(self._seen)
        shown, at, hold, hiding = [], new, len(text), False
        for begin, end, need in self._fingerprints.runs(text):
            is_open = end == len(text) and not last
            if not (self._hiding and begin == 0):
                if is_open and (end - begin < need or self._fingerprints.is_word(text[begin:end])):
                    hold = begin
                    break
                if end - begin < need or self._fingerprints.is_part(text, begin, end):
                    continue
                if not new < at > begin:  # it does not overlap the last one
                    shown += [raw[ends[at - new] : ends[max(begin, at) - new]], HIDDEN]
            at, hiding = end, is_open
        if not (last or hiding):
            hold = min(hold, len(text) - self._fingerprints.begun(text))
        hold = max(hold, at)
        shown.append(raw[ends[at - new] : ends[hold - new]])
        held = raw[ends[hold - new] :]
        self._held = (held if len(held) <= _MOST_HELD else _ESCAPE.sub(_visible, held)) + rest
        self._seen, self._hiding = text[:hold][1 - _WINDOW :], hiding
        return "".join(shown)


def _lower(text: str) -> str:
    """Return a text in lower case and with plain hyphens, of the same length."""
    return text.lower() if text.isascii() else text.translate(_PLAIN).lower()


def _unescaped(text: str) -> str:
    """Return a text in lower case and without escapes."""
    if _SIGNS.search(text):
        text = _ESCAPE.sub(_character, text)
    return _lower(text)


def _aligned(text: str) -> tuple[str, Sequence[int]]:
    """Return a text, unescaped, with the offset of each character, and of the end."""
    if not _SIGNS.search(text):
        return _lower(text), range(len(text) + 1)
    pieces: list[str] = []
    begins: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(text):
        character = _character(escape)
        known = len(character) <= 1
        literal = escape.start() if known else escape.end()
        pieces.append(text[at:literal])
        begins += range(at, literal)
        if known and character:
            pieces.append(character)
            begins.append(literal)
        at = escape.end()
    pieces.append(text[at:])
    begins += range(at, len(text) + 1)
    begins[0] = 0  # invisible characters belong to the one before them, or to the first
    return _lower("".join(pieces)), begins


def _character(escape: re.Match[str]) -> str:
    """Return the character that an escape stands for, or the escape if it stands for none.

    Empty for an invisible character.
    """
    kind = escape.lastgroup
    if kind is None:
        return "\\"
    value: str = escape[kind]
    if kind in ("sign", "blank"):
        return value if kind == "sign" else " "
    if kind == "unseen":
        return ""
    if kind == "entity":
        character = html.unescape(f"&{value}")
    else:
        code = int(value, 8 if kind == "octal" else 16)
        character = chr(code) if code <= sys.maxunicode else escape[0]
    if len(character) > 1:
        return escape[0]
    return "" if _INVISIBLE.fullmatch(character) else character


def _visible(escape: re.Match[str]) -> str:
    """Return an escape, or an empty string if it stands for an invisible character."""
    return escape[0] if _character(escape) else ""


def _encoded(secret: str) -> Iterator[str]:
    """Yield a secret in hexadecimal and in Base64, in lower case.

    In Base64, at each of the three offsets, only the characters that depend on it alone.
    """
    raw = secret.encode(errors="surrogateescape")
    yield raw.hex()
    for before in range(3):
        written = base64.b64encode(bytes(before) + raw).decode()
        whole = written[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6].lower()
        yield whole
        yield whole.replace("+", "-").replace("/", "_")
