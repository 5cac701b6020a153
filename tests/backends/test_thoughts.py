"""Thoughts in an answer's text are separated from it, wherever it is split."""

from __future__ import annotations

import json
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear import is_linear
from server import Answer, chunk, frames, usage

from mixmagic.backends.thoughts import Splitter, apart
from mixmagic.calls.collector import Collector
from mixmagic.core.values import Delta, Message, Model, Provider, Request
from mixmagic.errors import StreamBroken

MODEL = Model("m", Provider("acme", "Acme"))
DRAFT = (
    'Maybe {"name": "Jane", "age": 99}?\n```python\nx = "draft"\n```\n| a |\n|---|\n| 1 |\n{ name,'
)
REAL = '{"name": "John", "age": 30}'
HARMONY = (
    "<|channel|>analysis<|message|>{draft}<|end|>"
    "<|start|>assistant<|channel|>final<|message|>{real}"
)

THINKING = {
    "think": f"<think>\n{DRAFT}\n</think>\n\n{REAL}",
    "think on one line": f"<think>{DRAFT}</think>{REAL}",
    "capitals": f"<THINK>{DRAFT}</Think>\n{REAL}",
    "blanks before": f"\n\n  <think>\n{DRAFT}\n</think>\n\n{REAL}",
    "thinking": f"<thinking>\n{DRAFT}\n</thinking>\n{REAL}",
    "reasoning": f"<reasoning>\n{DRAFT}\n</reasoning>\n{REAL}",
    "thought": f"<thought>\n{DRAFT}\n</thought>\n{REAL}",
    "Magistral": f"[THINK]{DRAFT}[/THINK]{REAL}",
    "Kimi": f"◁think▷{DRAFT}◁/think▷{REAL}",
    "Seed": f"<seed:think>{DRAFT}</seed:think>{REAL}",
    "Cohere": f"<|START_THINKING|>{DRAFT}<|END_THINKING|>{REAL}",
    "OpenThinker": f"<|begin_of_thought|>\n{DRAFT}<|end_of_thought|>\n{REAL}",
    "Gemma": f"<|channel>thought\n{DRAFT}<channel|>{REAL}",
    "harmony": HARMONY.format(draft=DRAFT, real=REAL),
    "harmony to its end": HARMONY.format(draft=DRAFT, real=REAL) + "<|return|>",
    "harmony from its start": "<|start|>assistant" + HARMONY.format(draft=DRAFT, real=REAL),
    "a lone closing tag": f"{DRAFT}\n</think>\n\n{REAL}",
    "a lone closing tag in a line": f"{DRAFT} So:</think>{REAL}",
    "a lone closing tag of Magistral": f"{DRAFT}\n[/THINK]\n{REAL}",
    "harmony without marks": f"analysisWe need JSON. {DRAFT}assistantfinal{REAL}",
    "an open code block": f"```python\nx = 'draft'\n</think>\n{REAL}",
    "an open code block before another": f"```python\nx = 1 {DRAFT}\n</think>\n{REAL}",
}


def read(text: str, size: int = 10**9, *, model: Model = MODEL, finish: str | None = "stop"):
    """A completion of a text that is streamed in pieces of this size."""

    def inner(request):
        for start in range(0, len(text), size):
            yield Delta(text[start : start + size])
        yield Delta(finish=finish)

    request = Request(model, (Message("user", "Hello"),))
    collector = Collector(request)
    for delta in apart(inner)(request):
        collector.add(delta)
    return collector.completion()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 10**9])
@pytest.mark.parametrize("name", THINKING)
def test_thoughts_are_not_text(name, size):
    answer = read(THINKING[name], size)
    assert answer.text.strip() == REAL
    assert "draft" in answer.reasoning
    assert not any(tag in answer.reasoning.lower() for tag in ("think>", "think]", "<|", "◁"))


@pytest.mark.parametrize("size", [1, 3, 10**9])
def test_several_thoughts_in_a_row(size):
    answer = read("<think>a</think>\n<think>b</think>\nSo:\n<think>\nc</think>\nHi", size)
    assert (answer.text, answer.reasoning) == ("So:\nHi", "abc")


LITERAL = [
    '{"text": "<think>hi</think>"}',
    '{"text": "ends with </think>", "and": "[/THINK]"}',
    '{\n  "text": "</think>"\n}',
    "Use `<think>` and `</think>`.",
    "Use `</think>` at the end.",
    "The ``</think>`` tag\nends it.",
    "Thoughts stand between <think> and </think> tags.",
    "R1 ends its thoughts with </think>.",
    'It says "</think>" at the end.',
    "```\n<think>\nhm\n</think>\nHi\n```",
    "So:\n```html\n</think>\n```\nDone.",
    "~~~\n[THINK]x[/THINK]\n~~~",
    "1. So:\n   ```\n   <think>\n   </think>\n   ```",
    "    <think>\n    indented\n    </think>",
    "x < y and a[think] and <thinner>",
    "<thin\n<think",
    "[think about it]\nHi",
    "<b>Hi</b>",
    "analysis of assistantfinal",
    "Look:\n<reasoning>data</reasoning>",
    "a <|channel|>analysis<|message|>b",
    "",
    " ",
    "\n\nHi\n",
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10**9])
@pytest.mark.parametrize("text", LITERAL)
def test_literal_tags_are_kept(text, size):
    answer = read(text, size)
    assert (answer.text, answer.reasoning) == (text, "")


@pytest.mark.parametrize("size", [1, 4, 10**9])
def test_a_tag_that_the_thoughts_quote_does_not_end_them(size):
    answer = read('<think>It wants `</think>` or "</think>".\n</think>\nHi', size)
    assert (answer.text, answer.reasoning) == ("Hi", 'It wants `</think>` or "</think>".')


@pytest.mark.parametrize("size", [1, 4, 10**9])
def test_the_last_of_several_closing_tags_ends_the_thoughts(size):
    answer = read("<think>a\n</think>\nb, wait\n</think>\n\nHi", size)
    assert answer.text == "Hi"
    assert answer.reasoning.split() == ["a", "b,", "wait"]


@pytest.mark.parametrize("size", [1, 3, 10**9])
def test_truncated_thoughts_are_thoughts(size):
    answer = read("<think>a draft", size, finish="length")
    assert (answer.text, answer.reasoning, answer.finish) == ("", "a draft", "length")


def test_an_empty_thought_is_not_a_thought():
    answer = read("<think>\n\n</think>\n\nHi", 2)
    assert (answer.text, answer.reasoning, answer.thinking, answer.thought) == ("Hi", "", None, "")


R1 = Model("r1", Provider("acme", "Acme"), thinks=True)


@pytest.mark.parametrize("size", [1, 3, 10**9])
@pytest.mark.parametrize(
    ("text", "finish", "meant"),
    [
        ("A draft.\n</think>\n\nHi", "stop", ("Hi", "A draft.")),
        ("<think>\nA draft.\n</think>\n\nHi", "stop", ("Hi", "A draft.")),
        ("\nA draft", "length", ("", "A draft")),
        ("Hi", "stop", ("Hi", "")),
        ("</think>\nHi", "stop", ("Hi", "")),
    ],
)
def test_a_template_that_opens_the_thoughts_is_marked_in_the_catalog(text, finish, meant, size):
    answer = read(text, size, model=R1, finish=finish)
    assert (answer.text, answer.reasoning) == meant


def test_the_thoughts_of_a_marked_model_are_shown_as_they_arrive():
    def inner(request):
        for word in ("A ", "draft.", "</think>", "Hi"):
            yield Delta(word)
        yield Delta(finish="stop")

    deltas = list(apart(inner)(Request(R1, ())))
    assert [(each.text, each.reasoning) for each in deltas if each.text or each.reasoning] == [
        ("", "A "), ("", "draft."), ("Hi", "")
    ]  # fmt: skip


def test_thoughts_that_the_server_separates_are_kept():
    def inner(request):
        yield Delta(reasoning="A draft.")
        yield Delta("Hi", finish="stop")

    collector = Collector(Request(R1, ()))
    for delta in apart(inner)(collector.request):
        collector.add(delta)
    answer = collector.completion()
    assert (answer.text, answer.reasoning) == ("Hi", "A draft.")


def test_each_of_several_answers_has_its_own_thoughts():
    def inner(request):
        for piece in ("<thi", "nk>d", "raft</think>", "Hi"):
            for choice in (0, 1):
                yield Delta(piece + str(choice) * (piece == "Hi"), choice=choice)
        yield Delta("</think>", choice=1)
        yield Delta(finish="stop")

    collector = Collector(Request(MODEL, (), {"n": 2}))
    for delta in apart(inner)(collector.request):
        collector.add(delta)
    assert collector.completion().text == "Hi0"
    assert collector.completion().others == ("",)


def test_a_call_in_harmony_names_its_tool():
    text = (
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
        '{"city": "Rome"}<|call|>'
    )
    answer = read(text, 3)
    assert answer.text == ""
    assert "get_weather" in answer.footer()


@pytest.mark.parametrize("size", [1, 5, 10**9])
def test_the_tags_are_counted_too(size):
    """They are not shown, but the provider bills them."""
    assert read("<think>a</think>b", size).usage.completion_tokens > 2 + 2


def test_held_back_text_is_kept_if_the_answer_breaks_off():
    def inner(request):
        yield Delta("So:\n<thi")
        raise StreamBroken("x", "y")

    pieces = []
    with pytest.raises(StreamBroken):
        deque((pieces.append(each.text) for each in apart(inner)(Request(MODEL, ()))), 0)
    assert "".join(pieces) == "So:\n<thi"


TAGS = ["<think>", "</think>", "[THINK]", "[/THINK]", "```", "`", '"', "\n", " ", "a", "{", "<",
        "<|channel|>", "final", "analysis", "<|message|>", "<|end|>", "<|start|>"]  # fmt: skip


@given(st.lists(st.sampled_from(TAGS), max_size=12), st.integers(1, 9), st.booleans())
def test_cuts_change_nothing(words, size, thinks):
    text = "".join(words)
    model = R1 if thinks else MODEL
    whole, cut = read(text, model=model), read(text, size, model=model)
    assert (cut.text, cut.reasoning) == (whole.text, whole.reasoning)


@given(st.text(alphabet=st.characters(exclude_characters="<[◁")), st.integers(1, 9))
def test_text_without_tags_is_unchanged(text, size):
    if not text.lstrip().startswith("analysis"):
        assert read(text, size).text == text


NASTY = {
    "openings": "<think>", "closings": "</think>", "lines": "\n<think>\n",
    "pairs": "<think></think>",
    "quoted": "`</think>`", "half": "<thin", "fences": "```\n</think>\n", "blanks": " ",
    "line ends": "\n", "heads": "<|channel|>", "starts": "<|start|>a", "ends": "<|end|>",
    "messages": "<|channel|>analysis<|message|>", "quotes": '"</think>', "ticks": "`</think>",
    "words": "So it goes. ", "brackets": "[", "escapes": "\\",
}  # fmt: skip


def split(text, size):
    splitter = Splitter(opened=False)
    for start in range(0, len(text), size):
        splitter.feed(text[start : start + size])
    splitter.close()
    splitter.instead(whole=True)


@pytest.mark.parametrize(("start", "name"), [
    *(("", name) for name in NASTY),
    *(("<think>", name) for name in ("closings", "half", "quoted", "blanks", "words")),
    *(("<|channel|>final<|message|>", name) for name in ("ends", "half", "messages", "words")),
])  # fmt: skip
def test_a_megabyte_takes_linear_time(name, start):
    def make(size):
        return start + NASTY[name] * (size // len(NASTY[name]))

    assert is_linear(lambda text: split(text, 10**9), make, 1_000_000, 6)
    assert is_linear(lambda text: split(text, 7), make, 60_000, 1)


@pytest.mark.parametrize("name", ["think", "harmony", "a lone closing tag", "Magistral"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_hosted_model_s_thoughts_are_separated(session, together, name, streamed):
    text = THINKING[name]
    end = chunk("", "stop", **usage(9, 200))
    message = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    together.plan = [
        Answer([*[frames(chunk(piece), done=False) for piece in text], frames(end)])
        if streamed
        else Answer([json.dumps({"choices": [message], **usage(9, 200)}).encode()],
                    type="application/json")
    ]  # fmt: skip
    answer = session.ask("Hello", stream=streamed)
    assert answer.text.strip() == REAL
    assert "draft" in answer.reasoning
    assert answer.usage.completion_tokens == 200
    assert answer.usage.counted == "server"
