"""Options as other keyboards, phones and editors write them."""

from __future__ import annotations

import re

import pytest

from mixmagic.commands._parser import Parser
from mixmagic.errors import BadArguments
from mixmagic.magics.mixtral import Mixtral

DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
PARSER = Mixtral.parser()


def read(line: str) -> tuple[dict, str]:
    """The options of a line that are set, and its prompt."""
    words, prompt = PARSER.leading(line)
    given = vars(PARSER.parse_args(words)).items()
    return {name: value for name, value in given if value != PARSER.get_default(name)}, prompt


@pytest.mark.parametrize("dash", DASHES)
def test_an_option_is_read_with_any_dash(dash):
    wanted = {"max_tokens": 5, "temperature": 0}, "hi"
    for long in (dash, dash * 2, f"-{dash}", f"{dash}-"):
        assert read(f"{long}max-tokens 5 {dash}t 0 hi") == wanted, long
        assert read(f"{long}max{dash}tokens=5 {long}t 0 hi") == wanted, long
    assert read(f"--max{dash}tokens 5 -t 0 hi") == wanted
    assert read(f"{dash}n 2 {dash}c talk hi") == ({"n": 2, "chat": "talk"}, "hi")
    assert read(f"{dash}c {dash}t 0 hi") == ({"chat": "chat", "temperature": 0}, "hi")


@pytest.mark.parametrize("dash", DASHES)
def test_a_prompt_may_begin_with_a_dash_or_have_one(dash):
    for prompt in (
        f"{dash} Who is there?",
        f"{dash}Who is there?",
        f"{dash}",
        f"{dash}5 degrees",
        f"it's {dash}t 0",
        f"{dash}Bonjour, dit-il",
    ):
        assert read(f"-t 0 {prompt}") == ({"temperature": 0}, prompt)
        assert read(prompt) == ({}, prompt)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("\u2014max-token 5 hi", "--max-tokens"),
        ("\u2014modle 8x7b hi", "--model"),
        ("\u2013\u2013temprature 0 hi", "--temperature"),
        ("--max\u2011token 5 hi", "--max-tokens"),
    ],
)
def test_a_word_that_is_almost_an_option_is_refused(line, meant):
    with pytest.raises(BadArguments) as caught:
        read(line)
    assert meant in caught.value.hint


@pytest.mark.parametrize("name", ["\u2014api-key", "\u2013\u2013api\u2011key", "\u2014token"])
def test_a_key_behind_a_dash_is_refused_and_not_repeated(name):
    for line in (f"{name} sk-0123456789abcdef hi", f"{name}=sk-0123456789abcdef hi"):
        with pytest.raises(BadArguments, match="API key") as caught:
            read(line)
        assert "0123456789" not in str(caught.value) + caught.value.hint


def test_a_value_keeps_its_dash():
    assert read("-s \u2013x hi") == ({"system": "\u2013x"}, "hi")
    assert read("-s '\u2014 be brief' hi") == ({"system": "\u2014 be brief"}, "hi")
    with pytest.raises(BadArguments, match=re.escape("\u22120.5")):
        read("-t \u22120.5 hi")


@pytest.mark.parametrize(
    ("line", "system"),
    [
        ("-s \u201cbe brief\u201d hi", "be brief"),
        ("-s \u2018be brief\u2019 hi", "be brief"),
        ("-s \u201ebe brief\u201c hi", "be brief"),
        ("--system=\u201cbe brief\u201d hi", "be brief"),
        ("-s \u201cit's a \\n\u201d hi", "it's a \\n"),
        ("-s don\u2019t hi", "don\u2019t"),
        ("-s \u201cbe hi", "\u201cbe"),
        ("-s \u201c\u201d hi", ""),
    ],
)
def test_a_value_may_stand_in_curly_quotes(line, system):
    given, prompt = read(line)
    assert (given.get("system", ""), prompt) == (system, "hi")


def test_the_commands_read_any_dash_too():
    command = Parser("%mixmagic spend")
    command.add("--today", action="store_true")
    command.add("--by")
    for words in (["\u2014today", "\u2013\u2013by", "day"], ["\u2013today", "\u2014by=day"]):
        assert vars(command.parse_args(words)) == {"today": True, "by": "day"}


def test_an_expression_after_c_is_not_a_name():
    assert read("-c {{ q }}") == ({"chat": "chat"}, "{{ q }}")
    assert read("-c -- Tell me") == ({"chat": "chat"}, "Tell me")
    assert read("-c talk {{ q }}") == ({"chat": "talk"}, "{{ q }}")
