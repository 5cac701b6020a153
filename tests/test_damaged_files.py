"""Damaged user files: each is read, or named in two lines."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from linear import is_linear

from mixmagic.catalog import Catalog
from mixmagic.core import files
from mixmagic.core.settings import Settings
from mixmagic.errors import MixmagicError
from mixmagic.magics._shell.insert import NewCells
from mixmagic.prompting import templates
from mixmagic.sessions import Session


def config(folder: Path, content: bytes | None) -> object:
    path = folder / "config" / "config.toml"
    put(path, content)
    return Settings.load({"MIXMAGIC_HOME": str(folder)})


def catalog(folder: Path, content: bytes | None) -> object:
    put(folder / "catalog" / "acme.toml", content)
    made = Catalog(folder / "catalog")
    for model in made.models:
        assert repr(model)
    return made


def template(folder: Path, content: bytes | None) -> object:
    """A file's content is a template's head."""
    put(
        folder / "templates" / "t.md", None if content is None else b"+++\n" + content + b"\n+++\nx"
    )
    listed = templates.templates(folder / "templates")
    found = templates.Template.load(folder / "templates", "t")
    assert listed["t"] == found
    return found


def whole_template(folder: Path, content: bytes | None) -> object:
    put(folder / "templates" / "t.md", content)
    return templates.Template.load(folder / "templates", "t")


def notebook(folder: Path, content: bytes | None) -> object:
    """Read a notebook as `-i` does: a file that is not a notebook has no cells."""
    path = folder / "notebooks" / "n.ipynb"
    put(path, content)
    hooks = SimpleNamespace(shell=None, on=lambda *_: None)
    found = NewCells(SimpleNamespace(notebook=path), hooks)._saved()
    assert all(isinstance(each, str) for each in found)
    return found


def put(path: Path, content: bytes | None) -> None:
    """Write a file; `None` makes its folder alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        path.write_bytes(content)


FIXTURES = [HealthCheck.function_scoped_fixture]  # the files are written anew each time
READERS = {each.__name__: each for each in (config, catalog, template, whole_template, notebook)}
PATHS = {
    "config": "config/config.toml",
    "catalog": "catalog/acme.toml",
    "template": "templates/t.md",
    "notebook": "notebooks/n.ipynb",
}


def read_or_named(reader, folder: Path, content: bytes | None) -> MixmagicError | None:
    """Read a file; check that it raises at most one of our errors, in two lines that fit."""
    try:
        reader(folder, content)
    except MixmagicError as error:
        lines = error._render_traceback_()
        assert len(lines) == 2
        assert all(line.isprintable() and len(line) < 700 for line in lines)
        return error
    return None


NASTY = {
    "nothing": b"",
    "NUL": b"\0",
    "NULs": b"\0" * 5000,
    "a NUL in a text": b'model = "a\0b"\nname = "a\0b"',
    "a byte order mark": b'\xef\xbb\xbfname = "a"\nmodel = "a"',
    "UTF-16": 'name = "a"'.encode("utf-16"),
    "UTF-32": 'name = "a"'.encode("utf-32"),
    "Latin-1": 'name = "é"'.encode("latin-1"),
    "half of a character": b'name = "\xf0\x9f"',
    "a surrogate": b'name = "\\ud800"',
    "a surrogate in UTF-8": b'name = "\xed\xa0\x80"',
    "arrays": b"name = " + b"[" * 5000,
    "closed arrays": b"model = " + b"[" * 200 + b"]" * 200,
    "arrays in arrays": b"name = " + b"[" * 40 + b"]" * 40,
    "tables": b"name = " + b"{a=" * 5000,
    "closed tables": b"[dialect]\nalways = " + b"{a=" * 60 + b"1" + b"}" * 60,
    "a long key": b"a." * 5000 + b"a = 1",
    "a longer key": b"a." * 100_000 + b"a = 1",
    "a long key with blanks": b"model . " * 20_000 + b"a = 1",
    "a long key in quotes": b'"a" .' * 20_000 + b"a = 1",
    "a long key in single quotes": b"'a'." * 20_000 + b"a = 1",
    "a long key in a table": b"name = {" + b"a." * 50_000 + b"a = 1}",
    "a long key in an array": b"models = [{" + b"a." * 50_000 + b"a = 1}]",
    "a long key behind another": b"x = {a = 1, " + b"b." * 50_000 + b"a = 1}",
    "a long header": b"[" + b"a." * 50_000 + b"a]",
    "a long array's header": b"[[" + b"a." * 50_000 + b"a]]",
    "a key of 40 parts": b"model." * 39 + b"a = 1",
    "many digits": b"max_retries = " + b"1" * 5000,
    "many hexadecimal digits": b"model = 0x" + b"f" * 5000 + b"\nname = 0x" + b"f" * 5000,
    "many hexadecimal digits in a list": b"name = [0x" + b"f" * 5000 + b"]",
    "a huge float": b"budget_day = 1e999999\nidle_timeout = inf",
    "not a number": b"idle_timeout = nan",
    "a day": b"model = 2026-10-01\nname = 2026-10-01",
    "an impossible day": b"model = 2026-99-99",
    "a day to send": b'name = "acme"\n[dialect]\nalways = {day = 2026-10-01}',
    "infinity to send": b'name = "acme"\n[dialect]\nstreaming = {most = inf}',
    "a number for a table": b'name = "acme"\n[dialect]\nalways = 5\n',
    "a text for a table": b'name = "acme"\ndialect = "no"\n',
    "rows that are none": b'name = "acme"\nmodels = [1, "a", []]\n',
    "a row's name that is none": b'name = "acme"\n[[models]]\nid = []\n',
    "a name that is none": b"name = {a = 1}",
    "options that are none": b'name = "acme"\n[[models]]\nid = "a"\noptions = 5',
    "twice": b"model = 'a'\nmodel = 'b'",
    "a very long name": b"a" * 200_000 + b" = 1",
    "a very long text": b'name = "' + b"a" * 200_000 + b'"\nmodel = 5',
    "comments": b"#\n" * 700_000,
    "spaces": b" " * 2_000_000,
    "binary": bytes(range(256)) * 100,
    "GGUF": b"GGUF" + bytes(range(256)),
    "JSON": b'{"cells": []}',
    "JSON, arrays": b"[" * 100_000,
    "JSON, closed arrays": b'{"cells": ' + b"[" * 900 + b"]" * 900 + b"}",
    "JSON, objects": b'{"cells":' * 50_000,
    "JSON, nested sources": b'{"cells": [{"cell_type": "code", "source": ' + b"[" * 5000,
    "JSON, no list": b'{"cells": 5}',
    "JSON, cells that are none": b'{"cells": [1, null, "a", [], {}]}',
    "JSON, sources that are none": b'{"cells": [{"cell_type": "code", "source": [1]}]}',
    "JSON, many digits": b'{"cells": ' + b"1" * 5000 + b"}",
    "JSON, a surrogate": b'{"cells": [{"cell_type": "code", "source": "\\ud800"}]}',
}  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_damaged_is_read_or_named(tmp_path, reader, name):
    read_or_named(READERS[reader], tmp_path, NASTY[name])


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        (reader, name)
        for reader in ("config", "catalog", "template")
        for name in NASTY
        if name.startswith(("a long", "arrays", "tables", "closed", "UTF-", "many", "NUL", "a key"))
    ],
)
def test_what_is_nested_too_deep_or_no_text_is_named(tmp_path, reader, name):
    assert read_or_named(READERS[reader], tmp_path, NASTY[name]) is not None


@pytest.mark.parametrize("name", ["a longer key", "a long header", "a long key in quotes"])
def test_a_long_key_takes_no_time(name):
    """Unguarded, tomllib takes 20 seconds, or 2 GB, for half a megabyte."""
    unit, before = {
        "a longer key": ("a.", ""),
        "a long header": ("a.", "["),
        "a long key in quotes": ('"a" . ', ""),
    }[name]

    def read(text: str) -> None:
        with pytest.raises(ValueError, match="nested too deep"):
            files.toml(text)

    assert is_linear(read, lambda size: before + unit * (size // len(unit)) + "a = 1", 500_000, 1)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200), st.sampled_from(sorted(READERS)))
def test_any_bytes_are_read_or_named(tmp_path, content, reader):
    read_or_named(READERS[reader], tmp_path, content)


KEYS = st.sampled_from(
    ["name", "model", "label", "backend", "base_url", "free", "max_in_flight", "dialect", "models",
     "dialect.always", "dialect.rename", "dialect.live_price", "id", "price", "price.input",
     "options", "options.path", "aliases", "context", "checked", "total_params", "live",
     "idle_timeout", "max_retries", "budget_day", "ca_file", "seed", "stop", "temperature",
     "system", "task", "schema", "extra_body", "extra_body.a", "n", "response_format"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["1", "-1", "0", "1.5", "inf", "nan", "-0.0", "0xff", "9223372036854775808", "true", "''",
     "'a'", "'code'", "[]", "['a']", "[1]", "[[]]", "{}", "{a = 1}", "{a = {b = []}}", "2026-10-01",
     "2026-10-01T00:00:00Z", "12:00:00", "1e400", "{input = '1', output = '1'}", "{input = nan}"]
)  # fmt: skip
LINES = st.lists(
    st.one_of(
        st.builds("{} = {}".format, KEYS, VALUES),
        st.sampled_from(["[[models]]", "[dialect]", "id = 'a'"]),
    ),
    max_size=6,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LINES, st.sampled_from(["config", "catalog", "template"]), st.booleans())
def test_any_values_are_taken_or_named(tmp_path, lines, reader, named):
    text = "\n".join((["name = 'acme'"] if named else []) + lines)
    read_or_named(READERS[reader], tmp_path, text.encode())


def instead(kind: str, path: Path) -> None:
    """Put something into the file's place."""
    path.parent.mkdir(parents=True)
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a link to itself":
        path.symlink_to(path)
    elif kind == "an endless device":
        path.symlink_to("/dev/zero")
    elif kind == "a huge file":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind == "no permission":
        path.write_text("x = 1")
        path.chmod(0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize(
    "kind",
    ["a folder", "a pipe", "a link to itself", "an endless device", "a huge file", "no permission"],
)
@pytest.mark.parametrize("reader", PATHS)
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, kind, reader):
    if kind == "no permission" and os.geteuid() == 0:
        pytest.skip("root reads all")
    path = tmp_path / PATHS[reader]
    instead(kind, path)
    found: list[MixmagicError | None] = []
    thread = threading.Thread(
        target=lambda: found.append(read_or_named(READERS[reader], tmp_path, None)), daemon=True
    )
    thread.start()
    thread.join(20)
    if thread.is_alive() and kind == "a pipe":
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # lets the reader go
    assert len(found) == 1
    assert reader == "notebook" or found[0] is not None


def test_a_file_in_the_folders_place_is_named_or_none(tmp_path):
    for reader in PATHS:
        folder = tmp_path / reader
        folder.mkdir()
        (folder / Path(PATHS[reader]).parts[0]).write_text("no folder")
        with contextlib.suppress(FileExistsError):  # from `put`: the folder cannot be made
            read_or_named(READERS[reader], folder, None)
    (tmp_path / "config" / "config").unlink()
    (tmp_path / "config" / "config").write_text("x")
    with pytest.raises(MixmagicError, match=r"config\.toml cannot be read: Not a directory"):
        Settings.load({"MIXMAGIC_HOME": str(tmp_path / "config")})


def test_a_session_with_a_damaged_file_says_which(home):
    for name, text in (
        ("config.toml", "a." * 5000 + "a = 1"),
        ("catalog/x.toml", "a = " + "[" * 999),
    ):
        path = home / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        with pytest.raises(MixmagicError, match="nested too deep") as caught:
            Session().request("Hi")
        assert str(path) in caught.value.message
        path.unlink()


@pytest.mark.parametrize("home", ["~nobody-of-this-name/x", "a" * 5000])
def test_a_home_that_cannot_be_one_is_named(home):
    with pytest.raises(MixmagicError):
        Settings.load({"MIXMAGIC_HOME": home})


def test_a_notebooks_name_that_cannot_be_one_is_passed_over(tmp_path):
    name = "/" + "a" * 5000
    assert Settings.load({"MIXMAGIC_HOME": str(tmp_path), "JPY_SESSION_NAME": name}).notebook


def test_a_certificate_file_of_an_unknown_user_is_named(session, together, monkeypatch):
    monkeypatch.setenv("MIXMAGIC_CA_FILE", "~nobody-of-this-name/ca.pem")
    with pytest.raises(MixmagicError, match=r"ca\.pem|certificate"):
        Session().ask("Hi", model="8x7b")


def test_a_saved_notebook_is_read(tmp_path):
    cells = [
        {"cell_type": "code", "source": ["a\n", "b"]},
        {"cell_type": "markdown", "source": "c"},
    ]
    assert notebook(tmp_path, json.dumps({"cells": cells}).encode()) == {"a\nb"}
