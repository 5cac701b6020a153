"""The cost of all rows, given that of a few: within 10 % on real texts."""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import pydoc_data.topics
import random
from collections.abc import Callable

import pytest

from mixmagic.calls.tokens import estimate
from mixmagic.tasks.bulk.estimate import Lengths


def docstrings(*modules: str) -> list[str]:
    """Return the docstrings of some modules: real texts, a few of them very long."""
    found = []
    for name in modules:
        for value in vars(importlib.import_module(name)).values():
            of_class = vars(value).values() if isinstance(value, type) else ()
            found += [getattr(each, "__doc__", None) for each in (value, *of_class)]
    return list(dict.fromkeys(text for text in found if isinstance(text, str)))


COLUMNS: dict[str, Callable[[], list[str]]] = {
    "pandas": lambda: docstrings("pandas.core.frame", "pandas.core.series", "pandas"),
    "library": lambda: docstrings("os", "re", "ast", "asyncio", "logging", "json"),
    "topics": lambda: list(pydoc_data.topics.topics.values()),
    "packages": lambda: [
        each.metadata["Summary"] or "-" for each in importlib.metadata.distributions()
    ],
}
# Tokens of the answer to a prompt of so many tokens.
ANSWERS: dict[str, Callable[[float, random.Random], float]] = {
    "label": lambda tokens, _: 9,
    "part": lambda tokens, chance: 0.3 * tokens * chance.lognormvariate(0, 0.3),
    "summary": lambda tokens, chance: min(tokens, 80) * chance.lognormvariate(0, 0.3),
}


def costs(texts: list[str], answer: str, seed: int) -> list[float]:
    """Return the cost of each text for a tokenizer that is not the estimate's."""
    chance = random.Random(seed)
    tokens = [len(text) / (3.6 + 0.8 * chance.random()) + 12 for text in texts]
    return [each + ANSWERS[answer](each, chance) for each in tokens]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("column", COLUMNS)
def test_twenty_rows_tell_what_all_cost(column, answer):
    texts = sorted(COLUMNS[column](), key=len)
    lengths = Lengths([estimate(text) for text in texts])
    sample = lengths.sample(20)
    assert len(set(sample)) == 20
    errors, held = [], 0
    for seed in range(40):
        paid = costs(texts, answer, seed)
        found = lengths.estimate(sample, [paid[row] for row in sample])
        errors.append(found.likely / sum(paid) - 1)
        held += found.low <= sum(paid) <= found.high
    assert math.sqrt(sum(error**2 for error in errors) / 40) < 0.05
    assert max(map(abs, errors)) < 0.1
    assert held >= 34, "of 40: 38 are expected"


def test_the_order_of_the_rows_does_not_matter():
    texts = COLUMNS["library"]()
    shuffled = random.Random(1).sample(texts, len(texts))
    for each in (texts, shuffled):
        lengths = [estimate(text) for text in each]
        sample = Lengths(lengths).sample(20)
        assert sorted(lengths[row] for row in sample) == sorted(
            estimate(texts[row]) for row in Lengths(list(map(estimate, texts))).sample(20)
        )


def test_a_few_long_rows_are_in_the_sample():
    lengths = Lengths([10] * 5000 + [20_000] * 10)
    sample = lengths.sample(20)
    assert sum(row >= 5000 for row in sample) >= 5
    found = lengths.estimate(sample, [[1.0, 2000.0][row >= 5000] for row in sample])
    assert found.likely == pytest.approx(25_000)


def test_answers_of_any_length_make_a_wide_interval():
    chance = random.Random(3)
    lengths = Lengths([20] * 1000)
    held = 0
    for _ in range(40):
        paid = [chance.lognormvariate(0, 0.6) for _ in range(1000)]
        sample = lengths.sample(20)
        found = lengths.estimate(sample, [paid[row] for row in sample])
        held += found.low <= sum(paid) <= found.high
        assert found.high - found.low > 0.1 * found.likely
    assert held >= 34


def test_rows_of_another_sample_come_first_and_small_tables_are_known():
    lengths = Lengths(list(range(100)))
    assert set(lengths.sample(10, kept=[3, 50])) >= {3, 50}
    assert set(lengths.sample(2, kept=[3, 50, 97])) <= {3, 50, 97}
    assert lengths.sample(10, kept=lengths.sample(10)) == lengths.sample(10)
    assert Lengths([5, 1]).sample(20) == [0, 1]
    assert Lengths([5, 1]).estimate([0, 1], [2.0, 1.0]) == (3.0, 3.0, 3.0)
    assert Lengths([5, 1, 1]).estimate([0], [2.0]) == (6.0, 2.0, math.inf)
