"""Formats that a grammar enforces: on local models, whatever keys there are, and on no others."""

from __future__ import annotations

import json

import pytest

from mixmagic.calls.identity import cassette_key
from mixmagic.display.formats import FORMATS
from mixmagic.errors import AnswerUnusable
from mixmagic.structured.grammar import with_format

ENFORCED = ("json", "table")


def grammar(request, form: str) -> str:
    """Return the grammar of a request for a format; empty if it has none."""
    body = with_format(request, form).params.get("extra_body", {})
    return body.get("grammar", "")


@pytest.mark.parametrize("form", FORMATS)
def test_requests_for_other_models_stay_as_they_are(session, form):
    others = [model for model in session.catalog.models if model.provider.name != "local"]
    assert others
    for model in others:
        request = session.request("Hello", model=model.name)
        assert with_format(request, form) is request
    for name in ("8x7b", "openai:gpt-x", "openrouter:a/b"):
        request = session.request("Hello", model=name)
        assert with_format(request, form) is request


@pytest.mark.parametrize("name", ["local", "smollm2", "local:/a/b.gguf", "local:hf/a/b/c.gguf"])
def test_every_local_model_is_bound_in_json_and_tables_alone(session, monkeypatch, name):
    request = session.request("Hello", model=name)
    bound = {form for form in FORMATS if grammar(request, form)}
    assert bound == set(ENFORCED)
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-another-machine")
    for form in ENFORCED:
        again = with_format(session.request("Hello", model=name), form)
        assert cassette_key(again) == cassette_key(with_format(request, form))


def test_the_embedded_model_has_narrower_limits_than_others(session):
    for form in ENFORCED:
        own = grammar(session.request("Hello", model="local"), form)
        assert own != grammar(session.request("Hello", model="local:/a/b.gguf"), form)


def test_a_body_of_the_callers_own_wins(session):
    own = {"grammar": 'root ::= "yes"', "top_k": 3}
    request = session.request("Hello", model="local", extra_body=own)
    assert with_format(request, "json").params["extra_body"] == own


def test_a_users_catalog_file_can_bind_other_models(home):
    from mixmagic.sessions import Session

    folder = home / "config" / "catalog"
    folder.mkdir(parents=True)
    text = """
        name = "vllm"
        base_url = "http://127.0.0.1:9/v1"
        [dialect.formats.json]
        response_format = { type = "json_object" }
        [[models]]
        id = "mixtral"
        formats = { table = { guided_regex = "x" } }
    """
    (folder / "mine.toml").write_text(text)
    request = Session().request("Hello", model="vllm:mixtral")
    body = {form: with_format(request, form).params.get("extra_body") for form in FORMATS}
    assert {form: fields for form, fields in body.items() if fields} == {
        "json": {"response_format": {"type": "json_object"}},
        "table": {"guided_regex": "x"},
    }


PROMPTS = {
    "json": ["A person named Ann, aged 31, who lives in Bergen.", "What is a median?",
             "Why is the sky blue? Explain it in prose, without any JSON."],
    "table": ["List three colours with their hex codes.", "Compare cats and dogs.",
              "Three SQL keywords and what they do."],
}  # fmt: skip


@pytest.mark.embedded
@pytest.mark.parametrize(("form", "prompt"), [(f, p) for f in ENFORCED for p in PROMPTS[f]])
def test_the_real_model_answers_in_the_format(session, form, prompt):
    request = session.request(
        prompt, model="local", temperature=0, system=FORMATS[form].instruction
    )
    completion = session.ask(
        request.messages, model="local", temperature=0, **_more(with_format(request, form))
    )
    assert completion.finish == "stop"
    value = FORMATS[form].finished(completion).value
    if form == "json":
        assert value == json.loads(completion.text)
    else:
        assert len(value.columns) >= 2
        assert len(value)


@pytest.mark.embedded
@pytest.mark.parametrize("form", ENFORCED)
def test_an_answer_that_is_cut_off_is_an_error_that_says_so(session, form):
    prompt = "A person named Ann, aged 31, who lives in Bergen."
    request = with_format(session.request(prompt, model="local"), form)
    completion = session.ask(prompt, model="local", temperature=0, max_tokens=4, **_more(request))
    with pytest.raises(AnswerUnusable) as caught:
        FORMATS[form].finished(completion)
    assert "cut off" in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.embedded
def test_cells_are_bound_and_a_schema_takes_the_place_of_the_grammar(start_kernel):
    kernel = start_kernel()
    kernel.run("shape = {'type': 'object', 'properties': {'age': {'type': 'integer'}},"
               " 'required': ['age'], 'additionalProperties': False}")  # fmt: skip
    for options in ("-f json", "-f table", "--schema shape"):
        ran = kernel.run(f"%%mixtral -m local -t 0 {options} -o x\nAnn is 31 years old.")
        assert ran.status == "ok", ran.text
    assert kernel.run("print(sorted(x))").text.strip() == "['age']"


def _more(request) -> dict:
    return {"extra_body": request.params["extra_body"]}
