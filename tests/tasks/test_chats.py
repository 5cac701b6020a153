"""Conversations: what a cell continues, what is kept of it, what is left out."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from server import Answer
from server import together as spoken

from mixmagic.calls import tokens
from mixmagic.calls.collector import Collector
from mixmagic.catalog import Catalog
from mixmagic.core.values import Delta, Image, Message, Request, Text
from mixmagic.errors import BadArguments
from mixmagic.tasks.chats import RESERVE, Cell, Chats, prompt_limit, trim, trim_note

LOCAL = Catalog().resolve("local")


def answer(text: str, finish: str = ""):
    collector = Collector(Request(LOCAL, (Message("user", "?"),)))
    collector.add(Delta(text))
    return collector.completion(finish)


def told(chats: Chats, *asked: tuple[str, str | None], name: str = "trip", run: str = "1") -> Chats:
    """The conversation, after a question of each cell; its answer is the question, in capitals."""
    for question, cell in asked:
        chats.add(name, cell and Cell(cell, run), question, answer(question.upper()))
    return chats


def sent(chats: Chats, cell: Cell | None, name: str = "trip") -> list[Message]:
    """Return the messages before the question of a cell's call."""
    return list(trim(chats.before(name, cell), [], None, words)[0])


def asked(chats: Chats, name: str = "trip") -> list[str]:
    return [each.question for each in chats.exchanges(name)]


def test_a_conversation_is_its_turns_in_order():
    chats = told(Chats(), ("one", "a"), ("two", "b"))
    assert sent(chats, Cell("c", "1")) == [
        Message("user", "one"),
        Message("assistant", "ONE"),
        Message("user", "two"),
        Message("assistant", "TWO"),
    ]
    assert chats.before("other") == ()
    assert chats.names == ("trip",)


def test_a_cell_run_again_replaces_its_own_exchange_in_place():
    """And sees what stood before it then, whatever came later."""
    chats = told(Chats(), ("one", "a"), ("two", "b"), ("three", "c"))
    again = Cell("b", "2")
    assert [m.content for m in sent(chats, again)] == ["one", "ONE"]
    assert chats.add("trip", again, "deux", answer("DEUX"))
    assert asked(chats) == ["one", "deux", "three"]
    assert [m.content for m in sent(chats, Cell("d", "1"))] == [
        *("one", "ONE", "deux", "DEUX", "three", "THREE")
    ]
    assert sent(chats, Cell("a", "2")) == []


def test_a_cell_that_asks_more_than_once_continues_itself_and_is_replaced_as_a_whole():
    chats = told(Chats(), ("one", "a"), ("loop 1", "b"), ("loop 2", "b"), ("last", "c"))
    assert asked(chats) == ["one", "loop 1", "loop 2", "last"]
    again = Cell("b", "2")
    assert len(chats.before("trip", again)) == 1
    for number, question in enumerate(["new 1", "new 2", "new 3"]):
        assert len(chats.before("trip", again)) == 1 + number
        chats.add("trip", again, question, answer("YES"))
    assert asked(chats) == ["one", "new 1", "new 2", "new 3", "last"]


def test_an_exchange_is_replaced_alone_or_its_cell_continues_if_it_is_gone():
    chats, cell = told(Chats(), ("a", "1"), ("b", "1"), ("c", "2")), Cell("1", "1")
    first, second, _ = chats.exchanges("trip")
    assert chats.add("trip", cell, "d", answer("D"), instead_of=first)
    assert asked(chats) == ["d", "b", "c"]
    assert chats.add("trip", cell, "e", answer("E"), instead_of=second)
    assert asked(chats) == ["d", "e", "c"]
    assert chats.add("trip", cell, "f", answer("F"), instead_of=first)
    assert asked(chats) == ["d", "e", "f", "c"]


def test_without_a_cell_everything_is_added_at_the_end():
    chats = told(Chats(), ("one", None), ("one", None), ("two", "a"), ("one", None))
    assert asked(chats) == ["one", "one", "two", "one"]
    assert len(chats.before("trip", None)) == 4


def test_conversations_do_not_touch_each_other():
    chats = told(told(Chats(), ("one", "a")), ("eins", "a"), name="reise", run="2")
    assert (asked(chats), asked(chats, "reise")) == (["one"], ["eins"])
    assert chats.forget("trip") == 1
    assert chats.names == ("reise",)


@pytest.mark.parametrize(
    ("finish", "mark"),
    [("stopped", "stopped"), ("broken off", "broken off"), ("length", "cut off at its token limit"),
     ("stop", ""), ("tool_calls", "")],
)  # fmt: skip
def test_an_incomplete_answer_is_kept_and_marked(finish, mark):
    chats = Chats()
    assert chats.add("trip", None, "Where?", answer("To the", finish))
    (kept,) = chats.exchanges("trip")
    assert (kept.answer, kept.mark) == ("To the", mark)


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_answer_without_text_is_not_kept_and_drops_nothing(text):
    chats = told(Chats(), ("one", "a"))
    assert not chats.add("trip", Cell("a", "2"), "uno", answer(text, "stopped"))
    assert asked(chats) == ["one"]
    assert not chats.add("new", None, "uno", answer(text, "stopped"))
    assert chats.names == ("trip",)


@pytest.mark.parametrize("name", ["", "two words", "a/b", "..", "-x", "x" * 61, "a\nb"])
def test_a_name_is_one_word(name):
    for use in (Chats().before, lambda name: Chats().add(name, None, "?", answer("Yes"))):
        with pytest.raises(BadArguments, match="cannot be called") as error:
            use(name)
        assert "one word" in error.value.hint


def test_an_unknown_conversation():
    chats = told(Chats(), ("one", "a"), name="journey")
    for use in (chats.exchanges, chats.forget):
        with pytest.raises(BadArguments, match="no conversation 'jurney'") as error:
            use("jurney")
        assert error.value.hint == "Did you mean journey? They are journey."
    with pytest.raises(BadArguments) as error:
        Chats().exchanges("x")
    assert "-c NAME" in error.value.hint


def test_threads_lose_no_exchange():
    chats = Chats()
    ready = threading.Barrier(8)

    def add(number: int) -> None:
        ready.wait(timeout=60)
        for turn in range(200):
            chats.add("trip", Cell(f"{number}", f"{turn // 100}"), f"{number}.{turn}", made)

    made = answer("Yes")
    threads = [threading.Thread(target=add, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    # The second run of each has replaced its first.
    assert sorted(asked(chats)) == sorted(f"{n}.{t}" for n in range(8) for t in range(100, 200))


FORKS = """
import os, threading
from mixmagic.catalog import Catalog
from mixmagic.calls.collector import Collector
from mixmagic.tasks.chats import Cell, Chats
from mixmagic.core.values import Delta, Image, Message, Request, Text

collector = Collector(Request(Catalog().resolve("local"), (Message("user", "?"),)))
collector.add(Delta("Yes"))
made, chats, over = collector.completion(), Chats(), threading.Event()

def add(number):
    turn = 0
    while not over.is_set():
        chats.add("trip", Cell(f"{number}.{turn % 50}", str(turn)), "?", made)
        turn += 1

threads = [threading.Thread(target=add, args=[number]) for number in range(3)]
for thread in threads:
    thread.start()
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        chats.add("child", None, "mine", made)
        os._exit(chats.names[-1] != "child")
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
over.set()
print(chats.names)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_its_own_copy_whatever_threads_were_doing():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.stdout.splitlines() == ["0"] * 20 + ["('trip',)"], ran.stderr


def words(messages) -> int:
    """A count that can be reckoned in one's head: a token a word."""
    return sum(len(message.content.split()) for message in messages)


CALL = [Message("system", "be brief"), Message("user", "and then ?")]


@pytest.mark.parametrize(
    ("room", "kept", "dropped"),
    [(None, ["one", "two", "three"], 0), (11, ["one", "two", "three"], 0),
     (10, ["two", "three"], 1), (9, ["two", "three"], 1), (8, ["three"], 2), (7, ["three"], 2),
     (6, [], 3), (5, [], 3), (1, [], 3)],
)  # fmt: skip
def test_the_oldest_exchanges_are_left_out_whole(room, kept, dropped):
    """Each has two words, a call by itself has five."""
    chats = told(Chats(), ("one", "a"), ("two", "b"), ("three", "c"))
    messages, left = trim(chats.before("trip"), CALL, room, words)
    turns = [Message(*turn) for q in kept for turn in (("user", q), ("assistant", q.upper()))]
    assert messages == (CALL[0], *turns, CALL[1])
    assert left == dropped


def test_a_long_conversation_is_counted_a_few_times_only():
    chats = told(Chats(), *((f"question {n}", None) for n in range(1000)))
    counts = []
    _, dropped = trim(chats.before("trip"), CALL, 405, lambda m: counts.append(m) or words(m))
    assert dropped == 900
    assert len(counts) <= 11


def test_the_trimmed_conversation_fits_by_the_models_own_count(session):
    """The embedded model counts: one exchange more would not fit."""
    model = session.catalog.resolve("local")
    chats = told(Chats(), *(("what is a median? " * 40 + str(n), None) for n in range(30)))

    def count(messages) -> int:
        return session.backends.count(messages, model).tokens

    room = prompt_limit(model, 500)
    exchanges = chats.before("trip")
    messages, dropped = trim(exchanges, CALL, room, count)
    assert 0 < dropped < 30
    assert tokens.count(messages, model).exact
    assert count(messages) + 500 <= model.context
    longer, _ = trim(exchanges[dropped - 1 :], CALL, None, count)
    assert count(longer) + 500 > model.context


@pytest.mark.parametrize(
    ("name", "max_tokens", "room"),
    [("8x7b", None, 32_768 - RESERVE), ("8x7b", 2_000, 30_768), ("8x7b", 40_000, 0),
     ("together:org/New", 100, None)],
)  # fmt: skip
def test_the_prompt_limit_leaves_tokens_for_the_answer(name, max_tokens, room):
    assert prompt_limit(Catalog().resolve(name), max_tokens) == room


def test_a_short_context_is_not_all_reserved():
    assert prompt_limit(replace(LOCAL, context=1_000), None) == 750


def test_the_footers_note():
    assert trim_note(0) == ""
    assert trim_note(1) == "without the oldest exchange, to fit the context"
    assert trim_note(12) == "without the 12 oldest exchanges, to fit the context"


def test_a_conversation_is_sent_and_answered(session, together):
    """The provider gets the turns, then the question; the next cell gets both."""
    chats = Chats()
    for number, question in enumerate(["Hi", "And you?"]):
        together.plan = [Answer(spoken(f"Hello {number}"))]
        cell = Cell(f"{number}", "1")
        messages, _ = trim(chats.before("c", cell), [Message("user", question)], None, words)
        chats.add("c", cell, question, session.ask(messages, model="8x7b"))
    assert [m["content"] for m in together.received[-1].body["messages"]] == [
        *("Hi", "Hello 0", "And you?")
    ]
    assert [m.content for m in sent(chats, None, "c")] == ["Hi", "Hello 0", "And you?", "Hello 1"]


def test_of_many_images_a_conversation_keeps_the_newest():
    chats = Chats()
    for number in range(4):
        image = Image(bytes([number]) * 5_000_000)
        chats.add("trip", None, (Text(f"{number}: "), image), answer("a"))
    kept = [each.question for each in chats.exchanges("trip")]
    assert kept[:2] == ["0: [image]", "1: [image]"]
    assert [content[1].data[0] for content in kept[2:]] == [2, 3]
    chats.add("trip", None, "And now?", answer("b"))
    assert [each.question for each in chats.exchanges("trip")] == [*kept, "And now?"]
    assert [each.asked for each in chats.exchanges("trip")][2:] == [
        "2: [image]",
        "3: [image]",
        "And now?",
    ]
