"""Tell secrets from the placeholders and ordinary words that local servers accept as keys."""

from __future__ import annotations

import re

# Length of the shortest secret: shorter ones are not distinctive enough to search for.
SHORTEST = 8
# Longest value that may be ordinary words, in letters; longest plain number, in digits.
_LONGEST_WORD, _LONGEST_NUMBER = 15, 11
# Fewest letters per word, on average: random letters change case more often.
_SHORTEST_WORD = 2.5
_TRIVIAL_DIGITS = 4
_SEQUENCES = tuple(
    direction
    for row in ("0123456789" * 3, "abcdefghijklmnopqrstuvwxyz" * 2, "qwertyuiop", "asdfghjkl")
    for direction in (row, row[::-1])
)
_SHORTEST_SEQUENCE = 3
# Words that documentation, examples and local servers use in place of a key.
_VOCABULARY = frozenset(
    """
    access accesstoken account actual add admin ai all allowed an and anon anonymous any anything
    api apitoken app are as at auth authentication authorization azure back backend bar basic baz
    bearer blah blank bogus care cares change changed changeme client code company cpp credential
    credentials default demo deployment dev development do does doesnt dont dummy dummykey edit
    empty end enter env environment example exists fake fakekey false field fill fireworks foo
    foobar for free from generated generation generic get goes gpt guest hello here hi hidden home
    host hosted http https id ignore ignored in insert internal invalid is it jan key keyless keys
    kobold koboldcpp lan later lit litellm llama llamacpp llamafile llm lm lmstudio local localai
    localhost locally login loopback machine matter me missing mistral mixmagic mixtral mock model
    must my myapikey mykey na nah name need needed needs never new nil no noapikey noauth nobody
    nokey nokeyneeded none nope not nothing notneeded notrequired notused null number of offline ok
    old ollama on only oobabooga open openai openrouter optional or org organization our own pass
    passwd password paste pk place placeholder please private prod production proj project provide
    provided proxy public put pwd random real redacted remove replace replaced require required
    requires root run running sample secret see self selfhosted server service set sk some something
    string stub studio support temp temporary test tester testing testkey text tgi that the this tmp
    to todo together token tokens true undefined unknown unneeded unset unused use used user
    username uses using valid value vllm void want was web webui whatever will with word world wrong
    xinference yes yet you your
    """.split()  # noqa: SIM905  # as a list it would fill a page
)
_RUNS = re.compile(r"[^\W\d_]+|\d+")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_SEPARATED = re.compile(r"[^\W_]+(?:[-_. /:'][^\W_]+)*")


def is_secret(value: str, *, typed: bool = False) -> bool:
    """Return True if a value must be redacted from all output.

    False for values of fewer than eight characters, placeholders (`sk-no-key-required`,
    `token-abc123`), ordinary words and short numbers: they protect nothing, and redacting them
    would damage ordinary text.

    Args:
        value: A value that is used as a key.
        typed: True if the user typed it when asked for a key: then even a word is a secret.

    Example:
        >>> is_secret("sk-no-key-required"), is_secret("gsk_8fK2mQ9xW2rT7uY5")
        (False, True)
    """
    value = _EDGES.sub("", value)
    if len(value) < SHORTEST or _is_placeholder(value):
        return False
    return typed or not _is_ordinary(value)


def _is_placeholder(value: str) -> bool:
    """True if a value consists of words and digits that placeholders are made of."""
    return all(map(_is_trivial, _RUNS.findall(value)))


def _is_trivial(run: str) -> bool:
    """True for a run of letters or of digits that is part of a placeholder."""
    lowered = run.lower()
    if len(set(lowered)) == 1 and (run.isdigit() or len(run) >= _SHORTEST_SEQUENCE or run in "xX"):
        return True
    if len(run) >= _SHORTEST_SEQUENCE and any(lowered in row for row in _SEQUENCES):
        return True
    if run.isdigit():
        return len(run) <= _TRIVIAL_DIGITS
    return lowered in _VOCABULARY or all(w.lower() in _VOCABULARY for w in _WORDS.findall(run))


def _is_ordinary(value: str) -> bool:
    """True for ordinary words, in any usual case, and for short numbers."""
    if not _SEPARATED.fullmatch(value):
        return False
    runs = _RUNS.findall(value)
    size = sum(map(len, runs))
    if all(map(str.isdigit, runs)):
        return size <= _LONGEST_NUMBER
    if any(map(str.isdigit, runs)):
        return False
    words = sum(len(_WORDS.findall(run)) for run in runs)
    return size <= _LONGEST_WORD and size / words >= _SHORTEST_WORD
