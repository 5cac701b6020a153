"""An answer that was given before is given again, free and at once; others are asked for."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from patience import soon
from server import CUT, HANG, Answer, chunk, frames, refusal, usage, whole
from server import together as pieces

from mixmagic.calls.collector import Collector
from mixmagic.core.values import Delta
from mixmagic.errors import AnswerUnusable, BadArguments, MixmagicError, Stopped
from mixmagic.keys.urls import base_url
from mixmagic.layers.cache import is_repeatable
from mixmagic.sessions import Session
from mixmagic.store.sqlite import network_filesystem
from mixmagic.structured.attempts import ask_structured
from mixmagic.structured.schema import Schema

ANSWER = Answer(pieces("Hello", " there", "!"))
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def ask(session: Session, prompt: str = "Hi", **params):
    return session.ask(prompt, model="together:8x7b", **({"temperature": 0} | params))


def times(completion) -> dict[str, float | None]:
    return {name: getattr(completion, name) for name in ("elapsed", "ttft", "thinking")}


def asked(session, request):
    collector = Collector(request)
    with closing(session.stream(request)) as deltas:
        for delta in deltas:
            collector.add(delta)
    return collector.completion()


def _only_key(session: Session) -> str:
    (entry,) = session.cache.entries()
    return entry["key"]


def ledger_rows(session: Session) -> int:
    return session.ledger.database.rows("SELECT COUNT(*) FROM calls")[0][0]


def thinking(text: str, reasoning: str) -> Answer:
    thought = {"choices": [{"index": 0, "delta": {"reasoning": reasoning}}]}
    return Answer([frames(thought, done=False), *pieces(text)])


def two_answers() -> Answer:
    def part(index: int, text: str, finish: str | None = None) -> dict:
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}

    parts = part(0, "one"), part(1, "two"), part(1, "", "stop"), part(0, "", "stop")
    return Answer([frames(*parts, {"choices": [], **usage(9, 4)})])


def tool_call() -> Answer:
    call = {"index": 0, "id": "1", "function": {"name": "look", "arguments": "{}"}}
    delta = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
    return Answer([frames(delta, chunk("", "tool_calls", **usage(9, 4)))])


ANSWERS = {
    "streamed": (ANSWER, {}),
    "at once": (whole("Hello there!"), {"stream": False}),
    "thoughts": (thinking("Hello", "Let me see."), {}),
    "two answers": (two_answers(), {"n": 2}),
    "a tool": (tool_call(), {}),
    "odd characters": (Answer(pieces("größer ", "猫\u2028", "🎉 $x$ <b>")), {}),
    "long": (Answer(pieces(*["word "] * 300)), {}),
}


@pytest.mark.parametrize(("answer", "params"), ANSWERS.values(), ids=ANSWERS)
def test_the_second_answer_is_equal_free_and_not_sent(cached, together, answer, params):
    together.plan = [answer]
    first, second = ask(cached, **params), ask(cached, **params)
    assert len(together.received) == 1
    assert (first.origin, second.origin) == ("live", "cache")
    same = {"cost": first.cost, "origin": "live", "recorded": None}
    assert replace(second, **same, **times(first)) == first
    assert times(second) == pytest.approx(times(first), abs=soon(0.1))
    assert second.cost == 0
    assert second.saved == first.cost > 0
    assert datetime.now(UTC) - second.recorded < timedelta(minutes=5)
    assert ledger_rows(cached) == 1


def test_the_footer_says_when_it_was_recorded_what_it_saved_and_how_fast_it_was(cached, together):
    together.plan = [Answer([*pieces("Hello")[:1], 0.2, *pieces(" there", "!")])]
    first = ask(cached)
    recorded = cached.cache.find(_only_key(cached), first.request).completion
    with cached.cache.database.transaction() as connection:
        connection.execute("UPDATE answers SET created = created - 12 * 86400000 - 5000")
    second = ask(cached)
    assert f"cached 12 days ago, saved {first.bill}" in second.footer()
    assert f"first token {recorded.ttft:.2f} s" in second.footer()
    assert times(second) == times(recorded)
    assert second.tokens_per_second == recorded.tokens_per_second < 10


def test_an_answer_is_found_by_another_session_of_another_process_and_budget(cached, together):
    together.plan = [ANSWER]
    first = ask(cached)
    cached.close()
    cached.budget("0.000001")
    other = Session()
    assert ask(other).text == first.text
    assert len(together.received) == 1
    other.close()


def test_budgets_are_not_touched(cached, together):
    together.plan = [ANSWER]
    cached.budget(1)
    first = ask(cached)
    before = [(each.spent, each.reserved) for each in cached.budgets()]
    assert before == [(first.cost, 0)]
    ask(cached)
    assert [(each.spent, each.reserved) for each in cached.budgets()] == before
    cached.budget("0.000001")
    assert ask(cached, budget="0.0000001").text == first.text


@pytest.mark.parametrize(
    ("params", "repeatable"),
    [
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"seed": 7}, True),
        ({"seed": 0, "temperature": 1}, True),
        ({"extra_body": {"temperature": 0}}, True),
        ({"extra_body": {"seed": 3}}, True),
        ({}, False),
        ({"temperature": 0.1}, False),
        ({"top_p": 0}, False),
        ({"temperature": 0, "extra_body": {"temperature": 0.8}}, False),
        ({"extra_body": {"temperature": None}}, False),
        ({"extra_body": {"temperature": False}}, False),
    ],
)
def test_only_repeatable_questions_are_repeated(cached, together, params, repeatable):
    request = cached.request("Hi", model="together:8x7b", **params)
    assert is_repeatable(request) is repeatable
    together.plan = [ANSWER]
    asked(cached, request)
    assert asked(cached, request.again()).origin == ("cache" if repeatable else "live")
    assert len(together.received) == 2 - repeatable
    assert cached.cache.statistics().answers == repeatable


def test_the_policy_of_a_call_overrides_that(cached, together):
    together.plan = [Answer(pieces("one")), Answer(pieces("two")), Answer(pieces("three"))]

    def text(**more) -> str:
        return ask(cached, temperature=0.7, **more).text

    assert [text(cache="use"), text(cache="use")] == ["one", "one"]
    assert text() == "two"
    assert text(cache="use") == "one"
    assert text(cache="refresh") == "three"
    assert [text(cache="use"), text(cache="off"), text(cache="use")] == ["three"] * 3
    assert len(together.received) == 4
    with pytest.raises(BadArguments, match="cache cannot be 'on'"):
        text(cache="on")


def test_off_neither_reads_nor_stores(cached, together):
    together.plan = [ANSWER]
    for _ in range(2):
        assert ask(cached, cache="off").origin == "live"
    assert len(together.received) == 2
    assert not cached.cache.database.path.exists()


@pytest.mark.parametrize("policy", ["auto", "use", "refresh"])
def test_a_cache_that_is_turned_off_is_not_created(cached, together, monkeypatch, policy):
    monkeypatch.setenv("MIXMAGIC_CACHE", "0")
    together.plan = [ANSWER]
    first, second = (ask(cached, cache=policy) for _ in range(2))
    assert (first.origin, second.origin) == ("live", "live")
    assert ("the answer cache is off" in second.footer()) is (policy != "auto")
    assert not cached.cache.database.path.exists()
    monkeypatch.setenv("MIXMAGIC_CACHE", "1")
    ask(cached)
    assert ask(cached).origin == "cache"


def test_one_line_of_the_settings_file_turns_it_off(home, together, monkeypatch):
    monkeypatch.delenv("MIXMAGIC_CACHE")
    (home / "config").mkdir()
    (home / "config" / "config.toml").write_text("cache = false\n")
    together.plan = [ANSWER]
    session = Session()
    assert [ask(session).origin for _ in range(2)] == ["live", "live"]
    (home / "config" / "config.toml").write_text("cache_size = 1\n")
    assert [ask(session).origin for _ in range(2)] == ["live", "cache"]
    assert session.cache.limit == 1_000_000
    session.close()


def cut_short() -> Answer:
    return Answer([frames(chunk("Hello"), chunk("", "length", **usage(9, 5)))])


UNSTORED = {
    "cut off": (cut_short(), {}),
    "refusal": (Answer([frames({"choices": [{"index": 0, "delta": {"refusal": "No."},
        "finish_reason": "stop"}], **usage(9, 1)})]), {}),
    "filtered": (Answer([frames(chunk("He", "content_filter", **usage(9, 1)))]), {}),
    "not counted": (Answer([frames(chunk("Hello"), chunk("", "stop"))]), {}),
    "empty": (Answer([frames(chunk("", "stop", **usage(9, 1)))]), {}),
    "one of two": (Answer([frames(chunk("Hello"), chunk("", "stop", **usage(9, 1)))]), {"n": 2}),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "params"), UNSTORED.values(), ids=UNSTORED)
def test_an_answer_that_is_not_whole_is_not_stored(cached, together, answer, params):
    together.plan = [answer]
    origins = [ask(cached, **params).origin for _ in range(2)]
    assert origins == ["live", "live"]
    assert len(together.received) == 2
    assert cached.cache.statistics().answers == 0


@pytest.mark.parametrize(
    "answer",
    [
        refusal(500, {"error": "no"}),
        Answer([frames(chunk("Hello"), done=False), CUT]),
        Answer([frames(chunk("Hello"), {"error": {"message": "no"}}, done=False)]),
    ],
)
def test_an_error_is_not_stored(cached, together, answer):
    together.plan = [answer, ANSWER]
    with pytest.raises(MixmagicError):
        ask(cached)
    assert ask(cached).origin == "live"
    assert ask(cached).origin == "cache"


def test_notes_on_the_answer_are_stored_and_those_on_its_call_are_not(
    cached, together, monkeypatch
):
    """It was retried, it cost more than it could, and a parameter was left out."""
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "2")
    monkeypatch.setattr("mixmagic.layers.retry._FIRST", 0.0)
    refused = {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}
    much = Answer([frames(chunk("Hello"), chunk("", "stop", **usage(900_000, 5)))])
    together.plan = [refusal(503, {"error": "no"}), refusal(400, refused), much]
    first = ask(cached, seed=3, max_tokens=9)
    assert "after 1 retry" in first.footer()
    assert "more than its worst case" in first.footer()
    second = ask(cached, seed=3, max_tokens=9)
    assert second.origin == "cache"
    assert len(second.notes) == 1
    assert "seed" in second.notes[0]
    assert set(second.notes) < set(first.notes)


def test_a_stopped_answer_is_not_stored(cached, together):
    together.plan = [Answer([frames(chunk("Hello"), done=False), HANG]), ANSWER]
    request = cached.request("Hi", model="together:8x7b", temperature=0)
    with closing(cached.stream(request)) as deltas:
        assert next(filter(str, deltas)).text == "Hello"
        request.control.stop.set()
        with pytest.raises(Stopped):
            list(deltas)
    with closing(cached.stream(request.again())) as deltas:  # left early
        assert next(filter(str, deltas)).origin == "live"
    assert cached.cache.statistics().answers == 0


def test_a_stop_that_is_set_ends_an_answer_from_the_cache_too(cached, together):
    together.plan = [ANSWER]
    ask(cached)
    request = cached.request("Hi", model="together:8x7b", temperature=0)
    request.control.stop.set()
    with pytest.raises(Stopped):
        list(cached.stream(request))


def test_the_endpoint_and_the_provider_are_part_of_the_question(cached, together, monkeypatch):
    """Whichever of the possible base URLs has answered."""
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-4711")
    bare = together.url.removesuffix("/v1")
    together.plan = [ANSWER]

    def origin(url: str, provider: str = "openai") -> str:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        return cached.ask("Hi", model=f"{provider}:m", temperature=0).origin

    assert [origin(bare), origin(bare)] == ["live", "cache"]
    assert [origin(f"{bare}/other"), origin(f"{bare}/other/")] == ["live", "cache"]
    assert origin(bare, "together") == "live"


def test_the_question_is_the_same_whichever_base_url_has_answered(cached, together, monkeypatch):
    """The server has its API at the root, which is tried after `/v1`, and then remembered."""

    def answer(received):
        return refusal(404, b"") if received.path.startswith("/v1") else ANSWER

    together.plan = [answer]
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-4711")
    monkeypatch.setenv("OPENAI_BASE_URL", together.url.removesuffix("/v1"))
    for origin in ("live", "cache"):
        assert cached.ask("Hi", model="openai:m", temperature=0).origin == origin
    assert base_url(cached.catalog.providers["openai"]) == together.url.removesuffix("/v1")


def test_another_key_is_no_other_question(cached, together, monkeypatch):
    together.plan = [ANSWER]
    ask(cached)
    monkeypatch.setenv("TOGETHER_API_KEY", "another-key-4712")
    assert ask(cached).origin == "cache"
    content = cached.cache.database.path.read_bytes()
    assert b"key-471" not in content


def test_a_key_that_a_provider_repeats_is_not_stored(cached, together):
    together.plan = [Answer(pieces("Your key is ", "canary-key", "-4711", "."))]
    for origin in ("live", "cache"):
        answer = ask(cached)
        assert (answer.text, answer.origin) == ("Your key is [key].", origin)
    for file in cached.cache.database.path.parent.glob("cache.*"):
        assert b"4711" not in file.read_bytes()


def test_a_damaged_file_is_created_anew_during_a_session(cached, together):
    together.plan = [ANSWER]
    ask(cached)
    cached.close()
    cached.cache.database.path.write_bytes(b"no database at all, " * 900)
    assert [ask(cached).origin for _ in range(2)] == ["live", "cache"]
    assert cached.cache.database.check() == "ok"


def test_a_folder_that_cannot_be_written_stops_no_call(home, cached, together):
    for path in (home / "cache").iterdir():
        path.unlink()
    (home / "cache").rmdir()
    (home / "cache").write_text("a file")
    together.plan = [ANSWER]
    assert [ask(cached).text for _ in range(2)] == ["Hello there!"] * 2
    assert len(together.received) == 2
    checks = {check.name: check for check in cached.doctor()}
    assert checks["answer cache"].detail.startswith("not used")


def test_the_doctor_shows_the_cache(cached, together, monkeypatch):
    def check() -> tuple[bool | None, str]:
        (found,) = (each for each in cached.doctor() if each.name == "answer cache")
        return found.ok, found.detail

    together.plan = [ANSWER]
    ask(cached)
    ok, detail = check()
    assert ok
    assert detail == f"{cached.cache.database.path}, 1 answer, 0.0 of 256 MB"
    monkeypatch.setattr(network_filesystem, "network_type", lambda path: "nfs4")
    assert "network folder (nfs4): only calls of one kernel" in check()[1]
    cached.cache.on = False
    assert check() == (None, "off")


def test_a_full_disk_stops_no_call(home, cached, together, monkeypatch):
    together.plan = [ANSWER]
    ask(cached, "first")
    with cached.cache.database.transaction() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    long = Answer(pieces("x" * 50_000))
    together.plan = [long]
    assert [len(ask(cached, "second").text) for _ in range(2)] == [50_000] * 2
    assert len(together.received) == 3
    assert ask(cached, "first").origin == "cache"


def test_the_model_of_a_name_is_resolved_before_the_cache_is_read(cached, together):
    together.plan = [ANSWER]
    first = cached.ask("Hi", model="8x7b", temperature=0)
    assert cached.ask("Hi", model="8x7b", temperature=0).origin == "cache"
    hit = ask(cached)
    assert hit.origin == "cache"
    assert hit.model == first.model


def test_clear_of_a_model_makes_it_ask_again(cached, together):
    together.plan = [ANSWER]
    ask(cached)
    assert cached.cache.clear(cached.catalog.serving("8x22b")) == 0
    assert cached.cache.clear(cached.catalog.serving("8x7b")) == 1
    assert ask(cached).origin == "live"


def test_hits_and_savings_are_counted(cached, together):
    together.plan = [ANSWER]
    cost = ask(cached).cost
    for _ in range(3):
        ask(cached)
    found = cached.cache.statistics()
    assert (found.answers, found.hits, found.saved) == (1, 3, 3 * cost)
    assert cost > Decimal(0)


def test_a_local_model_is_another_once_its_file_has_changed(cached, tmp_path):
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF one")
    request = cached.request("Hi", model=f"local:{path}", temperature=0)
    from mixmagic.layers.cache import _key

    first = _key(request, cached.backends.endpoint)
    path.write_bytes(b"GGUF two!")
    assert first != _key(request, cached.backends.endpoint) != ""
    path.unlink()
    assert _key(request, cached.backends.endpoint) == ""


@pytest.mark.embedded
def test_the_embedded_model_is_needed_only_for_the_first_answer(home, monkeypatch):
    monkeypatch.setenv("MIXMAGIC_CACHE", "1")
    answers = []
    for _ in range(2):
        session = Session()
        answers.append(session.ask("Say hello.", model="local", temperature=0, max_tokens=200))
        session.close()
        (home / "cache" / "models").unlink(missing_ok=True)
    first, second = answers
    assert (first.origin, first.finish, second.origin) == ("live", "stop", "cache")
    assert (second.text, second.saved) == (first.text, 0)
    assert re.search(r"free · .*cached just now$", second.footer())


def structured(session: Session, **more):
    request = session.request("Who?", model="together:8x7b", **({"temperature": 0} | more))
    schema = Schema.of(SCHEMA, "age")
    return ask_structured(lambda each: asked(session, each), request, schema)


def reply(age: object) -> Answer:
    return Answer(pieces(json.dumps({"age": age})))


def test_an_answer_and_its_repair_are_both_answered_from_the_cache(cached, together):
    together.plan = [reply("old"), reply(42)]
    first, second = structured(cached), structured(cached)
    assert (first.instance, second.instance) == ({"age": 42}, {"age": 42})
    assert len(together.received) == 2
    assert (second.completion.cost, second.attempts) == (0, 2)


def test_a_repair_that_failed_is_asked_for_again(cached, together):
    """The first answer is not: its repair may succeed."""
    together.plan = [reply("old"), reply("older"), reply(42)]
    with pytest.raises(AnswerUnusable):
        structured(cached)
    assert structured(cached).instance == {"age": 42}
    assert len(together.received) == 3
    assert structured(cached).instance == {"age": 42}
    assert len(together.received) == 3


def test_a_refresh_of_a_structured_answer_refreshes_its_repair_too(cached, together):
    together.plan = [reply("old"), reply(1), reply("old"), reply(2)]
    assert structured(cached).instance == {"age": 1}
    assert structured(cached, cache="refresh").instance == {"age": 2}
    assert structured(cached).instance == {"age": 2}
    assert len(together.received) == 4


def test_a_chat_that_goes_on_is_another_question(cached, together):
    together.plan = [ANSWER]
    turns = [{"role": "user", "content": "Hi"}]
    ask(cached, turns)
    more = [*turns, {"role": "assistant", "content": "x"}, {"role": "user", "content": "Hi"}]
    assert ask(cached, more).origin == "live"
    assert ask(cached, more).origin == "cache"


def test_a_hit_is_one_piece(cached, together):
    together.plan = [Answer(pieces(*["word "] * 300))]
    ask(cached)
    request = cached.request("Hi", model="together:8x7b", temperature=0)
    found = list(cached.stream(request))
    assert sum(bool(delta.text) for delta in found) == 1
    assert {delta.origin for delta in found if delta != Delta()} == {"cache"}
