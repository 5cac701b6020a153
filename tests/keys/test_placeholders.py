"""Secrets and what only stands in a key's place: words, and values that anybody could guess."""

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

from mixmagic.keys.placeholders import is_secret

# From the pages of local servers, and from what people write into `OPENAI_API_KEY` for them.
PLACEHOLDERS = """
none None NONE null nil test TEST testing local ollama Ollama dummy DUMMY EMPTY empty x xx xxx X
XXXXXXXX sk-no-key-required token-abc123 password123 lm-studio not-needed not_needed notneeded
NOT-REQUIRED no-key no_key_needed sk-local sk-dummy sk-fake sk-test sk-xxx sk-xxxxxxxxxxxxxxxxxxxx
sk-1234 sk-12345678 sk-1234567890abcdef sk-abcdef1234567890 sk-0000000000000000 sk-placeholder
sk-not-needed-for-local sk-your-key-here your-api-key-here YOUR_API_KEY YOUR_API_KEY_HERE <your-key>
<YOUR_API_KEY> ${OPENAI_API_KEY} $TOGETHER_API_KEY {{api_key}} insert-your-key-here REPLACE_ME
changeme change-me-please CHANGE_THIS api-key apikey API_KEY my-api-key MyApiKey my-secret-key
secret secret123 supersecret password Password1 p4ss1234x hunter2 admin admin123 foobar foo-bar-baz
123 1234 12345678 1234567890 0 00000000 000-000-000 99999999 abc123 abcdefgh abcdefghijklmnop
qwerty qwertyuiop asdf asdfghjkl ******** ... - -------- n/a N/A undefined true false whatever
anything something unused ignored default default-key placeholder vllm vllm-local llama.cpp
llama-cpp llamafile litellm localai text-generation-webui tgi openai local-llm localhost
localhost:1234 127.0.0.1 127.0.0.1:8080 key key1 key-1 key_0001 token token123 bearer guest
doesnt-matter does-not-matter this-is-not-needed no-api-key-required-here test-key-123 demo-key
example-key sk-example ollama-local-key EXAMPLE_TOKEN 2024-01-31 +1-555-0100 created_at customer_id
administrator internet JavaScript HTTPServer getElementById
""".split()  # noqa: SIM905  # as a list it would fill a page
PLACEHOLDERS.remove("p4ss1234x")  # this one nobody could guess

SECRETS = {
    "OpenAI": "sk-Jq8Wn3Rt6Yb1Kc9Xv4Jm7Lp2Hd5Gf0QsTzUa1Be4Cn7Do0Fp3",
    "OpenAI, project": "sk-proj-9x_Lq2T8vZr4Wm1Kc7Nb3Yd6Hs5Jf0Gp-AaEeUuOoIi",
    "OpenRouter": "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",
    "Anthropic": "sk-ant-api03-Zk3mQ9xW2rT7uY5pL8sD1fG4hJ6kN0bV3cX5zA7qE9w-AA",
    "Together AI": "tgp_v1_Zk3mQ9xW2rT7uY5pL8sD1fG4hJ6kN0bV3cX5zA7qE9w",
    "Together AI, old": "5f3a9c1e7b2d4860fa1c3e5b7d9f02468ace13579bdf0246813579bdfeca8642",
    "Fireworks": "fw_3ZkmQ9xW2rT7uY5pL8sD1fG4",
    "Groq": "gsk_8fK2mQ9xW2rT7uY5pL8sWGdyb3FYkz0Nq4Vr6Tb1Xc3J",
    "Google": "AIzaSyD4kQ8nV2xR7tB1mW5zL9pC3fH6jG0sAeY",
    "Hugging Face": "hf_ZkmQwxWrTtuYypLsDdfGghJjkNnbVvcX",
    "GitHub": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "AWS": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQ8nV2xR7t",
    "32 hexadecimal digits": "9f86d081884c7d659a2feaa0c55ad015",
    "upper case": "9F86D081884C7D659A2FEAA0C55AD015",
    "UUID": "3f2b8c1e-7d94-4a6b-b0e5-91c2d8f7a364",
    "JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI5MTcyNTM4NDYwIn0.Tk9xZ2h3bV8yYTdRc1Z4",
    "letters": "qhfkzmbtwrcydjlp",
    "capitals and small letters": "xKqZpWvBnMtR",
    "digits": "904817263554",
    "short": "hb3dkfg9",
    "signs": "p@$$w0rd!",
    "passphrase": "correct-horse-battery-staple",
    "mostly words": "canary-key-4711x",
}


@pytest.mark.parametrize("value", PLACEHOLDERS)
def test_a_placeholder_or_a_word_is_no_secret(value):
    assert not is_secret(value)
    assert not is_secret(f' "{value}"\n')


@pytest.mark.parametrize("shape", SECRETS)
def test_every_shape_of_key_is_a_secret(shape):
    assert is_secret(SECRETS[shape])
    assert is_secret(f" {SECRETS[shape]}\n")


def test_a_word_that_is_typed_as_a_key_is_a_secret_and_a_placeholder_is_not():
    assert is_secret("canary-wrong", typed=True)
    assert not any(is_secret(value, typed=True) for value in ("sk-no-key-required", "hb3dkf"))


def test_what_is_shorter_than_eight_characters_is_no_secret():
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
    """10,000 of each: none is taken for words."""
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


def test_no_english_word_is_a_secret():
    """Whatever a person puts into the place of a key: all words of two texts and six modules."""
    assert len(WORDS) > 2500
    assert [word for word in (*WORDS, *map(str.upper, WORDS)) if is_secret(word)] == []


def test_few_names_of_code_are_secrets():
    """Those that are made of many short parts."""
    assert len([name for name in NAMES if is_secret(name)]) < len(NAMES) / 100


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["no", "key", "api", "needed", "your", "test", "local"]), min_size=1)
)
def test_any_number_of_a_placeholder_s_words_is_no_secret(words):
    assert not any(is_secret(sign.join(words)) for sign in "-_ ./")
    assert not is_secret("".join(map(str.capitalize, words)))
