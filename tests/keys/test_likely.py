"""What is written like a key is redacted, and nothing else is."""

from __future__ import annotations

import pytest
from linear import is_linear

from mixmagic.keys.likely import redact_likely

RANDOM = "8fK2mQ9xW2rT7uY5nB4vC6zL1pJ3hG0d"
HEX = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key sk-{RANDOM} is bad", "key [key] is bad"),
        (f"sk-proj-ab_C-{RANDOM}-x_y", "[key]"),
        (f"'sk-ant-api03-{RANDOM}'", "'[key]'"),
        (f"sk_live_{RANDOM}", "[key]"),
        (f"ghp_{RANDOM}abcd, gho_{RANDOM}", "[key], [key]"),
        (f"github_pat_{RANDOM}_{RANDOM}", "[key]"),
        ("hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh", "[key]"),
        ("AKIAIOSFODNN7EXAMPLE:", "[key]:"),
        (f"xoxb-1234567890-{RANDOM}", "[key]"),
        (f"AIza{RANDOM}abc", "[key]"),
        (f"glpat-{RANDOM}", "[key]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_DEF-123456", "[key]"),
        (f"{{'Authorization': 'Bearer {RANDOM}=='}}", "{'Authorization': 'Bearer [key]'}"),
        (f"authorization: basic {RANDOM}=", "authorization: basic [key]"),
        (f"https://h/a?page=2&token={HEX}&x=1", "https://h/a?page=2&token=[key]&x=1"),
        (f"https://b.s3/k?X-Amz-Signature={HEX}", "https://b.s3/k?X-Amz-Signature=[key]"),
        (f'connect(api_key="{HEX}", n=1)', 'connect(api_key="[key]", n=1)'),
        (f"{{'client_secret': '{HEX}'}}", "{'client_secret': '[key]'}"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nabc=\n-----END", "[key]-----END"),
    ],
)
def test_keys_of_services_that_are_not_set_up(text, shown):
    assert redact_likely(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn, scikit-learn, sk_model = GradientBoostingClassifier()",
        "hf_hub_download_timeout_seconds = 30; task-force",
        "token = tokenizer.pad_token; key = sorted(d, key='customer_id2')",
        "basic understanding of bearer tokens",
        "password='changeme'; api_key='sk-no-key-required'; token='<|endoftext|>'",
        f"sha256={HEX}; commit {HEX}",
        "https://host/search?q=a+long+question+about+2026&page=2",
        "uuid='123e4567-e89b-12d3-a456-426614174000'",
        "eyJhbGciOiJIUzI1NiJ9",
        'Traceback (most recent call last):\n  File "<cell>", line 2, in <module>',
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert redact_likely(text) == text


@pytest.mark.parametrize("piece", ["sk-", "sk-a-", "eyJaaaaaaaa.", "aa://", "a.", "key='"])
def test_the_time_is_linear(piece):
    assert is_linear(redact_likely, lambda size: piece * (size // len(piece)), 100_000, 5.0)
