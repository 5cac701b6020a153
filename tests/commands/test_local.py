"""`mixmagic local`: the models on this machine, and fetching one ahead of time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub import Hub, Repo

from mixmagic import cli

REPO, FILE = "acme/Small-GGUF", "Small-Q4_1.gguf"


@pytest.fixture
def server(tmp_path, monkeypatch):
    served, small = Hub(), tmp_path / "small.gguf"
    small.write_bytes(b"GGUF" + bytes(3_000_000))
    served.repos[REPO] = Repo({FILE: small, f"sub/{FILE}": small})
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield served
    served.close()


@pytest.mark.parametrize("name", [f"hf/{REPO}/{FILE}", f"local:hf/{REPO}/sub/{FILE}"])
def test_install_fetches_a_file_of_hugging_face_and_list_shows_it(server, name, capsys):
    assert cli.main(["local", "install", name]) == 0
    path = capsys.readouterr().out.strip()
    assert Path(path).stat().st_size == 3_000_004
    assert cli.main(["local", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    full = f"local:{name.removeprefix('local:')}"
    assert ["local", "98"] in rows
    assert [full, "3"] in rows
    assert cli.main(["local", "install", name]) == 0
    assert capsys.readouterr().out.strip() == path


def test_install_looks_for_a_newer_version(server, capsys):
    assert cli.main(["local", "install", f"hf/{REPO}/{FILE}"]) == 0
    first = capsys.readouterr().out
    server.repos[REPO].revisions["main"] = "b" * 40
    assert cli.main(["local", "install", f"hf/{REPO}/{FILE}"]) == 0
    assert capsys.readouterr().out != first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"hf/{REPO}/none.gguf", "has no GGUF file"),
        ("hf/acme/none/a.gguf", "no repository"),
        ("nowhere.gguf", "no GGUF file"),
    ],
)
def test_install_of_another_name_is_an_error_of_two_lines(server, name, message, capsys):
    assert cli.main(["local", "install", name]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 2


def test_a_notebook_shows_the_progress_in_one_output(server, start_kernel):
    server.stall_after = 1_000_000
    kernel = start_kernel()
    sent = kernel.send(f"%mixmagic local install hf/{REPO}/{FILE}")
    assert server.stalled.wait(60)
    server.go.set()
    ran = kernel.collect(sent)
    assert ran.status == "ok"
    (progress, path) = [output for output in ran.outputs if output]
    assert progress["data"]["text/plain"] == f"hf/{REPO}/{FILE}: fetched"
    assert path["text"].strip().endswith(FILE)


def test_ctrl_c_ends_a_fetch_in_a_cell_at_once(server, start_kernel, tmp_path):
    server.stall_after = 1_000_000
    kernel = start_kernel()
    for code in (
        f"%mixmagic local install hf/{REPO}/{FILE}",
        f"%mixtral -m local:hf/{REPO}/{FILE} Hello",
    ):
        server.stalled.clear()
        sent = kernel.send(code)
        assert server.stalled.wait(60)
        kernel.interrupt()
        ran = kernel.collect(sent, timeout=30)
        assert "Stopped" in str(ran.traceback)
        assert len(ran.traceback) == 1
        assert not list((tmp_path / "hf").rglob("*.incomplete"))


def test_a_local_model_that_cannot_run_is_refused_at_once(session, monkeypatch):
    from mixmagic import commands
    from mixmagic.backends.local import gguf
    from mixmagic.errors import MissingPackage

    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    for name in ("local", f"local:hf/{REPO}/{FILE}"):
        with pytest.raises(MissingPackage) as caught:
            commands.parse(["use", name], "notebook")(session, None)
        assert "xllamacpp" in caught.value.message
        assert "[local]" in caught.value.hint
    assert session.model == "8x7b"
