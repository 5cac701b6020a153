from __future__ import annotations

import copy
import inspect
import pickle
import re
import traceback
from decimal import Decimal

import pytest

from mixmagic import errors
from mixmagic.core.money import Usage
from mixmagic.errors import MixmagicError, ProviderError, Stopped, did_you_mean, one_line

TREE = [
    each
    for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, MixmagicError)
]


def test_docstring_draws_the_tree():
    """The module's docstring names every class, indented below its parent."""
    drawn: list[tuple[str, str | None]] = []
    above: list[str] = []
    for indent, name in re.findall(r"^( *)\* `(\w+)`", errors.__doc__, re.MULTILINE):
        depth = len(indent) // 4
        above[depth:] = [name]
        drawn.append((name, above[depth - 1] if depth else None))
    for name, parent in drawn:
        base = getattr(errors, name).__base__
        assert base.__name__ == (parent or base.__name__)
    assert {name for name, _ in drawn} == {each.__name__ for each in [*TREE, Stopped]}


@pytest.mark.parametrize(
    ("name", "names", "options", "says"),
    [
        ("temprature", ["seed", "temperature"], {}, "Did you mean temperature? "),
        ("TEMPERATURE", ["Temperature"], {}, "Did you mean Temperature? "),
        ("8x7", ["8x7b", "8x22b"], {"most": 2}, "Did you mean 8x7b? "),
        ("8x7", ["8x7b", "8x22b"], {"most": 2, "likeness": 0.5}, "Did you mean 8x7b or 8x22b? "),
        ("zzz", ["seed"], {}, ""),
        ("", ["seed"], {}, ""),
    ],
)
def test_a_hint_begins_with_what_is_like_the_name(name, names, options, says):
    assert did_you_mean(name, iter(names), **options) == says


@pytest.mark.parametrize("kind", TREE)
def test_every_error_shows_as_two_lines(kind):
    error = kind("The\nanswer   is\tno.", "Ask\r\nagain.")
    assert str(error) == error.message == "The answer is no."
    assert error.hint == "Ask again."
    assert error.__notes__ == ["Hint: Ask again."]
    assert error._render_traceback_() == [
        f"{kind.__name__}: The answer is no.",
        "Hint: Ask again.",
    ]


_LONG = """
from mixmagic.errors import BadArguments
message, hint = " ".join(["a-message-of-words"] * 9), " ".join(["and", "hints"] * 25)
raise BadArguments(message, hint + " https://example.invalid/" + "path/" * 40)
"""


def test_in_a_notebook_errors_fold_between_words(start_kernel):
    """JupyterLab would break long lines anywhere; the message and the hint stay one line each."""
    ran = start_kernel(bare=True).run(_LONG)
    lines = [line for shown in ran.reply["traceback"] for line in shown.split("\n")]
    assert len(lines) == 8
    assert [line.startswith("  ") for line in lines] == [i not in (0, 3) for i in range(8)]
    assert all(len(line) <= 72 or line.startswith("  https://") for line in lines)
    assert {word for line in lines for word in line.split() if "-" in word} == {
        "a-message-of-words"
    }
    assert ran.reply["evalue"] == " ".join(["a-message-of-words"] * 9)
    assert ran.traceback[1].count("and hints") == 25


def test_hint_is_part_of_a_plain_traceback():
    """A script shows the hint too, where no notebook renders the two lines."""
    shown = "".join(traceback.format_exception(MixmagicError("It broke.", "Mend it.")))
    assert shown.endswith("MixmagicError: It broke.\nHint: Mend it.\n")


def test_an_endless_message_is_cut():
    error = MixmagicError("word " * 1000, "hint " * 1000)
    assert len(error.message) == len(error.hint) == 600
    assert error.message.endswith("…")


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("", 5, ""),
        (" a \n\n b\t", 5, "a b"),
        ("12345", 5, "12345"),
        ("123456", 5, "1234…"),
        ("a\u2028b\u0085c", 9, "a b c"),
        (ValueError("no"), 9, "no"),
    ],
)
def test_one_line_folds_and_cuts(text, longest, expected):
    assert one_line(text, longest) == expected


def test_provider_error_keeps_status_and_wait():
    error = errors.RateLimited("Too many.", "Wait.", status=429, retry_after=1.5)
    assert (error.status, error.retry_after) == (429, 1.5)
    assert isinstance(error, ProviderError)
    assert ProviderError("It broke.", "Mend it.").status is None


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_survive_copies_and_other_processes(again):
    """A pool of processes sends errors home pickled."""
    error = errors.RateLimited("Too many.", "Wait.", status=429, retry_after=1.5)
    assert error.usage is None
    error.usage = Usage(9, 5, charge=Decimal("0.1"))
    error = again(error)
    assert error.usage == Usage(9, 5, charge=Decimal("0.1"))
    assert type(error) is errors.RateLimited
    assert (str(error), error.message, error.hint) == ("Too many.", "Too many.", "Wait.")
    assert (error.status, error.retry_after) == (429, 1.5)
    assert error.__notes__ == ["Hint: Wait."]


def test_stopped_is_not_swallowed_by_except_exception():
    assert issubclass(Stopped, KeyboardInterrupt)
    assert not issubclass(Stopped, Exception)


def test_stopped_shows_as_one_line_and_keeps_what_came():
    stopped = Stopped("Stopped after 3 tokens.", completion="what came")
    assert stopped._render_traceback_() == ["Stopped after 3 tokens."]
    assert stopped.completion == "what came"
    assert str(Stopped()) == "Stopped."
