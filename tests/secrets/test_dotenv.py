"""Keys in a `.env` file next to the notebook, in any format, are secrets from the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from canary import KEY, leaks
from kernels import Desk
from server import Answer, Received, whole

from mixmagic.errors import MissingKey


@pytest.fixture
def folder(together, tmp_path, monkeypatch):
    """A working folder; no environment variable holds the key."""
    monkeypatch.delenv("TOGETHER_API_KEY")
    monkeypatch.chdir(tmp_path)
    together.plan = [whole("Hi")]
    return tmp_path


def sent(session, together) -> str:
    """Return the key that a call is sent with."""
    session.ask("Hello", model="8x7b")
    return together.received[-1].headers["authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize(
    "line",
    ["TOGETHER_API_KEY={}", "TOGETHER_API_KEY='{}'", 'TOGETHER_API_KEY="{}"  # mine',
     "export TOGETHER_API_KEY={}", "  export TOGETHER_API_KEY = '{}'\r", "A=1\nTOGETHER_API_KEY={}",
     "# a note\n\nTOGETHER_API_KEY={}\n\n", "TOGETHER_API_KEY=old\nTOGETHER_API_KEY={}",
     "this is no assignment\nTOGETHER_API_KEY={}"],
)  # fmt: skip
def test_every_usual_spelling(session, together, folder, line):
    (folder / ".env").write_text(line.format(KEY))
    assert sent(session, together) == KEY


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_every_usual_encoding(session, together, folder, encoding):
    """Notepad adds a BOM, PowerShell writes UTF-16, an old editor writes Latin-1 in a comment."""
    (folder / ".env").write_bytes(f"TOGETHER_API_KEY={KEY}\n# die Schlüssel\n".encode(encoding))
    assert sent(session, together) == KEY


@pytest.mark.parametrize("text", ["", "OTHER=1", "TOGETHER_API_KEY", "TOGETHER_API_KEY=", "\0\0"])
def test_a_file_without_the_key_is_ignored(session, together, folder, text):
    (folder / ".env").write_text(text)
    with pytest.raises(MissingKey, match="not set"):
        session.ask("Hello", model="8x7b")
    assert together.received == []


def test_a_folder_of_that_name_is_ignored(session, together, folder):
    """Many virtual environments have this name."""
    (folder / ".env").mkdir()
    with pytest.raises(MissingKey, match="not set"):
        session.ask("Hello", model="8x7b")


def test_an_unreadable_file_is_not_a_traceback(session, together, folder, monkeypatch):
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    if os.geteuid() == 0:  # who may read everything

        def refuse(path):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    else:
        (folder / ".env").chmod(0)
    with pytest.raises(MissingKey, match="not set"):
        session.ask("Hello", model="8x7b")


def test_a_dollar_sign_in_a_key_is_literal(session, together, folder, monkeypatch):
    monkeypatch.setenv("HOME_OF_KEYS", "no")
    (folder / ".env").write_text("TOGETHER_API_KEY=canary$HOME_OF_KEYS${HOME_OF_KEYS}")
    assert sent(session, together) == "canary$HOME_OF_KEYS${HOME_OF_KEYS}"


def test_the_file_is_read_after_each_change_and_the_environment_takes_precedence(
    session, together, folder, monkeypatch
):
    with pytest.raises(MissingKey):
        session.ask("Hello", model="8x7b")
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    assert sent(session, together) == KEY
    (folder / ".env").write_text("TOGETHER_API_KEY=rotated-key")
    assert sent(session, together) == "rotated-key"
    monkeypatch.setenv("TOGETHER_API_KEY", "of-the-environment")
    assert sent(session, together) == "of-the-environment"
    monkeypatch.delenv("TOGETHER_API_KEY")
    (folder / ".env").unlink()
    with pytest.raises(MissingKey):
        session.ask("Hello", model="8x7b")


def test_the_file_next_to_the_notebook_is_used(session, together, folder, monkeypatch):
    (folder / ".env").write_text("TOGETHER_API_KEY=of-the-working-folder")
    (folder / "work").mkdir()
    (folder / "work" / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    notebook = folder / "work" / "a.ipynb"
    notebook.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    assert sent(session, together) == KEY


@pytest.mark.parametrize("name", ["", "relative.ipynb", "/nowhere/a.ipynb", "console-1"])
def test_without_a_notebook_the_file_in_the_working_folder_is_used(
    session, together, folder, monkeypatch, name
):
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    monkeypatch.setenv("JPY_SESSION_NAME", name)
    assert sent(session, together) == KEY


def test_the_doctor_shows_the_source_of_the_key_but_not_the_key(session, together, folder):
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    [check] = [each for each in session.doctor() if each.name == "key: Together AI"]
    assert check.detail == f"TOGETHER_API_KEY is in {folder / '.env'}"
    assert leaks(*(each.detail for each in session.doctor())) == []


def test_nothing_of_the_file_goes_into_the_environment(session, together, folder):
    """A subprocess of the notebook would inherit it, and `%env` would show it."""
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}\nOTHER_CANARY=1")
    sent(session, together)
    assert leaks(*os.environ.values()) == []
    assert "OTHER_CANARY" not in os.environ


# By what names say, and by what the catalog says: the last one is a user's own provider's.
VALUES = {
    "MISTRAL_API_KEY": "Zq8Wn3Rt6Yb1Kc9Xv4Jm7Lp2Hd5Gf0Qs",
    "HF_TOKEN": "hf_ZkmQwxWrTtuYypLsDdfGghJjkNnbVvcX",
    "DJANGO_SECRET_KEY": "p9!x$k2@v7#m4&q8*z1",
    "DB_PASSWORD": "tr0ub4dor-and-3",
    "STRIPE_SECRET": "whsec_5f3a9c1e7b2d4860fa1c3e5b",
    "GITHUB_PAT": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "ACME_ACCESS": "acme-7Jm2Lp9Hd4Gf6Qs",
}
HARMLESS = {
    "SITE_NAME": "My-Site-2024", "PORT": "8000", "SORT_KEY": "created_at", "DEBUG_TOKEN": "none",
    "LANGUAGE": "en_US.UTF-8",
}  # fmt: skip
DOTENV = "\n".join(f"{name}={value}" for name, value in {**VALUES, **HARMLESS}.items())
ACME = 'name = "acme"\nkey_env = "ACME_ACCESS"\nbase_url = "http://127.0.0.1:9/v1"\n'


def echo(request: Received) -> Answer:
    """Answer with the prompt."""
    return whole("\n".join(message["content"] for message in request.body["messages"]))


@pytest.fixture
def desk(tmp_path):
    """A fresh kernel next to a `.env` file, with a key in its environment."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / ".env").write_text(DOTENV)
    made = Desk(folder, MIXMAGIC_MODEL="together:8x7b")
    (made.home / "config" / "catalog").mkdir(parents=True)
    (made.home / "config" / "catalog" / "acme.toml").write_text(ACME)
    made.plan(echo)
    yield made
    made.close()


def found(*texts: str) -> list[str]:
    """Return the secrets that the texts hold."""
    return [name for name, value in VALUES.items() for text in texts if value[:8] in text]


FAILS = "raise RuntimeError(open('.env').read())"
FIRST = {
    "prompt": ["%%mixtral -o answer\n{{ open('.env').read() }}"],
    "system": ["%%mixtral -o answer -s \"{{ open('.env').read() }}\"\nHello"],
    "value": ["import dotenv", "%%mixtral -o answer\n{{ dict(dotenv.dotenv_values()) }}"],
    "fix": [FAILS, "%mixtral fix"],
    **{f"as {form}": [f"%%mixtral --as {form}\n{{{{ open('.env').read() }}}}"]
       for form in ("curl", "python", "together", "openai", "js")},
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
def test_its_secrets_are_in_no_prompt_or_output_from_the_first_cell_on(desk, name):
    *before, cell = FIRST[name]
    for each in before:
        desk.run(each)
    ran = desk.run(cell)
    assert ran.status == "ok", ran.text
    said = [repr(ran.messages), *(json.dumps(each.body) for each in desk.server.received)]
    assert found(*said) == []
    assert len(desk.server.received) == (not name.startswith("as"))
    for each in VALUES if name != "value" else ():
        assert f"{each}=[key]" in said[-1], "the rest is there"
    assert all(value in said[-1] for value in HARMLESS.values())


def test_they_are_in_no_answer_either(session, together, tmp_path, monkeypatch):
    """The model knows them from another source."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(DOTENV)
    together.plan = [whole(DOTENV)]
    answer = session.ask("Hello", model="together:8x7b").text
    assert found(answer) == ["ACME_ACCESS"], "which no provider of this session names"
    assert answer.count("[key]") == len(VALUES) - 1


def test_a_secret_added_later_is_a_secret_at_once(session, together, folder):
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    together.plan = [whole("Zq8Wn3Rt6Yb1Kc9Xv4Jm7Lp2")]
    assert session.ask("Hello", model="together:8x7b").text == "Zq8Wn3Rt6Yb1Kc9Xv4Jm7Lp2"
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}\nX_TOKEN=Zq8Wn3Rt6Yb1Kc9Xv4Jm7Lp2")
    assert session.ask("Hello", model="together:8x7b").text == "[key]"
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    assert session.ask("Hello", model="together:8x7b").text == "[key]", "and stays one"


def test_the_environment_s_secrets_that_no_provider_names_are_found_too(
    session, together, monkeypatch
):
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DATABASE_URL", "postgres://me:tr0ub4dor-3-too@db/main")
    together.plan = [whole(f"{DOTENV}\ntr0ub4dor-3-too")]
    answer = session.ask("Hello", model="together:8x7b").text
    assert found(answer) == ["ACME_ACCESS"]
    assert "tr0ub4dor-3" not in answer


OPENS = """
import sys
opened = []
sys.addaudithook(lambda event, args: event == "open" and str(args[0]).endswith(".env")
                 and opened.append(args[0]))
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "mixmagic")
import mixmagic
session = mixmagic.session()
session.request("Hi", model="local")
print(len(opened))
for _ in range(5):
    session.ask("Hello", model="together:8x7b")
    session.backends.access.redact("Hello")
print(len(opened))
"""


def test_it_is_first_read_for_a_call_and_then_only_once(together, folder):
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    together.plan = [whole("Hi")]
    ran = subprocess.run(
        [sys.executable, "-c", OPENS],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert ran.stdout == "0\n1\n"
    assert together.received[-1].headers["authorization"] == f"Bearer {KEY}"
