"""`%%mixtral --each`: a cell about each row of a table, in a real kernel."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import HANG, Answer, refusal, whole

TABLE = """\
import pandas as pd
reviews = pd.DataFrame({"text": ["good", None, "bad", "good"], "stars": [5, 1, 2, 5]},
                       index=[9, 8, 7, 6])
words = ["b", "a"]
language = "French"
Review = {"type": "object", "properties": {"label": {"type": "string"},
          "stars": {"type": "integer"}}, "required": ["label", "stars"]}
"""


def echo(request) -> Answer:
    """Answer with the prompt in capitals."""
    return whole(request.body["messages"][-1]["content"].strip().upper(), completion=3)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    assert desk.run(TABLE).status == "ok"
    yield desk
    desk.close()


@pytest.fixture(autouse=True)
def no_jobs(desk):
    """Forget the answers of the tests before."""
    forget = "import mixmagic; j = mixmagic.session().journal; [j.forget(r.id) for r in j.jobs()];"
    assert desk.run(forget).status == "ok"


def prompts(desk) -> list[str]:
    return [request.body["messages"][-1]["content"].strip() for request in desk.server.received]


def test_the_columns_and_the_variables_are_names_in_the_prompt(desk):
    ran = desk.run("%%mixtral --each reviews -o table\nIn {{ language }}: {{ text }}", echo)
    assert ran.status == "ok", ran.text
    assert sorted(prompts(desk)) == ["In French: bad", "In French: good"]
    assert desk.value("list(table.index)") == [9, 8, 7, 6]
    assert desk.value("table.dropna().tolist()") == [
        "IN FRENCH: GOOD", "IN FRENCH: BAD", "IN FRENCH: GOOD"]  # fmt: skip
    assert desk.value("(type(_).__name__, _.name)") == ("Job", "In {{ language }}: {{ text }}")
    assert "4 rows" in ran.text
    assert "IN FRENCH: BAD" in ran.text


def test_a_column_goes_before_a_variable_of_its_name(desk):
    desk.run("%%mixtral --each reviews\n{{ stars }} {{ [w for w in words if language] }}", echo)
    assert sorted(prompts(desk)) == ["1 ['b', 'a']", "2 ['b', 'a']", "5 ['b', 'a']"]
    desk.run("text = 'no'\n%mixtral --each words {{ text }}!", echo)
    assert sorted(prompts(desk)) == ["a!", "b!"]


def test_a_schema_makes_typed_columns(desk):
    good = whole('{"label": "fine", "stars": 4}')
    ran = desk.run("%%mixtral --each reviews --schema Review -o table\nRate: {{ text }}", good)
    assert ran.status == "ok", ran.text
    assert desk.value("table.dtypes.astype(str).to_dict()") == {"label": "string", "stars": "Int64"}
    assert desk.value("table.stars.dropna().tolist()") == [4, 4, 4]


def test_options_templates_and_defaults_count_for_each_row(desk):
    folder = desk.home / "config" / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "label.md").write_text(
        '+++\nsystem = "In {{ language }}."\ntemperature = 0.3\n+++\nLabel it: {{ cell }}'
    )
    desk.run("%%mixtral --each words --template label\nthe word {{ text }}", echo)
    assert sorted(prompts(desk)) == ["Label it: the word a", "Label it: the word b"]
    first = desk.server.received[0].body
    assert first["messages"][0]["content"] == "In French."
    assert first["temperature"] == 0.3
    desk.run("%mixmagic set system Be brief.\n%config Mixmagic.seed = 4")
    desk.run("%%mixtral --each words -t 0 --max-tokens 9\n{{ text }}?", echo)
    body = desk.server.received[0].body
    assert body["messages"][0]["content"] == "Be brief."
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0, 4, 9)
    desk.run("%mixmagic set system off\n%mixmagic set seed off")


def test_a_value_of_the_magic_is_the_job(desk):
    desk.run("job = %mixtral --each words --name letters {{ text }}!", echo)
    assert desk.value("job.result()") == ["B!", "A!"]
    assert "letters" in desk.run("%mixmagic jobs").text
    assert "Job" in desk.run("%mixmagic jobs show letters").text


def test_errors_are_those_of_their_rows_and_the_same_cell_goes_on(desk):
    def answer(request):
        if "bad" in request.body["messages"][-1]["content"]:
            return refusal(400, {"error": {"message": "no such thing"}})
        return echo(request)

    cell = "%%mixtral --each reviews -o table\n{{ text }}."
    ran = desk.run(cell, answer)
    assert ran.status == "ok"
    assert "no such thing" in ran.text
    assert desk.value("table.isna().tolist()") == [False, True, True, False]
    desk.run(cell, echo)
    assert prompts(desk) == ["bad."]
    assert desk.value("table.dropna().tolist()") == ["GOOD.", "BAD.", "GOOD."]


def test_ctrl_c_keeps_the_answers_and_the_same_cell_goes_on(desk):
    def answer(request):
        asked = request.body["messages"][-1]["content"]
        return echo(request) if int(asked.split()[-1]) < 5 else Answer([HANG])

    desk.run("many = [f'{n}' for n in range(30)]")
    desk.plan(answer)
    cell = "%%mixtral --each many --in-flight 8 -o found\nSay {{ text }}"
    sent = desk.kernel.send(cell)
    desk.server.wait(lambda: len(desk.server.received) == 13)
    desk.kernel.interrupt()
    ran = desk.kernel.collect(sent)
    assert ran.status == "error"
    assert "kept" in ran.text
    assert desk.value("[each for each in found if each]") == [f"SAY {n}" for n in range(5)]
    desk.run(cell, echo)
    assert len(desk.server.received) == 25
    assert desk.value("None in found") is False


def test_in_the_background_the_variable_is_the_job(desk):
    ran = desk.run("%%mixtral --each words --bg -o later\nBg {{ text }}", echo)
    assert ran.status == "ok"
    assert desk.value("later.result()") == ["BG B", "BG A"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--each words -c", "-c does not go with --each"),
        ("--each words -n 2", "-n does not go with --each"),
        ("--each words -i", "-i does not go with --each"),
        ("--each words --raw", "--raw does not go with --each"),
        ("--each words --logprobs", "--logprobs does not go with --each"),
        ("--each words -f json", "-f json does not go with --each"),
        ("--each words --refresh", "mixmagic jobs forget"),
        ("--each word", "There is no variable 'word'"),
        ("--each words --in-flight 0", "from 1 to 1,024"),
        ("--each words --schema Revue", "There is no variable 'Revue'"),
        ("--each words -t 9", "temperature"),
        ("--each language", "The rows cannot be 'French'"),
        ("--in-flight 3", "--in-flight is for the rows of a table"),
        ("--preview 5", "--preview is for the rows of a table"),
        ("--each words --preview --bg", "--bg does not go with --preview"),
        ("--each words --preview 0", "from 1 to 1,000"),
        ("--each words -o found.doc", "out cannot be found.doc"),
        ("--each none.csv", "There is no file none.csv"),
        ("--name x", "--name is for the rows of a table"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_sent(desk, line, said):
    ran = desk.run(f"%%mixtral {line}\n{{{{ text }}}}", echo)
    assert ran.status == "error"
    assert len(ran.traceback) == 2
    assert said in "\n".join(ran.traceback)
    assert desk.server.received == []


def test_a_prompt_without_a_column_is_refused(desk):
    ran = desk.run("%%mixtral --each reviews\nHello {{ language }}", echo)
    assert "The prompt names no column" in ran.text
    assert desk.server.received == []


def test_a_dry_run_shows_rows_calls_tokens_and_cost_and_sends_nothing(desk):
    desk.run("%%mixtral --each words\nSome {{ text }}", echo)
    desk.run("more = words + ['c', None, 'c', 'd']")
    desk.plan(echo)
    ran = desk.run("%%mixtral --each more --dry-run --max-tokens 10 -o plan\nSome {{ text }}")
    assert "6, 1 of them without a value" in ran.text
    assert "4 prompts" in ran.text
    assert "Nothing was sent." in ran.text
    assert desk.server.received == []
    ran = desk.run("%%mixtral --each more --dry-run -o plan\nSome {{ text }}")
    assert "4 prompts, 2 of them answered before" in ran.text
    assert desk.value("(plan.rows, plan.missing, plan.questions, plan.calls)") == (6, 1, 4, 2)
    assert desk.value("0 < plan.likely < plan.most") is True
    assert desk.server.received == []
    desk.run("%%mixtral --each more\nSome {{ text }}", echo)
    assert len(desk.server.received) == desk.value("plan.calls")
    ran = desk.run("%%mixtral --each more --dry-run\nSome {{ text }}")
    assert "cost      $0" in ran.text


def test_the_program_asks_the_same_questions(desk):
    desk.run("%mixmagic set system Be brief.")
    cell = "%%mixtral --each reviews --schema Review -t 0 --budget 2{}\nRate it:\n{{{{ text }}}}\n"
    good = whole('{"label": "fine", "stars": 4}')
    desk.run(cell.format(""), good)
    desk.run("%mixmagic set system off")
    desk.run("%mixmagic set system Be brief.")
    shown = desk.run(cell.format(" --as python"), good)
    assert desk.server.received == []
    desk.run("%mixmagic set system off")
    desk.run(shown.text, good)
    assert desk.server.received == [], "all answers are in the journal"
    assert desk.value("result.stars.dropna().tolist()") == [4, 4, 4]
    assert "`reviews` and `Review`" in shown.text
    ran = desk.run("%%mixtral --each words --as curl\n{{ text }}")
    assert "--as curl does not go with --each" in ran.text


def test_a_preview_shows_some_rows_and_the_run_does_not_pay_for_them_again(desk):
    desk.run("many = [f'word {n}' for n in range(40)]")
    ran = desk.run("%%mixtral --each many --preview 10 -o few\nSpell {{ text }}", echo)
    assert ran.status == "ok", ran.text
    assert desk.value("type(_).__name__") == "Preview"
    assert len(desk.server.received) == 10
    assert desk.value("len(few)") == 10
    assert "SPELL WORD" in ran.text
    assert "preview" in desk.run("%mixmagic jobs").text
    desk.run("%%mixtral --each many -o all_\nSpell {{ text }}", echo)
    assert len(desk.server.received) == 30
    assert desk.value("all_[39]") == "SPELL WORD 39"
    ran = desk.run("%%mixtral --each many --preview\nShout {{ text }}", echo)
    assert len(desk.server.received) == 20
    assert "SHOUT" in ran.text


def test_a_preview_is_resumed_as_the_whole_job(desk):
    desk.run("many = [f'word {n}' for n in range(30)]")
    desk.run("%%mixtral --each many --preview 10 --name spelled\nSpell {{ text }}", echo)
    ran = desk.run("%mixmagic jobs resume spelled", echo)
    assert ran.status == "ok", ran.text
    assert len(desk.server.received) == 20
    number = desk.value("mixmagic.session().journal.job('spelled').id")
    assert desk.value(f"len(mixmagic.session().jobs[{number}].result())") == 30


def test_rows_come_from_a_file_and_go_to_one(desk):
    desk.run("open('rows.csv', 'w').write('title,n\\nEmma,1\\nUlysses,2\\n')")
    ran = desk.run("%%mixtral --each rows.csv -o found.csv\nWho wrote {{ title }}?", echo)
    assert ran.status == "ok", ran.text
    assert desk.value("open('found.csv').read().splitlines()") == [
        "title,n,answer", "Emma,1,WHO WROTE EMMA?", "Ulysses,2,WHO WROTE ULYSSES?"]  # fmt: skip
    desk.run("path = 'rows.csv'")
    desk.run("%%mixtral --each path -o parts/ --dry-run\nWho wrote {{ title }}?")
    assert desk.value("__import__('os').path.exists('parts')") is False
    desk.run("%%mixtral --each path -o parts/\nWho wrote {{ title }}?", echo)
    assert desk.server.received == []
    assert desk.value("len(__import__('os').listdir('parts'))") == 1
    shown = desk.run("%%mixtral --each path -o new.csv --as python\nWho wrote {{ title }}?")
    desk.run(shown.text)
    assert desk.server.received == []
    assert desk.value("open('new.csv').read() == open('found.csv').read()") is True


def test_a_cassette_replays_the_rows_and_journals_nothing(desk):
    desk.run("%mixmagic cassette rows.cassette.jsonl --mode once")
    cell = "%%mixtral --each words -o spelled\nTape {{ text }}"
    assert desk.run(cell, echo).status == "ok"
    assert len(desk.server.received) == 2
    assert "No jobs yet" in desk.run("%mixmagic jobs").text
    desk.run("%mixmagic cassette rows.cassette.jsonl")
    desk.plan(echo)
    assert desk.run(cell).status == "ok"
    assert desk.server.received == []
    assert desk.value("spelled") == ["TAPE B", "TAPE A"]
    desk.run("%mixmagic cassette off")


def test_a_key_in_a_value_is_not_sent(desk):
    desk.run("import os; secret = ['my ' + os.environ['TOGETHER_API_KEY']]")
    desk.run("%%mixtral --each secret\nSay {{ text }}", echo)
    assert prompts(desk) == ["Say my [key]"]
