"""What a cassette has recorded is replayed: the same answer, for nothing, on any machine."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from canary import KEY
from server import CUT, HANG, Answer, chunk, frames, refusal, usage, whole
from server import together as words

from mixmagic.calls.codec import request_to_json
from mixmagic.calls.identity import cassette_key, image_hash
from mixmagic.calls.running import run
from mixmagic.core.money import Usage
from mixmagic.core.values import Delta, Image, Message, Text
from mixmagic.errors import (
    BadArguments,
    BudgetExceeded,
    CassetteMiss,
    MissingKey,
    MixmagicError,
    ProviderError,
    Stopped,
)
from mixmagic.layers.replay import replay
from mixmagic.layers.take import drifting
from mixmagic.sessions import Session
from mixmagic.store.recording import Recording

KEYS = ("TOGETHER_API_KEY", "TOGETHER_BASE_URL", "FIREWORKS_API_KEY")
SEES = "together:qwen3.5-9b"  # images


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "lesson.cassette.jsonl"


@pytest.fixture
def recording(together, session, file):
    """A session that records."""
    session.player.use(str(file), "once")
    return session


@pytest.fixture
def replaying(file, tmp_path, monkeypatch):
    """Make a session on another machine: no key, another home and default, the cassette alone."""
    made: list[Session] = []

    def make(mode: str = "", **options) -> Session:
        for name in KEYS:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("MIXMAGIC_HOME", str(tmp_path / "another home"))
        monkeypatch.setenv("MIXMAGIC_MODEL", "local")
        monkeypatch.setenv("FIREWORKS_API_KEY", "another-key-0815")
        monkeypatch.setenv("FIREWORKS_BASE_URL", "http://127.0.0.1:9/v1")
        monkeypatch.setenv("MIXMAGIC_CA_FILE", "")
        session = Session()
        session.player.use(str(file), mode, **options)
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def same(live, again) -> None:
    """Check that an answer is a recorded one's, for nothing."""
    assert again == replace(
        live,
        cost=Decimal(0),
        billed_tries=0,
        origin="cassette",
        recorded=again.recorded,
        request=again.request,
        elapsed=again.elapsed,
        ttft=again.ttft,
        thinking=again.thinking,
    )
    for name in ("elapsed", "ttft", "thinking"):  # the layer's clock is another one
        assert getattr(again, name) == (
            None if getattr(live, name) is None else pytest.approx(getattr(live, name), abs=0.5)
        )
    assert again.model.name == live.model.name
    assert again.recorded is not None
    assert again.saved == live.cost


def delta(content: dict, logprobs: dict | None = None) -> dict:
    """One chunk with this delta."""
    return {"choices": [{"index": 0, "delta": content, "logprobs": logprobs}]}


THOUGHT = {"choices": [{"index": 0, "delta": {"reasoning": "Hm. "}}]}
TWO = [
    frames(chunk("a"), done=False),
    frames({"choices": [{"index": 1, "delta": {"content": "b"}}]}, done=False),
    frames(
        chunk("", "stop"),
        {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}], **usage(9, 2)},
    ),
]
ANSWERS = {
    "streamed": (words("Hi", " there", "."), {}),
    "several lines": (words("a\nb\n\n", "```python\n1\n```\n"), {}),
    "whole": (whole("Hi"), {"stream": False}),
    "empty": (words(""), {}),
    "two": (TWO, {"n": 2}),
    "thoughts": ([frames(THOUGHT, done=False), *words("Hi")], {}),
    "thoughts in tags": (words("<think>Hm.</think>", "Hi"), {}),
    "cut off": ([frames(chunk("Hi"), chunk("", "length", **usage(9, 1)))], {"max_tokens": 1}),
    "no count": ([frames(chunk("Hi"), chunk("", "stop"))], {}),
    "a task": (words("Hi"), {"task": "code"}),
    "a name": (words("Hi"), {"model": "8x7b"}),
    "a provider": (words("Hi"), {"model": "together:8x7b"}),
    "an API string": (words("Hi"), {"model": "together:org/unknown-model"}),
    "log-probabilities": (
        [frames(delta({"content": "Hi"}, {"content": [{"logprob": -0.25}]}), chunk("", "stop"))],
        {"logprobs": True},
    ),
    "a refusal": (
        [frames(delta({"refusal": "I can't."}), chunk("", "stop", **usage(9, 3)))],
        {},
    ),
    "a call to a tool": (
        [
            frames(
                delta({"tool_calls": [{"index": 0, "function": {"name": "find"}}]}),
                chunk("", "tool_calls", **usage(9, 3)),
            )
        ],
        {},
    ),
    "several with an empty one": (
        [
            frames(chunk("a"), {"choices": [{"index": 2, "delta": {"content": "c"}}]}),
            frames(chunk("", "stop", **usage(9, 2))),
        ],
        {"n": 3},
    ),
    "a schema": (words('{"a": 1}'), {"schema": {"type": "object"}}),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_is_replayed(kind, together, recording, replaying, file):
    steps, options = ANSWERS[kind]
    together.plan = [steps if isinstance(steps, Answer) else Answer(steps)]
    recording.player.begin_cell("a cell", "its id")
    live = recording.ask("Hello\nyou", **options)
    assert len(together.received) == 1
    recording.player.begin_cell("a cell", "its id")  # run again
    same(live, recording.ask("Hello\nyou", **options))
    same(live, replaying().ask("Hello\nyou", **options))
    assert len(together.received) == 1
    assert len(lines(file)) == 1


def test_a_question_with_an_image_is_replayed(together, recording, replaying, file):
    together.plan = [Answer(words("A pixel."))]
    parts = (Text("What is\nthis?"), Image(b"\x89PNG"), Text("?"))
    live = recording.ask([Message("user", parts)], model=SEES)
    same(live, replaying().ask([Message("user", parts)], model=SEES))
    other = [Message("user", (parts[0], Image(b"\x89PNH"), parts[2]))]
    with pytest.raises(CassetteMiss, match="differs in another image in the prompt"):
        replaying().ask(other, model=SEES)


def test_a_cassette_has_the_hash_of_an_image_and_not_its_data(together, recording, file):
    together.plan = [Answer(words("Noise."))]
    data = b"\xff\xd8\xff" + bytes(range(256)) * 400
    recording.ask([Message("user", (Text("What?"), Image(data, "image/jpeg")))], model=SEES)
    (line,) = lines(file)
    assert len(json.dumps(line)) < 2_000
    _, image = line["request"]["messages"][-1]["content"]
    assert image == {"image_hash": image_hash(Image(data)), "type": "image/jpeg"}


ERRORS = {
    "refused": refusal(400, {"error": {"message": "temperature is too high"}}),
    "not found": refusal(404, {"error": {"message": "no such model"}}),
    "busy": refusal(503, {"error": "busy"}),
    "too many": refusal(429, {"error": "slow down"}, retry_after="0"),
    "broken off": Answer([*words("Hi", " there")[:2], CUT]),
    "an error in the stream": Answer(
        [frames(chunk("Hi"), {"error": {"message": "overloaded", "code": 500}}, done=False)]
    ),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_replayed(kind, together, recording, replaying, file):
    together.plan = [ERRORS[kind]]
    with pytest.raises(MixmagicError) as live:
        recording.ask("Hello")
    with pytest.raises(MixmagicError) as again:
        replaying().ask("Hello")
    assert type(again.value) is type(live.value)
    assert again.value.status == live.value.status
    shown = str(live.value).replace(together.url, "[url]")
    assert str(again.value).replace("[url]", "") == shown.replace(
        "[url]/chat/completions", ""
    ).replace("[url]", "").replace("127.0.0.1", "[host]")
    parts = [each.value.partial and each.value.partial.text for each in (live, again)]
    assert parts[0] == parts[1]
    (line,) = lines(file)
    assert "error" in line


def stop_after(session, prompt: str, piece: str) -> None:
    """Make a call, and stop it once a piece has been received."""
    request = session.request(prompt)
    with closing(session.stream(request)) as deltas:
        while next(deltas).text != piece:
            pass
        request.control.stop.set()
        with pytest.raises(Stopped):
            list(deltas)


def test_a_stop_is_replayed_as_one(together, recording, replaying):
    together.plan = [Answer([*words("Hi", " there")[:2], HANG])]
    stop_after(recording, "Hello", " there")
    session = replaying()
    with pytest.raises(Stopped) as again:
        run(session.stream, session.request("Hello"), session.calls)
    assert again.value.completion.text == "Hi there"
    assert again.value.completion.finish == "stopped"
    assert again.value.completion.cost == 0


def test_a_stream_that_its_reader_leaves_is_recorded_until_there(together, recording, replaying):
    together.plan = [Answer(words("Hi", " there", " you"))]
    with closing(recording.stream(recording.request("Hello"))) as deltas:
        for delta in deltas:
            if delta.text:
                break
    session = replaying()
    with closing(session.stream(session.request("Hello"))) as deltas:
        assert next(delta.text for delta in deltas if delta.text).startswith("Hi")


def test_a_stream_that_its_reader_leaves_at_its_end_is_whole(together, recording, replaying):
    together.plan = [Answer(words("Hi", " there"))]
    with closing(recording.stream(recording.request("Hello"))) as deltas:
        while not next(deltas).finish:
            pass
    assert replaying().ask("Hello").finish == "stop"


def test_errors_of_this_machine_are_not_recorded(session, server, file, monkeypatch):
    session.player.use(str(file), "once")
    with pytest.raises(MissingKey):
        session.ask("Hello")
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    monkeypatch.setenv("TOGETHER_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(MixmagicError):
        session.ask("Hello")
    monkeypatch.setenv("TOGETHER_BASE_URL", server.url)
    server.plan = [refusal(401, {"error": {"message": "invalid key"}})]
    with pytest.raises(MissingKey):
        session.ask("Hello")
    assert server.received
    assert not file.exists()


def test_a_budget_of_the_notebook_is_replayed(together, recording, replaying):
    together.plan = [Answer(words("Hi"))]
    for session in (recording, replaying()):
        with pytest.raises(BudgetExceeded):
            session.ask("Hello", budget="0.0000001", max_tokens=1000)
    assert not together.received


def test_a_call_that_failed_is_made_again_by_the_person_who_records(
    together, recording, replaying, file
):
    together.plan = [ERRORS["refused"], Answer(words("Hi"))]
    recording.player.begin_cell("a cell", "its id")
    with pytest.raises(ProviderError):
        recording.ask("Hello")
    later = Session()
    later.player.use(str(file), "once")
    with pytest.raises(ProviderError):
        later.ask("Hello")  # another session does not pay for it
    assert len(together.received) == 1
    recording.player.begin_cell("a cell", "its id")
    together.plan = [Answer(words("Hi"))]
    assert run(recording.stream, recording.request("Hello"), recording.calls).text == "Hi"
    assert len(lines(file)) == 1
    assert replaying().ask("Hello").text == "Hi"


def test_a_miss_is_two_lines_and_sends_nothing(together, recording, replaying, file):
    together.plan = [Answer(words("Hi"))]
    recording.ask("Explain the mean of a sample.", temperature=0)
    with pytest.raises(CassetteMiss) as caught:
        replaying().ask("Explain the median of a sample.", temperature=0.2)
    shown = caught.value._render_traceback_()
    assert shown == [
        (
            "CassetteMiss: This request is not in lesson.cassette.jsonl (1 recorded); the nearest"
            " differs in temperature (0.2, recorded 0) and prompt character 15"
            ' ("…median of a sample.", recorded "…mean of a sample.").'
        ),
        (
            "Hint: Record it: `mixmagic record NOTEBOOK.ipynb`, or here once: `%mixmagic cassette"
            " lesson.cassette.jsonl --mode once`."
        ),
    ]
    assert len(together.received) == 1
    assert len(lines(file)) == 1


def test_a_miss_names_the_files_as_they_are_typed(replaying, tmp_path, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "my lesson.ipynb"))
    (tmp_path / "my lesson.ipynb").touch()
    session = replaying()
    session.player.use("my tapes/one.jsonl")
    with pytest.raises(CassetteMiss) as caught:
        session.ask("Hello")
    assert caught.value.hint == (
        'Record it: `mixmagic record "my lesson.ipynb"`, or here once: `%mixmagic cassette'
        ' "my tapes/one.jsonl" --mode once`.'
    )


def test_a_miss_shows_no_key(together, recording, replaying, monkeypatch):
    together.plan = [Answer(words("Hi"))]
    recording.ask(f"Use {KEY} as the key.")
    session = replaying()
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)
    with pytest.raises(CassetteMiss) as caught:
        session.ask(f"Use the key {KEY}.")
    assert KEY not in "".join(caught.value._render_traceback_())


def test_without_a_key_a_miss_names_the_nearest_and_the_key(
    together, recording, replaying, monkeypatch
):
    together.plan = [Answer(words("Hi"))]
    recording.ask("Explain the mean.")
    session = replaying("once")
    monkeypatch.delenv("FIREWORKS_API_KEY")
    with pytest.raises(CassetteMiss, match=r"nearest differs in prompt character 15") as caught:
        session.ask("Explain the median.")
    assert caught.value.hint.startswith("To record it: Use -m local")
    assert "FIREWORKS_API_KEY" in caught.value.hint


def test_without_a_file_a_miss_says_so(replaying):
    with pytest.raises(CassetteMiss, match=r"There is no cassette lesson\.cassette\.jsonl"):
        replaying().ask("Hello")


class TestModes:
    def test_once_asks_what_is_missing_alone(self, together, recording, file):
        together.plan = [Answer(words("Hi")), Answer(words("Ho"))]
        recording.ask("One")
        fresh = Session()
        fresh.player.use(str(file), "once")
        assert fresh.ask("One").text == "Hi"
        assert fresh.ask("Two").text == "Ho"
        assert fresh.ask("One").origin == "cassette"  # past the recorded repeats
        assert len(together.received) == 2

    def test_new_asks_further_repeats_too(self, together, recording, file, monkeypatch):
        together.plan = [Answer(words(word)) for word in ("a", "b", "c")]
        recording.ask("One", temperature=1)
        monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "new")
        fresh = Session()
        fresh.player.use(str(file))
        answers = [fresh.ask("One", temperature=1) for _ in range(2)]
        assert [answer.text for answer in answers] == ["a", "b"]
        assert [answer.origin for answer in answers] == ["cassette", "live"]
        assert [line["n"] for line in lines(file)] == ["process/0", "process/1"]

    def test_all_asks_everything_and_keeps_equal_lines(
        self, together, recording, file, monkeypatch
    ):
        together.plan = [Answer(words(word)) for word in ("a", "b", "a", "c")]
        recording.ask("One")
        recording.ask("Two")
        before = file.read_bytes().splitlines()
        monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "all")
        fresh = Session()
        fresh.player.use(str(file))
        assert [fresh.ask(text).origin for text in ("One", "Two")] == ["live", "live"]
        after = file.read_bytes().splitlines()
        assert after[0] == before[0]
        assert b'"text": "c"' in after[1]
        assert len(after) == 2

    def test_a_stop_does_not_replace_an_answer(self, together, recording, file, monkeypatch):
        together.plan = [Answer(words("a")), Answer([*words("b", "c")[:1], HANG])]
        recording.player.begin_cell("a cell", "its id")
        recording.ask("One")
        before = file.read_bytes()
        recording.player.begin_cell("a cell", "its id")
        monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "all")
        stop_after(recording, "One", "b")
        assert len(together.received) == 2
        assert file.read_bytes() == before

    def test_none_never_records(self, together, session, file):
        session.player.use(str(file), "none")
        with pytest.raises(CassetteMiss):
            session.ask("Hello")
        assert not together.received

    def test_the_environment_wins(self, together, session, file, tmp_path, monkeypatch):
        session.player.use(str(tmp_path / "other.jsonl"), "once")
        monkeypatch.setenv("MIXMAGIC_CASSETTE", str(file))
        monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "none")
        with pytest.raises(CassetteMiss, match=r"lesson\.cassette\.jsonl"):
            session.ask("Hello")
        monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "off")
        together.plan = [Answer(words("Hi"))]
        assert session.ask("Hello").origin == "live"
        assert not list(tmp_path.glob("*.jsonl"))

    def test_a_mode_without_a_known_file_asks_nothing(self, together, session, monkeypatch):
        monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
        monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "none")
        with pytest.raises(BadArguments, match="No cassette is named"):
            session.ask("Hello")
        monkeypatch.setenv("MIXMAGIC_CASSETTE", "x.jsonl")
        monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "nonsense")
        with pytest.raises(BadArguments, match="no mode 'nonsense'"):
            session.ask("Hello")
        assert not together.received

    def test_the_file_beside_the_notebook_is_the_default(
        self, together, session, tmp_path, monkeypatch
    ):
        (tmp_path / "lesson.ipynb").write_text("{}")
        monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "lesson.ipynb"))
        monkeypatch.setenv("MIXMAGIC_CASSETTE_MODE", "once")
        together.plan = [Answer(words("Hi"))]
        session.ask("Hello")
        assert (tmp_path / "lesson.cassette.jsonl").exists()

    def test_a_file_of_the_user_cannot_name_a_cassette(self, home, session):
        (home / "config").mkdir()
        (home / "config" / "config.toml").write_text('cassette_mode = "once"')
        with pytest.raises(BadArguments, match=r"config\.toml cannot set 'cassette_mode'"):
            session.ask("Hello")


class TestRepeats:
    def test_are_numbered_in_their_cell(self, together, recording, replaying):
        together.plan = [Answer(words(word)) for word in ("a", "b", "c", "d")]
        recorded = {}
        for cell in ("first", "second"):
            recording.player.begin_cell(cell)
            recorded[cell] = [recording.ask("Name one.", temperature=1).text for _ in range(2)]
        assert recorded == {"first": ["a", "b"], "second": ["c", "d"]}
        session = replaying()
        for cell in ("second", "first", "second"):  # in any order, again and again
            session.player.begin_cell(cell, cell)
            replayed = [session.ask("Name one.", temperature=1).text for _ in range(2)]
            assert replayed == recorded[cell]

    def test_of_a_cell_that_has_changed_are_those_that_no_other_cell_has(
        self, together, recording, replaying
    ):
        together.plan = [Answer(words(word)) for word in ("a", "b")]
        for cell in ("first", "second"):
            recording.player.begin_cell(cell)
            recording.ask("Name one.")
        session = replaying()
        for cell, text in (("first, edited", "a"), ("second", "b")):
            session.player.begin_cell(cell)
            assert session.ask("Name one.").text == text

    def test_of_two_equal_cells_are_told_apart_by_their_order(self, together, recording, replaying):
        together.plan = [Answer(words(word)) for word in ("a", "b")]
        for make in (lambda: recording, replaying):
            session = make()
            for text in ("a", "b"):
                session.player.begin_cell("the same")
                assert session.ask("Name one.").text == text

    def test_past_the_recorded_ones_give_the_last_with_a_note(self, together, recording, replaying):
        together.plan = [Answer(words(word)) for word in ("a", "b")]
        for _ in range(2):
            recording.ask("Name one.")
        session = replaying()
        answers = [session.ask("Name one.") for _ in range(4)]
        assert [answer.text for answer in answers] == ["a", "b", "b", "b"]
        assert [bool(answer.notes) for answer in answers] == [False, False, True, True]
        assert "this repeat was not recorded" in answers[2].footer()

    def test_in_threads_are_each_recorded_and_replayed_once(self, together, recording, replaying):
        count = iter(range(1000))
        lock = threading.Lock()

        def answer(_):
            with lock:
                return Answer(words(f"answer {next(count)}"))

        together.plan = [answer]

        def ask(session: Session) -> list[str]:
            with ThreadPoolExecutor(16) as pool:
                asked = [f"Question {number % 10}" for number in range(40)]
                return list(pool.map(lambda text: session.ask(text).text, asked))

        live = ask(recording)
        assert len(set(live)) == 40
        again = ask(replaying())
        for number in range(10):
            assert sorted(live[number::10]) == sorted(again[number::10])
        assert len(together.received) == 40


class TestDamage:
    def damage(self, file: Path, number: int, change) -> None:
        rows = file.read_bytes().splitlines()
        rows[number] = change(rows[number])
        file.write_bytes(b"\n".join(rows) + b"\n")

    def record(self, together, session) -> None:
        together.plan = [Answer(words(word)) for word in ("a", "b", "c")]
        for text in ("One", "Two", "Three"):
            session.ask(text)

    @pytest.mark.parametrize(
        "change",
        [
            lambda line: line[:60],
            lambda line: line.replace(b'"finish"', b'"finnish"'),
            lambda line: line.replace(b'"prompt_tokens": ', b'"prompt_tokens": -'),
            lambda line: line.replace(b'/0", "request"', b"/" + b"9" * 5000 + b'", "request"'),
        ],
    )
    def test_is_a_miss_that_names_the_line(self, together, recording, replaying, file, change):
        self.record(together, recording)
        self.damage(file, 1, change)
        for mode in ("none", "once"):
            session = replaying(mode)
            with pytest.raises(CassetteMiss, match=r"[Ll]ine 2 of lesson\.cassette\.jsonl"):
                session.ask("Two")
            assert [session.ask(text).text for text in ("One", "Three")] == ["a", "c"]
        assert len(together.received) == 3

    def test_of_a_key_is_a_miss_that_may_have_been_paid_for(
        self, together, recording, replaying, file
    ):
        self.record(together, recording)
        self.damage(file, 1, lambda line: b"x" + line)
        for mode in ("none", "once"):
            session = replaying(mode)
            with pytest.raises(CassetteMiss, match="; line 2 is damaged"):
                session.ask("Two")
        assert len(together.received) == 3

    def test_of_any_kind_is_an_answer_or_a_named_error(self, together, recording, replaying, file):
        together.plan = [
            Answer([frames(THOUGHT, done=False), *words("a\nb", "c")]),
            Answer([*words("d", "e")[:2], CUT]),
            refusal(400, {"error": {"message": "no", "code": 7}}),
        ]
        for text in ("One", "Two", "Three"):
            with contextlib.suppress(MixmagicError):
                recording.ask(text)
        whole_file, session, chance = file.read_bytes(), replaying("once"), random.Random(1)
        assert len(whole_file.splitlines()) == 3
        outcomes: Counter[str] = Counter()
        for _ in range(400):
            file.write_bytes(damaged(whole_file, chance))
            session.player.use(str(file))
            for text in ("One", "Two", "Three"):
                try:
                    outcomes[session.ask(text).origin] += 1
                except MixmagicError as error:
                    outcomes[type(error).__name__] += 1
        assert len(together.received) == 3
        assert min(outcomes[name] for name in ("cassette", "CassetteMiss", "StreamBroken")) > 50
        assert outcomes.keys() <= {
            "cassette", "CassetteMiss", "StreamBroken", "ProviderError", "MixmagicError"
        }, outcomes  # fmt: skip


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Change a few bytes, or cut, double or move a piece."""
    start = chance.randrange(len(data))
    end = min(start + chance.randrange(1, 80), len(data))
    piece, other = data[start:end], chance.randrange(len(data))
    return chance.choice(
        [
            data[:start] + bytes([chance.randrange(256)]) + data[start + 1 :],
            data[:start] + bytes([chance.choice(b'{}[]",:0-9\n')]) + data[start + 1 :],
            data[:start] + data[end:],
            data[:start] + piece + data[start:],
            data[:other] + piece + data[other:],
            data[:start],
            data.replace(b"null", b"0").replace(b'": "', b'": 1, "x": "', chance.randrange(1, 20)),
        ]
    )


class TestPrivacy:
    def test_no_key_header_url_or_path_is_written(
        self, together, recording, file, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("HOME", str(tmp_path / "me"))
        host = together.url.partition("://")[2].partition("/")[0]
        together.plan = [
            Answer(words(f"The key is {KEY}", f" and {KEY[:10]}", KEY[10:])),
            refusal(404, {"error": {"message": f"no {KEY} at {together.url} ({host})"}}),
        ]
        recording.ask(f"My key is {KEY}. See {tmp_path}/me/x.py.", system=f"Key: {KEY}")
        with pytest.raises(MixmagicError):
            recording.ask("Hello")
        written = file.read_text("utf-8")
        assert len(written.splitlines()) == 2
        for secret in (KEY, "canary", "4711", "Bearer", "uthorization", host, "127.0.0.1",
                       "/me/", str(tmp_path), "http://"):  # fmt: skip
            assert secret not in written, secret

    def test_a_local_models_folder_is_not_written(self, session, file, tmp_path, replaying):
        request = session.request("Hello", model=f"local:{tmp_path}/model.gguf")
        assert str(tmp_path) not in str(request_to_json(request, portable=True))
        line = Recording(
            cassette_key(request),
            "process/0",
            request_to_json(request, portable=True),
            {"v": 1, "text": "Hi", "finish": "stop",
             "usage": {"v": 1, "prompt_tokens": 1, "completion_tokens": 1}},
        )  # fmt: skip
        file.write_bytes(line.line() + b"\n")
        assert replaying().ask("Hello", model="local:/elsewhere/model.gguf").text == "Hi"

    def test_answers_are_redacted_though_a_backend_let_a_key_pass(self, session, file):
        session.player.use(str(file), "once")

        def inner(_request):
            yield Delta(f"It is {KEY}.", reasoning=KEY, note=f"note {KEY}")
            yield Delta(finish="stop", usage=Usage(1, 1))

        def redact(value):
            return json.loads(json.dumps(value).replace(KEY, "[key]"))

        tape = session.player.tape(session.settings)
        stream = replay(lambda: tape, session.catalog, redact)(inner)
        list(stream(session.request("Hello")))
        assert KEY not in file.read_text("utf-8")
        assert lines(file)[0]["answer"]["text"] == "It is [key]."

    def test_it_replays_though_the_prompt_is_redacted(self, together, recording, replaying):
        together.plan = [Answer(words("Hi"))]
        recording.ask(f"My key is {KEY}.")
        assert replaying().ask(f"My key is {KEY}.").text == "Hi"

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("<Foo object at 0x7f3a5c0b1d90>", "a memory address (0x7f3a5c0b1d90)"),
            (f"It is {time.strftime('%Y-%m-%d')}.", "today's date"),
            (f"It is {time.strftime('%d.%m.%Y')}.", "today's date"),
            ("a #ff00aa b 0x1f c", ""),
            ("2001-01-01", ""),
        ],
    )
    def test_a_prompt_that_will_not_be_found_again_has_a_note(
        self, together, recording, file, text, says
    ):
        together.plan = [Answer(words("Hi"))]
        footer = recording.ask(text).footer()
        assert ("its recording may not be found again" in footer) is bool(says)
        assert says in footer
        assert "may not be found" not in file.read_text("utf-8")

    def test_folders_are_found(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", "/scratch")
        monkeypatch.setenv("HOME", str(tmp_path / "me"))
        assert drifting([f"{tmp_path}/me/data.csv"]).startswith("your home folder")
        assert drifting(["fine", "/scratch/x"]) == "a temporary folder (/scratch)"


class TestNames:
    def test_the_users_own_default_does_not_count(self, together, recording, replaying):
        together.plan = [Answer(words("Hi"))]
        assert recording.ask("Hello").model.name == "together:8x7b"
        session = replaying()
        assert session.settings.model == "local"
        assert session.ask("Hello").model.name == "together:8x7b"

    def test_the_notebooks_own_default_counts(
        self, together, recording, replaying, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "mixmagic.toml").write_text('model = "8x22b"')
        together.plan = [Answer(words("Hi"))]
        assert recording.ask("Hello").request.asked == "8x22b"
        session = replaying()
        assert session.ask("Hello").text == "Hi"
        (tmp_path / "mixmagic.toml").unlink()
        with pytest.raises(CassetteMiss, match=r"model \(\(default\), recorded 8x22b\)"):
            session.ask("Hello")

    def test_the_default_of_the_package_may_change(
        self, together, recording, replaying, monkeypatch
    ):
        together.plan = [Answer(words("Hi"))]
        recording.ask("Hello")
        monkeypatch.setattr("mixmagic.tasks.defaults._DEFAULT_MODEL", "8x22b")
        assert replaying().ask("Hello").model.name == "together:8x7b"

    def test_a_model_that_the_catalog_has_no_more_is_taken_from_the_record(
        self, together, home, file, replaying, monkeypatch
    ):
        (home / "config" / "catalog").mkdir(parents=True)
        (home / "config" / "catalog" / "acme.toml").write_text(
            f'name = "acme"\nlabel = "Acme"\nbase_url = "{together.url}"\nkey_required = false\n'
            '[[models]]\nid = "org/m"\naliases = ["mine"]\ncontext = 1000\n'
        )
        together.plan = [Answer(words("Hi"))]
        session = Session()
        session.player.use(str(file), "once")
        session.ask("Hello", model="mine")
        again = replaying().ask("Hello", model="mine")
        assert (again.text, again.model.id, again.model.context) == ("Hi", "org/m", 1000)

    def test_a_recorded_price_is_kept(self, together, recording, replaying, file):
        together.plan = [Answer(words("Hi"))]
        live = recording.ask("Hello")
        text = file.read_text("utf-8")
        changed = text.replace('"output": "0.60"', '"output": "1000"')
        assert changed != text, text
        file.write_text(changed)
        assert replaying().ask("Hello").saved > live.cost

    def test_counting_and_planning_are_the_same_everywhere(self, together, recording, replaying):
        def numbers(session: Session) -> list:
            plan = session.plan(session.request("Hello there", model="local"))
            return [session.count("Hello there", model="local"), plan.prompt, plan.worst_case]

        assert numbers(recording) == numbers(replaying())


def test_a_replay_comes_at_once_or_as_it_came(together, recording, replaying):
    together.plan = [Answer([words("Hi")[0], 0.3, *words(" there")])]
    recording.ask("Hello")
    waited = []
    for options in ({}, {"paced": True}):
        session = replaying(**options)
        started = time.monotonic()
        session.ask("Hello")
        waited.append(time.monotonic() - started)
    assert waited[1] >= 0.3


def test_a_cassette_that_cannot_be_written_is_a_note(together, session, tmp_path):
    session.player.use(str(tmp_path / "no folder" / "x.jsonl"), "once")
    together.plan = [Answer(words("Hi"))]
    assert "not recorded: x.jsonl cannot be written" in session.ask("Hello").footer()


def test_the_end_of_a_replay_is_told(together, recording, replaying):
    """A job journals its row there."""
    together.plan = [Answer(words("Hi"))]
    recording.ask("Hello")
    session, ended = replaying(), []
    request = session.request("Hello")
    request.control.on_end = ended.append
    assert [run(session.stream, request, session.calls)] == ended


def test_nothing_is_metered(together, recording, replaying):
    together.plan = [Answer(words("Hi"))]
    recording.ask("Hello")
    session = replaying()
    session.ask("Hello")
    assert session.ledger.spent() == []
