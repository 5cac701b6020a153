"""Past prompts and answers of a session, in memory only."""

from __future__ import annotations

import os

import pytest
from server import HANG, Answer, chunk, frames, refusal, together

from mixmagic.errors import BadArguments, MixmagicError
from mixmagic.tasks import history as module
from mixmagic.tasks.history import History


def said(text: str) -> Answer:
    return Answer(together(text))


@pytest.fixture
def kept():
    return History(lambda value: value)


def test_every_way_to_ask_is_remembered(session, together, tmp_path):
    together.plan = [said("ONE")]
    session.ask("one", system="Be brief.")
    session.ask([{"role": "user", "content": "first"}, {"role": "user", "content": "two"}])
    list(session.stream(session.request("three", model="disco")))
    session.ask("four", temperature=0)
    entries = list(session.history)
    assert [each.prompt for each in entries] == ["one", "two", "three", "four"]
    assert [each.answer for each in entries] == ["ONE"] * 4
    assert [each.number for each in entries] == [1, 2, 3, 4]
    assert entries[2].model == "together:disco"
    assert entries[0].finish == "stop"
    assert session.history[-1].prompt == session.history[4].prompt == "four"


def test_an_answer_that_broke_off_or_was_left_is_remembered_as_far_as_it_came(session, together):
    together.plan = [Answer([frames(chunk("half"), done=False)])]
    with pytest.raises(MixmagicError):
        session.ask("broken")
    together.plan = [Answer([frames(chunk("left"), done=False), HANG])]
    pieces = session.stream(session.request("left early"))
    next(piece for piece in pieces if piece.text)
    pieces.close()
    together.plan = [refusal(500, {"error": "down"})]
    with pytest.raises(MixmagicError):
        session.ask("refused")
    assert [(each.prompt, each.answer, each.finish) for each in session.history] == [
        ("broken", "half", ""),
        ("left early", "left", ""),
        ("refused", "", ""),
    ]


def test_replayed_answers_are_remembered(session, together, tmp_path):
    together.plan = [said("Hi")]
    session.player.use(str(tmp_path / "x.jsonl"), "once")
    session.ask("Hello")
    session.player.use(str(tmp_path / "x.jsonl"))
    session.ask("Hello")
    assert [each.answer for each in session.history] == ["Hi", "Hi"]


def test_keys_are_redacted_also_if_they_are_set_later(session, together, monkeypatch):
    together.plan = [said("my key is canary-key-4711, yours is zq81-of-later-99x7")]
    session.ask("Is canary-key-4711 good, or zq81-of-later-99x7?")
    monkeypatch.setenv("LATER_API_KEY", "zq81-of-later-99x7")
    (entry,) = session.history
    assert "canary" not in entry.prompt + entry.answer
    assert "zq81-of-later" not in entry.prompt + entry.answer
    assert session.history[1].prompt == "Is [key] good, or [key]?"
    assert session.history.find("canary") == []


def test_texts_are_found_in_any_case(kept):
    kept.add("What is a MEDIAN?", "the middle", "m", "stop")
    kept.add("And a mean?", "Ask Straße", "m", "stop")
    assert [each.number for each in kept.find("median")] == [1]
    assert [each.number for each in kept.find("STRASSE")] == [2]
    assert [each.number for each in kept.find("m")] == [1, 2]
    assert kept.find("mode") == []


def test_it_is_bounded_by_calls_and_by_characters(kept, monkeypatch):
    for number in range(module._MOST_CALLS + 5):
        kept.add(f"p{number}", "", "m", "stop")
    assert len(kept) == module._MOST_CALLS
    assert kept[-1].number == module._MOST_CALLS + 5
    with pytest.raises(BadArguments, match="There is no call 3") as caught:
        kept[3]
    assert caught.value.hint == f"Calls are 6 to {module._MOST_CALLS + 5}."
    monkeypatch.setattr(module, "_MOST_CHARACTERS", 1_000)
    kept.add("x" * 900, "y" * 90, "m", "stop")
    assert sum(len(each.prompt) + len(each.answer) for each in kept) <= 1_000
    kept.add("x" * 2_000, "", "m", "stop")
    assert len(kept) == 0
    kept.add("again", "yes", "m", "stop")
    assert [each.prompt for each in kept] == ["again"]


def test_no_file_has_a_text(session, together, home):
    together.plan = [said("an answer of no file")]
    session.ask("a prompt of no file")
    session.close()
    for folder, _, names in os.walk(home):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:  # noqa: PTH118, PTH123
                content = file.read() if "models" not in folder else b""
            assert b"of no file" not in content, name
