"""Prompts that cannot fit are refused before anything is sent; answers get what remains."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from server import Answer, chunk, frames, usage

from mixmagic.calls import tokens
from mixmagic.catalog import Catalog
from mixmagic.core.values import Delta, Message, Request
from mixmagic.errors import ContextTooLong
from mixmagic.layers.fit import fit

MIXTRAL = Catalog().resolve("8x7b")
HELLO = (Message("user", "Hello"),)  # nine tokens, with Mixtral's template
UNKNOWN = replace(MIXTRAL, tokenizer="another", context=100)


def asked(request: Request, finish: str = "stop") -> tuple[list[Request], list[Delta]]:
    """The requests that come through, and what comes back."""
    seen: list[Request] = []

    def inner(each):
        seen.append(each)
        yield Delta("Hi")
        yield Delta(finish=finish)

    with closing(fit()(inner)(request)) as deltas:
        return seen, list(deltas)


def test_what_fits_goes_through_untouched():
    for params in ({}, {"max_tokens": 5}, {"temperature": 0}):
        request = Request(MIXTRAL, HELLO, params)
        assert asked(request)[0] == [request]
        assert asked(request)[0][0].control is request.control


@pytest.mark.parametrize("context", [None, 10])
def test_a_prompt_that_leaves_one_token_fits(context):
    assert asked(Request(replace(MIXTRAL, context=context), HELLO))[0]


@pytest.mark.parametrize("context", [9, 8, 1])
def test_a_prompt_that_leaves_none_is_refused_with_its_count_and_a_cure(context):
    with pytest.raises(ContextTooLong) as caught:
        asked(Request(replace(MIXTRAL, context=context), HELLO))
    assert "too long: 9 tokens" in caught.value.message
    assert f"takes {context} with the answer" in caught.value.message
    assert "models" in caught.value.hint


def test_an_estimate_refuses_only_what_is_over_by_far():
    text = "word " * 200  # about 280 tokens by its length
    estimated = tokens.count((Message("user", text),), UNKNOWN)
    assert not estimated.exact
    assert estimated.tokens > UNKNOWN.context
    assert asked(Request(UNKNOWN, (Message("user", text),)))[0]
    with pytest.raises(ContextTooLong, match="about 1,"):
        asked(Request(UNKNOWN, (Message("user", text * 4),)))


def test_the_answer_gets_what_remains_and_the_footer_says_so_where_that_cut_it():
    request = Request(replace(MIXTRAL, context=100), HELLO, {"max_tokens": 500, "seed": 1})
    (seen,), deltas = asked(request, "length")
    assert seen.params == {"max_tokens": 91, "seed": 1}
    assert seen.control is request.control
    assert deltas[-1].note == "its context had room for 91 tokens, not 500"
    assert not any(delta.note for delta in asked(request)[1])
    assert not any(delta.note for delta in asked(replace(request, params={}), "length")[1])


def test_a_prompt_too_long_is_neither_sent_nor_recorded(start_kernel, together_tls, home):
    kernel = start_kernel()
    ran = kernel.run("%%mixtral -m 8x7b\n" + "word " * 40_000)
    assert ran.reply["ename"] == "ContextTooLong"
    assert len(ran.traceback) == 2
    assert "32,768" in ran.traceback[0]
    assert together_tls.received == []
    spent = kernel.run("import mixmagic; print(mixmagic.session().ledger.spent())")
    assert spent.text == "[]\n"


def test_the_lower_limit_reaches_the_provider(session, monkeypatch, together):
    monkeypatch.setattr(session.catalog, "resolve", lambda name: replace(MIXTRAL, context=20))
    cut = frames(chunk("Hi"), chunk("", "length", **usage(9, 11)))
    together.plan = [Answer([cut])]
    answer = session.ask("Hello", max_tokens=50)
    assert together.received[0].body["max_tokens"] == 11
    assert answer.notes == ("its context had room for 11 tokens, not 50",)
    assert "cut off at its token limit · its context had room" in answer.footer()
