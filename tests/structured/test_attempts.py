"""Questions with a schema: the embedded model's answers, and a scripted provider's bad ones."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from decimal import Decimal, localcontext

import pydantic
import pytest
from server import CUT, HANG, Answer, chunk, frames, refusal, usage
from server import together as pieces

from mixmagic.calls.collector import Collector, stopped_with
from mixmagic.core.money import Usage
from mixmagic.errors import AnswerUnusable, BudgetExceeded, Stopped, StreamBroken, Unavailable
from mixmagic.structured.attempts import ask_structured, both, with_schema
from mixmagic.structured.schema import Schema

TOKEN = Decimal("600e-9")


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(pattern=r"^.{1,20}$")
    age: int = pydantic.Field(ge=0, le=200)


SCHEMA = Schema.of(Person, "Person")


@pytest.fixture
def ask(session):
    """Ask, as the session does; a stop is noticed after the first piece."""

    def ask(request):
        collector = Collector(request)
        try:
            with closing(session.stream(request)) as deltas:
                for delta in deltas:
                    collector.add(delta)
        except KeyboardInterrupt:
            raise stopped_with(collector.completion("stopped")) from None
        return collector.completion()

    return ask


@pytest.fixture
def structured(session, ask, together):
    """Ask the scripted provider for a person."""

    def structured(*answers, **options):
        together.plan = list(answers)
        request = session.request("Who?", model="8x7b", **options)
        return ask_structured(ask, request, SCHEMA)

    return structured


def test_the_embedded_model_makes_an_instance(session, ask):
    request = session.request(
        "Anna is 31 years old.", model="local", max_tokens=80, temperature=0, system="Be exact."
    )
    found = ask_structured(ask, request, SCHEMA)
    assert isinstance(found.instance, Person)
    assert found.attempts == 1
    assert found.completion.value is found.instance
    assert found.completion.notes == ()


class Price(pydantic.BaseModel):
    amount: Decimal
    tax: float


def test_a_decimal_keeps_the_digits_that_the_model_wrote(session, ask, together):
    written = '{"amount": 12345678901234567890.12, "tax": 0.1}'
    together.plan = [Answer(pieces(written))]
    request = session.request("How much?", model="8x7b")
    found = ask_structured(ask, request, Schema.of(Price, "Price"))
    assert found.instance == Price(amount=Decimal("12345678901234567890.12"), tax=0.1)


def test_the_schema_is_sent_and_told(structured, together):
    found = structured(Answer(pieces('{"name": "Anna", ', '"age": 31}')), system="Be brief.")
    assert found.instance == Person(name="Anna", age=31)
    (sent,) = (received.body for received in together.received)
    form = sent["response_format"]["json_schema"]
    assert (form["name"], form["strict"]) == ("Person", True)
    assert form["schema"]["required"] == ["name", "age"]
    system, user = sent["messages"]
    assert system["content"].startswith("Be brief.\n\nAnswer with JSON alone")
    assert '"maximum": 200' in system["content"]
    assert user == {"role": "user", "content": "Who?"}


def test_instructions_are_put_before_a_prompt_that_has_none(session):
    request = session.request("Who?", model="8x7b", temperature=0)
    asked = with_schema(request, SCHEMA)
    assert [message.role for message in asked.messages] == ["system", "user"]
    assert asked.params == {"temperature": 0, "response_format": SCHEMA.response_format()}


def test_one_repair_is_counted(structured, together):
    bad = '{"name": "Anna", "age": "old"}'
    found = structured(
        Answer(pieces(bad, prompt=20)), Answer(pieces('{"name": "Anna", ', '"age": 31}', prompt=50))
    )
    assert found.instance == Person(name="Anna", age=31)
    assert found.attempts == 2
    answer = found.completion
    assert answer.text == '{"name": "Anna", "age": 31}'
    assert answer.usage == Usage(70, 3)
    assert answer.cost == 73 * TOKEN
    assert answer.notes == ("repaired once",)
    assert "70 → 3 tokens" in answer.footer()
    assert len(answer.request.messages) == 2
    again = together.received[-1].body
    assert [message["role"] for message in again["messages"]] == [
        "system", "user", "assistant", "user"
    ]  # fmt: skip
    assert again["messages"][2]["content"] == bad
    assert (
        "The answer does not match Person: $.age: Input should be"
        in again["messages"][3]["content"]
    )
    assert again["response_format"] == together.received[0].body["response_format"]


def test_the_cost_of_two_attempts_is_exact_in_any_decimal_context(structured):
    with localcontext() as context:
        context.prec = 2
        found = structured(
            Answer(pieces("no JSON", prompt=20)),
            Answer(pieces('{"name": "A", "age": 3}', prompt=50)),
        )
    assert found.completion.cost == Decimal("0.0000432")


def test_there_is_no_second_repair_and_nothing_is_lost(structured, together):
    with pytest.raises(AnswerUnusable, match="has no JSON in it") as caught:
        structured(Answer(pieces("")), Answer(pieces("I cannot.")))
    assert len(together.received) == 2
    assert together.received[1].body["messages"][2]["content"] == "(no answer)"
    partial = caught.value.partial
    assert (partial.text, partial.usage, partial.value) == ("I cannot.", Usage(18, 2), None)
    assert partial.notes == ("repaired once",)


def test_an_answer_cut_off_is_not_repaired(structured, together):
    cut = [frames(chunk('{"name": "An'), done=False), frames(chunk("", "length", **usage(9, 5)))]
    with pytest.raises(AnswerUnusable) as caught:
        structured(Answer(cut))
    assert len(together.received) == 1
    assert caught.value.message.startswith("The answer was cut off at ")
    assert caught.value.hint.startswith("Raise --max-tokens, or ask for less.")
    assert caught.value.partial.text == '{"name": "An'


def test_a_repair_that_fails_keeps_the_first_answer(structured):
    with pytest.raises(Unavailable) as caught:
        structured(Answer(pieces("bad")), refusal(503, {"error": {"message": "busy"}}))
    assert (caught.value.partial.text, caught.value.partial.usage) == ("bad", Usage(9, 1))


def test_a_repair_that_breaks_off_keeps_what_both_cost(structured):
    with pytest.raises(StreamBroken) as caught:
        structured(Answer(pieces("bad")), Answer([*pieces('{"na')[:1], CUT]))
    partial = caught.value.partial
    assert partial.text == '{"na'
    assert partial.usage.prompt_tokens > 18
    assert partial.cost > 19 * TOKEN


def test_a_repair_that_the_budget_forbids_keeps_the_first_answer(session, structured):
    with pytest.raises(BudgetExceeded) as caught:
        structured(Answer(pieces("bad", prompt=2000)), max_tokens=1000, budget="0.0015")
    assert caught.value.partial.text == "bad"


def test_a_repair_that_is_stopped_keeps_both(session, ask, together):
    request = session.request("Who?", model="8x7b")

    def stop_late(received):
        return Answer([*pieces('{"na')[:1], 0.1, HANG])

    def show(asked):
        if len(asked.messages) > 2:
            threading.Timer(0.5, request.control.stop.set).start()
        return ask(asked)

    together.plan = [Answer(pieces("bad")), stop_late]
    with pytest.raises(Stopped) as caught:
        ask_structured(show, request, SCHEMA)
    kept = caught.value.completion
    assert kept.text == '{"na'
    assert kept.finish == "stopped"
    assert kept.usage.prompt_tokens > 9
    assert kept.usage.estimated
    assert kept.cost > 10 * TOKEN


def test_a_cost_that_is_unknown_stays_unknown(session, ask, server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    server.plan = [Answer(pieces("bad")), Answer(pieces('{"name": "A", "age": 3}'))]
    found = ask_structured(ask, session.request("Who?", model="openai:m"), SCHEMA)
    assert found.attempts == 2
    assert found.completion.cost is None


def test_the_sum_of_a_known_and_an_unknown_cost_is_unknown(session, together):
    together.plan = [Answer(pieces("bad"))]
    known = session.ask("Who?", model="together:8x7b")
    assert known.cost
    unknown = replace(known, cost=None)
    assert both(known, known).cost == 2 * known.cost
    assert both(known, unknown).cost is None
    assert both(unknown, known).cost is None
