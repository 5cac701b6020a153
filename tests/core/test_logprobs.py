"""Tokens with their probabilities, as a table."""

from __future__ import annotations

from mixmagic.core.logprobs import Logprobs, TokenLogprob


def test_a_table_of_the_tokens():
    hi = TokenLogprob("Hi", -0.0513, (TokenLogprob("Hi", -0.0513), TokenLogprob("Hey", -3.0)))
    tokens = Logprobs([hi, TokenLogprob("\n", -0.69315), TokenLogprob("", 0.0)])
    assert repr(tokens).splitlines() == [
        "token  probability  instead",
        "'Hi'       95.0 %  'Hey' 5.0 %",
        "'\\n'       50.0 %",
        "?         100.0 %",
    ]


def test_a_long_answer_is_cut_and_an_empty_one_is_empty():
    assert repr(Logprobs([TokenLogprob("a", -1.0)] * 1_500)).endswith("… 1,300 more tokens")
    assert repr(Logprobs()) == "()"


def test_it_is_a_tuple_of_named_tuples():
    token = TokenLogprob("a", -0.69315)
    assert Logprobs([token]) == (token,)
    assert round(token.probability, 3) == 0.5
    assert TokenLogprob("a", 5.0).probability == 1
