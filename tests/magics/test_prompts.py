"""Prompts and outputs of `%%mixtral`, in a real kernel."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernels import Desk, notebook_client
from server import CUT, Answer, chunk, frames, together, usage

HELLO = Answer(together("Hello", " there"))
PERSON = "from dataclasses import dataclass\n@dataclass\nclass Person:\n    name: str\n    age: int"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.close()


def said(text: str) -> Answer:
    return Answer(together(text))


def asked(desk: Desk) -> str:
    """The last message that was sent."""
    return desk.sent["messages"][-1]["content"]


def refused(desk: Desk, code: str, kind: str, says: str) -> str:
    """The hint of a cell that fails in two lines and sends nothing."""
    desk.plan(HELLO)
    ran = desk.kernel.run(code)
    assert (ran.status, ran.reply["ename"]) == ("error", kind), ran.text
    assert len(ran.traceback) == 2
    assert says in ran.traceback[0]
    assert desk.server.received == []
    return ran.traceback[1]


class TestIn:
    def test_expressions_become_their_values(self, desk):
        desk.run("x = 41; names = ['a', 'b']; code = 'f{x} {{ x }}'")
        ran = desk.run(
            "%%mixtral -s 'Be {{ names[0] }}'\n{{ x + 1 }} {x} {{ code }} \\{{ x }}", HELLO
        )
        assert ran.status == "ok"
        assert desk.sent["messages"] == [
            {"role": "system", "content": "Be a"},
            {"role": "user", "content": "42 {x} f{x} {{ x }} {{ x }}\n"},
        ]

    def test_a_line_too_and_inside_a_function(self, desk):
        desk.run("%mixtral Is {{ x }} odd?", HELLO)
        assert asked(desk) == "Is 41 odd?"
        desk.run("def f(inner):\n    %mixtral {{ inner }} and {{ x }}\nf('local')", HELLO)
        assert asked(desk) == "local and 41"

    def test_raw_leaves_them(self, desk):
        desk.run("%%mixtral --raw\n{{ nowhere }}", HELLO)
        assert asked(desk) == "{{ nowhere }}\n"

    def test_what_is_unknown_or_fails_is_two_lines_and_sends_nothing(self, desk):
        hint = refused(desk, "%%mixtral\n{{ nmes }}", "BadArguments", "no variable 'nmes'")
        assert "names" in hint
        refused(desk, "%%mixtral\n{{ 1/0 }}", "BadArguments", "ZeroDivisionError")
        refused(desk, "%%mixtral\n{{ .Values.x }}", "BadArguments", "{{ .Values.x }}")

    def test_a_frame_is_cut_and_the_footer_says_so(self, desk):
        desk.run("import pandas as pd; df = pd.DataFrame({'n': range(500)})")
        ran = desk.run("%%mixtral\nDescribe {{ df }}", HELLO)
        assert "500 rows" in asked(desk)
        assert "| 19 |" in asked(desk)
        assert "| 20 |" not in asked(desk)
        assert "df cut to 20 of 500 rows" in ran.text

    def test_a_function_its_exception_and_earlier_cells(self, desk):
        desk.run("def double(n):\n    return n * 2")
        desk.run("try:\n    double(None)\nexcept TypeError as error:\n    kept = error")
        desk.run("%%mixtral\n{{ double }} {{ kept }}", HELLO)
        assert "def double(n):\n    return n * 2" in asked(desk)
        assert "TypeError: unsupported operand" in asked(desk)
        desk.run("%%mixtral -o first\nHi", HELLO)
        desk.run("%%mixtral\nAgain: {{ first }} {{ _ }}", HELLO)
        assert asked(desk) == "Again: Hello there Hello there\n"

    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
    def test_a_cell_without_double_braces_arrives_byte_for_byte(self, desk, text):
        text = re.sub(r"\{\{", "{", text.replace("\r", "").replace("\0", ""))
        if (
            not text.strip()
            or "{{" in text
            or re.search(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text)
        ):
            return
        assert desk.run(f"%%mixtral\n{text}", HELLO).status == "ok"
        assert asked(desk).removesuffix("\n") == text.removesuffix("\n")


class TestTasksTemplatesChats:
    def test_a_task_sets_the_temperature_and_says_which_model(self, desk):
        ran = desk.run("%%mixtral --task code\nHi", HELLO)
        assert desk.sent["temperature"] == 0.2
        assert "8x7b chosen for code" in ran.text
        desk.run("%%mixtral --task creative -t 0.1 -m 8x22b\nHi", HELLO)
        assert desk.sent["temperature"] == 0.1
        assert desk.sent["model"].startswith("mistralai/Mixtral-8x22B")
        refused(desk, "%%mixtral --task cod\nHi", "BadArguments", "'cod'")

    def test_what_is_too_long_for_8x7b_goes_to_8x22b(self, desk):
        ran = desk.run("%%mixtral --task chat\n" + "word " * 40_000, HELLO)
        assert desk.sent["model"].startswith("mistralai/Mixtral-8x22B"), ran.text

    def test_a_document_in_braces_counts_for_the_choice_and_is_not_cut(self, desk):
        desk.run("document = 'the quick brown fox jumps over the dog. ' * 4000")
        ran = desk.run("%%mixtral --task summarize\nSummarize: {{ document }}", HELLO)
        assert desk.sent["model"] == "mistralai/Mixtral-8x22B-Instruct-v0.1"
        assert len(desk.sent["messages"][-1]["content"].strip()) == len("Summarize: ") + 160_000 - 1
        assert "cut to" not in ran.text

    def test_a_task_leaves_a_model_that_is_named_for_the_session(self, desk):
        desk.run("%mixmagic use together:8x7b")
        ran = desk.run("%%mixtral --task analysis\nHi", HELLO)
        assert desk.sent["model"] == "mistralai/Mixtral-8x7B-Instruct-v0.1"
        assert desk.sent["temperature"] == 0.5
        assert "chosen for" not in ran.text
        desk.run("%mixmagic use 8x7b")  # the default, but now the user's choice
        desk.run("%%mixtral --task analysis\nHi", HELLO)
        assert desk.sent["model"] == "mistralai/Mixtral-8x7B-Instruct-v0.1"
        desk.run("import mixmagic; mixmagic.session().model = None  # for the other tests")

    def test_a_template(self, desk):
        folder = desk.home / "config" / "templates"
        folder.mkdir(parents=True)
        head = '+++\nsystem = "You review."\ntask = "code"\nmax_tokens = 50\n+++\n'
        (folder / "review.md").write_text(head + "Review for {{ who }}:\n{{ cell }}")
        desk.run("who = 'Ann'")
        ran = desk.run("%%mixtral --template review -t 0\nx = {{ who }} {}", HELLO)
        assert ran.status == "ok", ran.text
        assert desk.sent["messages"][0] == {"role": "system", "content": "You review."}
        assert asked(desk) == "Review for Ann:\nx = Ann {}"
        assert (desk.sent["temperature"], desk.sent["max_tokens"]) == (0, 50)
        hint = refused(desk, "%%mixtral --template reviw\nHi", "BadArguments", "'reviw'")
        assert "review" in hint
        assert "review" in desk.run("%mixmagic templates").text

    def test_a_template_that_needs_no_cell_is_a_line(self, desk):
        folder = desk.home / "config" / "templates"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "daily.md").write_text("What is {{ 6 * 7 }}?")
        assert desk.run("%mixtral --template daily", HELLO).status == "ok"
        assert asked(desk) == "What is 42?"

    @pytest.mark.parametrize(
        ("text", "kind", "says"),
        [
            ("{{ nowhere }}", "BadArguments", "no variable 'nowhere'"),
            ('+++\nsystem = "{{ 1 / 0 }}"\n+++\nHi', "BadArguments", "ZeroDivisionError"),
            ('+++\nmodel = "8x7"\n+++\nHi', "UnknownModel", "No model is called '8x7'"),
        ],
    )
    def test_what_is_wrong_with_a_template_names_its_file(self, desk, text, kind, says):
        folder = desk.home / "config" / "templates"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "wrong.md").write_text(text)
        for each in (f"{kind}: {folder / 'wrong.md'}: ", says):
            refused(desk, "%%mixtral --template wrong\nHi", kind, each)

    def test_a_conversation_goes_on_and_a_cell_alone_does_not(self, desk):
        desk.run("%%mixtral -c tea\nI like tea.", HELLO)
        desk.run("%%mixtral --chat tea -t 0\nWhat do I like?", HELLO)
        assert [m["content"].strip() for m in desk.sent["messages"]] == [
            "I like tea.",
            "Hello there",
            "What do I like?",
        ]
        desk.run("%%mixtral\nAlone?", HELLO)
        assert len(desk.sent["messages"]) == 1
        assert "tea" in desk.run("%mixmagic chats").text
        assert "I like tea." in desk.run("%mixmagic chats show tea").text
        desk.run("%mixmagic chats forget tea")
        desk.run("%%mixtral -c tea\nAnd now?", HELLO)
        assert len(desk.sent["messages"]) == 1

    def test_what_a_conversation_has_no_room_for_is_left_out(self, desk):
        long = "word " * 14_000
        desk.run(f"%%mixtral -c long\n{long}", HELLO)
        desk.run(f"%%mixtral -c long\n{long}", HELLO)
        ran = desk.run("%%mixtral -c long --max-tokens 8000\nAnd?", HELLO)
        assert len(desk.sent["messages"]) == 3
        assert "without the oldest exchange" in ran.text, ran.text

    def test_models_for_a_purpose(self, desk):
        assert "8x22b" in desk.run("%mixmagic models --for long documents").text


class TestOut:
    @pytest.mark.parametrize(
        ("form", "text", "value"),
        [
            ("text", "# Not *set*", None),
            ("code", "So:\n```python\nx = 1\n```\nDone.", "x = 1"),
            ("json", 'Here: {"a": [1, 2]}', {"a": [1, 2]}),
            ("latex", "$x^2$", "$x^2$"),
            ("markdown", "**b**", None),
        ],
    )
    def test_a_format_tells_the_model_and_gives_a_value(self, desk, form, text, value):
        ran = desk.run(f"%%mixtral -f {form} -o got\nHi", said(text))
        assert ran.status == "ok", ran.text
        told = desk.sent["messages"][0]["role"] == "system"
        assert told == (form != "markdown")
        assert desk.value("got if type(got) in (dict, str) else got.value") == value
        assert desk.value("_.text if hasattr(_, 'text') else None") in (text, None)

    def test_a_value_may_be_nothing(self, desk):
        desk.run("%%mixtral -f json -o nothing\nHi", said("null"))
        assert desk.value("nothing") is None

    def test_a_table_is_a_frame(self, desk):
        desk.run("%%mixtral -f table -o t\nHi", said("| a | b |\n|---|---|\n| 1 | x |\n| 2 | y |"))
        assert desk.value("(t.shape, list(t.columns), int(t.a.sum()))") == ((2, 2), ["a", "b"], 3)

    def test_an_answer_that_is_not_in_its_form_is_kept_and_fails_the_cell(self, desk):
        ran = desk.run("%%mixtral -f json -o raw\nHi", said("no JSON, sorry"))
        assert ran.reply["ename"] == "AnswerUnusable"
        assert len(ran.traceback) == 2
        assert "no JSON, sorry" in ran.text
        assert desk.value("(raw.text, raw.cost is not None)") == ("no JSON, sorry", True)

    def test_an_unknown_format_and_both_forms_are_refused(self, desk):
        assert "json" in refused(desk, "%%mixtral -f jsn\nHi", "BadArguments", "'jsn'")
        desk.run(PERSON)
        refused(desk, "%%mixtral -f json --schema Person\nHi", "BadArguments", "exclude each other")
        hint = refused(desk, "%%mixtral --schema Persn\nHi", "BadArguments", "'Persn'")
        assert "Person" in hint

    def test_a_schema_gives_an_instance_after_one_repair(self, desk):
        desk.run(PERSON)
        desk.plan(said('{"name": "Ann"}'), said('{"name": "Ann", "age": 3}'))
        ran = desk.kernel.run("%%mixtral --schema Person -o who\nWho?")
        assert ran.status == "ok", ran.text
        assert desk.value("(who.name, who.age, type(who).__name__)") == ("Ann", 3, "Person")
        first, second = desk.server.received
        assert first.body["response_format"]["type"] == "json_schema"
        assert "age" in second.body["messages"][-1]["content"]
        assert "repaired once" in ran.text
        assert desk.value("(_ is who, Out[max(Out)].usage.prompt_tokens)") == (False, 18)

    def test_a_second_failure_is_the_last(self, desk):
        desk.run(PERSON)
        desk.plan(said("{}"))
        ran = desk.kernel.run("%%mixtral --schema Person -o who\nWho?")
        assert ran.reply["ename"] == "AnswerUnusable"
        assert len(desk.server.received) == 2
        assert desk.value("who.text") == "{}"

    def test_the_embedded_model_keeps_to_a_schema(self, desk):
        desk.run(PERSON)
        ran = desk.run("%%mixtral -m local --schema Person -o who -t 0\nWho is Ann, aged 3?")
        assert ran.status == "ok", ran.text
        assert desk.value("(type(who.name), type(who.age))".replace("type(", "str(type(")
                          .replace("name)", "name))").replace("age)", "age))")) == (
            "<class 'str'>", "<class 'int'>")  # fmt: skip

    def test_a_stopped_and_a_broken_answer_are_bound(self, desk):
        half = [frames(chunk("Half"), chunk(" an"), done=False), CUT]
        ran = desk.run("%%mixtral -o half -c broken\nHi", Answer(half))
        assert ran.reply["ename"] == "StreamBroken"
        assert desk.value("(half.text, half.finish)") == ("Half an", "broken off")
        assert "broken off" in desk.run("%mixmagic chats show broken").text

    def test_code_becomes_a_new_cell(self, desk):
        ran = desk.run("%%mixtral -i\nHi", said("Do\n```python\nmade = 1\n```"))
        (payload,) = ran.reply["payload"]
        assert (payload["source"], payload["text"]) == ("set_next_input", "made = 1")
        assert desk.value("'made' in globals()") is False

    def test_fix_sends_the_last_failure_and_offers_the_fixed_cell(self, desk):
        desk.run("total = 1\ntotal / 0")
        ran = desk.run("%mixtral fix", said("It divides by zero.\n```python\ntotal / 1\n```"))
        assert "total / 0" in asked(desk)
        assert "ZeroDivisionError: division by zero" in asked(desk)
        assert [each["text"] for each in ran.reply["payload"]] == ["total / 1"]
        assert desk.run("%mixtral fix my day", HELLO).status == "ok"
        assert asked(desk) == "fix my day"

    def test_several_answers_stand_one_under_the_other(self, desk):
        def piece(index: int, text: str | None, finish: str | None = None, **more):
            each = chunk(text, finish, **more)
            each["choices"][0]["index"] = index
            return each

        steps = [piece(0, "One"), piece(1, "Two"), piece(0, None, "stop")]
        steps.append(piece(1, None, "stop", **usage(9, 2)))
        ran = desk.run("%%mixtral -n 2 -o both\nHi", Answer([frames(*steps)]))
        assert desk.sent["n"] == 2
        assert desk.value("(both.text, both.others, both.usage.completion_tokens)") == (
            "One",
            ("Two",),
            2,
        )
        assert "Answer 1 of 2:\nOne\n\nAnswer 2 of 2:\nTwo" in ran.text
        broken = desk.run("%%mixtral -n 2\nHi", Answer([frames(*steps[:-1], done=False)]))
        assert broken.reply["ename"] == "StreamBroken", "the second answer did not end"

    def test_several_answers_of_the_embedded_model(self, desk):
        ran = desk.run("%%mixtral -m local -n 2 --max-tokens 5 -t 1 -o both\nHi")
        assert ran.status == "ok", ran.text
        assert desk.value("(len(both.others), 2 < both.usage.completion_tokens <= 10)") == (1, True)

    def test_the_same_request_as_a_program(self, desk):
        desk.plan(HELLO)
        ran = desk.kernel.run("%%mixtral --as curl -t 0\nIt's")
        assert ran.text.startswith("curl ")
        assert "canary" not in ran.text
        assert desk.server.received == []
        refused(desk, "%%mixtral --as cobol\nHi", "BadArguments", "'cobol'")

    def test_a_static_notebook_has_one_output(self, desk, together_url):
        client = notebook_client(
            "%load_ext mixmagic", "%%mixtral -f json\nHi", "%%mixtral -n 2\nHi"
        )
        client.execute(cleanup_kc=True)
        assert [len(cell.outputs) for cell in client.nb.cells[1:]] == [1, 1]


class TestHostile:
    """Cases that a hostile review found."""

    def test_a_key_among_the_values_is_taken_out(self, desk):
        desk.run("import os")
        key = "{{ os.environ['TOGETHER_API_KEY'] }}"
        shown = desk.run(f"%%mixtral --as curl\nUse {key}")
        assert "canary-key" not in shown.text
        desk.run(f"%%mixtral -c secret\nUse {key} and {{{{ dict(os.environ) }}}}", HELLO)
        assert "canary-key" not in asked(desk)
        assert "canary-key" not in desk.run("%mixmagic chats show secret").text
        desk.plan(HELLO)
        ran = desk.kernel.run("%%mixtral\n{{ open(os.environ['TOGETHER_API_KEY']) }}")
        assert ran.reply["ename"] == "BadArguments"
        assert "canary-key" not in ran.text

    def test_as_shows_the_body_that_a_schema_makes(self, desk):
        desk.run(PERSON)
        shown = desk.run("%%mixtral --schema Person --as curl\nWho?").text
        assert '"response_format"' in shown
        assert "fits this JSON Schema" in shown

    def test_all_answers_are_shown_in_every_form(self, desk):
        def both(text: str) -> Answer:
            first, second = chunk(text, "stop"), chunk("Second", "length", **usage(9, 2))
            second["choices"][0]["index"] = 1
            return Answer([frames(first, second)])

        for form, text in (("json", "[1]"), ("table", "|a|\n|-|\n|1|"), ("latex", "$x$")):
            ran = desk.run(f"%%mixtral -n 2 -f {form}\nHi", both(text))
            assert ran.status == "ok", ran.text
            for kind, shown in ran.outputs[-1]["data"].items():
                assert "Second" in str(shown), (form, kind)
            assert "cut off at its token limit" in ran.text

    def test_a_template_is_read_before_its_cell(self, desk):
        folder = desk.home / "config" / "templates"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "who.md").write_text(
            '+++\nsystem = "You help {{ who }}."\nmodel = "local"\n+++\n{{ cell }}'
        )
        desk.run("who = 'Ann'; big = 'word ' * 20_000")
        ran = desk.run("%%mixtral --template who --max-tokens 2 -o small\n{{ big }}", timeout=120)
        assert ran.status == "ok", ran.text
        assert "big cut" in ran.text
        assert desk.value("small.request.messages[0].content") == "You help Ann."

    def test_values_of_options_are_read_as_a_shell_reads_them(self, desk):
        desk.run("%%mixtral --system='Be brief' --stop=\"THE END\"\nHi", HELLO)
        assert desk.sent["messages"][0]["content"] == "Be brief"
        assert desk.sent["stop"] == ["THE END"]

    def test_notes_are_not_doubled_in_a_repair_round(self, desk):
        desk.run(PERSON)
        desk.plan(said("{}"), said('{"name": "Ann", "age": 3}'))
        ran = desk.kernel.run("%%mixtral --task code --schema Person\nWho?")
        assert ran.text.count("chosen for code") == 1

    @pytest.mark.parametrize("file", ["~nobody1234/x.md", "a\0b.md"])
    def test_a_chat_is_not_saved_where_nothing_can_be(self, desk, file):
        desk.run("%%mixtral -c kept\nHi", HELLO)
        ran = desk.run(f"get_ipython().run_line_magic('mixmagic', 'chats save kept ' + {file!r})")
        assert ran.reply["ename"] == "StoreError", ran.text
        assert len(ran.traceback) == 2

    def test_an_empty_conversations_name_is_refused(self, desk):
        refused(desk, "%%mixtral --chat=\nHi", "BadArguments", "''")

    def test_a_question_in_a_loop_is_asked(self, desk):
        desk.run("for c in 'ab':\n    %mixtral Is {{ c }} a letter?", HELLO)
        assert [each.body["messages"][0]["content"] for each in desk.server.received] == [
            "Is a a letter?",
            "Is b a letter?",
        ]

    def test_a_stop_inside_an_expression_is_one_line(self, desk):
        desk.run("import time; begun = []")
        desk.plan(HELLO)
        sent = desk.kernel.send("%%mixtral\n{{ print('begun', flush=True) or time.sleep(60) }}")
        desk.kernel.collect(sent, until=lambda ran: "begun" in ran.text)
        desk.kernel.interrupt()
        ran = desk.kernel.collect(sent)
        assert ran.traceback == ["Stopped."]
        assert desk.server.received == []

    def test_a_stop_while_an_answer_is_parsed_keeps_it(self, desk):
        desk.run(
            "import time\nfrom dataclasses import replace\n"
            "from mixmagic.display import formats\n"
            "slow = replace(formats.FORMATS['json'],"
            " parse=lambda text: print('parsing', flush=True) or time.sleep(60))\n"
            "formats.FORMATS = {**formats.FORMATS, 'json': slow}"
        )
        desk.plan(said("[1]"))
        sent = desk.kernel.send("%%mixtral -f json -o late -c late\nHi")
        desk.kernel.collect(sent, until=lambda ran: "parsing" in ran.text)
        desk.kernel.interrupt()
        ran = desk.kernel.collect(sent)
        assert ran.reply["ename"] == "Stopped"
        assert len(ran.traceback) == 1
        assert desk.value("late.text") == "[1]"
        assert "[1]" in desk.run("%mixmagic chats show late").text


@pytest.fixture
def together_url(together):
    together.plan = [said('{"a": 1}'), Answer(together_of("x"))]


def together_of(*texts: str):
    return together(*texts)


def test_options_names_and_commands_are_completed(desk):
    def offered(code: str) -> list[str]:
        reply = desk.kernel.client.complete(code, len(code))
        while True:
            message = desk.kernel.client.get_shell_msg(timeout=30)
            if message["parent_header"]["msg_id"] == reply:
                return message["content"]["matches"]

    assert "--max-tokens" in offered("%%mixtral --max-t")[0]
    assert any("8x22b" in each for each in offered("%%mixtral -m together:8x2"))
    assert any("latex" in each for each in offered("%%mixtral -f la"))
    assert any("creative" in each for each in offered("%%mixtral --task cre"))
    assert any("curl" in each for each in offered("%%mixtral --as c"))
    assert any("templates" in each for each in offered("%mixmagic templ"))
    desk.run("some_long_name = 1")
    assert any("some_long_name" in each for each in offered("%%mixtral\nSee {{ some_lo"))


def test_the_manual_is_readable(desk):
    told = desk.kernel.run("%%mixtral?").reply["payload"][0]["data"]["text/plain"]
    for word in ("prompt:", "--schema", "{{ expression }}", "%mixtral fix", "--dry-run"):
        assert word in told
    assert "%%%%" not in told
