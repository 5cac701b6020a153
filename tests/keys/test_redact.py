"""Keys in whole and streamed texts are found in every encoding, and nothing else is redacted."""

from __future__ import annotations

import argparse
import email.message
import inspect
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from canary import ENCODINGS, KEY, leaks
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mixmagic.keys.redact import Fingerprints, Redactor, Secret

SHORT = "hb3_kfg9"
# Keys of the shapes that providers give out.
KEYS = {
    "Together AI": "tgp_v1_Zk3mQ9xW2rT7uY5pL8sD1fG4hJ6kN0bV3cX5zA7qE9w",
    "OpenAI": "sk-proj-9x_Lq2T8vZr4Wm1Kc7Nb3Yd6Hs5Jf0Gp-AaEeUuOoIi",
    "OpenRouter": "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",
    "Groq": "gsk_8fK2mQ9xW2rT7uY5pL8sWGdyb3FYkz0Nq4Vr6Tb1Xc3J",
    "Google": "AIzaSyD4kQ8nV2xR7tB1mW5zL9pC3fH6jG0sAeY",
    "Mistral": "Zq8Wn3Rt6Yb1Kc9Xv4Jm7Lp2Hd5Gf0Qs",
    "32 hexadecimal digits": "9f86d081884c7d659a2feaa0c55ad015",
    "UUID": "3f2b8c1e-7d94-4a6b-b0e5-91c2d8f7a364",
    "JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI5MTcyNTM4NDYwIiwiaWF0IjoxNzE2MjM5MDIyfQ"
    ".Tk9xZ2h3bV8yYTdRc1Z4LWpLcDB0RnViWWVHbG5jTUl6",
    "the tests'": KEY,
    "a short one": SHORT,
    "a passphrase": "correct-horse-battery-staple",
    "signs": 'p@s%w0&sw\\o"rd/9?',
}
ORDINARY = {
    "README": Path("README.md").read_text("utf-8"),
    "license": Path("LICENSE").read_text("utf-8"),
    **{each.__name__: inspect.getsource(each) for each in (argparse, email.message, re, json)},
}


def shown(fingerprints: Fingerprints, *pieces: str) -> str:
    redactor = Redactor(fingerprints)
    return "".join([*map(redactor.feed, pieces), redactor.close()])


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("shape", KEYS)
@pytest.mark.parametrize("name", ENCODINGS)
def test_a_key_is_found_in_every_encoding_in_whole_texts_and_in_pieces(shape, name):
    """In pieces of any size; then three characters of a part of a key may be shown."""
    key = KEYS[shape]
    is_part = name.startswith(("all but", "masked", "its"))
    if len(key) < 12 and is_part:
        pytest.skip("a short key is searched for as a whole")
    fingerprints = Fingerprints([key, "another-key-1"])
    for frame in ("It is {}, I think.", "{}", "<a href='?k={}&n=1'>", "key={}\n"):
        text = frame.replace("{}", ENCODINGS[name](key))
        whole = fingerprints.redact(text)
        before, _, after = whole.partition("[key]")
        assert whole != text, text
        assert len(before) + len(after) <= len(text) - 8
        for size in (1, 2, 3, 5, 8, 13):
            pieces = shown(fingerprints, *cut(text, size))
            head, _, rest = pieces.partition("[key]")
            assert head.startswith(before)
            assert len(head) <= len(before) + 3, "so many were shown"
            assert rest.endswith(after)
            if name == "plain":
                assert pieces == whole == frame.replace("{}", "[key]")


BYTES: dict[str, Callable[[bytes], str]] = {
    "percent": quote_from_bytes,
    "percent, all": lambda raw: "".join(f"%{byte:02X}" for byte in raw),
    "Python's bytes": repr,
    "octal": lambda raw: "".join(f"\\{byte:03o}" for byte in raw),
    "read as Latin-1": lambda raw: raw.decode("latin-1"),
}


@pytest.mark.parametrize("key", ["pässwörd-ñ9-Ключ", "München#4711!", "пароль-для-почты"])
@pytest.mark.parametrize("name", BYTES)
def test_a_key_of_any_letters_is_found_byte_by_byte(key, name):
    fingerprints = Fingerprints([key])
    text = f"It is {BYTES[name](key.encode())}, I think."
    assert fingerprints.redact(text).startswith("It is ")
    for each in (fingerprints.redact(text), shown(fingerprints, *cut(text, 1))):
        assert "[key]" in each
        assert len(each) < len(text) - len(key.encode()) + 11


UNSEEN = ["\0", "\x1b[0m", "\x1b[38;5;12m", "\x1b]0;t\x07", "\r", "\x85", "\xad", "\u200b",
          "\ufeff", "\u2066", "\\u200b", "&shy;", "&#8203;", "\0" * 300,
          "\u200d\x1b[1m"]  # fmt: skip


@pytest.mark.parametrize("unseen", UNSEEN)
def test_invisible_characters_do_not_hide_a_key(unseen):
    """Characters that are invisible, or dropped before display, may be anywhere in it."""
    fingerprints = Fingerprints([KEYS["Groq"]])
    text = f"It is {unseen.join(KEYS['Groq'])}, I think."
    assert fingerprints.redact(text) == "It is [key], I think."
    for size in (1, 2, 3, 7, 50):
        words = shown(fingerprints, *cut(text, size)).partition("[key]")
        assert sum(map(str.isalnum, words[0])) <= 4 + 3 + 10 * ("&" in unseen)
        assert words[1]
        assert words[2].endswith(", I think.")


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize(
    "text",
    ["a\u200bb \u0645\u06cc\u200c\u062e \u200f x", "👩\u200d👩\u200d👧 ok\r\n",
     "\x1b[31mred\x1b[0m", "\0", "\x1b", "\x1b[", "\x1b]0;title", "&shy;", "\u200b\u200b",
     "\xadword"],
)  # fmt: skip
def test_invisible_characters_elsewhere_are_kept(text, size):
    fingerprints = Fingerprints(KEYS.values())
    assert fingerprints.redact(text) == text
    assert shown(fingerprints, *cut(text, size)) == text


def test_a_flood_of_invisible_characters_is_not_held_back():
    for unit in ("\0", "&shy;", "\u200b"):
        redactor = Redactor(Fingerprints([KEY]))
        redactor.feed(KEY[:7])
        for piece in unit * 500:
            redactor.feed(piece)
            assert len(redactor._held) < 120


@pytest.mark.parametrize("key", [each for each in KEYS.values() if len(each) >= 12])
def test_less_than_half_of_a_key_is_shown(key):
    """As a provider masks it: `sk-pr…eca8`."""
    half = min(max(-(-len(key) // 2), 8), 48)
    for part in (key[: half - 1], key[1 - half :], f"{key[:7]}…{key[-4:]}", f"{key[:4]}****"):
        for size in (1, 4, 99):
            assert shown(Fingerprints([key]), *cut(f"It is {part}.", size)) == f"It is {part}."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SHORT, "[key]"),
        (f"({SHORT})", "([key])"),
        (f"%20{SHORT}%20", "%20[key]%20"),
        (f"\\n{SHORT}\\n", "\\n[key]\\n"),
        (f"x{SHORT}", f"x{SHORT}"),
        (f"{SHORT}0", f"{SHORT}0"),
        (f"{SHORT}_{SHORT}", f"{SHORT}_{SHORT}"),
        (SHORT[:-1], SHORT[:-1]),
        (f"{SHORT} {SHORT}1 {SHORT}", f"[key] {SHORT}1 [key]"),
    ],
)
def test_a_short_key_is_redacted_only_as_a_whole_word(text, expected):
    fingerprints = Fingerprints([SHORT])
    assert fingerprints.redact(text) == expected
    for size in (1, 2, 5, 8, 9):
        assert shown(fingerprints, *cut(text, size)) == expected


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_words_and_code_are_kept(text):
    fingerprints = Fingerprints(KEYS.values())
    source = ORDINARY[text]
    assert fingerprints.redact(source).count("[key]") == source.count("[key]")
    assert shown(fingerprints, *cut(source, 7)) == source


def parts(key: str, text: str) -> set[int]:
    """Return the parts of a key in a text, by definition and brute force."""
    need = max(-(-len(key) // 2), 8) if len(key) >= 12 else len(key)
    found: set[int] = set()
    for begin in range(len(text)):
        for end in range(begin + need, len(text) + 1):
            if text[begin:end].lower() in key.lower():
                found.update(range(begin, end))
    return found


LETTERS = "ab1_-Zq"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_all_matching_parts_are_redacted_wherever_the_text_is_split(data):
    key = data.draw(st.text(LETTERS, min_size=12, max_size=24))
    slices = st.tuples(st.integers(0, 24), st.integers(0, 24)).map(lambda ends: key[slice(*ends)])
    pieces = data.draw(st.lists(st.one_of(st.text(LETTERS, max_size=6), slices), max_size=8))
    text = "".join(pieces) + "!"
    fingerprints, counts = Fingerprints([key]), parts(key, text)
    whole = fingerprints.redact(text)
    kept = "".join(letter for at, letter in enumerate(text) if at not in counts)
    if not any(key.lower().count(key[at : at + 7].lower()) > 1 for at in range(len(key) - 6)):
        assert whole.replace("[key]", "") == kept  # else two parts may look like one
    assert parts(key, whole) == set()
    streamed = shown(fingerprints, *pieces, "!")
    assert parts(key, streamed) == set()
    if not counts:
        assert streamed == whole == text


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*KEYS.values()]), st.data())
def test_a_whole_key_is_redacted_the_same_wherever_the_text_is_split(key, data):
    # A sign of an escape right before the key would be read together with its first character.
    words = st.sampled_from(["the ", "key: ", "\n", "% ", "& ", "\\ ", "sk-", "aaaa", key[:3], "é"])
    text = "".join(data.draw(st.lists(st.one_of(words, st.just(key)), max_size=6)))
    assume(len(key) >= 12)
    ends = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=9)))
    pieces = [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
    fingerprints = Fingerprints([key])
    assert shown(fingerprints, *pieces) == fingerprints.redact(text)


@pytest.mark.parametrize("width", [64, 76])
def test_a_long_key_is_found_in_base64_and_hexadecimal_lines(width):
    """As `base64`, `xxd -p` and MIME break them."""
    key = KEYS["JWT"] * 2
    for name in ("Base64 of a header", "Base64 for URLs", "hexadecimal", "plain"):
        encoded = ENCODINGS[name](key)
        lines = "\n".join(cut(encoded, width))
        shown = Fingerprints([key]).redact(lines)
        assert shown.count("[key]") >= len(encoded) // width
        assert all(part not in shown for part in cut(encoded, 48)[1:-1])


def test_only_the_beginning_of_a_key_is_held_back():
    redactor = Redactor(Fingerprints([KEY]))
    pieces = ["Hello", " there", "c", "u", "canary", "!", "", "né", "İ"]
    assert [redactor.feed(piece) for piece in pieces] == [
        *("Hello", " there", "", "cu", "", "canary!", "", "né", "İ")
    ]
    assert redactor.close() == ""


@pytest.mark.parametrize(
    "escape",
    ["%", "%2", "%25", "%2525", "%7", "&", "&am", "&amp;", "&#1", "&#x7", "&lowb", "\\", "\\\\",
     "\\u00", "\\u{7", "\\x", "\\U000000"],
)  # fmt: skip
def test_a_possible_half_of_an_escape_is_held_back_and_then_shown(escape):
    redactor = Redactor(Fingerprints([KEY]))
    assert redactor.feed(f"It is 100 {escape}") == "It is 100 "
    assert redactor.feed(" or not") == f"{escape} or not"
    assert redactor.feed(f"100 {escape}") == "100 "
    assert redactor.close() == escape


def test_the_held_back_text_is_bounded():
    keys = [key for key in KEYS.values() if len(key) >= 12]
    for unit in ("%", "&amp;", "\\", *keys, "".join(key[: len(key) // 2] for key in keys), "ab"):
        redactor = Redactor(Fingerprints([*keys, "ab" * 20]))
        for at in range(3000):
            redactor.feed(unit[at % len(unit)])
            assert len(redactor._held) <= 48, unit


def test_a_repeated_continuation_of_a_key_is_hidden():
    """A key that repeats itself has a part at every index of a text that does so, too."""
    key = "ab12" * 6
    pieces = ["ab12" * 5] * 50
    assert shown(Fingerprints([key]), "x", *pieces, "y") == "x[key]y"


def test_fingerprints_and_redactors_do_not_show_secrets():
    fingerprints = Fingerprints([KEY])
    redactor = Redactor(fingerprints)
    redactor.feed(f"It is {KEY[:9]}")
    assert leaks(repr(fingerprints), str(fingerprints), repr(redactor), str(redactor)) == []
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(KEY))


def test_text_is_unchanged_without_secrets():
    assert not Fingerprints([])
    assert Fingerprints([]).redact({"a": [KEY, 1]}) == {"a": [KEY, 1]}


def test_values_nested_too_deep_are_dropped():
    value: object = KEY
    for _ in range(90):
        value = [value]
    assert leaks(repr(Fingerprints([KEY]).redact(value))) == []
