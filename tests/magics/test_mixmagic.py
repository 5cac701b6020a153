"""`%mixmagic` in a real kernel: the default model, the tables, the settings."""

from __future__ import annotations

import html
import json
import re
import time

import pytest
from kernels import Desk, Ran
from server import HANG, Answer, refusal, together

BIG = Answer(together("Hello", " there", prompt=1_000_000))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    nowhere = "http://127.0.0.1:9/v1"
    folder = tmp_path_factory.mktemp("desk")
    # By its full name: a set OLLAMA_HOST would be asked for a bare one.
    own = "together:8x7b"
    desk = Desk(folder, OPENAI_BASE_URL=nowhere, OLLAMA_HOST=nowhere, MIXMAGIC_MODEL=own)
    yield desk
    desk.close()


def rows(ran: Ran) -> list[list[str]]:
    """The cells of the table that a cell shows, as a person reads them."""
    assert ran.status == "ok", ran.text
    (output,) = ran.outputs
    assert set(output["data"]) == {"text/html", "text/plain"}
    lines = re.findall(r"<tr>(.*?)</tr>", output["data"]["text/html"])
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line) for line in lines]
    return [[html.unescape(re.sub(r"</?span>", "", cell)) for cell in row] for row in cells]


def listing(entries: object) -> Answer:
    """Return a provider's answer to `/models`."""
    return Answer([json.dumps(entries).encode()], type="application/json")


def test_use_changes_the_model_that_is_asked(start_kernel, together):
    kernel = start_kernel()
    together.plan = [BIG]
    said = kernel.run("%mixmagic use 8x22b")
    assert said.status == "ok"
    assert "Using together:8x22b in this session" in said.text
    assert "`%mixmagic set model 8x22b --save`" in said.text
    kernel.run("%%mixtral\nHi")
    assert together.received[-1].body["model"] == "mistralai/Mixtral-8x22B-Instruct-v0.1"
    kernel.run("%%mixtral -m disco\nHi")
    kernel.run("import mixmagic; mixmagic.ask('Hi')")
    assert [r.body["model"].partition("/")[0] for r in together.received] == [
        "mistralai",
        "DiscoResearch",
        "mistralai",
    ]


@pytest.mark.parametrize(
    ("line", "kind", "says", "hint"),
    [
        ("spent", "BadArguments", "'spent'", "Did you mean spend? `%mixmagic` lists all commands."),
        ("demo", "BadArguments", "'demo'", "`mixmagic demo` is for a shell."),
        ("docter", "BadArguments", "'docter'", "Did you mean doctor?"),
        ("use", "BadArguments", "required: MODEL", "`%mixmagic use -h` shows the options."),
        ("use 8x7", "UnknownModel", "'8x7'", "Did you mean 8x7b"),
        (
            "chats save",
            "BadArguments",
            "required: NAME, FILE",
            "`%mixmagic chats save -h` shows the options.",
        ),
        ("use a b", "BadArguments", "b", ""),
        ("models nowhere", "BadArguments", "'nowhere'", "together"),
        ("models --life", "BadArguments", "--life", "Did you mean --live?"),
        ("models --live --for code", "BadArguments", "--for and --live exclude each other", ""),
        ("budget --per day", "BadArguments", "limit is missing", "Write DOLLARS"),
        ("local", "BadArguments", "required: COMMAND", ""),
        ("spend all", "BadArguments", "all", ""),
        ("spend --mont", "BadArguments", "--mont", "Did you mean --month?"),
        ("spend --by modle", "BadArguments", "'modle'", "Did you mean model?"),
        ("spend --today --all", "BadArguments", "not allowed with", ""),
        (
            "spend --resolve --by day",
            "BadArguments",
            "--by: not allowed with argument --resolve",
            "",
        ),
        ("spend --resolve 1", "BadArguments", "cannot take '1'", "--resolve 17 0.05"),
        ("spend --resolve 1 2 3", "BadArguments", "cannot take '1 2 3'", "--resolve 17 0.05"),
        ("spend --resolve 1 nan", "BadArguments", "cannot take '1 nan'", "US dollars"),
        ("spend --resolve x 1", "BadArguments", "cannot take 'x 1'", "US dollars"),
        ("spend --resolve 9e9 1", "BadArguments", "cannot take '9e9 1'", "US dollars"),
        ("spend --resolve 1_0 1", "BadArguments", "cannot take '1_0 1'", "US dollars"),
        ("spend --resolve ١ 1", "BadArguments", "cannot take '١ 1'", "US dollars"),  # noqa: RUF001
        ("spend --resolve 1 1_0", "BadArguments", "cannot take '1 1_0'", "US dollars"),
        (f"spend --resolve {2**63} 1", "BadArguments", "cannot take", "US dollars"),
        ("spend --resolve 4711 1", "BadArguments", "number 4711 was lost", "lists those"),
    ],
)
def test_a_wrong_line_fails_in_two_lines(desk, line, kind, says, hint):
    ran = desk.run(f"%mixmagic {line}")
    assert ran.status == "error"
    assert ran.reply["ename"] == kind
    assert len(ran.traceback) == 2
    assert says in ran.traceback[0]
    assert hint in ran.traceback[1]


def test_models_lists_every_row_with_its_price_and_marks_the_default(desk):
    head, *models = rows(desk.run("%mixmagic models"))
    assert head[1:6] == ["model", "API string", "context", "$ in / M", "$ out / M"]
    assert models[0][:6] == [
        "→",
        "together:8x7b",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "32,768",
        "0.600",
        "0.600",
    ]
    assert [row[0] for row in models].count("→") == 1
    names = [row[1] for row in models]
    assert {"together:8x22b", "together:disco", "openrouter:8x7b", "local", "ollama:8x7b"} <= {
        *names
    }
    (local,) = [row for row in models if row[1] == "local"]
    assert local[4:6] == ["free", "free"]
    only = rows(desk.run("%mixmagic models fireworks"))
    assert {row[1].partition(":")[0] for row in only[1:]} == {"fireworks"}


ENTRIES = [
    {"id": "new/Model", "context_length": 4096, "pricing": {"input": 0.2, "output": 0.3}},
    {"id": "mistralai/Mixtral-8x7B-Instruct-v0.1", "pricing": {"input": 9, "output": 9}},
    {"id": "<b>evil</b>"},
    {"no": "id"},
]


@pytest.mark.parametrize(
    "answer", [ENTRIES, {"object": "list", "data": ENTRIES}], ids=["bare array", "under data"]
)
def test_live_models_asks_the_provider_and_completes_its_list(desk, answer):
    desk.plan(listing(answer))
    ran = desk.run("%mixmagic models together --live")
    _, *models = rows(ran)
    assert desk.server.received[0].path == "/v1/models"
    assert desk.server.received[0].headers["authorization"] == "Bearer canary-key-4711"
    assert "<b>" not in ran.outputs[0]["data"]["text/html"]
    assert [row[2] for row in models] == [
        "new/Model",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "<b>evil</b>",
    ]
    assert models[0][3:7] == ["4,096", "0.20", "0.30", "available"]
    assert models[1][3:7] == ["32,768", "0.60", "0.60", "available"], "our price is authoritative"
    assert models[2][4:6] == ["unknown", "unknown"]
    asked = desk.run("%%mixtral -m together:new/Model\nHi", BIG)
    assert "$0.20" in asked.text, "its price is known from now on"


def test_live_models_names_the_providers_that_failed(desk):
    desk.plan(listing(ENTRIES))
    ran = desk.run("%mixmagic models --live", timeout=90)
    assert len(rows(ran)) > 5
    (caption,) = [line for line in ran.text.splitlines() if "together: 3 models" in line]
    assert "fireworks: Fireworks AI needs an API key, and FIREWORKS_API_KEY is not set." in caption
    assert "ollama: Ollama cannot be reached" in caption


def test_live_models_fails_in_two_lines_where_its_one_provider_does(desk):
    ran = desk.run("%mixmagic models together --live", refusal(401, {"error": "no"}))
    assert ran.status == "error"
    assert ran.reply["ename"] == "KeyRejected"
    assert len(ran.traceback) == 2


def test_spend_equals_the_servers_own_count(start_kernel, together):
    kernel = start_kernel()
    counts = [(11, 3), (1_000_003, 5), (7, 2)]
    for prompt, completion in counts:
        together.plan = [Answer(answer_of(completion, prompt))]
        assert kernel.run("%%mixtral\nHi").status == "ok"
    together.plan = [Answer(answer_of(4, 100))]
    assert kernel.run("%%mixtral -m 8x22b\nHi").status == "ok"
    together.plan = [refusal(503, {})]
    assert kernel.run("%%mixtral\nHi").status == "error"
    head, small, large, total = rows(kernel.run("%mixmagic spend"))
    assert head == ["model", "calls", "failed", "tokens in", "tokens out", "cost"]
    assert small[1:] == ["4", "1", "1,000,021", "10", "$0.60002"]
    assert large[1:] == ["1", "0", "100", "4", "$0.00012"]
    assert total[1:] == ["5", "1", "1,000,121", "14", "$0.60014"]
    exact = kernel.run("print(sum(s.cost for s in mixmagic.session().ledger.spent()))")
    assert exact.status == "error", "mixmagic is not imported by its magics"
    exact = kernel.run(
        "import mixmagic; print(sum(s.cost for s in mixmagic.session().ledger.spent()))"
    )
    nanodollars = (1_000_021 + 10) * 600 + (100 + 4) * 1200
    assert exact.text.strip() == f"0.{nanodollars:09}".rstrip("0")


def test_spend_shows_the_table_at_once_and_its_plot_in_the_same_output(start_kernel, together):
    kernel = start_kernel()
    together.plan = [Answer(answer_of(10, 1_000_000))]
    nothing = kernel.run("%mixmagic spend")
    assert "update_display_data" not in nothing.kinds, "there is nothing to plot"
    assert kernel.run("%%mixtral\nHi").status == "ok"
    ran = kernel.run("%mixmagic spend --all --by notebook")
    assert ran.kinds.count("display_data") == 1
    (first,) = [message for _, message in ran.messages if message["msg_type"] == "display_data"]
    table, html = first["content"]["data"]["text/html"], ran.outputs[0]["data"]["text/html"]
    assert "<svg" not in table
    assert html.startswith(f"{table}<svg")
    assert html.endswith("</svg> ")
    head, row, total = rows(ran)
    assert (head[0], row[0], row[-1], total[-1]) == (
        *("notebook", "no notebook known", "$0.60", "$0.60"),
    )
    assert "all sessions" in ran.text
    for option, about in (("--today", "today ("), ("--month --by day", "this month (")):
        assert about in kernel.run(f"%mixmagic spend {option}").text
    in_python = kernel.run("import mixmagic; mixmagic.spend('all', by='notebook')")
    assert in_python.outputs[0]["data"]["text/plain"] == str(ran.outputs[0]["data"]["text/plain"])


def test_lost_calls_are_listed_and_settled(start_kernel, together, home):
    together.plan = [Answer([HANG])]
    dying = start_kernel()
    dying.send("%%mixtral --max-tokens 100\nHi")
    together.wait(lambda: together.received)
    dying.manager.shutdown_kernel(now=True)
    kernel = start_kernel()
    head, lost = rows(kernel.run("%mixmagic spend --resolve"))
    assert head == ["number", "when", "model", "notebook", "at most", "status"]
    assert (lost[0], lost[2], lost[-1]) == ("1", "together:8x7b", "lost")
    shown = kernel.run("%mixmagic spend --all")
    assert f"≤ {lost[4]}" in shown.text
    assert "lost calls count with their worst case" in shown.text
    settled = kernel.run("%mixmagic spend --resolve 1 $0.25")
    assert "Recorded: call 1 cost $0.25. No more lost calls." in settled.text
    after = kernel.run("%mixmagic spend --all --by status")
    assert rows(after)[1][0] == "resolved"
    assert rows(after)[1][-1] == "$0.25"
    assert "≤" not in after.text
    assert "No lost calls." in kernel.run("%mixmagic spend --resolve").text


def test_what_others_would_ask_is_one_of_the_tables(desk):
    assert "Nothing to compare" in desk.run("%mixmagic spend --elsewhere").text


def answer_of(completion: int, prompt: int) -> list[bytes]:
    """An answer of `completion` pieces, by the server's own count."""
    return together(*["x"] * completion, prompt=prompt)


def test_doctor_looks_at_everything_and_asks_for_the_models_alone(desk):
    desk.plan(Answer([b'[{"id": "a"}, {"id": "b"}]'], type="application/json"))
    _, *checks = rows(desk.run("%mixmagic doctor"))
    found = {name: (ok, detail) for ok, name, detail in checks}
    assert {name for name, (ok, _) in found.items() if ok == "ok"} == {
        *("versions", "model", "catalog", "key: Together AI", "Together AI"),
        *("data folder", "ledger", "embedded model", "front end"),
    }
    assert {ok for ok, _ in found.values()} == {"ok", "-"}
    assert "Python 3" in found["versions"][1]
    assert found["key: Together AI"][1] == "TOGETHER_API_KEY is set in the environment"
    assert "Fireworks AI (FIREWORKS_API_KEY), Google Gemini" in found["not set up"][1]
    assert str(desk.home / "data") in found["data folder"][1]
    assert "ledger.db" in found["ledger"][1]
    assert "gguf" in found["embedded model"][1]
    assert "canary-key" not in json.dumps(found)
    assert re.fullmatch(r"http://.*/v1 answers in \d+ ms, 2 models", found["Together AI"][1])
    assert [(each.method, each.path) for each in desk.server.received] == [("GET", "/v1/models")]


def test_doctor_says_what_is_to_mend(start_kernel, together, monkeypatch):
    monkeypatch.delenv("TOGETHER_API_KEY")
    ran = start_kernel(MIXMAGIC_MODEL="8x22b").run("%mixmagic doctor")
    (model,) = [row for row in rows(ran) if row[1] == "model"]
    assert model[0] == "✗"
    assert "TOGETHER_API_KEY is not set, nor is OPENROUTER_API_KEY. Use -m local" in model[2]
    assert ran.text.splitlines()[-1] == "1 to fix"


def test_doctor_names_a_provider_that_does_not_answer(session, together, monkeypatch):
    monkeypatch.setattr("mixmagic.tasks.doctor._PATIENCE", 0.3)
    together.plan = [Answer([HANG])]
    [check] = [each for each in session.doctor() if each.name == "Together AI"]
    assert (check.ok, check.detail) == (False, f"{together.url}: no answer within 0.3 s")


def test_ctrl_c_ends_the_doctor_at_once_and_in_one_line(desk):
    desk.plan(Answer([HANG]))
    sent = desk.kernel.send("%mixmagic doctor")
    desk.server.wait(lambda: desk.server.received)
    desk.kernel.interrupt()
    begun = time.monotonic()
    ran = desk.kernel.collect(sent)
    assert (ran.status, ran.traceback) == ("error", ["Stopped."])
    assert ran.replied_at - begun < 1.0


def test_config_sets_the_model_and_keeps_it_when_the_next_one_is_unknown(start_kernel, together):
    kernel = start_kernel()
    together.plan = [BIG]
    assert kernel.run('%config Mixmagic.model = "8x22b"').status == "ok"
    refused = kernel.run('%config Mixmagic.model = "8x7"')
    assert "No model is called '8x7'" in refused.text
    assert "a unicode string, not the int 5" in kernel.run("%config Mixmagic.model = 5").text
    shown = kernel.run("%config Mixmagic.model")
    assert shown.text == "'8x22b'"
    assert kernel.run("%%mixtral\nHi").status == "ok"
    assert together.received[-1].body["model"] == "mistralai/Mixtral-8x22B-Instruct-v0.1"


def test_config_local_asks_the_embedded_model(start_kernel):
    kernel = start_kernel()
    assert kernel.run('%config Mixmagic.model = "local"').status == "ok"
    ran = kernel.run("%%mixtral --max-tokens 4\nHi", timeout=120)
    assert ran.status == "ok", ran.text
    assert "local · " in ran.text
    assert " · free · " in ran.text


def test_the_settings_file_and_the_environment_name_the_model(start_kernel, together, home):
    together.plan = [BIG]
    (home / "config").mkdir()
    (home / "config" / "config.toml").write_text('model = "disco"\nlive = false\n')
    ran = start_kernel().run("%%mixtral\nHi")
    assert together.received[-1].body["model"] == "DiscoResearch/DiscoLM-mixtral-8x7b-v2"
    assert "update_display_data" not in ran.kinds
    start_kernel(MIXMAGIC_MODEL="8x22b").run("%%mixtral\nHi")
    assert together.received[-1].body["model"] == "mistralai/Mixtral-8x22B-Instruct-v0.1"


def test_a_wrong_settings_file_is_two_lines_that_name_it_until_it_is_fixed(
    start_kernel, together, home
):
    together.plan = [BIG]
    (home / "config").mkdir()
    path = home / "config" / "config.toml"
    kernel = start_kernel()
    wrong = {
        "modle = 'x'": "no setting 'modle'",
        "model = ": "cannot be read",
        "model = 5": "'model' cannot be 5",
        "live = 'yes'": "'live' cannot be 'yes'",
    }
    for text, says in wrong.items():
        path.write_text(text)
        ran = kernel.run("%%mixtral\nHi")
        assert ran.status == "error"
        assert ran.reply["ename"] == "BadArguments"
        assert len(ran.traceback) == 2
        assert says in ran.traceback[0]
        assert str(path) in ran.text, text
    path.write_text("live = false")
    assert kernel.run("%%mixtral\nHi").status == "ok"


def test_a_wrong_environment_variable_is_named(start_kernel, together):
    together.plan = [BIG]
    ran = start_kernel(MIXMAGIC_LIVE="perhaps").run("%%mixtral\nHi")
    assert ran.reply["ename"] == "BadArguments"
    assert "'perhaps'" in ran.traceback[0]
    assert "MIXMAGIC_LIVE" in ran.text


def test_a_wrong_catalog_file_is_two_lines_that_name_it(start_kernel, home):
    (home / "config" / "catalog").mkdir(parents=True)
    path = home / "config" / "catalog" / "mine.toml"
    path.write_text('name = "mine"\nbase_ulr = "http://127.0.0.1"\n')
    ran = start_kernel().run("%mixmagic models")
    assert ran.reply["ename"] == "BadArguments"
    assert len(ran.traceback) == 2
    assert str(path) in ran.text
    assert "base_ulr" in ran.text
