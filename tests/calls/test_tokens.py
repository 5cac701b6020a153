"""Counts of tokens: as mistral-common counts, or an estimate that says so and has a bound."""

from __future__ import annotations

import doctest
import hashlib
import itertools
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import mistral_common
import pytest
from conversations import (
    CONVERSATIONS,
    CORPUS,
    ORACLES,
    TEXTS,
    UNKNOWN,
    V1,
    V3,
    counted,
    cut,
    oracle,
    talk,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.exceptions import MistralCommonException

from mixmagic.calls import tokens
from mixmagic.calls.tokens import Count, count, count_text, estimate, estimate_prompt
from mixmagic.catalog import Catalog
from mixmagic.core.values import Image, Message, Text


def begins_with_assistant(messages: list[Message]) -> bool:
    """Whether mistral-common would put an empty question first."""
    return next((m.role == "assistant" for m in messages if m.role != "system"), False)


@pytest.mark.parametrize("model", [V1, V3], ids=lambda model: model.id)
@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS)
def test_as_mistral_common_counts(text, model):
    answer = text or "Yes."  # nobody answers nothing
    for messages in (
        [Message("user", text)],
        [Message("system", "Be brief."), Message("user", text)],
        [Message("system", text), Message("user", "Go on.")],
        [Message("user", text), Message("assistant", answer), Message("user", text)],
        [
            Message("system", text),
            Message("user", "One."),
            Message("assistant", f"{answer}  "),
            Message("user", text),
        ],
    ):
        right = counted(messages, model.tokenizer)
        assert count(messages, model) == Count(right, right, exact=True)
    right = cut(text, model.tokenizer)
    assert count_text(text, model) == Count(right, right, exact=True)


@pytest.mark.parametrize("model", [V1, V3], ids=lambda model: model.id)
@pytest.mark.parametrize(
    "messages",
    [
        talk("s: only a system text"),
        talk("s: ", "u: an empty one"),
        talk("s: one", "s: ", "s: two", "u: three"),
        talk("u: one", "u: two", "u: ", "u: three"),
        talk("u: ", "u: "),
        talk("u: one", "a: two", "a: three", "u: four"),
        talk("u: one", "a:    ", "u: an answer of blanks"),
        talk("u: one", "s: between", "u: two"),
        talk("u: one", "s: at the end"),
        talk("s: first", "u: one", "a: two", "u: three", "s: last"),
        talk("u: one", "a: two\n\n", "u: three", "a:  four ", "u: five"),
    ],
    ids=repr,
)
def test_forms_of_conversations(messages, model):
    right = counted(messages, model.tokenizer)
    assert count(messages, model) == Count(right, right, exact=True)


@pytest.mark.parametrize("model", [V1, V3], ids=lambda model: model.id)
@settings(max_examples=300, deadline=None)
@given(messages=CONVERSATIONS)
def test_any_conversation_is_counted_right_or_estimated(model, messages):
    """Exact wherever mistral-common accepts it, but for one that begins with an answer."""
    found = count(messages, model)
    try:
        right = counted(messages, model.tokenizer)
    except MistralCommonException:
        assert not found.exact
        return
    assert found.exact is not begins_with_assistant(messages)
    assert not found.exact or found == Count(right, right, exact=True)
    assert right <= found.most


@pytest.mark.parametrize(
    "messages",
    [
        [],
        talk("a: one"),
        talk("a: one", "u: two"),
        talk("s: one", "a: two", "u: three"),
        talk("u: one", "a: two"),
        talk("u: one", "a: two", "s: three", "u: four"),
        talk("u: one", "a: ", "u: three"),
        talk("u: one", "a: two", "a: ", "u: three"),
        [Message("user", "half a pair: \ud83d")],
    ],
    ids=repr,
)
def test_what_the_template_cannot_express_is_estimated(messages):
    found = count(messages, V1)
    assert found == count(messages, UNKNOWN)
    assert not found.exact
    assert found.tokens == estimate_prompt(messages) <= found.most


def test_half_a_surrogate_pair_is_estimated():
    assert count_text("\ud83d", V3) == count_text("\ud83d", UNKNOWN) == Count(1, 4, exact=False)


@pytest.mark.parametrize(
    ("name", "exact"),
    [("together:8x7b", 1), ("together:8x22b", 1), ("mistral:8x7b", 1), ("disco", 0), ("local", 0)],
)
def test_which_models_are_exact(name, exact):
    """The Mixtrals; not the one with another template, nor the embedded one."""
    assert count(talk("u: Hello"), Catalog().resolve(name)).exact == exact


@pytest.mark.parametrize("name", ORACLES)
def test_the_most_is_right_for_the_corpus(name):
    for text in (*CORPUS.values(), "\n\n".join(CORPUS.values())):
        bound = count_text(text, UNKNOWN)
        assert bound.tokens <= bound.most
        assert cut(text, name) <= bound.most
        for messages in (
            [Message("user", text)],
            talk("s: Be brief.", f"u: {text}", "a: Yes.", "u: ", f"u: {text}"),
        ):
            bound = count(messages, UNKNOWN)
            assert not bound.exact
            assert bound.tokens == estimate_prompt(messages) <= bound.most
            assert counted(messages, name) <= bound.most


@pytest.mark.parametrize("name", ORACLES)
@settings(max_examples=500, deadline=None)
@given(text=TEXTS)
def test_the_most_is_right_for_any_text(name, text):
    bound = count_text(text, UNKNOWN)
    assert estimate(text) == bound.tokens <= bound.most
    assert cut(text, name) <= bound.most


@pytest.mark.parametrize("name", ORACLES)
@settings(max_examples=500, deadline=None)
@given(text=st.text("aeioubcdnqwxyj A'.5\n\té", max_size=60))
def test_the_most_is_right_for_its_tightest_texts(name, text):
    assert cut(text, name) <= count_text(text, UNKNOWN).most


@pytest.mark.parametrize("name", ORACLES)
def test_the_joined_pairs_are_tokens(name):
    """Every two characters that it takes for joined are one token wherever they stand alone."""
    encoder = oracle(name).instruct_tokenizer.tokenizer
    whole = {encoder.id_to_piece(number).replace("▁", " ") for number in range(encoder.n_words)}
    characters = [chr(byte) for byte in range(128)]
    pairs = [a + b for a in characters for b in characters]
    joined = [pair for pair in pairs if tokens._JOINED.fullmatch(pair.encode())]
    assert len(joined) == 5 * 22 + 16 * 5 + 84
    assert tokens._JOINED.match(b"   ")
    assert [pair for pair in [*joined, "  "] if pair not in whole] == []


# What templates bring themselves, as far as we know them: Llama 3.1's, gpt-oss's.
_PREAMBLES = {
    "none": "",
    "Llama 3.1": "<|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>",
    "gpt-oss": "You are ChatGPT, a large language model trained by OpenAI.\n"
    "Knowledge cutoff: 2024-06\nCurrent date: 2026-11-24\n\nReasoning: medium\n\n"
    "# Valid channels: analysis, commentary, final. Channel must be included for every message.",
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("preamble", _PREAMBLES.values(), ids=_PREAMBLES)
def test_the_most_includes_chat_templates(preamble, name):
    """Even where ChatML's marks are read as plain text, around texts without any slack."""
    messages = talk(*["u: 12345", "a: 67890"] * 20, "u: 12345")
    written = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages)
    most = count(messages, UNKNOWN).most
    assert cut(preamble, name) + cut(f"{written}<|im_start|>assistant\n", name) <= most
    short = count(messages[:1], UNKNOWN).most
    question = "<|im_start|>user\n12345<|im_end|>\n<|im_start|>assistant\n"
    assert cut(preamble, name) + cut(question, name) <= short


def test_the_most_is_not_much_more_than_the_count():
    """Less than the bytes by a fifth, in the languages that people write most."""
    for name in ("English", "French", "German", "Spanish", "Italian"):
        text = CORPUS[name] * 10
        assert count_text(text, UNKNOWN).most < 0.8 * len(text.encode())


@pytest.mark.parametrize("name", ["8x7b", "8x22b", "local"])
def test_a_prompt_with_an_image_is_an_estimate(name):
    """Every provider counts images by its own rules; by its text it counts as before."""
    model = Catalog().resolve(name)
    text, image = Message("user", "Look: "), Image(b"x" * 99)
    alone = count([text], UNKNOWN)
    both = count([Message("user", (Text("Look: "), image, image))], model)
    assert not both.exact
    assert both.tokens == alone.tokens + 2 * 1_100
    assert both.most == alone.most + 2 * 48_169


def test_an_estimate_adds_up_messages():
    messages = talk("s: Be brief.", "u: Hello")
    assert estimate("Be brief.") == 3
    assert estimate_prompt(messages) == 3 + 4 + 2 + 4
    assert count(messages, UNKNOWN).tokens == 13


@pytest.fixture
def unloaded(monkeypatch):
    monkeypatch.setattr(tokens, "_loaded", {})
    monkeypatch.setattr(tokens, "_missing_until", {})


def test_without_the_package_it_is_an_estimate(unloaded, monkeypatch):
    messages = talk("u: Hello")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "sentencepiece", None)  # as if it were not installed
        assert count(messages, V1) == count(messages, UNKNOWN)
        assert not count_text("Hello", V3).exact
    tokens._missing_until.clear()  # some seconds later
    assert count(messages, V1) == Count(9, 9, exact=True)  # installed without a restart


def test_a_missing_package_is_not_looked_for_at_each_count(unloaded, monkeypatch):
    looked, load = [], tokens._load_encoder
    monkeypatch.setattr(tokens, "_load_encoder", lambda file: looked.append(file) or load(file))
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    for number in range(20):
        assert not count_text(f"Hello {number}", V1).exact
    assert len(looked) == 1


@pytest.mark.parametrize("content", [None, b"", b"no model", "half"])
def test_a_file_that_is_missing_or_broken_is_an_estimate(content, unloaded, tmp_path, monkeypatch):
    name, there = tokens._FILES["mistral-v1"], tokens._FOLDER
    if content == "half":
        content = (there / name).read_bytes()[:200_000]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(tokens, "_FOLDER", tmp_path)
    assert not count(talk("u: Hello"), V1).exact
    shutil.copy(there / name, tmp_path)
    tokens._missing_until.clear()  # some seconds later
    assert count(talk("u: Hello"), V1) == Count(9, 9, exact=True)


def test_nothing_heavy_is_imported():
    script = """
import sys
from mixmagic.calls import tokens
from mixmagic.core.values import Message, Model, Provider
heavy = lambda: sorted({"sentencepiece", "mistral_common", "numpy"} & sys.modules.keys())
assert heavy() == [], heavy()
here = Provider("here", "Here")
tokens.count([Message("user", "Hello")], Model("x", here))
assert heavy() == [], heavy()
assert tokens.count([Message("user", "Hello")], Model("x", here, tokenizer="mistral-v3")).exact
assert heavy() == ["sentencepiece"], heavy()
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr


def test_threads_load_once_and_agree(unloaded, monkeypatch):
    loads, results, load = [], [], tokens._load_encoder
    monkeypatch.setattr(tokens, "_load_encoder", lambda file: loads.append(file) or load(file))
    start, texts = threading.Barrier(8), list(CORPUS.values())

    def work() -> None:
        start.wait(timeout=60)
        results.append([count_text(text, model) for text in texts for model in (V1, V3)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(loads) == sorted(tokens._FILES.values())
    assert results == [[count_text(text, model) for text in texts for model in (V1, V3)]] * 8


@pytest.mark.parametrize("model", [V1, V3, UNKNOWN], ids=lambda model: model.id)
@pytest.mark.parametrize("unit", ["a", " ", "Lorem ipsum, ", "🦊", "\n", "ba", "[INST]", "\x00"])
def test_it_takes_time_in_proportion_to_the_text(unit, model):
    """Sixteen times the text takes less than eighty times as long; squared it would be 256."""
    numbers = itertools.count()  # what was counted just before is remembered

    def seconds(size: int) -> float:
        messages = [Message("user", f"{next(numbers)}{unit * (size // len(unit))}")]
        started = time.thread_time()
        count(messages, model)
        return time.thread_time() - started

    seconds(10)
    short = min(seconds(20_000) for _ in range(3))
    assert min(seconds(320_000) for _ in range(3)) < 80 * max(short, 1e-3)


def test_many_messages_take_time_in_proportion():
    messages = talk("u: Hello", "a: Hi") * 10_000 + talk("u: Bye")
    started = time.thread_time()
    assert count(messages, V1).exact
    assert time.thread_time() - started < 5


def test_the_extra_has_what_is_needed():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    [extra] = re.findall(r"^tokens = \[(.*)\]$", project, re.MULTILINE)
    assert "sentencepiece" in extra


def test_the_tokenizers_are_mistrals_own_unchanged_and_attributed():
    """With their license, and equal to the files that mistral-common has."""
    theirs = Path(mistral_common.__file__).parent / "data"
    notice = (tokens._FOLDER / "NOTICE").read_text("utf-8")
    for name in tokens._FILES.values():
        content = (tokens._FOLDER / name).read_bytes()
        assert content == (theirs / name).read_bytes()
        assert f"sha256 {hashlib.sha256(content).hexdigest()}  {name}" in notice
    assert "Apache License, Version 2.0" in notice


def test_examples_hold():
    assert doctest.testmod(tokens).failed == 0
