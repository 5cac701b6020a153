"""Compare the numbers of a text and of its translation, by value and unit.

`1,000.5`, `1.000,5`, `1 000,5` and `1000.5` are one number; so are `5%` and `5 %`, `3.5 GB` and
`3,5 Go`, `3:30 p.m.` and `15:30`, `2 cells` and `zwei Zellen`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby

from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.units import PLAIN_WORDS, SYMBOLS, number_words, scales, units

_SPACES = " \u00a0\u202f\u2009"
_SIGN = "-+\u2212\u2013"
_NUMBER = re.compile(
    r"(?<![^\W\d_])(?<![0-9])"
    rf"(?P<before>(?:[$€£¥]|US\$)[{_SPACES}]?)?"
    rf"(?P<sign>(?<![\w)\]%.,])[{_SIGN}])?"
    rf"(?P<body>[0-9]{{1,3}}(?:[{_SPACES}][0-9]{{3}})+(?![0-9])(?:[.,][0-9]+)?"
    r"|[0-9]+(?:[.,:'\u2019_][0-9]+)*)"
    r"(?P<power>[eE][-+]?[0-9]+)?"
)
_AFTER = re.compile(
    rf"[{_SPACES}]?(?P<unit>%|‰|°[CF]?|[$€£¥℃℉]|[^\W\d_]+(?:/[hs])?)(?![\w'\u2019])|[{_SPACES}-]"
    r"(?P<word>[^\W\d_]+)"
)
_PERCENT = re.compile(rf"[{_SPACES}]?(?:per|pour|por)[{_SPACES}](?:cent|ciento|cento)\b", re.I)
_MINUS = re.compile(
    r"(?<!au )(?<!al )(?<!lo )(?<!à )\b(?:minus|moins|menos|meno)\s$", re.IGNORECASE
)
_EVENING = re.compile(
    r"\s?(?:p\.?\s?m\b\.?|(?:uhr )?(?:nachmittags|abends)|(?:heures? |h )?"
    r"(?:de l['\u2019]après-midi|du soir)|de la (?:tarde|noche)|del pomeriggio|di sera|della sera)",
    re.IGNORECASE,
)
_MORNING = re.compile(r"\s?a\.?\s?m\b(?!\w)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
# The separator of groups of three digits, and of both kinds if a language has two customs.
_GROUPS = {"en": ",", "fr": ".", "de": ".", "it": ".", "es": ".,"}
_DECIMALS = {"en": ".", "fr": ".,", "de": ",", "it": ",", "es": ".,"}


@dataclass(slots=True)
class Number:
    """A number in a text.

    Attributes:
        text: As written, without its unit.
        values: What it may mean; one of them, if its language is known.
        unit: Its unit, in the form in which units are compared; empty without one.
        parts: The numbers of a date, a time or a version.
        optional: True if it says nothing, as the zeros of `6:00`.
    """

    text: str
    values: frozenset[Decimal]
    unit: str = ""
    parts: list[Number] = field(default_factory=list)
    optional: bool = False

    @property
    def shown(self) -> str:
        """The number with its unit, as a fault names it."""
        return f"{self.text} {self.unit}".strip().replace(" %", "%")


def number_faults(source: str, translation: str, code: str, to: str) -> list[Fault]:
    """Return the numbers that a translation lost, changed or added.

    Args:
        source: The text, without code, formulas, links and placeholders.
        translation: Its translation, without them.
        code: The code of the source's language; empty if unknown.
        to: The code of the translation's language.

    Example:
        >>> number_faults("It takes 1,250 ms.", "Cela prend 1 520 ms.", "en", "fr")[0].message
        'The number 1,250 ms became 1 520 ms.'
    """
    lost, added = list(numbers(source, code)), list(numbers(translation, to))
    _pair(lost, added, lambda one, other: one.text == other.text and one.unit == other.unit)
    _pair(lost, added, lambda one, other: _same(one, other) and one.unit == other.unit)
    lost, added = _apart(lost), _apart(added)
    _pair(lost, added, lambda one, other: _same(one, other) and one.unit == other.unit)
    faults = []
    for one, other in _pair(lost, added, _same):
        if one.unit and (other.unit or (one.unit in SYMBOLS and to in _GROUPS)):
            faults.append(Fault("number", f"The number {one.shown} became {other.shown}."))
    lost = _without(lost, translation, to)
    added = _without(added, source, code)
    if to not in _GROUPS:  # small numbers may be words that are not known here
        lost = [number for number in lost if min(number.values) > 12 or number.unit]
    faults += _changed(lost, added)
    if code in _GROUPS and to in _GROUPS and not faults:
        faults += _word_faults(source, translation, code, to)
    return faults


def numbers(text: str, code: str) -> Iterator[Number]:
    """Yield the numbers of a text.

    Args:
        text: The text.
        code: The code of its language; empty if unknown.

    Example:
        >>> [(number.text, number.unit) for number in numbers("3.5 GB in 2 h", "en")]
        [('3.5', 'GB'), ('2', 'h')]
    """
    text = _ascii_digits(text)
    position = 0
    for match in _NUMBER.finditer(text):
        if match.start() < position:
            continue
        position = match.end()
        body = re.sub(rf"[{_SPACES}'\u2019_]", "", match["body"])
        negative = bool(match["sign"]) and match["sign"] != "+"
        shown = ("-" if negative else "") + body + (match["power"] or "")
        if parts := _parts(body, code):
            hours = _time(body, text[match.end() :])
            found = [Number(part, frozenset({Decimal(part)})) for part in parts]
            if hours is not None:
                found[0].values = hours
                for minute in found[1:]:
                    minute.optional = not int(minute.text)
            yield Number(shown, frozenset(), parts=found)
            continue
        values = {value * (-1 if negative else 1) for value in _values(body, code)}
        if match["power"]:
            values = {value.scaleb(int(match["power"][1:])) for value in values}
        if _MINUS.search(text, 0, match.start()):
            values |= {-value for value in values}
        unit, power, evening = _after(text, match.end(), code)
        if match["before"]:
            unit = units()[match["before"].strip()[-1]]
        if evening is not None:
            values = {(value % 12) + (12 if evening else 0) for value in values}
        # With the value alone, for a number that is multiplied by a word in one language only.
        yield Number(shown, frozenset(value.scaleb(power).normalize() for value in values), unit)


def _ascii_digits(text: str) -> str:
    """Return a text with the digits of other scripts as those of ASCII."""
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(sign)) if unicodedata.category(sign) == "Nd" else sign
        for sign in text
    )


def _parts(body: str, code: str) -> list[str]:
    """Return the numbers of a date, a time or a version; none if it is one number."""
    signs = [sign for sign in body if not sign.isdigit()]
    if ":" in signs:
        return re.split(r"\D", body)
    if len(signs) > 1 and len(set(signs)) == 1:
        first, *groups = re.split(r"\D", body)
        grouped = len(first) <= 3 and all(len(group) == 3 for group in groups)
        return [] if grouped else [first, *groups]
    return []


def _time(body: str, after: str) -> frozenset[Decimal] | None:
    """Return the hour of a time of day, from 0 to 23; `None` if it is not a time."""
    if ":" not in body:
        return None
    hour = Decimal(body.partition(":")[0])
    if _EVENING.match(after):
        return frozenset({hour % 12 + 12})
    return frozenset({hour % 12 if _MORNING.match(after) else hour})


def _values(body: str, code: str) -> set[Decimal]:
    """Return what a number may mean."""
    signs = {sign for sign in body if not sign.isdigit()}
    if not signs:
        return {Decimal(body)}
    if len(signs) == 2:
        last = max(signs, key=body.rindex)
        return {
            Decimal(
                re.sub(r"[.,]", "", body[: body.rindex(last)])
                + "."
                + body.rsplit(last, maxsplit=1)[-1]
            )
        }
    sign = signs.pop()
    as_group = Decimal(body.replace(sign, ""))
    if body.count(sign) > 1:
        return {as_group}
    as_decimal = Decimal(body.replace(sign, "."))
    first, _, last = body.partition(sign)
    if len(last) != 3 or len(first) > 3 or first.startswith("0"):
        return {as_decimal}
    values = set()
    if sign in _GROUPS.get(code, ".,"):
        values.add(as_group)
    if sign in _DECIMALS.get(code, ".,"):
        values.add(as_decimal)
    return values


def _after(text: str, position: int, code: str) -> tuple[str, int, bool | None]:
    """Return the unit, the power of ten and the half of the day that follow a number."""
    if _PERCENT.match(text, position):
        return "%", 0, None
    if _EVENING.match(text, position):
        return "", 0, True
    if _MORNING.match(text, position):
        return "", 0, False
    power = 0
    match = _AFTER.match(text, position)
    word = (match["unit"] or match["word"]) if match else ""
    while match and word.lower() in scales(code) and not (word == "Mio" and code == "fr"):
        power += scales(code)[word.lower()]
        preposition = re.compile(r"\.?(?:\s(?:de|di|d['\u2019]))?").match(text, match.end())
        position = preposition.end() if preposition else match.end()
        match = _AFTER.match(text, position)
        word = (match["unit"] or match["word"]) if match else ""
    known = units()
    return known.get(word) or (known.get(word.lower(), "") if len(word) > 3 else ""), power, None


def _same(one: Number, other: Number) -> bool:
    """Return True if two numbers may have the same value."""
    if one.parts or other.parts:
        return len(one.parts) == len(other.parts) > 0 and all(map(_same, one.parts, other.parts))
    return not one.values.isdisjoint(other.values)


def _pair(lost: list[Number], added: list[Number], alike: object) -> list[tuple[Number, Number]]:
    """Take out of both lists the numbers that are alike; return them."""
    pairs = []
    for number in list(lost):
        other = next((other for other in added if alike(number, other)), None)  # type: ignore[operator]
        if other is not None:
            pairs.append((number, other))
            _remove(lost, number)
            _remove(added, other)
    return pairs


def _remove(found: list[Number], number: Number) -> None:
    """Remove this object from a list."""
    del found[next(index for index, other in enumerate(found) if other is number)]


def _apart(found: list[Number]) -> list[Number]:
    """Return numbers with the parts of dates, times and versions instead of these."""
    return [part for number in found for part in (number.parts or [number])]


def _without(found: list[Number], other: str, code: str) -> list[Number]:
    """Return the numbers that are not words in the other text."""
    known = number_words(code)
    words = Counter(known[word] for word in _WORD.findall(other.lower()) if word in known)
    kept = []
    for number in found:
        value = next((value for value in number.values if words[int(value)]), None)
        if value is not None and value == int(value):
            words[int(value)] -= 1
        elif not number.optional:
            kept.append(number)
    return kept


def _changed(lost: list[Number], added: list[Number]) -> list[Fault]:
    """Return the faults of numbers without a partner."""
    faults = []
    for index in range(max(len(lost), len(added))):
        if index >= len(added):
            message = f"The number {lost[index].shown} is missing."
        elif index >= len(lost):
            message = f"The number {added[index].shown} does not occur in the source."
        else:
            message = f"The number {lost[index].shown} became {added[index].shown}."
        faults.append(Fault("number", message))
    return [fault for fault, _ in groupby(faults)]


def _word_faults(source: str, translation: str, code: str, to: str) -> list[Fault]:
    """Return the faults of small numbers that are words."""
    values, known = number_words(code), number_words(to)
    plain = PLAIN_WORDS[code].split()
    lower = translation.lower()
    faults = []
    written = {value for number in numbers(translation, to) for value in number.values}
    for word in dict.fromkeys(_WORD.findall(source.lower())):
        if word not in plain or values[word] in written:
            continue
        names = [name for name, value in known.items() if value == values[word] and len(name) > 2]
        others = [name for name in PLAIN_WORDS[to].split() if known[name] != values[word]]
        if not any(name in lower for name in names) and any(
            re.search(rf"\b{other}\b", lower) for other in others
        ):
            faults.append(Fault("number", f"The number {word} is not the same."))
    return faults
