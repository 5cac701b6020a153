"""`%mixtral again`: the last prompt once more, as it was sent, with other options."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import HANG, Answer, chunk, frames, refusal, together

HELLO = Answer(together("Hello"))
JSON = Answer(together('{"a": 1}'))


@pytest.fixture
def desk(tmp_path):
    folder = tmp_path / "desk"
    folder.mkdir()
    desk = Desk(folder, MIXMAGIC_CACHE="1")
    yield desk
    desk.close()


def prompts(desk) -> list[str]:
    return [each["content"].strip() for each in desk.sent["messages"]]


def test_the_prompt_that_was_sent_is_sent_again_with_other_options(desk):
    desk.run("x = 1")
    desk.run("%%mixtral -t 0.5 --max-tokens 9 -s Brief{{x}} -o answer\nx is {{ x }}", HELLO)
    desk.run("x = 2")
    ran = desk.run("%mixtral again -t 1 --seed 3", Answer(together("Other")))
    assert ran.status == "ok", ran.text
    assert prompts(desk) == ["Brief1", "x is 1"]
    sent = desk.sent
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (1, 9, 3)
    assert desk.value("answer.text") == "Other"
    desk.run("%mixtral -m disco again", HELLO)
    assert "Disco" in desk.sent["model"]
    assert (desk.sent["temperature"], desk.sent["seed"]) == (1, 3), "changes add up"
    desk.run("y = %mixtral again -s 'Now {{ x }}'", HELLO)
    assert prompts(desk) == ["Now 2", "x is 1"]
    assert desk.value("y.text") == "Hello"
    desk.run("%mixtral again -s ''", HELLO)
    assert prompts(desk) == ["x is 1"]


def test_it_is_never_a_stored_answer(desk):
    desk.run("%mixtral -t 0 Hi", Answer(together("one")))
    assert "one" in desk.run("%mixtral -t 0 Hi", HELLO).text
    assert desk.server.received == [], "stored"
    assert "two" in desk.run("%mixtral again", Answer(together("two"))).text
    assert "two" in desk.run("%mixtral again", Answer(together("two"))).text
    assert len(desk.server.received) == 1
    assert "two" in desk.run("%mixtral -t 0 Hi", HELLO).text, "it takes the stored one's place"
    ran = desk.run("%mixtral again --cache", HELLO)
    assert "never shows a stored answer" in ran.traceback[0]
    desk.run("%mixmagic cache off")
    assert "cache" not in desk.run("%mixtral again", HELLO).text


@pytest.mark.parametrize(
    "prompt",
    [
        "again and again, why do people fail?",
        "again: explain it",
        "again?",
        "again - and now in French",
        "against all odds",
        "again -5 degrees tonight",
    ],
)
def test_prose_that_begins_with_the_word_is_a_prompt(shared, prompt):
    assert shared.run(f"%mixtral {prompt}", HELLO).status == "ok"
    assert prompts(shared) == [prompt]


def test_a_cell_of_the_word_is_a_prompt(shared):
    shared.run("%%mixtral\nagain", HELLO)
    assert prompts(shared) == ["again"]


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [
        ("again -t 1 but shorter", "takes options alone, not 'but shorter'", "below %%mixtral"),
        ("again --template x", "neither --template nor --raw", "Run the cell itself"),
        ("again --raw", "neither --template nor --raw", ""),
        ("again --tempperature 1", "--tempperature", "Did you mean --temperature?"),
        ("again -t hot", "takes a number", ""),
        ("again -t 5", "temperature cannot be 5", ""),
        ("again -f jason", "no format 'jason'", "Did you mean json?"),
    ],
)
def test_a_wrong_line_fails_in_two_lines_and_sends_nothing(shared, line, says, hint):
    shared.run("%mixtral Hi", HELLO)
    ran = shared.run(f"%mixtral {line}", HELLO)
    assert (ran.status, ran.reply["ename"]) == ("error", "BadArguments"), ran.text
    assert len(ran.traceback) == 2
    assert says in ran.traceback[0]
    assert hint in ran.traceback[1]
    assert shared.server.received == []
    shared.run("%mixtral again", HELLO)
    assert prompts(shared) == ["Hi"], "the last prompt is still the last"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("shared"))
    yield desk
    desk.close()


def test_without_a_prompt_it_says_so(desk):
    ran = desk.run("%mixtral again", HELLO)
    assert "There is no prompt to send again" in ran.traceback[0]
    assert "usage" in desk.run("%mixtral again -h").text


def test_after_a_failure_a_stop_and_an_expression_that_fails(desk):
    assert desk.run("%mixtral First", refusal(500, {"error": "down"})).status == "error"
    desk.run("%mixtral again", HELLO)
    assert prompts(desk) == ["First"]
    desk.plan(Answer([frames(chunk("slow"), done=False), HANG]))
    sent = desk.kernel.send("%mixtral Second")
    desk.kernel.collect(sent, until=lambda ran: "slow" in ran.text)
    desk.kernel.interrupt()
    desk.kernel.collect(sent)
    desk.run("%mixtral again", HELLO)
    assert prompts(desk) == ["Second"]
    assert desk.run("%mixtral Third {{ nothing }}", HELLO).status == "error"
    desk.run("nothing = 3")
    desk.run("%mixtral again", HELLO)
    assert prompts(desk) == ["Third 3"]


def test_after_a_dry_run_it_is_sent_and_it_can_be_a_dry_run(desk):
    desk.run("%mixtral --dry-run Hi", HELLO)
    assert desk.server.received == []
    desk.run("%mixtral again", HELLO)
    assert prompts(desk) == ["Hi"]
    desk.server.received.clear()
    assert "prompt" in desk.run("%mixtral again --dry-run").text
    assert "curl" in desk.run("%mixtral again --as curl").text
    assert desk.server.received == []
    desk.run("%mixtral again", HELLO)
    assert prompts(desk) == ["Hi"]


def test_it_keeps_its_place_in_a_conversation(desk):
    desk.run("%mixtral -c trip One", Answer(together("ONE")))
    desk.run("%mixtral -c trip Two", Answer(together("TWO")))
    desk.run("%mixtral again -t 1", Answer(together("two")))
    assert prompts(desk) == ["One", "ONE", "Two"]
    desk.run("%mixtral again", Answer(together("zwei")))
    assert prompts(desk) == ["One", "ONE", "Two"]
    desk.run("%mixtral -c trip Three", HELLO)
    assert prompts(desk) == ["One", "ONE", "Two", "zwei", "Three"]
    desk.run("%mixtral again -c other", HELLO)
    assert prompts(desk) == ["Three"]
    desk.run("%mixtral -c trip Four", HELLO)
    assert prompts(desk)[-3:] == ["Three", "Hello", "Four"]
    desk.run("%mixmagic chats forget trip\n%mixtral again", HELLO)
    assert prompts(desk) == ["Four"]


def test_of_a_loop_the_last_prompt_is_asked_again_and_the_others_stay(desk):
    desk.run("for q in 'ab':\n    %mixtral -c loop {{ q }}", HELLO)
    desk.run("%mixtral again", Answer(together("new")))
    assert prompts(desk) == ["a", "Hello", "b"]
    desk.run("%mixtral -c loop c", HELLO)
    assert prompts(desk) == ["a", "Hello", "b", "new", "c"]


def test_of_a_template_the_filled_prompt_and_its_options_are_sent(desk):
    folder = desk.home / "config" / "templates"
    folder.mkdir(parents=True)
    head = 'system = "S{{ x }}"\ntemperature = 0.3\npresence_penalty = 1\nmodel = "disco"'
    (folder / "t.md").write_text(f"+++\n{head}\n+++\nSay {{{{ cell }}}}.")
    desk.run("x = 1")
    desk.run("%%mixtral --template t\nHi", HELLO)
    first = desk.sent
    desk.run("x = 2")
    desk.run("%mixtral again --seed 1", HELLO)
    assert desk.sent == {**first, "seed": 1}


def test_a_format_and_a_schema_exclude_each_other(desk):
    desk.run("%mixtral -f json -o data Hi", JSON)
    desk.run("schema = {'type': 'object'}")
    assert desk.run("%mixtral again --schema schema", JSON).status == "ok"
    assert desk.run("%mixtral again -f text", JSON).status == "ok"
    assert desk.value("data.text") == '{"a": 1}'


def test_fix_and_programs(desk):
    desk.run("1/0")
    desk.run("%mixtral fix", Answer(together("```python\n1/1\n```")))
    first = prompts(desk)
    desk.run("%mixtral again -t 1", Answer(together("```python\n1/2\n```")))
    assert prompts(desk) == first
    assert desk.sent["temperature"] == 1


def test_a_default_that_has_changed_counts(desk):
    desk.run("%mixmagic set system One\n%mixtral Hi", HELLO)
    desk.run("%mixmagic set system Two\n%mixmagic use disco\n%mixtral again", HELLO)
    assert prompts(desk) == ["Two", "Hi"]
    assert "Disco" in desk.sent["model"]
