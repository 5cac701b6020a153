"""Languages: what a user means by a name or a code, and in which one a text is written.

The detector knows the five first-class languages, by their commonest words, endings and letters.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from mixmagic.errors import BadArguments, did_you_mean
from mixmagic.tasks.translation.language_names import NAMES, REGIONAL, REGIONS, SCRIPTS
from mixmagic.tasks.translation.language_words import ENDINGS, LETTERS, WORDS

_FIRST_CLASS = ("en", "fr", "it", "de", "es")
# Points of a word, an ending, and a group of letters. A word may have all three.
_WORD, _ENDING, _LETTER = 3.0, 1.0, 0.75
# A text is clear with this many points, and if the second language has at most this share of them.
_ENOUGH, _SECOND = 3.75, 0.75
# Parts of a text that are in no language.
_NO_LANGUAGE = re.compile(
    r"```[\s\S]*?```|~~~[\s\S]*?~~~|(`+)(?!`)[\s\S]*?(?<!`)\1(?!`)|\$\$[\s\S]*?\$\$"
    r"|\$(?! )[^$\n]{1,200}\$|<[^<>]{1,400}>|\]\([^()\s]*\)|\[\^[^\]]*\]|&#?\w+;"
    r"|(?:[a-z][a-z0-9+.-]*://|www\.)\S+|[\w.+-]+@[\w-]+\.[\w.-]+|\{\{[\s\S]*?\}\}|\{%[\s\S]*?%\}"
    r"|\{[^{}]*\}|%\([^)]*\)\w|%\d*\w\b|\\[A-Za-z]+|\$\w+|(?<!\w)[~.]?/?(?:[\w.-]+/)+[\w.-]*"
    r"|:[a-z_]+:|[A-Za-z]\w*(?:[._]\w+)+(?:\(\))?|\w+\(\)|\w*[0-9]\w*|⟦\d+⟧",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Language:
    """A language, with a region or a script if that matters.

    Attributes:
        code: `fr`, `pt-BR`, `zh-Hant`.
        name: Its English name: `French`, `Portuguese (Brazil)`.
    """

    code: str
    name: str

    @property
    def base(self) -> str:
        """The code without a region.

        Example:
            >>> parse_language("pt-BR").base
            'pt'
        """
        return self.code.partition("-")[0]

    @property
    def first_class(self) -> bool:
        """True if the language can be detected, and its translations are checked in full.

        Example:
            >>> parse_language("Dutch").first_class
            False
        """
        return self.base in _FIRST_CLASS

    @property
    def script(self) -> str:
        r"""The pattern of its letters; empty if they are Latin ones, or of several scripts.

        Example:
            >>> parse_language("el").script
            '[\\u0370-\\u03ff]'
        """
        return SCRIPTS.get(self.base, "")

    def __str__(self) -> str:
        return self.name


FIRST_CLASS = tuple(Language(code, NAMES[code][0]) for code in _FIRST_CLASS)


def parse_language(name: str) -> Language:
    """Return the language that a name or a code means.

    Args:
        name: An English name, a name in the language itself, or a code: `French`, `français`,
            `fr`, `fr-FR`, `fr_FR`, `pt-BR`, `zh-Hant`. Case and accents do not matter.

    Raises:
        BadArguments: There is no such language.

    Example:
        >>> parse_language("français"), parse_language("fr-CA").name
        (Language(code='fr', name='French'), 'French (Canada)')
    """
    known = _by_name()
    text = " ".join(str(name).split())
    if code := known.get(_plain(text)):
        return _language(code)
    parts = re.fullmatch(r"([A-Za-z]{2,3})[-_]([A-Za-z]{4}|[A-Za-z]{2}|[0-9]{3})", text)
    if parts and (code := known.get(parts[1].lower())):
        part = parts[2].title() if len(parts[2]) == 4 else parts[2].upper()
        return _language(f"{code}-{part}")
    near = did_you_mean(text, (names[0] for names in NAMES.values()), 3)
    raise BadArguments(
        f"{text!r:.80} is not a language that mixmagic knows.",
        f"{near}Name it in English, or by its code: French, fr, pt-BR.",
    )


def detect(text: str) -> Language | None:
    """Return the first-class language of a text; `None` if the text is too short or unclear.

    Code, formulas, links and placeholders in the text do not count.

    Args:
        text: A sentence or more, plain or Markdown.

    Example:
        >>> detect("The cell was not saved.").name
        'English'
        >>> detect("OK") is None
        True
    """
    points = scores(text)
    best, second = sorted(points, key=points.__getitem__)[:-3:-1]
    clear = points[best] >= _ENOUGH and points[second] <= _SECOND * points[best]
    return _language(best) if clear else None


def scores(text: str) -> dict[str, float]:
    """Return the points of a text for each first-class language, by code.

    Example:
        >>> max(scores("Guten Morgen"), key=scores("Guten Morgen").get)
        'de'
    """
    text = unicodedata.normalize("NFC", _NO_LANGUAGE.sub(" ", text)).lower()
    points = dict.fromkeys(_FIRST_CLASS, 0.0)
    words = _WORDS.findall(text)
    for code in _FIRST_CLASS:
        common, endings = _common()[code], ENDINGS[code]
        points[code] += _WORD * sum(1 / _shared(word) for word in words if word in common)
        points[code] += _ENDING * sum(len(word) > 4 and word.endswith(endings) for word in words)
        points[code] += _LETTER * len(_letters(code).findall(text))
    return points


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case, without code, formulas, links and placeholders.

    Example:
        >>> words_of("Call `f(x)` on {n} Rows")
        ['call', 'on', 'rows']
    """
    return _WORDS.findall(_NO_LANGUAGE.sub(" ", text).lower())


def common_words(code: str) -> frozenset[str]:
    """Return the commonest words of a first-class language; nothing for another one.

    Example:
        >>> "the" in common_words("en")
        True
    """
    return _common().get(code, frozenset())


@functools.cache
def _by_name() -> dict[str, str]:
    """Return the codes of languages by their names and codes, in plain letters."""
    found = {_plain(name): code for name, code in REGIONAL.items()}
    for code, names in NAMES.items():
        found |= {_plain(name): code for name in (*names, code)}
    return found


def _plain(name: str) -> str:
    """Return a name in lower case, without accents."""
    decomposed = unicodedata.normalize("NFD", name.casefold())
    return "".join(sign for sign in decomposed if unicodedata.category(sign) != "Mn")


def _language(code: str) -> Language:
    """Return the language of a code."""
    base, _, part = code.partition("-")
    name = NAMES[base][0]
    return Language(code, f"{name} ({REGIONS.get(part, part)})" if part else name)


@functools.cache
def _common() -> dict[str, frozenset[str]]:
    """Return the commonest words of each language."""
    return {code: frozenset(words.split()) for code, words in WORDS.items()}


@functools.lru_cache(4096)
def _shared(word: str) -> int:
    """Return the number of languages of which a word is common."""
    return sum(word in common for common in _common().values())


@functools.cache
def _letters(code: str) -> re.Pattern[str]:
    return re.compile(LETTERS[code])
