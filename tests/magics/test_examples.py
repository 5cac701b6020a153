"""`--examples`: questions and answers before the prompt, in a real kernel."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import Answer, together

HELLO = Answer(together("Hello"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.run("pairs = [('good tea', 'positive'), ('bad tea', 'negative')]\nx = 1")
    yield desk
    desk.close()


TURNS = [
    {"role": "user", "content": "good tea"},
    {"role": "assistant", "content": "positive"},
    {"role": "user", "content": "bad tea"},
    {"role": "assistant", "content": "negative"},
]


def test_they_are_turns_between_the_system_prompt_and_the_prompt(desk):
    ran = desk.run("%mixtral --examples pairs -s Label it. fine tea", HELLO)
    ran = desk.run("%%mixtral --examples pairs -s Label -t 0\nfine tea {{ x }}", HELLO)
    sent = desk.sent["messages"]
    assert sent[0] == {"role": "system", "content": "Label"}
    assert sent[1:5] == TURNS
    assert sent[5]["content"].strip() == "fine tea 1"
    assert "2 examples" in ran.text


def test_they_are_in_the_dry_run_and_the_program_and_are_sent_again(desk):
    shown = desk.run("%mixtral --examples pairs --dry-run fine tea").text
    assert "2 examples" in shown
    bare = desk.run("%mixtral --dry-run fine tea").text

    def tokens(text: str) -> int:
        line = next(line for line in text.splitlines() if line.startswith("prompt"))
        return int("".join(filter(str.isdecimal, line.split("tokens")[0])))

    assert tokens(shown) > tokens(bare)
    program = desk.run("%mixtral --examples pairs --as python fine tea").text
    assert program.index("good tea") < program.index("negative") < program.index("fine tea")
    desk.run("%mixtral --examples pairs fine tea", HELLO)
    desk.run("kept, pairs = pairs, [('other', 'x')]")
    ran = desk.run("%mixtral again -t 1", HELLO)
    assert desk.sent["messages"][:4] == TURNS
    assert "2 examples" in ran.text
    desk.run("%mixtral again --examples pairs", HELLO)
    assert [each["content"] for each in desk.sent["messages"]] == ["other", "x", "fine tea"]
    desk.run("pairs = kept")


def test_a_conversation_follows_them_and_does_not_keep_them(desk):
    desk.run("%mixtral -c tea --examples pairs one", Answer(together("ONE")))
    desk.run("%mixtral -c tea --examples pairs two", HELLO)
    assert desk.sent["messages"][:4] == TURNS
    assert [each["content"] for each in desk.sent["messages"][4:]] == ["one", "ONE", "two"]
    desk.run("%mixtral -c tea three", HELLO)
    assert [each["content"] for each in desk.sent["messages"]] == [
        *("one", "ONE", "two", "Hello", "three")
    ]


def test_more_than_fit_are_cut_and_the_footer_says_so(desk):
    desk.run("many = [('tea ' * 500, 'good')] * 400")
    ran = desk.run("%mixtral --examples many fine tea", HELLO)
    count = (len(desk.sent["messages"]) - 1) // 2
    assert 5 < count < 400
    assert f"the first {count} of 400 examples, as many as fit" in ran.text


def test_keys_in_them_are_not_sent(desk):
    desk.run("secret = [('canary-key-4711', 'canary-key-4711')]")
    desk.run("%mixtral --examples secret Hi", HELLO)
    assert "canary-key-4711" not in str(desk.sent)
    assert desk.sent["messages"][0]["content"] == "[key]"


def test_with_a_schema_and_several_answers(desk):
    desk.run("schema = {'type': 'object'}")
    ran = desk.run("%mixtral --examples pairs --schema schema Hi", Answer(together('{"a": 1}')))
    assert ran.status == "ok"
    assert TURNS[0] in desk.sent["messages"]


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [
        ("--examples pair Hi", "There is no variable 'pair'", "Did you mean pairs?"),
        ("--examples x Hi", "x cannot be examples: its type is int", "a list of pairs"),
        ("--examples Hi", "The prompt is empty", ""),
    ],
)
def test_a_wrong_line_fails_in_two_lines(desk, line, says, hint):
    desk.server.received.clear()
    ran = desk.run(f"%mixtral {line}")
    assert (ran.status, len(ran.traceback)) == ("error", 2)
    assert desk.server.received == []
    if "prompt is empty" in says:
        return
    assert says in ran.traceback[0]
    assert hint in ran.traceback[1]


def test_completion_offers_what_can_be_examples(desk):
    desk.run("ip = get_ipython()")
    line = "%mixtral --examples pa"
    assert desk.value(f"ip.complete('pa', {line!r}, {len(line)})[1]") == ["pairs"]
