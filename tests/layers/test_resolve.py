"""A name becomes a model below the place of replay, so that recordings hold on any machine."""

from __future__ import annotations

import sys
from contextlib import closing, suppress

import pytest
from server import Answer
from server import together as words

from mixmagic.calls.identity import cassette_key
from mixmagic.core.values import Delta
from mixmagic.errors import MissingKey, MixmagicError
from mixmagic.layers import notes as notes_layer
from mixmagic.sessions import Session

KEYS = ("TOGETHER_API_KEY", "FIREWORKS_API_KEY", "MISTRAL_API_KEY", "OLLAMA_HOST")
ENVIRONMENTS = {
    "no keys": {},
    "Fireworks": {"FIREWORKS_API_KEY": "canary-key-4711"},
    "Together": {"TOGETHER_API_KEY": "canary-key-4711"},
    "Ollama": {"OLLAMA_HOST": "127.0.0.1:9"},
    "a retired row's provider": {
        "MISTRAL_API_KEY": "canary-key-4711",
        "OLLAMA_HOST": "127.0.0.1:9",
    },
    "everything": dict.fromkeys(KEYS, "canary-key-4711"),
}


class Recorded(Exception):
    """Raised at the place of replay: nothing below it runs."""


@pytest.fixture
def recorded(monkeypatch):
    """The requests that reach the place of replay, below the notes and above everything else."""
    requests, notes = [], notes_layer.notes

    def recording(settings):
        def layer(inner):
            def stream(request):
                requests.append(request)
                raise Recorded
                yield

            return notes(settings)(stream)

        return layer

    monkeypatch.setattr(notes_layer, "notes", recording)
    return requests


def reached(session: Session, recorded: list, prompt, **options) -> list[str]:
    """What is recorded of a call: its key, its texts, and its parameters."""
    request = session.request(prompt, **options)
    with suppress(Recorded), closing(session.stream(request)) as deltas:
        list(deltas)
    (request,) = recorded
    recorded.clear()
    texts = [message.text for message in request.messages]
    return [cassette_key(request), request.model.name, repr(texts), repr(request.params)]


CALLS = {
    "by an alias": {"model": "8x7b"},
    "by no name": {},
    "by a task": {"task": "code"},
    "by a task of the larger model": {"task": "analysis"},
    "by a task whose prompt is too long": {"task": "chat", "max_tokens": 32_760},
    "by a provider's name": {"model": "fireworks:8x7b"},
}


@pytest.mark.parametrize("options", CALLS.values(), ids=CALLS)
def test_a_call_reaches_the_place_of_replay_identically_with_any_keys(
    home, recorded, monkeypatch, options
):
    seen = {}
    for name, environment in ENVIRONMENTS.items():
        for variable in KEYS:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        for extra in (True, False):
            with pytest.MonkeyPatch.context() as patch:
                if not extra:
                    patch.setitem(sys.modules, "sentencepiece", None)
                    patch.setattr("mixmagic.calls.tokens._loaded", {})
                seen[name, extra] = reached(Session(), recorded, "Hello " * 40, **options)
    assert len({tuple(each) for each in seen.values()}) == 1, seen


def test_nothing_above_the_place_of_replay_looks_at_keys(home, recorded, monkeypatch):
    """Not even for a provider that is named, and not at the keyring."""
    session = Session()
    monkeypatch.setattr(session.backends.access, "find", None)
    monkeypatch.setattr(session.available, "forget", None)
    session.__dict__["available"] = None  # calling it would fail
    for options in CALLS.values():
        reached(session, recorded, "Hello", **options)


@pytest.fixture
def layered(monkeypatch, server):
    """The scripted server as Fireworks; its answers name who was asked."""
    monkeypatch.setenv("FIREWORKS_BASE_URL", server.url)
    monkeypatch.setenv("FIREWORKS_API_KEY", "canary-key-4711")
    server.plan = [Answer(words("Hi"))]
    return server


def test_a_delta_says_which_model_answers(layered, session):
    request = session.request("Hello", model="8x7b")
    assert (request.asked, request.model.name) == ("8x7b", "together:8x7b")
    first, *_ = session.stream(request)
    assert first == Delta(model=session.select("8x7b").model)
    assert first.model.name == "fireworks:8x7b"


def test_no_delta_says_so_if_it_is_the_one_that_the_request_has(layered, session):
    deltas = list(session.stream(session.request("Hello", model="fireworks:8x7b")))
    assert all(delta.model is None for delta in deltas)


def test_completion_footer_and_ledger_know_who_answered(layered, session):
    answer = session.ask("Hello", model="8x7b")
    assert answer.model.name == "fireworks:8x7b"
    assert "fireworks:8x7b" in answer.footer()
    assert [row.name for row in session.ledger.spent()] == [f"fireworks:{answer.model.id}"]


def test_a_lacking_key_is_told_before_anything_is_recorded(session, monkeypatch):
    """The meter, which is below, is not reached."""
    monkeypatch.setattr(session.calls, "begin", None)
    request = session.request("Hello", model="together:8x7b")
    with closing(session.stream(request)) as deltas, pytest.raises(MissingKey):
        next(deltas)
    assert session.ledger.spent() == []
    assert not session.running


def test_a_plan_needs_no_key_and_names_who_would_answer(session, monkeypatch):
    request = session.request("Hello", model="8x7b", max_tokens=10)
    assert session.plan(request).request.model.name == "together:8x7b"
    monkeypatch.setenv("OPENROUTER_API_KEY", "canary-key-4711")
    assert session.plan(request).request.model.name == "openrouter:8x7b"
    assert session.count("Hello", model="8x7b").tokens


def test_a_key_that_comes_after_the_request_was_made_decides(layered, session, monkeypatch):
    monkeypatch.delenv("FIREWORKS_API_KEY")
    request = session.request("Hello", model="8x7b")
    with pytest.raises(MixmagicError):
        list(session.stream(request))
    monkeypatch.setenv("FIREWORKS_API_KEY", "canary-key-4711")
    assert "".join(map(str, session.stream(request.again()))) == "Hi"


CHOSEN = {
    "session.model": lambda session, home, patch: setattr(session, "model", "8x7b"),
    "the environment": lambda session, home, patch: patch.setenv("MIXMAGIC_MODEL", "8x7b"),
    "config.toml": lambda session, home, patch: (
        (home / "config").mkdir(),
        (home / "config" / "config.toml").write_text('model = "8x7b"'),
    ),
}


@pytest.mark.parametrize("choose", CHOSEN.values(), ids=CHOSEN)
def test_no_task_overrides_a_model_that_the_user_chose(session, home, monkeypatch, choose):
    """Not even if it is the one that is the default anyway."""
    assert session.request("Hi", task="analysis").asked == "8x22b"
    choose(session, home, monkeypatch)
    session = session if session.request("Hi", task="analysis").asked == "8x7b" else Session()
    request = session.request("Hi", task="analysis")
    assert (request.asked, request.control.notes) == ("8x7b", ())
    assert request.params["temperature"] == 0.5, "its temperature applies all the same"
    assert session.request("Hi", task="analysis", model="local").asked == "local"


def test_a_task_says_why_it_chose_a_model(session):
    assert session.request("Hi", task="analysis").control.notes == ("8x22b chosen for analysis",)
    assert session.request("Hi", task="code", temperature=0.9).params["temperature"] == 0.9


def test_the_cheapest_is_selected_only_if_the_prompt_fits_there(home, monkeypatch):
    (home / "config" / "catalog").mkdir(parents=True)
    (home / "config" / "catalog" / "acme.toml").write_text("""
name = "acme"
key_env = "ACME_API_KEY"
[[models]]
id = "mixtral-short"
aliases = ["8x7b"]
context = 2_000
price = { input = "0.01", output = "0.01" }
""")
    monkeypatch.setenv("OPENROUTER_API_KEY", "canary-key-4711")
    monkeypatch.setenv("ACME_API_KEY", "canary-key-4711")
    session = Session()
    for prompt, provider in (("Hi", "acme"), ("word " * 2_000, "openrouter")):
        assert session.resolved(session.request(prompt)).model.provider.name == provider
