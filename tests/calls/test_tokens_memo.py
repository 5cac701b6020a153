"""What was counted a moment ago is not counted again, and not held, either."""

from __future__ import annotations

import contextlib
from contextlib import closing

import pytest
from conversations import V1, V3, talk
from server import Answer, chunk, frames, usage

from mixmagic.calls import tokens
from mixmagic.calls.collector import Collector
from mixmagic.calls.tokens import Memo, count
from mixmagic.errors import Stopped

LAST = chunk("", "stop", **usage(9, 2))


@pytest.mark.parametrize("stop", [False, True])
def test_a_call_encodes_each_text_once(session, together, monkeypatch, stop):
    """Fit, the ledger and the collector count the same prompt; the last two the same answer."""
    together.plan = [
        Answer([frames(chunk("Once upon"), done=False), "hang" if stop else frames(LAST)])
    ]
    assert count(talk("u: load"), V1).exact
    encoded, encode = [], tokens._loaded["mistral-v1"]
    monkeypatch.setitem(
        tokens._loaded, "mistral-v1", lambda text: encoded.append(text) or encode(text)
    )
    monkeypatch.setattr(tokens, "_memo", tokens.Memo())
    request = session.request("Tell me a story.", model="8x7b")
    collector = Collector(request)
    with contextlib.suppress(Stopped), closing(session.stream(request)) as deltas:
        for delta in deltas:
            collector.add(delta)
            if delta.text and stop:
                request.control.stop.set()
    completion = collector.completion()
    assert completion.usage.counted == ("exact" if stop else "server")
    answer = [b"Once upon"] if stop else []
    assert encoded == [b"[INST] Tell me a story. [/INST]", *answer]
    assert count(request.messages, V3) != count(request.messages, V1), "each by its tokenizer"


def test_a_memo_holds_eight_counts_and_no_text():
    memo, counted = Memo(), []

    def get(text: str, found: int | None = 7) -> int | None:
        return memo.get(text, lambda: counted.append(text) or found)

    assert [get(f"{number} {'x' * 1000}") for number in range(20)] == [7] * 20
    assert [get(f"{number} {'x' * 1000}") for number in range(12, 20)] == [7] * 8
    assert len(counted) == 20
    assert (get("what fails", None), get("what fails"), get("what fails")) == (None, 7, 7)
    assert get(f"0 {'x' * 1000}") == 7
    assert counted[20:] == ["what fails"] * 2 + [f"0 {'x' * 1000}"]
    assert len(memo._entries) == 8
    assert {len(key) for key, _ in memo._entries} == {16}
