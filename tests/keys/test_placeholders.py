"""Secrets are distinguished from placeholders: words, and values that are easy to guess."""

from __future__ import annotations

import argparse
import email.message
import inspect
import json
import random
import re
import string
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import PLACEHOLDERS, SECRETS

from mixmagic.keys.placeholders import is_secret


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_a_placeholder_or_a_word_is_not_a_secret(value):
    assert not is_secret(value)
    assert not is_secret(f' "{value}"\n')


@pytest.mark.parametrize("shape", SECRETS)
def test_every_shape_of_key_is_a_secret(shape):
    assert is_secret(SECRETS[shape])
    assert is_secret(f" {SECRETS[shape]}\n")


def test_a_word_that_is_typed_as_a_key_is_a_secret_and_a_placeholder_is_not():
    assert is_secret("canary-wrong", typed=True)
    assert not any(is_secret(value, typed=True) for value in ("sk-no-key-required", "hb3dkf"))


def test_a_value_of_under_eight_characters_is_not_a_secret():
    assert not is_secret("hb3dkfg")
    assert not is_secret("--hb3dkfg--")
    assert is_secret("hb3dkfg9")


@pytest.mark.parametrize(
    ("alphabet", "size"),
    [(string.hexdigits[:16], 32), (string.ascii_lowercase + string.digits, 20),
     (string.ascii_letters + string.digits, 16), (string.ascii_letters + string.digits + "-_", 24),
     (string.ascii_uppercase + "234567", 16), (string.ascii_letters, 20)],
)  # fmt: skip
def test_random_keys_are_secrets(alphabet, size):
    """10,000 of each kind: none is mistaken for words."""
    dice = random.Random(size)
    assert all(is_secret("".join(dice.choices(alphabet, k=size))) for _ in range(10_000))


SOURCES = (argparse, email.message, inspect, json, re, tarfile)
TEXT = "\n".join(
    [
        *map(inspect.getsource, SOURCES),
        *(Path(f).read_text("utf-8") for f in ("README.md", "LICENSE")),
    ]
)
WORDS = sorted({word for word in re.findall(r"[A-Za-z]+", TEXT) if len(word) < 16})
NAMES = sorted({w for w in re.findall(r"[A-Za-z_]+", TEXT) if len(w.replace("_", "")) < 16})


def test_english_words_are_not_secrets():
    """All words of two texts and six modules, as users may enter them instead of a key."""
    assert len(WORDS) > 2500
    assert [word for word in (*WORDS, *map(str.upper, WORDS)) if is_secret(word)] == []


def test_few_names_of_code_are_secrets():
    """Only those that consist of many short parts."""
    assert len([name for name in NAMES if is_secret(name)]) < len(NAMES) / 100


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["no", "key", "api", "needed", "your", "test", "local"]), min_size=1)
)
def test_any_number_of_placeholder_words_is_not_a_secret(words):
    assert not any(is_secret(sign.join(words)) for sign in "-_ ./")
    assert not is_secret("".join(map(str.capitalize, words)))
