"""A request that a model refuses is sent in another form, and the user is told once."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from decimal import Decimal

import pytest
from server import Answer, chunk, frames, refusal, together, whole

from mixmagic.errors import MixmagicError, ProviderError, RateLimited
from mixmagic.sessions import Session

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
NUMBERS = {"type": "array", "items": {"type": "integer"}}
SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


@pytest.fixture
def picky(server, monkeypatch, home):
    """Start a server for which `refuse` decides what it does not accept."""
    folder = home / "config" / "catalog"
    folder.mkdir(parents=True)
    (folder / "openai.toml").write_text(
        'name = "openai"\n[[models]]\nid = "m"\ncontext = 32768\n'
        'price = { input = "1", output = "10" }\n'
    )
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key-4711")

    def plan(refuse, answer='{"age": 30}'):
        def reply(received):
            refused = refuse(received.body)
            if refused is None:
                return Answer(together(*([answer] if isinstance(answer, str) else answer)))
            status, body = refused
            return body if isinstance(body, Answer) else refusal(status, body)

        server.plan = [reply]
        return server

    return plan


def ask(session, prompt="Hi", **params):
    return session.ask(prompt, model="openai:m", **params)


def form(body) -> str | None:
    """Return the type of a request's `response_format`."""
    return body.get("response_format", {}).get("type")


def costs(session) -> list[tuple[str, Decimal]]:
    rows = session.ledger.database.rows("SELECT * FROM calls ORDER BY id")
    return [(row["status"], Decimal(row["cost_nanodollars"]) / 10**9) for row in rows]


def openai(message: str, **more) -> dict:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def fastapi(*path: str, message: str = "Extra inputs are not permitted") -> dict:
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", *path], "msg": message}]}


REFUSED_SCHEMAS = [
    (400, openai("This response_format type is unavailable now")),
    (400, openai("'response_format' of type 'json_schema' is not supported with this model.",
                 param="response_format")),
    (400, openai("This model does not support response format `json_schema`. See supported models "
                 "at https://console.groq.com/docs/structured-outputs", param="response_format")),
    (422, fastapi("response_format", "json_schema")),
    (422, {"detail": "json_schema mode is not enabled for this deployment"}),
    (404, openai("No endpoints found that support response_format", code=404)),
    (400, {"object": "error", "message": "Structured output is not supported for this model",
           "code": 3051}),
    (501, {"error": "guided decoding is not implemented"}),
    (400, b"response_format: unknown variant `json_schema`, expected `text` or `json_object`"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), REFUSED_SCHEMAS)
def test_a_refused_schema_is_asked_for_as_an_object(session, picky, status, body):
    server = picky(lambda sent: (status, body) if form(sent) == "json_schema" else None)
    answer = ask(session, schema=PERSON)
    assert answer.text == '{"age": 30}'
    assert [form(each.body) for each in server.received] == ["json_schema", "json_object"]
    assert '"age"' in server.received[1].body["messages"][-1]["content"]
    assert sum("does not accept a JSON Schema" in note for note in answer.notes) == 1
    again = ask(session, schema=PERSON)  # it is known by now
    assert again.text == '{"age": 30}'
    assert [form(each.body) for each in server.received][2:] == ["json_object"]
    assert not [note for note in again.notes if "does not accept" in note]
    assert [status for status, _ in costs(session)] == ["ok", "ok"]
    assert costs(session)[0][1] == Decimal("0.000019")  # 9 tokens in, 1 out


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, openai("response_format is not supported")),
        (422, fastapi("response_format")),
        (400, openai("Unrecognized request argument supplied: response_format")),
        (404, openai("No endpoints found that can handle the requested parameters: "
                     "response_format")),
    ],
)  # fmt: skip
def test_a_model_without_any_response_format_gets_the_schema_in_its_prompt(
    session, picky, status, body
):
    server = picky(lambda sent: (status, body) if form(sent) else None)
    assert ask(session, schema=PERSON).text == '{"age": 30}'
    kinds = [form(each.body) for each in server.received]
    assert kinds == ["json_schema", "json_object", None]
    ask(session, schema=PERSON)
    assert [form(each.body) for each in server.received][3:] == [None]
    assert [status for status, _ in costs(session)] == ["ok", "ok"]


def test_an_array_is_not_asked_for_as_an_object(session, picky):
    """OpenAI's `json_object` forces an object, and an array is not one."""
    body = openai("This response_format type is unavailable now")
    server = picky(lambda sent: (400, body) if form(sent) else None, "[1, 2]")
    assert ask(session, schema=NUMBERS).text == "[1, 2]"
    assert [form(each.body) for each in server.received] == ["json_schema", None]


def test_the_refusal_of_one_schema_says_nothing_about_others(session, picky):
    words = "Invalid schema for response_format 'answer': In context=('properties', 'age'), no."
    refuses = lambda sent: "never" in json.dumps(sent["response_format"])  # noqa: E731
    server = picky(lambda sent: (400, openai(words)) if form(sent) and refuses(sent) else None)
    odd = {**PERSON, "properties": {"never": {"type": "integer"}}, "required": []}
    answer = ask(session, schema=odd)
    assert any("does not accept a JSON Schema" in note for note in answer.notes)
    ask(session, schema=PERSON)
    kinds = [form(each.body) for each in server.received]
    assert kinds == ["json_schema", "json_object", "json_schema"]


REFUSED_SYSTEM = [
    (400, openai("Conversation roles must alternate user/assistant/user/assistant/...")),
    (400, {"object": "error", "message": "System role not supported", "code": 400}),
    (500, openai("Template error: syntax error: Conversation roles must alternate")),
    (422, {"error": "Template error: Only user and assistant roles are supported!"
                    " (in chat:1)", "error_type": "template_error"}),
    (400, openai("Developer instruction is not enabled for models/gemma-3-27b-it")),
    (400, openai("Invalid value: 'system'. Supported values are: 'user' and 'assistant'.",
                 param="messages[0].role")),
    (400, {"detail": "After the optional system message, conversation roles must alternate"}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), REFUSED_SYSTEM)
def test_a_refused_system_role_goes_into_the_first_turn(session, picky, status, body):
    def refuse(sent):
        return (status, body) if sent["messages"][0]["role"] == "system" else None

    server = picky(refuse)
    answer = ask(session, SYSTEM)
    assert [each.body["messages"] for each in server.received][1:] == [
        [{"role": "user", "content": "Be brief.\n\nHi"}]
    ]
    assert sum("a system prompt" in note for note in answer.notes) == 1
    talk = [*SYSTEM, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Bye"}]
    assert not [note for note in ask(session, talk).notes if "system" in note]
    roles = [message["role"] for message in server.received[2].body["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert len(server.received) == 3


def test_instructions_and_schema_may_both_be_refused(session, picky):
    def refuse(sent):
        if form(sent):
            return 400, openai("response_format is not supported by this model")
        if sent["messages"][0]["role"] == "system":
            return 400, openai("Conversation roles must alternate user/assistant")
        return None

    server = picky(refuse)
    answer = ask(session, SYSTEM, schema=PERSON, temperature=0)
    assert len(server.received) == 4
    first = server.received[-1].body["messages"]
    assert [each["role"] for each in first] == ["user"]
    assert '"age"' in first[0]["content"]
    assert len([note for note in answer.notes if "does not accept" in note]) == 3
    assert costs(session) == [("ok", Decimal("0.000019"))]


REFUSED_PARAMETERS = [
    ("max_tokens", 400, openai("Unsupported parameter: 'max_tokens' is not supported with this "
                               "model. Use 'max_completion_tokens' instead.", param="max_tokens",
                               code="unsupported_parameter")),
    ("max_tokens", 422, fastapi("max_tokens")),
    ("max_tokens", 400, {"error": "max_tokens is not supported, use max_completion_tokens"}),
    ("temperature", 400, openai("Unsupported value: 'temperature' does not support 0.2 with this "
                                "model. Only the default (1) value is supported.",
                                param="temperature", code="unsupported_value")),
    ("temperature", 400, openai("invalid temperature: only 1 is allowed for this model")),
    ("temperature", 400, openai("`temperature` is deprecated for this model.")),
    ("top_p", 400, openai("Unsupported parameter: 'top_p' is not supported with this model.",
                          param="top_p")),
    ("seed", 422, {"object": "error", "message": fastapi("seed"), "code": None}),
    ("seed", 400, {"error": {"message": 'Invalid JSON payload received. Unknown name "seed": '
                                        "Cannot find field.", "status": "INVALID_ARGUMENT"}}),
    ("frequency_penalty", 400, openai("property 'frequency_penalty' is unsupported")),
    ("stop", 400, openai("Unsupported parameter: 'stop' is not supported with this model.",
                         param="stop")),
]  # fmt: skip
VALUES = {"max_tokens": 50, "temperature": 0.2, "top_p": 0.5, "seed": 7, "frequency_penalty": 1,
          "stop": ["END"]}  # fmt: skip


@pytest.mark.parametrize(("name", "status", "body"), REFUSED_PARAMETERS)
def test_a_refused_parameter_is_renamed_or_left_out(session, picky, name, status, body):
    server = picky(lambda sent: (status, body) if name in sent else None)
    answer = ask(session, **VALUES)
    first, second = (each.body for each in server.received)
    assert first.keys() - second.keys() == {name}
    renamed = {"max_completion_tokens": 50} if name == "max_tokens" else {}
    assert {key: second[key] for key in second.keys() - first.keys()} == renamed
    assert len([note for note in answer.notes if name in note]) == 1
    ask(session, **VALUES)
    assert len(server.received) == 3


def test_a_refusal_in_a_stream_that_has_nothing_else(session, picky):
    body = openai("Unsupported parameter: 'seed' is not supported with this model.", param="seed")
    server = picky(lambda sent: (200, Answer([frames(body)])) if "seed" in sent else None)
    answer = ask(session, seed=7)
    assert [("seed" in each.body) for each in server.received] == [True, False]
    assert len([note for note in answer.notes if "seed" in note]) == 1
    assert [status for status, _ in costs(session)] == ["ok"]


def test_a_dropped_parameter_of_the_user_s_is_reported_each_time(session, picky):
    body = openai("Unsupported parameter: 'temperature'", param="temperature")
    picky(lambda sent: (400, body) if "temperature" in sent else None)
    told = [len(ask(session, temperature=0).notes) for _ in range(3)]
    assert told == [1, 1, 1]
    assert ask(session).notes == ()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, openai("temperature must be at most 1.5", param="temperature")),
        (400, openai("max_tokens must be less than or equal to 8192", param="max_tokens")),
        (422, fastapi("temperature", message="Input should be less than or equal to 1")),
        (400, openai("Your request was flagged by our policy")),
        (400, openai("The model `m` does not exist", code="model_not_found")),
        (400, openai("This model's maximum context length is 10 tokens, response_format and all")),
        (401, openai("temperature is not supported without a key")),
        (429, openai("max_tokens of all calls is not supported any more this minute")),
    ],
)
def test_a_refusal_for_another_reason_is_not_repeated(session, picky, status, body):
    server = picky(lambda sent: (status, body))
    with pytest.raises(MixmagicError):
        ask(session, schema=PERSON, temperature=1.9, max_tokens=9000)
    assert len(server.received) == 1
    assert [cost for _, cost in costs(session)] == [0]


def test_a_refusal_of_everything_comes_to_an_end(session, picky):
    def refuse(sent):
        name = next((key for key in sent if key in {*VALUES, "max_completion_tokens"}), "life")
        return 400, openai(f"Unsupported parameter: '{name}'", param=name)

    server = picky(refuse)
    with pytest.raises(ProviderError, match="Unsupported parameter"):
        ask(session, **VALUES)
    assert len(server.received) <= len(VALUES) + 2
    assert costs(session) == [("failed", 0)]


def test_a_limit_is_never_dropped(session, picky):
    """An answer without a limit could cost anything."""

    def refuse(sent):
        name = next((key for key in ("max_tokens", "max_completion_tokens") if key in sent), None)
        return name and (400, openai(f"Unsupported parameter: '{name}'", param=name))

    server = picky(refuse)
    with pytest.raises(ProviderError, match="max_completion_tokens"):
        ask(session, max_tokens=50)
    assert len(server.received) == 2


@pytest.mark.parametrize(("limit", "other"), [(50, 4000), (4000, 50)])
def test_of_two_limits_the_lower_one_is_kept(session, picky, limit, other):
    body = openai("Unsupported parameter: 'max_tokens'", param="max_tokens")
    server = picky(lambda sent: (400, body) if "max_tokens" in sent else None)
    ask(session, max_tokens=limit, extra_body={"max_completion_tokens": other})
    assert server.received[-1].body["max_completion_tokens"] == 50


def test_under_a_budget_the_renamed_limit_is_the_one_that_the_budget_allows(session, picky):
    body = openai("Unsupported parameter: 'max_tokens'", param="max_tokens")
    server = picky(lambda sent: (400, body) if "max_tokens" in sent else None)
    session.budget("0.001")
    extra = {"max_completion_tokens": 4000}
    for params in ({}, {"max_tokens": 9000}, {"extra_body": extra}):
        ask(session, **params)
        sent = server.received[-1].body
        assert "max_tokens" not in sent
        assert 0 < sent["max_completion_tokens"] <= 100  # a dollar for 100,000 tokens out
    assert {status for status, _ in costs(session)} == {"ok"}


def test_a_refusal_in_an_otherwise_empty_stream_counts_too(session, picky):
    error = {"error": {"message": "response_format is not supported", "code": 400}}
    broken = Answer([frames(error, done=False)])
    server = picky(lambda sent: (200, broken) if form(sent) == "json_schema" else None)
    assert ask(session, schema=PERSON).text == '{"age": 30}'
    assert len(server.received) == 2
    assert costs(session) == [("ok", Decimal("0.000019"))]


def test_an_answer_that_has_begun_is_not_asked_for_again(session, picky):
    error = {"error": {"message": "response_format is not supported", "code": 400}}
    broken = Answer([frames(chunk("{"), error, done=False)])
    server = picky(lambda sent: (200, broken))
    with pytest.raises(ProviderError) as caught:
        ask(session, schema=PERSON)
    assert caught.value.partial.text == "{"
    assert len(server.received) == 1


def test_a_refusal_is_remembered_even_if_the_next_try_fails(picky, monkeypatch):
    """A rate limit between two tries does not start the series again."""
    monkeypatch.setenv("MIXMAGIC_MAX_RETRIES", "2")
    seen = []

    def refuse(sent):
        seen.append(form(sent))
        if form(sent) == "json_schema":
            return 400, openai("This response_format type is unavailable now")
        return (
            (429, refusal(429, openai("slow down"), retry_after="0.01")) if len(seen) < 4 else None
        )

    picky(refuse)
    with closing(Session()) as session:
        answer = ask(session, schema=PERSON)
    assert seen == ["json_schema", "json_object", "json_object", "json_object"]
    assert len([note for note in answer.notes if "JSON Schema" in note]) == 1


def test_a_rate_limit_is_not_a_refusal_of_a_parameter(session, picky):
    server = picky(lambda sent: (429, openai("response_format is not supported now")))
    with pytest.raises(RateLimited):
        ask(session, schema=PERSON)
    assert len(server.received) == 1


def test_each_model_and_each_server_has_its_own_habits(session, picky):
    body = openai("response_format json_schema is not supported")
    server = picky(
        lambda sent: (400, body) if sent["model"] == "m" and form(sent) == "json_schema" else None
    )
    ask(session, schema=PERSON)
    session.ask("Hi", model="openai:other", schema=PERSON)
    kinds = [form(each.body) for each in server.received]
    assert kinds == ["json_schema", "json_object", "json_schema"]


def test_concurrent_calls_report_it_once(session, picky):
    body = openai("This response_format type is unavailable now")
    picky(lambda sent: (400, body) if form(sent) == "json_schema" else None)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(session, schema=PERSON)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 4
    assert len([note for each in answers for note in each.notes if "JSON Schema" in note]) == 1


def test_a_request_that_is_not_streamed_is_repeated_too(session, picky, server):
    def reply(received):
        if form(received.body) == "json_schema":
            return refusal(400, openai("json_schema is not supported"))
        return whole('{"age": 30}')

    picky(lambda sent: None)
    server.plan = [reply]
    assert ask(session, schema=PERSON, stream=False).text == '{"age": 30}'


@pytest.mark.parametrize(
    ("row", "left_out", "renamed"),
    [
        ('refuses = ["temperature", "top_p"]', {"temperature", "top_p"}, {}),
        ('rename = { max_tokens = "max_completion_tokens" }', {"max_tokens"},
         {"max_completion_tokens": 50}),
        ('refuses = ["seed"]\nrename = { max_tokens = "n_predict" }', {"seed", "max_tokens"},
         {"n_predict": 50}),
    ],
)  # fmt: skip
def test_parameters_that_the_catalog_says_are_refused_are_not_sent(
    home, picky, row, left_out, renamed
):
    path = home / "config" / "catalog" / "openai.toml"
    server = picky(lambda sent: None)
    path.write_text(f'name = "openai"\n[[models]]\nid = "m"\n{row}\n')
    with closing(Session()) as session:
        answer = ask(session, **VALUES)
    (sent,) = (each.body for each in server.received)
    assert not left_out & sent.keys()
    assert {name: sent[name] for name in renamed} == renamed
    for name in left_out - {"max_tokens"}:
        assert f"sent without {name}" in " ".join(answer.notes)
