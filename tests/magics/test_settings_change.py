"""Settings, keys and folders that change while the kernel runs."""

from __future__ import annotations

import pytest
from server import HANG, Answer, chunk, frames, together

HELLO = Answer(together("Hello", " ", "there"))
LOST = (
    "import os, tempfile, shutil\nfolder = tempfile.mkdtemp()\nos.chdir(folder)\n"
    "shutil.rmtree(folder)"
)


def configure(desk, content: str | bytes) -> None:
    """Write the settings file."""
    file = desk.home / "config" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def model(desk, code="%mixtral Hi") -> str:
    """The model that the server was asked for."""
    ran = desk.run(code, HELLO)
    assert ran.status == "ok", ran.text
    return desk.sent["model"]


def test_the_default_model_is_what_the_setting_says_now(desk):
    assert model(desk) == "mistralai/Mixtral-8x7B-Instruct-v0.1"
    desk.run("%env MIXMAGIC_MODEL=together:one")
    assert model(desk) == "one"
    desk.run("import os\nos.environ['MIXMAGIC_MODEL'] = 'together:two'")
    assert model(desk, "import mixmagic\nmixmagic.ask('Hi')") == "two"
    assert desk.value("mixmagic.session().model") == "together:two"
    del_ = "del os.environ['MIXMAGIC_MODEL']"
    desk.run(del_)
    configure(desk, 'model = "together:three"')
    assert model(desk) == "three"
    configure(desk, 'model = "together:four"\n')
    assert model(desk, "%%mixtral\nHi") == "four"


def test_the_last_word_counts_of_a_setting_and_a_command(desk):
    desk.run("%env MIXMAGIC_MODEL=together:one")
    desk.run("%mixmagic use together:used")
    assert model(desk) == "used"
    desk.run("%env MIXMAGIC_IDLE_TIMEOUT=50")
    assert model(desk) == "used", "another setting is no word on it"
    desk.run("%env MIXMAGIC_MODEL=together:two")
    assert model(desk) == "two"
    desk.run("%mixmagic use together:used")
    assert model(desk) == "used", "the same again"


def test_live_is_followed_at_once(desk):
    many = Answer(
        [
            frames(chunk("a "), done=False),
            0.2,
            frames(chunk("b "), done=False),
            0.2,
            frames(chunk("c", "stop")),
        ]
    )
    assert "update_display_data" in desk.run("%mixtral Hi", many).kinds
    desk.run("%env MIXMAGIC_LIVE=0")
    assert "update_display_data" not in desk.run("%mixtral Hi", many).kinds
    desk.run("%env MIXMAGIC_LIVE=1")
    assert "update_display_data" in desk.run("%mixtral Hi", many).kinds


def test_timeouts_retries_and_budgets_are_followed(desk):
    assert desk.run("%mixtral Hi", HELLO).status == "ok"
    desk.run("%env MIXMAGIC_FIRST_BYTE_TIMEOUT=0.3")
    ran = desk.run("%mixtral Hi", Answer([HANG]), timeout=30)
    assert "for 0.3 s" in ran.text
    desk.run("%env MIXMAGIC_TOTAL_TIMEOUT=0.4\n%env MIXMAGIC_FIRST_BYTE_TIMEOUT=100")
    assert "TotalTimedOut" in desk.run("%mixtral Hi", Answer([HANG]), timeout=30).text
    desk.run("%env MIXMAGIC_TOTAL_TIMEOUT=100")
    spent = desk.run("%mixmagic spend").text
    configure(desk, "budget_session = 0.0000001")
    ran = desk.run("%mixtral Hi", HELLO)
    assert ran.reply["ename"] == "BudgetExceeded", ran.text
    configure(desk, "budget_session = 5")
    assert desk.run("%mixtral Hi", HELLO).status == "ok"
    assert "$5" in desk.run("%mixmagic budget").text
    assert spent.count("total") == 1, "the ledger has gone on"


def test_a_setting_that_becomes_invalid_is_two_lines_until_it_is_fixed(desk):
    assert desk.run("%mixtral Hi", HELLO).status == "ok"
    for content in (
        "model = ",
        "modle = 'local'",
        "idle_timeout = -1",
        b"model = '\xff'",
        'model = "local"'.encode("utf-16"),
        'model = "local"'.encode("utf-16-le"),
    ):
        configure(desk, content)
        for code in ("%mixtral Hi", "%mixmagic spend", "import mixmagic\nmixmagic.ask('Hi')"):
            ran = desk.run(code, HELLO)
            assert ran.reply["ename"] == "BadArguments", (content, code)
            assert len(ran.traceback) == 2
            assert "config.toml" in ran.traceback[0]
    configure(desk, b'\xef\xbb\xbfmodel = "together:marked"\r\n')
    assert model(desk) == "marked"


def test_a_new_home_is_followed(desk, tmp_path):
    assert desk.run("%mixtral Hi", HELLO).status == "ok"
    other = tmp_path / "other"
    (other / "config").mkdir(parents=True)
    (other / "config" / "config.toml").write_text('model = "together:other"')
    desk.run(f"%env MIXMAGIC_HOME={other}")
    assert model(desk) == "other"
    assert (other / "data" / "ledger.db").exists()
    assert str(other) in desk.run("%mixmagic doctor").text
    desk.run(f"%env MIXMAGIC_HOME={desk.home}")
    assert model(desk) == "mistralai/Mixtral-8x7B-Instruct-v0.1"


def test_a_key_that_is_set_or_changed_counts_for_the_next_call(desk):
    desk.run("import os\ndel os.environ['TOGETHER_API_KEY']")
    ran = desk.run("%mixtral Hi", HELLO)
    assert ran.reply["ename"] == "MissingKey"
    for code in (
        "os.environ['TOGETHER_API_KEY'] = 'first-key-0123456789'",
        "%env TOGETHER_API_KEY=second-key-0123456789",
    ):
        desk.run(code)
        assert desk.run("%mixtral Hi", HELLO).status == "ok"
        key = desk.server.received[-1].headers["authorization"].split()[-1]
        assert key in code
    desk.run("del os.environ['TOGETHER_API_KEY']")
    (desk.home.parent / ".env").write_bytes(
        b"\xef\xbb\xbfTOGETHER_API_KEY=third-key-0123456789\r\n"
    )
    assert desk.run("%mixtral Hi", HELLO).status == "ok"
    assert desk.server.received[-1].headers["authorization"].endswith("third-key-0123456789")


def test_calls_under_way_go_on_with_what_they_have_begun_with(desk):
    desk.plan(
        Answer([frames(chunk("slow"), done=False), 1.5, frames(chunk(" end", "stop"))]), HELLO
    )
    ran = desk.run(
        "import threading, mixmagic, os\nanswers = []\n"
        "thread = threading.Thread(target=lambda: answers.append(mixmagic.ask('Hi')))\n"
        "thread.start()\nwhile not mixmagic.session().running: pass\n"
        "os.environ['MIXMAGIC_IDLE_TIMEOUT'] = '50'\n"
        "answers.append(mixmagic.ask('Ho'))\nthread.join(20)"
    )
    assert ran.status == "ok", ran.text
    assert sorted(desk.value("[each.text for each in answers]")) == ["Hello there", "slow end"]


@pytest.mark.parametrize("late", [False, True])
def test_without_a_working_folder_everything_works(desk, late):
    if late:
        assert desk.run("%mixtral Hi", HELLO).status == "ok"
    desk.run(LOST)
    for code in (
        "%mixtral Hi",
        "%%mixtral -c talk\nHi {{ 1 + 1 }}",
        "import mixmagic\nmixmagic.ask('Hi')",
        "%mixtral -m local --max-tokens 3 Hi",
        "%mixtral --dry-run Hi",
        "%mixtral --as python Hi",
        "%mixmagic models",
        "%mixmagic prices",
        "%mixmagic spend",
        "mixmagic.spend()",
        "%mixmagic budget 1",
        "%reload_ext mixmagic",
    ):
        ran = desk.run(code, HELLO)
        assert ran.status == "ok", (code, ran.text)
    ran = desk.run("%mixmagic doctor", HELLO)
    assert "working folder" in ran.text
    assert "deleted" in ran.text
    ran = desk.run("%mixmagic chats save talk talk.md")
    assert len(ran.traceback) == 2
    desk.run("%cd ~")
    assert "working folder" not in desk.run("%mixmagic doctor").text
    assert desk.value("__import__('sys').path.count('')") == 1


@pytest.mark.parametrize("variable", ["MIXMAGIC_HOME", "JPY_SESSION_NAME"])
def test_a_relative_path_without_a_working_folder_is_two_lines_or_works(desk, variable):
    desk.run(LOST)
    desk.run(f"%env {variable}=here")
    ran = desk.run("%mixtral Hi", HELLO)
    assert ran.status == "ok" or len(ran.traceback) == 2, ran.text
