"""Keys in a file `.env`: beside the notebook, read at each call, however it is written."""

from __future__ import annotations

import os

import pytest
from canary import KEY, leaks
from server import whole

from mixmagic.errors import MissingKey


@pytest.fixture
def folder(together, tmp_path, monkeypatch):
    """A working folder; the key is in no environment."""
    monkeypatch.delenv("TOGETHER_API_KEY")
    monkeypatch.chdir(tmp_path)
    together.plan = [whole("Hi")]
    return tmp_path


def sent(session, together) -> str:
    """The key that a call is sent with."""
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
    """Notepad marks UTF-8, PowerShell writes UTF-16, an old editor writes a comment its own way."""
    (folder / ".env").write_bytes(f"TOGETHER_API_KEY={KEY}\n# die Schlüssel\n".encode(encoding))
    assert sent(session, together) == KEY


@pytest.mark.parametrize("text", ["", "OTHER=1", "TOGETHER_API_KEY", "TOGETHER_API_KEY=", "\0\0"])
def test_a_file_without_the_key_is_as_good_as_none(session, together, folder, text):
    (folder / ".env").write_text(text)
    with pytest.raises(MissingKey, match="not set"):
        session.ask("Hello", model="8x7b")
    assert together.received == []


def test_a_folder_of_that_name_is_no_file(session, together, folder):
    """Many a virtual environment is called so."""
    (folder / ".env").mkdir()
    with pytest.raises(MissingKey, match="not set"):
        session.ask("Hello", model="8x7b")


def test_a_file_that_nobody_may_read_is_no_reason_for_a_traceback(
    session, together, folder, monkeypatch
):
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    if os.geteuid() == 0:  # who may read everything

        def refuse(path):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    else:
        (folder / ".env").chmod(0)
    with pytest.raises(MissingKey, match="not set"):
        session.ask("Hello", model="8x7b")


def test_a_dollar_in_a_key_is_a_dollar(session, together, folder, monkeypatch):
    monkeypatch.setenv("HOME_OF_KEYS", "no")
    (folder / ".env").write_text("TOGETHER_API_KEY=canary$HOME_OF_KEYS${HOME_OF_KEYS}")
    assert sent(session, together) == "canary$HOME_OF_KEYS${HOME_OF_KEYS}"


def test_the_file_is_read_at_each_call_and_the_environment_goes_first(
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


def test_it_is_the_one_beside_the_notebook(session, together, folder, monkeypatch):
    (folder / ".env").write_text("TOGETHER_API_KEY=of-the-working-folder")
    (folder / "work").mkdir()
    (folder / "work" / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    notebook = folder / "work" / "a.ipynb"
    notebook.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    assert sent(session, together) == KEY


@pytest.mark.parametrize("name", ["", "relative.ipynb", "/nowhere/a.ipynb", "console-1"])
def test_where_no_notebook_is_known_it_is_the_one_in_the_working_folder(
    session, together, folder, monkeypatch, name
):
    (folder / ".env").write_text(f"TOGETHER_API_KEY={KEY}")
    monkeypatch.setenv("JPY_SESSION_NAME", name)
    assert sent(session, together) == KEY


def test_the_doctor_says_where_the_key_is_and_not_what(session, together, folder):
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
