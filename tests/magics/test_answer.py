"""The request of a cell: its options, its template and its task, without a kernel."""

from __future__ import annotations

import dataclasses

import pytest

from mixmagic.magics._shell.answer import RequestBuilder
from mixmagic.magics._shell.options import Options, Question, check
from mixmagic.magics.mixtral import Mixtral

TEMPLATE = """\
+++
system = "Be brief."
task = "code"
model = "8x22b"
max_tokens = 600
stop = ["END"]
extra_body = { safe_prompt = true }
+++
Review: {{ cell }}"""


@pytest.fixture
def build(session):
    """Build the request of a `%%mixtral` cell."""
    folder = session.settings.templates
    folder.mkdir(parents=True)
    (folder / "review.md").write_text(TEMPLATE)

    def build(line: str, cell: str = "x = 1", **names: object):
        question = Question.parse(Mixtral.parser(), line, cell)
        builder = RequestBuilder(session, names, question, check(question.options, names))
        builder.expand()
        return builder.request()

    return build


def test_a_template_sets_what_the_cell_leaves_open(build):
    request = build("--template review")
    assert request.model.name == "together:8x22b"
    assert [message.text for message in request.messages] == ["Be brief.", "Review: x = 1"]
    assert request.params == {
        "max_tokens": 600,
        "stop": ["END"],
        "extra_body": {"safe_prompt": True},
        "temperature": 0.2,
    }


def test_options_of_the_cell_win_over_its_template(build):
    request = build("--template review -m disco -s 'Be long.' --max-tokens 5 -t 1")
    assert request.model.name == "together:disco"
    assert request.messages[0].text == "Be long."
    assert (request.params["max_tokens"], request.params["temperature"]) == (5, 1)
    assert request.params["stop"] == ["END"]


def test_options_are_read_and_never_changed(build):
    question = Question.parse(Mixtral.parser(), "-t 0 -i", "{{ x }}")
    with pytest.raises(dataclasses.FrozenInstanceError):
        question.options.temperature = 1
    assert question.with_options(raw=True).options == dataclasses.replace(
        question.options, raw=True
    )
    assert question.options == Options(temperature=0.0, insert=True)


def test_the_calls_of_a_cell_are_urgent_also_when_it_asks_again(build, session):
    request = build("-t 0")
    assert request.control.urgent
    assert request.again().control.urgent
    assert not session.request("Hi").control.urgent
