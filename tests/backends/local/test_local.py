"""The embedded model behaves like a provider's, in any thread."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from patience import soon

from mixmagic.backends.local import weights
from mixmagic.core.settings import Settings
from mixmagic.errors import (
    BadArguments,
    ContextTooLong,
    MixmagicError,
    Stopped,
    TotalTimedOut,
)
from mixmagic.sessions import Session

pytestmark = pytest.mark.embedded

QUESTION = "Name three colours of the rainbow."


@pytest.fixture(scope="module")
def cache() -> Path:
    """The cache folder with the weights."""
    return Path(os.environ["MIXMAGIC_HOME"]) / "cache"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, cache):
    """A session with the embedded model, loaded once for this module."""
    folder = tmp_path_factory.mktemp("loaded")
    session = Session(Settings(folder / "config", folder / "data", cache, model="local"))
    yield session
    session.close()


def drain(session: Session, request) -> list:
    """All pieces of an answer."""
    with closing(session.stream(request)) as deltas:
        return list(deltas)


def test_it_streams_token_by_token_with_its_own_count(loaded):
    deltas = drain(loaded, loaded.request(QUESTION, max_tokens=12, temperature=0))
    texts = [delta.text for delta in deltas if delta.text]
    assert len(texts) >= 6
    assert [delta.finish for delta in deltas if delta.finish] == ["length"]
    (usage,) = [delta.usage for delta in deltas if delta.usage]
    assert usage.completion_tokens == 12
    assert usage.prompt_tokens > 10
    assert not usage.estimated
    answer = loaded.ask(QUESTION, max_tokens=12, temperature=0)
    assert answer.text == "".join(texts)
    assert (answer.finish, answer.cost, answer.usage) == ("length", 0, usage)


def test_the_same_question_has_the_same_answer_whatever_was_asked_before(loaded):
    def ask() -> str:
        return loaded.ask(QUESTION, max_tokens=8, temperature=0, seed=7).text

    first = ask()
    assert first
    assert ask() == first
    loaded.ask("Write Python code that adds two numbers.", max_tokens=4)
    loaded.ask(f"{QUESTION} And of a zebra?", max_tokens=4, temperature=0)
    assert ask() == first
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: ask(), range(4))) == [first] * 4


def test_a_seed_draws_the_same_words_again_and_another_seed_others(loaded):
    def ask(seed: int) -> str:
        return loaded.ask("Tell me a story.", max_tokens=6, temperature=1.5, seed=seed).text

    first = ask(1)
    assert ask(1) == first
    assert {ask(2), ask(3)} != {first}


def test_a_stop_text_ends_the_answer_before_it(loaded):
    whole = loaded.ask("Count: 1, 2, 3, 4,", max_tokens=16, temperature=0).text
    stop = whole[len(whole) // 2 :][:3]
    cut = loaded.ask("Count: 1, 2, 3, 4,", max_tokens=16, temperature=0, stop=stop)
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish == "stop"


def test_instructions_change_the_answer(loaded):
    plain = loaded.ask(QUESTION, max_tokens=8, temperature=0)
    told = loaded.ask(QUESTION, max_tokens=8, temperature=0, system="Answer in French.")
    assert told.usage.prompt_tokens != plain.usage.prompt_tokens


def test_a_json_schema_is_obeyed(loaded):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    answer = loaded.ask(
        "Anna is 31 years old. Give her name and age.", schema=schema, max_tokens=60, temperature=0
    )
    found = json.loads(answer.text)
    assert set(found) == {"name", "age"}
    assert isinstance(found["age"], int)


def test_a_prompt_beyond_the_context_is_refused_and_costs_nothing(loaded):
    with pytest.raises(ContextTooLong) as caught:
        loaded.ask("many words " * 4000, max_tokens=4)
    assert len(caught.value._render_traceback_()) == 2
    assert "local" in caught.value.message
    assert loaded.ask("Hi", max_tokens=4, temperature=0).text


def test_it_does_not_stream_if_asked_not_to(loaded):
    answer = loaded.ask(QUESTION, stream=False, max_tokens=6, temperature=0)
    assert answer.usage.completion_tokens == 6


def test_four_answers_are_generated_at_once(loaded):
    """Each begins before any has ended."""
    begun, ended = [], []

    def ask(number: int) -> None:
        request = loaded.request(f"Tell me about the number {number}.", max_tokens=24)
        with closing(loaded.stream(request)) as deltas:
            while not next(deltas).text:
                pass
            begun.append(time.monotonic())
            list(deltas)
            ended.append(time.monotonic())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    assert max(begun) < min(ended)


def test_more_threads_than_slots_all_get_their_answer(loaded):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: loaded.ask(f"{n}?", max_tokens=2), range(6)))
    assert all(answer.usage.completion_tokens > 0 for answer in answers)


def test_a_stop_in_the_middle_ends_it_at_once(loaded):
    request = loaded.request("Count from 1 to 1000.", max_tokens=2000, temperature=0)
    with closing(loaded.stream(request)) as deltas:
        while not next(deltas).text:
            pass
        at = time.monotonic()
        request.control.stop.set()
        with pytest.raises(Stopped):
            list(deltas)
    assert time.monotonic() - at < soon(1)
    assert_idle(loaded)


def test_a_stop_while_it_reads_a_long_prompt_ends_it(loaded):
    words = " ".join(map(str, range(900)))
    request = loaded.request(words, max_tokens=4)
    deltas = loaded.stream(request)
    # The second piece says that the prompt is being read.
    while (delta := next(deltas)).progress.startswith("loading"):
        assert not delta.text
    at = time.monotonic()
    request.control.stop.set()
    with pytest.raises(Stopped), closing(deltas):
        assert not any(delta.text for delta in deltas)
    assert time.monotonic() - at < soon(1)
    assert_idle(loaded)


def test_a_reader_that_goes_away_ends_it_too(loaded):
    with closing(
        loaded.stream(
            loaded.request("Write a long story about a kettle.", temperature=0, max_tokens=2000)
        )
    ) as deltas:
        while not next(deltas).text:
            pass
    assert_idle(loaded)


def assert_idle(session: Session) -> None:
    """Check that llama.cpp soon stops, and answers again."""
    (engine,) = session.backends._made["local"]._engines.values()
    deadline = time.monotonic() + 10
    while engine.answers:
        assert time.monotonic() < deadline, "an answer goes on that nobody reads"
        time.sleep(0.02)
    assert session.ask("Hi", max_tokens=2).usage.completion_tokens


def test_the_user_can_name_a_gguf_file(session, cache):
    path = weights.path(cache)
    answer = session.ask(QUESTION, model=f"local:{path}", max_tokens=4, temperature=0)
    assert answer.usage.completion_tokens == 4
    assert answer.cost == 0
    assert str(path) in answer.footer()


@pytest.mark.parametrize("content", [None, b"", b"GGUF" + b"x" * 5000, b"no model" * 1000])
def test_a_missing_or_broken_gguf_file_is_an_error_of_two_lines(session, tmp_path, capfd, content):
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadArguments) as caught:
        session.ask("Hi", model=f"local:{path}")
    lines = caught.value._render_traceback_()
    assert len(lines) == 2
    assert str(path) in lines[0]
    assert "GGUF" in "".join(lines)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_gguf_file_is_an_error_of_two_lines(session, cache, tmp_path):
    path = tmp_path / "half.gguf"
    with weights.path(cache).open("rb") as whole:
        path.write_bytes(whole.read(20_000_000))
    with pytest.raises(BadArguments) as caught:
        session.ask("Hi", model=f"local:{path}")
    assert "cannot be loaded" in caught.value.message


def test_the_progress_of_loading_is_shown_before_the_first_answer(session):
    request = session.request("Hi", model="local", max_tokens=2)
    first = [delta.progress for delta in drain(session, request) if delta.progress]
    assert first[0] == "loading SmolLM2-135M-Instruct …"
    again = [delta.progress for delta in drain(session, request) if delta.progress]
    assert not any(progress.startswith("loading") for progress in again)


def test_a_stop_while_it_is_loaded_does_not_wait_for_it(session):
    """Loading continues, so that the next answer has a shorter wait."""
    request = session.request("Hi", model="local", max_tokens=2)
    with closing(session.stream(request)) as deltas:
        assert next(deltas).progress.startswith("loading")
        at = time.monotonic()
        threading.Timer(0.02, request.control.stop.set).start()
        with pytest.raises(Stopped):
            list(deltas)
    took = time.monotonic() - at - 0.02
    (engine,) = session.backends._made["local"]._engines.values()
    print(f"\nstopped after {took * 1000:.0f} ms, loaded: {engine.ready}")
    assert took < soon(0.3)
    assert not engine.ready
    assert session.ask("Hi", model="local", max_tokens=2, temperature=0).text


@pytest.mark.parametrize("moment", ["loading", "answering"])
def test_a_process_that_ends_is_reported_and_the_next_call_starts_another(session, moment):
    request = session.request("Count from 1 to 1000.", model="local", max_tokens=2000)
    with closing(session.stream(request)) as deltas:
        while moment == "answering" and not next(deltas).text:
            pass
        next(deltas)
        (engine,) = session.backends._made["local"]._engines.values()
        engine.process.kill()
        with pytest.raises(MixmagicError, match="ended with status -9") as caught:
            list(deltas)
    assert len(caught.value._render_traceback_()) == 2
    assert session.ask("Hi", model="local", max_tokens=2, temperature=0).text


def test_a_stop_while_its_weights_are_fetched_ends_it_at_once(session, monkeypatch, tmp_path):
    ended = []

    def fetch(cache_dir, env):
        try:
            while True:
                time.sleep(0.01)
                yield 0.1
        finally:
            ended.append(True)

    monkeypatch.setattr(weights, "fetch", fetch)
    request = session.request("Hi", model="local")
    with closing(session.stream(request)) as deltas:
        assert next(deltas).progress.startswith("fetching")
        request.control.stop.set()
        with pytest.raises(Stopped):
            list(deltas)
    assert ended == [True]
    late = session.request("Hi", model="local", timeout=0.1)
    with pytest.raises(TotalTimedOut):
        list(session.stream(late))


def test_a_closed_session_can_be_asked_again(session):
    assert session.ask("Hi", model="local", max_tokens=2, temperature=0).text
    session.close()
    assert session.ask("Hi", model="local", max_tokens=2, temperature=0).text


@pytest.mark.parametrize("streamed", [True, False])
def test_its_thoughts_are_separated_from_its_text(loaded, streamed):
    """A grammar makes it think."""
    grammar = 'root ::= "<think>\\nA draft.\\n</think>\\n\\nHi."'
    answer = loaded.ask(QUESTION, stream=streamed, extra_body={"grammar": grammar})
    assert (answer.text, answer.reasoning) == ("Hi.", "A draft.")
    assert answer.usage.completion_tokens > 10
