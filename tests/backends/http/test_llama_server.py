"""A real llama.cpp HTTP server as a provider: answers, refusals and stops."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from llama_server import CONTEXT, ENDLESS, KEY, MODEL, Llama, begun, drain
from patience import soon

from mixmagic.errors import (
    ContextTooLong,
    MissingKey,
    Stopped,
)

pytestmark = pytest.mark.embedded

QUESTION = "Name three colours of the rainbow."
# The prompt is read afresh, so that two runs compute the same.
AFRESH = {"cache_prompt": False}
# Many batches, and well under the context.
LONG = " ".join(map(str, range(100, 200)))


@pytest.fixture(scope="module")
def llama():
    """The server with its model loaded, once for this module."""
    with Llama() as server:
        yield server


@pytest.fixture
def asked(llama, monkeypatch, session):
    """A session whose model is the server's."""
    llama.is_openai(monkeypatch)
    session.model = MODEL
    llama.wait(lambda: not llama.busy())
    return session


def test_an_answer_is_the_same_in_pieces_and_whole(asked):
    how = {"max_tokens": 12, "temperature": 0, "seed": 7, "extra_body": AFRESH | ENDLESS}
    deltas = drain(asked, asked.request(QUESTION, **how))
    texts = [delta.text for delta in deltas if delta.text]
    assert len(texts) >= 6
    whole = asked.ask(QUESTION, stream=False, **how)
    assert whole.text == "".join(texts)
    assert [delta.finish for delta in deltas if delta.finish] == [whole.finish] == ["length"]
    assert [delta.usage for delta in deltas if delta.usage] == [whole.usage]


@pytest.mark.parametrize("stream", [True, False])
def test_the_server_s_own_count_reaches_the_ledger(asked, llama, stream):
    names = ("prompt_tokens", "tokens_predicted")
    before = [llama.total(name) for name in names]
    answer = asked.ask(QUESTION, stream=stream, max_tokens=9, extra_body=AFRESH | ENDLESS)
    counted = [llama.total(name) - was for name, was in zip(names, before, strict=True)]
    assert [answer.usage.prompt_tokens, answer.usage.completion_tokens] == counted
    assert answer.usage.completion_tokens == 9
    (row,) = asked.ledger.spent()
    assert [row.prompt_tokens, row.completion_tokens] == counted
    assert (row.calls, row.estimated, row.unpriced, row.failed) == (1, 0, 1, 0)
    assert answer.cost is None


def test_ollama_s_model_reaches_it_too_and_is_free(asked, llama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", llama.url.removesuffix("/v1"))
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    how = {"max_tokens": 8, "temperature": 0, "seed": 7, "extra_body": AFRESH}
    answer = asked.ask(QUESTION, model="ollama:smollm2", **how)
    assert (answer.text, answer.cost) == (asked.ask(QUESTION, **how).text, 0)
    assert not answer.usage.estimated


def test_a_stop_in_the_middle_ends_the_generation(asked, llama):
    before = llama.total("tokens_predicted")
    request = asked.request("Count.", max_tokens=600, extra_body=ENDLESS)
    with closing(asked.stream(request)) as deltas:
        begun(deltas)
        assert llama.busy() == 1
        at = time.monotonic()
        request.control.stop.set()
        with pytest.raises(Stopped):
            list(deltas)
    assert time.monotonic() - at < soon(1)
    llama.wait(lambda: not llama.busy())
    assert 0 < llama.total("tokens_predicted") - before < 300
    assert asked.ask("Hi", max_tokens=4, temperature=0).text
    assert [row.stopped for row in asked.ledger.spent()] == [1]


def test_a_reader_that_goes_away_ends_the_generation(asked, llama):
    before = llama.total("tokens_predicted")
    request = asked.request("Count.", max_tokens=600, extra_body=ENDLESS)
    with closing(asked.stream(request)) as deltas:
        begun(deltas)
    llama.wait(lambda: not llama.busy())
    assert 0 < llama.total("tokens_predicted") - before < 300


@pytest.mark.parametrize("progress", [True, False])
def test_a_stop_while_it_reads_a_long_prompt_ends_the_call(asked, llama, progress):
    """llama.cpp notices it when it writes the next frame: of progress, or the first word."""
    before = llama.total("tokens_predicted")
    extra = {**AFRESH, **ENDLESS, "return_progress": progress}
    request = asked.request(LONG, max_tokens=CONTEXT, extra_body=extra)
    stopped_at = []

    def stop() -> None:
        llama.wait(llama.busy)
        stopped_at.append(time.monotonic())
        request.control.stop.set()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(stop)
        with pytest.raises(Stopped):
            drain(asked, request)
        assert time.monotonic() - stopped_at[0] < soon(1)
    llama.wait(lambda: not llama.busy())
    generated = llama.total("tokens_predicted") - before
    assert generated == 0 if progress else generated < 50
    assert asked.ask("Hi", max_tokens=4, temperature=0).text


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_beyond_the_context_is_refused_and_costs_nothing(asked, stream):
    with pytest.raises(ContextTooLong, match=f"{CONTEXT}") as caught:
        asked.ask("many words " * CONTEXT, stream=stream, max_tokens=4)
    assert len(caught.value._render_traceback_()) == 2
    (row,) = asked.ledger.spent()
    assert (row.failed, row.prompt_tokens, row.completion_tokens) == (1, 0, 0)
    assert asked.ask("Hi", max_tokens=4, temperature=0).text


def test_an_answer_that_fills_the_context_is_cut_off(asked):
    nearly = " ".join(map(str, range(100, 265)))
    answer = asked.ask(nearly, max_tokens=CONTEXT, temperature=0, extra_body=ENDLESS)
    assert answer.finish == "length"
    assert answer.usage.completion_tokens < CONTEXT
    assert abs(answer.usage.total_tokens - CONTEXT) <= 1


@pytest.mark.parametrize("key", ["wrong-key-0815", ""])
def test_a_wrong_key_is_reported_and_hidden(asked, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(MissingKey, match=r"401.*OPENAI_API_KEY.*Invalid API Key") as caught:
        asked.ask("Hi", max_tokens=2)
    shown = "".join((repr(caught.value), *caught.value._render_traceback_()))
    assert "wrong-key-0815" not in shown
    assert KEY not in shown


def test_a_json_schema_is_obeyed(asked):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    answer = asked.ask("Anna is 31 years old.", schema=schema, max_tokens=60, temperature=0)
    found = json.loads(answer.text)
    assert set(found) == {"name", "age"}
    assert type(found["age"]) is int


def test_a_stop_text_ends_the_answer_before_it(asked):
    how = {"max_tokens": 16, "temperature": 0, "extra_body": AFRESH | ENDLESS}
    whole = asked.ask("Count: 1, 2, 3, 4,", **how)
    assert whole.finish == "length"
    stop = whole.text[len(whole.text) // 2 :][:3]
    cut = asked.ask("Count: 1, 2, 3, 4,", stop=stop, **how)
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish == "stop"
    # The second of a list counts as well.
    assert asked.ask("Count: 1, 2, 3, 4,", stop=["\0never", stop], **how).text == cut.text


def test_calls_one_after_another_all_get_their_answer(asked):
    """llama.cpp closes the connection after each stream, although it promises to keep it."""
    for number in range(20):
        answer = asked.ask("Hi", max_tokens=1, stream=number % 2 == 0)
        assert answer.usage.completion_tokens == 1


@pytest.mark.slow
@pytest.mark.parametrize(("stream", "calls"), [(True, 150), (False, 250)])
def test_hundreds_of_calls_in_a_row_are_all_answered(asked, stream, calls):
    """It keeps a connection for 100 whole answers."""
    for _ in range(calls):
        assert asked.ask("Hi", max_tokens=1, stream=stream).usage.completion_tokens == 1


@pytest.mark.slow
def test_streamed_and_whole_calls_on_two_threads_are_all_answered(asked):
    def ask(number: int) -> int:
        answer = asked.ask("Hi", max_tokens=1, stream=number % 3 > 0)
        return answer.usage.completion_tokens

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, range(200))) == [1] * 200


@pytest.mark.slow
def test_calls_around_the_server_s_idle_timeout_are_all_answered(asked):
    for wait in (4.9, 4.97, 5.0, 5.03, 5.1, 6.0):
        assert asked.ask("Hi", max_tokens=1, stream=False).usage.completion_tokens == 1
        time.sleep(wait)
    assert asked.ask("Hi", max_tokens=1, stream=False).usage.completion_tokens == 1


def test_concurrent_threads_each_get_their_own_answer(asked, llama):
    """Twice as many as the server has slots."""
    together = []

    def ask(tokens: int) -> int:
        answer = asked.ask(QUESTION, max_tokens=tokens, extra_body=ENDLESS)
        together.append(threading.get_ident())
        return answer.usage.completion_tokens

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, (10, 13, 16, 19))) == [10, 13, 16, 19]
    assert len(set(together)) > 1
    (row,) = asked.ledger.spent()
    assert (row.calls, row.completion_tokens, row.estimated) == (4, 58, 0)


def test_the_frames_of_a_prompt_s_progress_come_before_the_answer(asked):
    extra = {**AFRESH, **ENDLESS, "return_progress": True}
    deltas = drain(asked, asked.request(LONG, max_tokens=6, temperature=0, extra_body=extra))
    first = next(number for number, delta in enumerate(deltas) if delta.text)
    assert first > 5  # the head, and a frame for each batch
    assert deltas[-1].usage.completion_tokens == 6


def test_its_models_are_listed_live(asked):
    (row,) = asked.live_models("openai")
    assert (row.id, row.name, row.price) == ("smollm2", MODEL, None)
    assert asked.catalog.resolve(MODEL) is row
