"""A model that several providers serve, in a real kernel: every way to it is the same one."""

from __future__ import annotations

import pytest
from kernels import Desk
from server import Answer, together

REASON = "the cheapest of 3 providers with a key"  # Together AI has the URL of an own endpoint
HELLO = Answer(together("Hello"))
# Cheaper than the others, and with a context that shows in what is cut.
ACME = """
name = "acme"
url_env = "ACME_BASE_URL"
key_env = "ACME_API_KEY"
[[models]]
id = "acme-mixtral"
aliases = ["8x7b"]
context = 2_000
strengths = ["code"]
price = { input = "0.10", output = "0.10" }
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.run(f"""
import os, pathlib
folder = pathlib.Path(os.environ["MIXMAGIC_HOME"], "config", "catalog")
folder.mkdir(parents=True)
_ = (folder / "acme.toml").write_text({ACME!r})
for name in ("ACME", "FIREWORKS"):
    os.environ[f"{{name}}_API_KEY"] = "canary-key-4712"
    os.environ[f"{{name}}_BASE_URL"] = {desk.server.url!r}
""")
    yield desk
    desk.close()


def test_the_footer_names_the_model_and_the_reason(desk):
    ran = desk.run("%%mixtral -m 8x7b\nHi", HELLO)
    assert desk.sent["model"] == "acme-mixtral"
    assert "acme:8x7b · " in ran.text
    assert ran.text.count(REASON) == 1
    ran = desk.run("%mixtral Hi", HELLO)
    assert desk.sent["model"] == "acme-mixtral"
    assert REASON in ran.text


def test_a_provider_that_is_named_is_asked(desk):
    ran = desk.run("%%mixtral -m acme:8x7b\nHi", HELLO)
    assert "acme:8x7b · " in ran.text
    assert "cheapest" not in ran.text


def test_values_and_conversations_are_cut_for_the_catalog_s_first_row_of_the_name(desk):
    """So they are the same on every machine; a provider that has no room for them is not chosen."""
    desk.run("long = list(range(1_500))")
    ran = desk.run("%%mixtral -m 8x7b --max-tokens 100\n{{ long }}", HELLO)
    assert "together:8x7b · " in ran.text
    assert "cut to" not in ran.text
    for _ in range(2):
        ran = desk.run("%%mixtral -m 8x7b -c talk --max-tokens 100\n" + "word " * 1_000, HELLO)
    assert "without the oldest exchange" not in ran.text
    assert len(desk.sent["messages"]) == 3
    ran = desk.run("%%mixtral -m acme:8x7b --max-tokens 100\n{{ long }}", HELLO)
    assert "long cut to" in ran.text, "this name has that row alone"


def test_what_is_not_sent_is_the_same_request(desk):
    assert "acme:8x7b" in desk.run("%%mixtral -m 8x7b --dry-run\nHi").text
    assert "acme-mixtral" in desk.run("%%mixtral -m 8x7b --as python\nHi").text


def test_a_task_says_why_once(desk):
    ran = desk.run("%%mixtral --task code\nHi", HELLO)
    assert f"8x7b chosen for code · {REASON}" in ran.text
    assert ran.text.count(REASON) == 1


def test_two_rounds_say_it_once(desk):
    desk.run("schema = {'type': 'integer'}")
    answers = [Answer(together("five")), Answer(together("5"))]
    ran = desk.run("%%mixtral -m 8x7b --schema schema\nHow many?", *answers)
    assert "repaired once" in ran.text
    assert ran.text.count(REASON) == 1


def test_use_keeps_the_alias_and_the_tables_mark_who_is_asked(desk):
    said = " ".join(desk.run("%mixmagic use 8x7b").text.split())
    assert f"Using acme:8x7b in this session (acme · {REASON})." in said
    assert "For all sessions: `%mixmagic set model 8x7b --save`" in said
    assert desk.run("%config Mixmagic.model").text == "'8x7b'"
    for table in ("models", "prices", "models --for code"):
        shown = desk.run(f"%mixmagic {table}").text
        marked = [line.split()[1] for line in shown.splitlines() if line.startswith("→")]
        assert marked[0] == "acme:8x7b", shown
    assert f"acme:8x7b at acme · {REASON}" in desk.run("%mixmagic doctor").text
    desk.run("del os.environ['ACME_API_KEY']")
    desk.run("%%mixtral\nHi")
    desk.run("%mixmagic use acme:8x7b")
    assert desk.run("%config Mixmagic.model").text == "'acme:8x7b'"


KEYRING = """
import keyring, mixmagic
from keyring.backend import KeyringBackend
class Kept(KeyringBackend):
    priority = 1
    kept = {"openrouter": "canary-key-4713"}
    def get_password(self, service, name):
        return self.kept.get(name)
    def set_password(self, service, name, key):
        self.kept[name] = key
    def delete_password(self, service, name):
        del self.kept[name]
keyring.set_keyring(Kept())
"""


def test_logout_and_login_are_known_at_once(kernel, server):
    who = "print(mixmagic.session().select('8x7b').model.name)"
    assert kernel.run(KEYRING + who).text.strip() == "openrouter:8x7b"
    kernel.run("%mixmagic logout openrouter")
    assert kernel.run(who).text.strip() == "together:8x7b"
    listed = Answer([b'[{"id": "a"}]'], type="application/json")
    server.plan = [listed, listed]
    kernel.run(f"import os; os.environ['OPENROUTER_BASE_URL'] = {server.url!r}")
    sent = kernel.send("%mixmagic login openrouter")
    kernel.client.get_stdin_msg(timeout=10)
    kernel.client.input("canary-key-4714")
    assert kernel.collect(sent).status == "ok"
    assert kernel.run(who).text.strip() == "openrouter:8x7b"
