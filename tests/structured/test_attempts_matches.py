"""A matching value is found in an answer before a second attempt is paid for."""

from __future__ import annotations

import json

import pytest
from linear import is_linear
from server import Answer, chunk, frames, whole

from mixmagic.errors import AnswerUnusable
from mixmagic.structured.attempts import ask_structured, find_match
from mixmagic.structured.schema import Schema

PERSON = Schema.of(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    },
    "Person",
)
PEOPLE = Schema.of({"type": "array", "items": PERSON.json}, "People")
JOHN = {"name": "John", "age": 30}
SAID = json.dumps(JOHN)
LAST = ("the last of 2 JSON values",)


@pytest.mark.parametrize(
    ("answer", "remarks"),
    [
        (SAID, ()),
        (f"Here: {SAID}.", ()),
        (f"```json\n{SAID}\n```", ()),
        (f'The form is {{"name": "<name>", "age": "<the age in years>"}}. Mine: {SAID}', LAST),
        (f'{json.dumps(PERSON.json)}\n\nSo:\n{SAID}', LAST),
        (f'```json\n{{"name": "Jo", "age": 3}}\n```\nWait:\n```json\n{SAID}\n```', LAST),
        (f'{SAID} and not {{"name": "a much longer name", "age": "unknown"}}',
         ("the first of 2 JSON values",)),
        (f'[see below] {SAID}', ()),
        (f"[{SAID}]", ("taken out of a list",)),
        (json.dumps({"result": JOHN}), ("taken out of 'result'",)),
        (json.dumps({"Person": JOHN}), ("taken out of 'Person'",)),
        (json.dumps(SAID), ("read out of a string",)),
        (json.dumps({"answer": SAID}), ("taken out of 'answer'", "read out of a string")),
        ('{"name": "John", "age": 30,}', ("a trailing comma dropped",)),
        ('So: {"name": "John", "age": 30 ,\n}\n', ("a trailing comma dropped",)),
        ('```json\n{"name": "John", // his name\n"age": 30}\n```', ()),
        ('[{"name": "John", "age": 30,},]', ("a trailing comma dropped", "taken out of a list")),
        (f'<tool_call>{{"name": "Person", "arguments": {SAID}}}</tool_call>',
         ("taken out of 'arguments'",)),
        (f'{{ name, age and so on\n```json\n{SAID}\n```', ()),
    ],
)  # fmt: skip
def test_a_match_is_found_and_corrections_are_noted(answer, remarks):
    found = find_match(answer, PERSON.instance)
    assert (found.instance, found.notes) == (JOHN, remarks)


def test_a_comma_within_a_text_stays():
    found = find_match('{"name": "a,}b, ]", "age": 1,}', PERSON.instance)
    assert found.instance["name"] == "a,}b, ]"


@pytest.mark.parametrize("answer", [
    f"{SAID}\n{SAID}", f"- {SAID}\n- {SAID}", f"[{SAID}, {SAID}]",
    json.dumps({"people": [JOHN, JOHN]}),
])  # fmt: skip
def test_a_list_is_found(answer):
    assert find_match(answer, PEOPLE.instance).instance == [JOHN, JOHN]


@pytest.mark.parametrize(
    "answer",
    ["No.", "{}", json.dumps([JOHN, JOHN])[:-1] + ', "x"]', json.dumps({"a": {"b": {"c": JOHN}}}),
     json.dumps({"result": JOHN, "more": 1}), '{"name": "John", "age": "30"}'],
)  # fmt: skip
def test_a_value_that_does_not_match_is_refused(answer):
    with pytest.raises(AnswerUnusable):
        find_match(answer, PERSON.instance)


def test_a_value_that_was_cut_is_not_replaced_by_an_example():
    answer = f'Such as {{"name": "A", "age": 1}}. Here: {SAID[:-5]}'
    assert find_match(answer, PERSON.instance).instance["name"] == "A"
    with pytest.raises(AnswerUnusable):
        find_match(answer, PERSON.instance, cut=True)


@pytest.mark.parametrize("text", ["{} ", '{"a": [', "[,]", '{"a": 1,} ', "[[", '"', "``` json\n{"])
def test_an_answer_of_a_megabyte_is_read_in_linear_time(text):
    def read(answer):
        with pytest.raises(AnswerUnusable):
            find_match(answer, PERSON.instance)

    assert is_linear(read, lambda size: text * (size // len(text)), 1_000_000, 8)


def asked(session, together, *answers):
    together.plan = [each if isinstance(each, Answer) else whole(each) for each in answers]

    def ask(request):
        return session.ask(request.messages[-1].content, **request.params)

    return ask_structured(ask, session.request("Who?"), PERSON)


def test_one_attempt_is_paid_if_a_value_matches(session, together):
    found = asked(session, together, f'Form: {{"name": "?", "age": "?"}}. [{SAID}]')
    assert (found.instance, found.attempts) == (JOHN, 1)
    assert len(together.received) == 1
    assert "the last of 2 JSON values · taken out of a list" in found.completion.footer()


def test_thoughts_are_not_searched(session, together):
    draft = '{"name": "Jane Placeholder", "age": 99}'
    found = asked(session, together, f"<think>\nMaybe {draft}?\n</think>\n\n{SAID}")
    assert (found.instance, found.attempts) == (JOHN, 1)
    assert draft in found.completion.reasoning


def test_a_refusal_is_quoted_and_not_asked_again(session, together):
    refused = {"choices": [{"delta": {"refusal": "I can't help with that."}}]}
    with pytest.raises(AnswerUnusable, match="The model refused: \"I can't help with that"):
        asked(session, together, Answer([frames(refused, chunk("", "stop"))]))
    assert len(together.received) == 1


@pytest.mark.parametrize("word", ["MAX_TOKENS", "max_output_tokens", "length"])
def test_an_answer_that_was_cut_off_is_not_asked_again(session, together, word):
    with pytest.raises(AnswerUnusable) as caught:
        asked(session, together, Answer([frames(chunk(SAID[:-5]), chunk("", word))]))
    assert "cut off at" in caught.value.message
    assert "--max-tokens" in caught.value.hint
    assert len(together.received) == 1
