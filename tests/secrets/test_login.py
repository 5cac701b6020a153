"""`%mixmagic login` in a real kernel, with a keyring that is a file."""

from __future__ import annotations

import json
import os
import queue
from pathlib import Path
from typing import Any

import pytest
from canary import KEY, files, leaks
from command_lines import shown
from kernels import Kernel, Ran, notebook_client
from server import Answer, Received, Server, refusal, whole

from mixmagic.errors import StoreError

pytestmark = pytest.mark.kernel

BACKEND = """
import json, os, pathlib
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError

FILE = pathlib.Path(__file__).with_name("kept.json")

class Foreign(Exception):  # as those of pywin32 and of SecretService: of no family
    pass

KINDS = {"locked": KeyringLocked, "system": OSError, "foreign": Foreign, "stop": KeyboardInterrupt}

class Keyring(KeyringBackend):
    priority = 1

    def _kept(self):
        trouble = pathlib.Path(__file__).with_name("trouble")
        if trouble.exists():
            kind, words = trouble.read_text().split(" ", 1)
            raise KINDS[kind](words)
        return json.loads(FILE.read_text()) if FILE.exists() else {}

    def get_password(self, service, name):
        return self._kept().get(f"{service} {name}")

    def set_password(self, service, name, password):
        FILE.write_text(json.dumps(self._kept() | {f"{service} {name}": password}))

    def delete_password(self, service, name):
        kept = self._kept()
        del kept[f"{service} {name}"]
        FILE.write_text(json.dumps(kept))
"""
# As where the package is not installed: in every import system's own words.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "keyring":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""
GUARDED = Answer([b'[{"id": "a"}, {"id": "b"}]'], type="application/json")


def guarded(request: Received) -> Answer:
    """Answer with a list of models if the key is right; otherwise echo it in a refusal."""
    sent = request.headers["authorization"]
    return GUARDED if sent == f"Bearer {KEY}" else refusal(401, {"error": f"Who is {sent}?"})


class Place:
    """A kernel without keys, the server, and the keyring's file."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.server, self.folder = Server(), folder
        self.kept, self.trouble = folder / "kept.json", folder / "trouble"
        (folder / "file_keyring.py").write_text(BACKEND)
        env = {
            "PYTHONPATH": str(folder),
            "PYTHON_KEYRING_BACKEND": "file_keyring.Keyring",
            "MIXMAGIC_HOME": str(folder / "home"),
            "TOGETHER_BASE_URL": self.server.url,
            "MIXMAGIC_MAX_RETRIES": "0",
            "IPYTHONDIR": str(folder / "ipython"),
            **env,
        }
        self.kernel = Kernel({**os.environ, **env}, str(folder))
        assert self.kernel.run("%load_ext mixmagic").status == "ok"

    def login(self, typed: str, provider: str = "together", answer: Any = guarded) -> Ran:
        """Run `%mixmagic login` and answer its prompt."""
        self.server.plan, self.server.received[:] = [answer], []
        sent = self.kernel.send(f"%mixmagic login {provider}")
        asks = self.kernel.client.get_stdin_msg(timeout=5)
        assert asks["content"]["password"] is True, "what is typed is not shown"
        self.prompt = asks["content"]["prompt"]
        assert "not shown" in self.prompt
        self.kernel.client.input(typed)
        ran = self.kernel.collect(sent)
        assert leaks(repr(ran.messages), repr(ran.reply)) == []
        return ran

    def ask(self, answer: str = "Hi") -> Ran:
        self.server.plan, self.server.received[:] = [whole(answer)], []
        return self.kernel.run("%%mixtral\nHello")

    def close(self) -> None:
        self.kernel.close()
        self.server.close()


def two_lines(ran: Ran, kind: str) -> str:
    assert ran.status == "error"
    assert ran.reply["ename"] == kind, ran.text
    assert len(ran.traceback) == 2
    return " ".join(ran.traceback)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("login"))
    yield made
    made.close()


@pytest.fixture
def empty(place):
    """The same kernel, with an empty keyring."""
    place.trouble.unlink(missing_ok=True)
    assert place.kernel.run("%mixmagic logout together").status == "ok"
    place.kept.write_text("{}")
    return place


def test_a_key_that_the_provider_accepts_is_stored_and_used(empty):
    assert "is not set" in two_lines(empty.ask(), "MissingKey")
    ran = empty.login(f"  {KEY}\n")
    assert ran.status == "ok", ran.text
    assert "Together AI accepts the key (2 models)" in ran.text
    assert {each.path for each in empty.server.received} == {"/v1/models"}
    assert json.loads(empty.kept.read_text()) == {"mixmagic together": KEY}
    assert empty.ask(f"You sent {KEY}").text.startswith("You sent [key]")
    assert empty.server.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert "in the keyring" in empty.kernel.run("%mixmagic doctor").text


def test_a_login_and_a_logout_take_effect_at_once(empty):
    """The presence of a key is remembered for a minute."""
    import_it = "import mixmagic; session = mixmagic.session()"
    look = f"{import_it}\nprint(session.available(session.catalog.providers['together']))"
    assert empty.kernel.run(look).text.strip() == "False"
    empty.login(KEY)
    assert empty.kernel.run(look).text.strip() == "True"
    assert empty.kernel.run("%mixmagic logout together").status == "ok"
    assert empty.kernel.run(look).text.strip() == "False"


def test_logout_deletes_it_and_another_kernel_s_login_restores_it(empty):
    empty.login(KEY)
    ran = empty.kernel.run("%mixmagic logout together")
    assert "Together AI: the key has been removed" in ran.text
    assert json.loads(empty.kept.read_text()) == {}
    assert "is not set" in two_lines(empty.ask(), "MissingKey")
    assert empty.server.received == []
    assert empty.kernel.run("%mixmagic logout together").status == "ok", "there is none to take"
    empty.kept.write_text(json.dumps({"mixmagic together": KEY}))
    assert empty.ask().status == "ok"


def test_a_key_that_the_provider_refuses_is_not_stored(empty):
    said = two_lines(empty.login("canary-wrong"), "KeyRejected")
    assert "Together AI answered 401" in said
    assert "canary" not in said
    assert json.loads(empty.kept.read_text()) == {}
    assert "is not set" in two_lines(empty.ask(), "MissingKey")


def test_a_refused_key_does_not_replace_the_stored_one(empty):
    empty.login(KEY)
    empty.login("canary-wrong")
    assert json.loads(empty.kept.read_text()) == {"mixmagic together": KEY}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [(GUARDED, "lists 2 models, but does not say if"),
     (refusal(400, {"error": "API key not valid"}), "accepts the key (2 models)"),
     (refusal(429, {}), "does not say if"), (refusal(500, {}), "does not say if")],
    ids=["a list for anybody", "400", "429", "500"],
)  # fmt: skip
def test_a_key_is_reported_accepted_only_if_a_wrong_one_is_refused(empty, wrong, says):
    def answer(request: Received) -> Answer:
        return GUARDED if request.headers["authorization"] == f"Bearer {KEY}" else wrong

    ran = empty.login(KEY, answer=answer)
    assert ran.status == "ok", ran.text
    assert says in ran.text
    assert json.loads(empty.kept.read_text()) == {"mixmagic together": KEY}, "it is kept"
    sent = [each.headers["authorization"] for each in empty.server.received]
    assert sent == [f"Bearer {KEY}", "Bearer mixmagic-checks-this"]


@pytest.mark.parametrize(
    ("typed", "kind", "says"),
    [("", "BadArguments", "There is no key"), ("  ", "BadArguments", "There is no key"),
     ("canary and more", "MissingKey", "characters that are not valid in a key")],
)  # fmt: skip
def test_an_impossible_key_is_not_sent(empty, typed, kind, says):
    assert says in two_lines(empty.login(typed), kind)
    assert empty.server.received == []
    assert json.loads(empty.kept.read_text()) == {}


def test_ctrl_c_while_the_key_is_asked_for(empty):
    sent = empty.kernel.send("%mixmagic login together")
    empty.kernel.client.get_stdin_msg(timeout=5)
    empty.kernel.interrupt()
    ran = empty.kernel.collect(sent)
    assert (ran.status, ran.traceback) == ("error", ["Stopped."])
    assert empty.kernel.run("1 + 1").text == "2"


def test_ctrl_c_while_the_keyring_asks_to_be_unlocked(empty):
    empty.trouble.write_text("stop it")
    ran = empty.kernel.run("%mixmagic login together")
    assert (ran.status, ran.traceback) == ("error", ["Stopped."])


@pytest.mark.parametrize(
    "trouble",
    ["locked It is locked.", "system No bus", f"system has {KEY}", f"foreign has {KEY}"],
)
def test_a_keyring_that_fails_is_noticed_before_the_key_is_typed_and_the_kernel_keeps_it(
    empty, trouble
):
    empty.trouble.write_text(trouble)
    ran = empty.login(KEY)
    assert ran.status == "ok", ran.text
    assert "for this kernel only" in empty.prompt
    assert "No keyring can be used here" in ran.text
    assert "It is in this kernel's memory" in ran.text
    assert "set TOGETHER_API_KEY in the environment, or in a file .env" in ran.text
    assert empty.ask().status == "ok"
    assert empty.server.received[0].headers["authorization"] == f"Bearer {KEY}"
    assert "kept in this kernel" in empty.kernel.run("%mixmagic doctor").text
    assert not empty.kept.exists() or json.loads(empty.kept.read_text()) == {}
    assert empty.kernel.run("%mixmagic logout together").status == "ok"
    assert "keyring cannot be used" in two_lines(
        empty.kernel.run("%mixmagic logout together"), "StoreError"
    )
    assert "is not set" in two_lines(empty.ask(), "MissingKey"), "asking goes on without"
    doctor = empty.kernel.run("%mixmagic doctor")
    assert doctor.status == "ok"
    assert "Together AI (TOGETHER_API_KEY)" in doctor.text


def test_a_key_is_kept_in_the_kernel_alone_on_demand(empty):
    ran = empty.login(KEY, provider="together --kernel")
    assert "Together AI accepts the key (2 models). It is in this kernel's memory" in ran.text
    assert json.loads(empty.kept.read_text()) == {}
    assert empty.ask().status == "ok"
    ran = empty.login(KEY)
    assert "It is in the system's keyring" in ran.text
    assert json.loads(empty.kept.read_text()) == {"mixmagic together": KEY}
    empty.kernel.run("%mixmagic logout together")
    assert "is not set" in two_lines(empty.ask(), "MissingKey")


@pytest.mark.parametrize("option", ["", " --kernel"])
def test_a_key_is_not_lost_if_the_provider_cannot_be_reached(empty, option):
    ran = empty.login(KEY, provider=f"together{option}", answer=refusal(503, {}))
    assert ran.status == "ok", ran.text
    assert "The key could not be checked (" in ran.text
    assert "..)" not in ran.text
    assert empty.ask().status == "ok"
    assert empty.server.received[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("option", ["", " --kernel"])
def test_a_refused_key_is_kept_nowhere(empty, option):
    two_lines(empty.login("canary-wrong", provider=f"together{option}"), "KeyRejected")
    assert json.loads(empty.kept.read_text()) == {}
    assert "is not set" in two_lines(empty.ask(), "MissingKey")


@pytest.mark.parametrize("name", ["nowhere", "local"])
@pytest.mark.parametrize("command", ["login", "logout"])
def test_an_unknown_provider_or_one_without_a_key(empty, command, name):
    sent = empty.kernel.send(f"%mixmagic {command} {name}")
    with pytest.raises(queue.Empty):
        empty.kernel.client.get_stdin_msg(timeout=0.1)
    two_lines(empty.kernel.collect(sent, timeout=10), "BadArguments")


def test_nothing_but_the_keyring_has_the_key(empty):
    empty.login(KEY)
    empty.ask()
    empty.kernel.run("%history -g")
    empty.kept.write_text("{}")
    written = list(files(empty.folder))
    assert any(each.startswith(b"history.sqlite") for each in written)
    assert leaks(*(each for each in written if not each.startswith(b"trouble"))) == []


def test_a_key_that_was_never_read_is_kept_out_of_values(tmp_path):
    """The first prompt of a kernel, whose key is in the keyring alone."""
    fresh = Place(tmp_path)
    try:
        fresh.kept.write_text(json.dumps({"mixmagic together": KEY}))
        fresh.server.plan = [whole("Hi")]
        fresh.kernel.run("import json\n[secret] = json.load(open('kept.json')).values()")
        ran = fresh.kernel.run("%%mixtral -m together:8x7b\nIs {{ secret }} a key?")
        assert ran.status == "ok", ran.text
        [request] = fresh.server.received
        assert request.body["messages"][-1]["content"] == "Is [key] a key?\n"
    finally:
        fresh.close()


def test_the_error_without_a_prompt_names_the_other_ways(together, monkeypatch):
    """Under nbclient, papermill and nbconvert."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    client = notebook_client("%load_ext mixmagic", "%mixmagic login together")
    client.allow_errors = True
    client.execute(cleanup_kc=True)
    [output] = client.nb.cells[1].outputs
    assert output["ename"] == "BadArguments"
    said = " ".join(output["traceback"])
    assert "cannot ask for a key" in said
    assert "Set TOGETHER_API_KEY in the environment, or in a file .env" in said


@pytest.mark.parametrize("how", ["not installed", "backend not installed", "no backend"])
def test_without_a_keyring_calls_work_and_login_says_what_to_do(tmp_path, how):
    named = {
        "backend not installed": "nowhere.Keyring",
        "no backend": "keyring.backends.fail.Keyring",
    }
    if how == "not installed":
        (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    place = Place(tmp_path, PYTHON_KEYRING_BACKEND=named.get(how, "file_keyring.Keyring"))
    try:
        said = two_lines(place.ask(), "MissingKey")
        assert "TOGETHER_API_KEY is not set" in said
        ran = place.login(KEY)
        assert ran.status == "ok", ran.text
        assert "It is in this kernel's memory" in ran.text
        assert place.ask().status == "ok"
        assert leaks(*files(place.folder)) == []
        assert "removed" in place.kernel.run("%mixmagic logout together").text
        assert "TOGETHER_API_KEY is not set" in two_lines(place.ask(), "MissingKey")
        (tmp_path / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
        assert place.ask().status == "ok"
    finally:
        place.close()


def test_the_keyrings_reason_is_one_sentence_with_one_full_stop(session):
    import keyring
    from keyring.backends import fail

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    try:
        with pytest.raises(StoreError) as error:
            shown(session, "logout", "together")
    finally:
        keyring.set_keyring(before)
    reason = "No recommended backend was available"
    assert error.value.message == f"The system's keyring cannot be used: {reason}."
