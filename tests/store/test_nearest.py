"""A miss names the recorded request that is most like it, and what differs."""

from __future__ import annotations

import random
import time

import pytest

from mixmagic.store.nearest import differences, likeness, shortlist
from mixmagic.store.recording import Recording


def request(text="Explain the median of a sample.", asked="8x7b", system="", **params) -> dict:
    messages = [{"role": "user", "content": text}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    model = {"provider": "together", "id": "m", "context": 32768}
    return {"v": 1, "asked": asked, "model": model, "messages": messages, "params": params}


@pytest.mark.parametrize(
    ("asked", "recorded", "says"),
    [
        (
            request("Explain the median of a sample."),
            request("Explain the mean of a sample."),
            'prompt character 15 ("…median of a sample.", recorded "…mean of a sample.")',
        ),
        (
            request(temperature=0.2),
            request(temperature=0),
            "temperature (0.2, recorded 0)",
        ),
        (request(temperature=0.0), request(temperature=0), "nothing visible"),
        (request(seed=7), request(), "seed (7, not recorded)"),
        (request(), request(max_tokens=9), "max_tokens (not set, recorded 9)"),
        (request(asked="8x22b"), request(), "model (8x22b, recorded 8x7b)"),
        (
            request(asked="(default)", temperature=1),
            request(temperature=0),
            "model ((default), recorded 8x7b) and temperature (1, recorded 0)",
        ),
        (request(system="Be kind."), request(system="Be cold."),
         'system prompt character 4 ("…kind.", recorded "…cold.")'),
        (request(response_format={"a": 1}), request(response_format={"a": 2}), "response_format"),
        (request("One two"), request("One two three"),
         'prompt character 8 ("…two", recorded "…two three")'),
        (request("One "), request("One two"),
         'prompt character 5 (its end, recorded "…two")'),
        (
            request(asked="a", temperature=1, seed=1, top_p=0.5),
            request(asked="b", temperature=2, seed=2, top_p=0.6),
            "model (a, recorded b), temperature (1, recorded 2) and 2 more",
        ),
    ],
)  # fmt: skip
def test_what_differs_is_named(asked, recorded, says):
    assert differences(asked, recorded) == says


def test_a_difference_far_into_a_long_text_is_quoted_alone():
    text = "word " * 20_000
    told = differences(request(f"{text}median {text}"), request(f"{text}mean {text}"))
    assert told.startswith('prompt character 100003 ("…median word')
    assert len(told) < 120


def test_the_number_and_the_roles_of_messages_count():
    one = request()
    two = {**one, "messages": [*one["messages"], {"role": "assistant", "content": "Hm"}]}
    assert differences(one, two) == "the number of messages (1, recorded 2)"
    other = {**one, "messages": [{"role": "assistant", "content": "Hm"}]}
    assert differences(one, other) == "the role of message 1 (user, recorded assistant)"


WORDS = [f"{first}{rest}" for first in "bcdfgklmnprst" for rest in ("ane", "ilo", "umma", "edt")]


def cassette(count: int) -> tuple[list[dict], list[bytes]]:
    chance = random.Random(1)
    requests = [request(" ".join(chance.choices(WORDS, k=60)), temperature=0) for _ in range(count)]
    answer = {"v": 1, "text": " ".join(WORDS), "finish": "stop"}
    lines = [
        Recording(f"{number:032x}", "a/0", asked, answer).line()
        for number, asked in enumerate(requests)
    ]
    return requests, lines


def test_the_nearest_is_found_among_many():
    requests, lines = cassette(10_000)
    text = requests[6_174]["messages"][0]["content"].replace(" ", " , ", 3)
    asked = request(f"{text} indeed", temperature=0.5)
    near = shortlist(asked, lines)
    best = max(near, key=lambda index: likeness(asked, requests[index]))
    assert best == 6_174


def test_searching_many_lines_takes_milliseconds():
    """Of CPU time; the target is 50 ms on a quiet core, and this is no benchmark."""
    requests, lines = cassette(10_000)
    asked = request(requests[1]["messages"][0]["content"][:-4])
    best = 1e9
    for _ in range(3):
        started = time.process_time()
        near = shortlist(asked, lines)
        max(near, key=lambda index: likeness(asked, requests[index]))
        best = min(best, time.process_time() - started)
    assert best < 0.25
