"""GGUF files of Hugging Face: fetched from a loopback server by the real huggingface_hub."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hub import COMMIT, Hub, Repo
from patience import soon

from mixmagic.backends.local import hub, weights
from mixmagic.core.hub import HubFile
from mixmagic.errors import (
    BadArguments,
    MissingKey,
    MissingPackage,
    MixmagicError,
    NetworkBlocked,
    Stopped,
    StoreError,
    TotalTimedOut,
    Unavailable,
    UnknownModel,
)

REPO, FILE = "acme/Small-GGUF", "Small-Q4_1.gguf"
NAME = f"local:hf/{REPO}/{FILE}"
CONTENT = b"GGUF" + bytes(range(256)) * 4000


@pytest.fixture
def small(tmp_path) -> Path:
    path = tmp_path / "served" / "small.gguf"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def server(small, tmp_path, monkeypatch):
    served = Hub()
    served.repos[REPO] = Repo({FILE: small, f"sub/{FILE}": small, "README.md": small})
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE",
                 "HF_HUB_OFFLINE", "HF_TOKEN_PATH"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    yield served
    served.close()


def fetch(name: str) -> Path:
    """Fetch a file; return its path."""
    steps = hub.fetch(parse(name))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def parse(name: str) -> HubFile:
    file = HubFile.parse(name)
    assert file is not None
    return file


def partial() -> list[Path]:
    """The files in the cache that are not whole."""
    found = [path for path in hub.folder().rglob("*") if path.is_file()]
    return [path for path in found if path.suffix == ".incomplete" or "tmp" in path.name]


@pytest.mark.parametrize("name", [f"hf/{REPO}/{FILE}", f"hf/{REPO}/sub/{FILE}"])
def test_a_file_is_fetched_once_into_hugging_faces_cache_and_found_again(server, name):
    assert not hub.is_cached(parse(name))
    path = fetch(name)
    assert path.read_bytes() == CONTENT
    assert hub.is_cached(parse(name))
    assert hub.path_of(parse(name)) == path
    assert path.is_relative_to(Path(os.environ["HF_HOME"]) / "hub")
    assert [each.file.name for each in hub.on_disk()] == [name]
    assert [each.size for each in hub.on_disk()] == [len(CONTENT)]
    assert not partial()


def test_the_cache_is_the_one_that_huggingface_hub_itself_uses(server, monkeypatch, tmp_path):
    script = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    for variables in ({}, {"HF_HUB_CACHE": str(tmp_path / "a")}, {"HF_HOME": "~/b"},
                      {"HUGGINGFACE_HUB_CACHE": "$HF_HOME/c"}):  # fmt: skip
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            theirs = subprocess.check_output(
                [sys.executable, "-c", script], text=True, timeout=60
            ).strip()
            assert str(hub.folder()) == theirs


@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/7", "feature/x", "a" * 40])
def test_a_revision_is_fetched_and_listed_by_its_name(server, revision, tmp_path):
    old = tmp_path / "old.gguf"
    old.write_bytes(b"GGUF old")
    server.repos[REPO].revisions[revision] = "a" * 40
    server.repos[REPO].files[FILE] = old
    name = HubFile(REPO, FILE, revision).name
    assert fetch(name).read_bytes() == b"GGUF old"
    assert [each.file.name for each in hub.on_disk()] == [name]
    assert not hub.is_cached(parse(f"hf/{REPO}/{FILE}"))


def test_a_newer_file_of_the_same_name_is_fetched_when_asked_again(server, small):
    first = fetch(f"hf/{REPO}/{FILE}")
    small.write_bytes(b"GGUF newer")
    server.repos[REPO].revisions["main"] = "b" * 40
    second = fetch(f"hf/{REPO}/{FILE}")
    assert (first.read_bytes(), second.read_bytes()) == (CONTENT, b"GGUF newer")
    assert hub.path_of(parse(f"hf/{REPO}/{FILE}")) == second
    listed = {each.file.name: each.size for each in hub.on_disk()}
    assert listed == {f"hf/{REPO}/{FILE}": 10, f"hf/{REPO}@{COMMIT}/{FILE}": len(CONTENT)}


def test_all_parts_of_a_split_model_are_fetched(server, small):
    parts = [f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    server.repos[REPO].files |= dict.fromkeys(parts, small)
    path = fetch(f"hf/{REPO}/{parts[0]}")
    assert path.name == parts[0]
    assert all(path.with_name(part).read_bytes() == CONTENT for part in parts)
    assert [(each.file.file, each.size) for each in hub.on_disk()] == [(parts[0], 3 * len(CONTENT))]
    path.with_name(parts[1]).unlink()
    assert not hub.is_cached(parse(f"hf/{REPO}/{parts[0]}"))


def test_the_token_goes_to_hugging_face_alone(server, monkeypatch):
    server.repos[REPO].token = "hf_canary4711"
    monkeypatch.setenv("HF_TOKEN", "hf_canary4711")
    assert fetch(f"hf/{REPO}/{FILE}").read_bytes() == CONTENT
    sent = {path.split("/")[1]: authorization for _, path, authorization in server.seen}
    assert (sent["acme"], sent["contents"]) == ("Bearer hf_canary4711", "")


def test_the_progress_grows_from_0_and_tells_the_size(server):
    server.stall_after = len(CONTENT) // 2
    steps = hub.fetch(parse(f"hf/{REPO}/{FILE}"))
    seen = [next(steps)]
    assert server.stalled.wait(30)
    server.go.set()
    seen += steps
    shares = [step.share for step in seen]
    assert shares == sorted(shares)
    assert (shares[0], max(step.size or 0 for step in seen)) == (0, len(CONTENT))
    assert all(share < 1 for share in shares)


REFUSED = [
    ("hf/acme/Nothing/a.gguf", UnknownModel, "no repository acme/Nothing", "private"),
    (f"hf/{REPO}/Smal-Q4_1.gguf", UnknownModel, "no GGUF file 'Smal-Q4_1.gguf'", f"mean {FILE}"),
    (f"hf/{REPO}/zzz.gguf", UnknownModel, "no GGUF file 'zzz.gguf'", f"It has {FILE}, sub/{FILE}."),
    (f"hf/{REPO}", UnknownModel, "is a repository", f"It has {FILE}, sub/{FILE}."),
    (f"hf/{REPO}/README.md", UnknownModel, "no GGUF file 'README.md'", FILE),
    (f"hf/{REPO}@v9/{FILE}", UnknownModel, "no revision 'v9'", "commits"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "message", "hint"), REFUSED)
def test_a_wrong_name_is_an_error_with_the_closest_names(server, name, kind, message, hint):
    with pytest.raises(kind) as caught:
        fetch(name)
    _two_lines(caught.value, message, hint)


@pytest.mark.parametrize("token", ["", "hf_another4711"])
def test_a_gated_repository_says_how_to_get_access(server, monkeypatch, token):
    server.repos[REPO].gated, server.repos[REPO].token = True, token
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(MissingKey) as caught:
        fetch(f"hf/{REPO}/{FILE}")
    _two_lines(caught.value, "is gated", f"{server.url}/{REPO}")
    assert "HF_TOKEN" in caught.value.hint
    assert "hf_another4711" not in str(caught.value)


def test_offline_mode_finds_what_is_there_and_says_what_is_not(server, monkeypatch, session):
    fetch(f"hf/{REPO}/{FILE}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    server.seen.clear()
    assert hub.is_cached(parse(f"hf/{REPO}/{FILE}"))
    with pytest.raises(Unavailable) as caught:
        fetch(f"hf/{REPO}/sub/{FILE}")
    _two_lines(caught.value, "HF_HUB_OFFLINE is set", "local list")
    assert not server.seen


@pytest.mark.slow  # huggingface_hub tries again for 20 seconds
def test_a_server_that_is_not_there_is_an_error_that_names_it(server, monkeypatch):
    server.close()
    with pytest.raises(Unavailable) as caught:
        fetch(f"hf/{REPO}/{FILE}")
    _two_lines(caught.value, server.url, "HF_ENDPOINT")


@pytest.mark.slow  # huggingface_hub tries again for 20 seconds
@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_fails_is_an_error_with_its_status(server, status):
    server.status = status
    with pytest.raises(Unavailable) as caught:
        fetch(f"hf/{REPO}/{FILE}")
    _two_lines(caught.value, str(status), "network")


@pytest.mark.slow  # huggingface_hub tries again for a minute
def test_a_connection_that_breaks_again_and_again_is_an_error_and_leaves_no_file(server):
    server.cut_after = 0
    with pytest.raises(Unavailable) as caught:
        fetch(f"hf/{REPO}/{FILE}")
    _two_lines(caught.value, "could not be fetched", "network")
    assert "Signature" not in str(caught.value)
    assert not partial()
    server.cut_after = -1
    assert fetch(f"hf/{REPO}/{FILE}").read_bytes() == CONTENT


def test_a_full_disk_is_an_error_that_names_the_folder(server, monkeypatch):
    """The limit of a file's size stands for a full disk: both fail when a block is written."""
    real = subprocess.Popen
    limited = ["/bin/sh", "-c", 'ulimit -f 100; exec "$@"', "sh"]
    monkeypatch.setattr(subprocess, "Popen", lambda words, **more: real(limited + words, **more))
    with pytest.raises(StoreError) as caught:
        fetch(f"hf/{REPO}/{FILE}")
    _two_lines(caught.value, f"cannot be saved in {hub.folder()}", "HF_HOME")
    assert not partial()


def test_a_cache_that_is_not_a_folder_is_an_error_that_names_it(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError) as caught:
        fetch(f"hf/{REPO}/{FILE}")
    _two_lines(caught.value, str(tmp_path / "file"), "HF_HOME")


def test_without_the_package_the_error_names_the_extra(server, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage) as caught:
        fetch(f"hf/{REPO}/{FILE}")
    _two_lines(caught.value, "needs huggingface_hub", "[hf]")


def test_a_blocked_network_is_not_reached(server, monkeypatch):
    from mixmagic.backends.http import guard

    for variable, value in guard.variables(os.environ).items():
        monkeypatch.setenv(variable, value)
    assert fetch(f"hf/{REPO}/{FILE}").read_bytes() == CONTENT  # this machine may be reached
    monkeypatch.setenv("HF_ENDPOINT", "http://192.0.2.1:9")
    with pytest.raises(NetworkBlocked) as caught:
        fetch(f"hf/{REPO}/sub/{FILE}")
    _two_lines(caught.value, "was refused", "cassette")


def test_an_abandoned_fetch_ends_at_once_and_leaves_no_file(server):
    server.stall_after = len(CONTENT) // 2
    steps = hub.fetch(parse(f"hf/{REPO}/{FILE}"))
    next(steps)
    assert server.stalled.wait(30)
    assert partial()
    started = time.monotonic()
    steps.close()
    assert not partial()
    assert time.monotonic() - started < hub._PATIENCE  # it was not killed
    assert not hub.is_cached(parse(f"hf/{REPO}/{FILE}"))


FETCH = """
import sys
from mixmagic.backends.local import hub
from mixmagic.core.hub import HubFile
for step in hub.fetch(HubFile.parse(sys.argv[1])):
    pass
"""


def test_a_killed_kernel_leaves_no_file(server):
    server.stall_after = len(CONTENT) // 2
    kernel = subprocess.Popen([sys.executable, "-c", FETCH, f"hf/{REPO}/{FILE}"])
    assert server.stalled.wait(30)
    assert partial()
    kernel.send_signal(signal.SIGKILL)
    kernel.wait(30)
    deadline = time.monotonic() + soon(10)
    while partial():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_call_that_is_stopped_ends_and_leaves_no_file(server, session):
    server.stall_after = len(CONTENT) // 2
    request = session.request("Hello", model=NAME)

    def stop() -> None:
        server.stalled.wait(30)
        request.control.stop.set()

    threading.Thread(target=stop).start()
    with closing(session.stream(request)) as deltas, pytest.raises(Stopped):
        list(deltas)
    assert not partial()


def test_a_call_that_runs_out_of_time_says_how_to_fetch_without_a_limit(server, session):
    server.stall_after = 0
    with pytest.raises(TotalTimedOut) as caught:
        session.ask("Hello", model=NAME, timeout=1.5)
    _two_lines(caught.value, "not fetched in the time", f"local install {NAME}")
    assert not partial()


def test_a_count_fetches_nothing(server, session):
    assert not session.count("Hello", model=NAME).exact
    assert not server.seen


@pytest.mark.parametrize(
    "name",
    ["hf/acme", "hf/acme/x/../y.gguf", "hf/acme/x//y.gguf", "hf/a b/c/d.gguf", "hf/acme/x/y\\z",
     "hf/acme/x@../y.gguf", "HF/acme/x/y.gguf", "/hf/acme/x/y.gguf"],
)  # fmt: skip
def test_other_names_are_paths(server, session, name):
    assert HubFile.parse(name) is None
    with pytest.raises(BadArguments):
        session.ask("Hello", model=f"local:{name}")
    assert not server.seen


@pytest.mark.embedded
def test_the_real_model_answers_from_hugging_faces_cache_and_costs_nothing(
    server, weights, session, monkeypatch
):
    real = weights / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    server.repos[REPO].files[FILE] = real
    session.budget("0.000001")
    request = session.request("Name a colour.", model=NAME, temperature=0, max_tokens=8)
    with closing(session.stream(request)) as deltas:
        seen = list(deltas)
    text = "".join(delta.text for delta in seen)
    own = session.ask("Name a colour.", model="local", temperature=0, max_tokens=8)
    assert text == own.text
    assert any(delta.progress.startswith(f"fetching hf/{REPO}") for delta in seen)
    server.seen.clear()
    again = session.ask("Name a colour.", model=NAME, temperature=0, max_tokens=8)
    assert (again.text, again.cost) == (text, 0)
    assert not server.seen
    assert session.count("Name a colour.", model=NAME).exact


def test_the_last_names_are_completed_and_listed(server, session):
    from mixmagic.commands._parser import models

    fetch(f"hf/{REPO}/{FILE}")
    assert NAME in models(session, {})
    assert f"hf/{REPO}/{FILE}" in [model.id for model in session.live_models("local")]


@pytest.mark.parametrize(
    ("typed", "form"),
    [
        ("hf/owner", "hf/OWNER/REPO/FILE.gguf"),
        ("HF/owner/repo/file.gguf", "hf/OWNER/REPO/FILE.gguf"),
        ("hf/owner/repo/../file.gguf", "hf/OWNER/REPO/FILE.gguf"),
        ("https://huggingface.co/o/r/resolve/main/q/f.gguf?download=true", "hf/o/r/q/f.gguf"),
        ("https://hf.co/o/r/blob/main/f.gguf", "hf/o/r/f.gguf"),
        ("https://example.com/f.gguf", "hf/OWNER/REPO/FILE.gguf"),
    ],
)
def test_a_name_like_one_of_hugging_face_is_told_its_form(session, typed, form):
    with pytest.raises(BadArguments) as error:
        session.ask("Hi", model=f"local:{typed}")
    assert error.value.hint == f"A file of Hugging Face has this form: -m local:{form}."


def _two_lines(error: MixmagicError, message: str, hint: str) -> None:
    lines = error._render_traceback_()
    assert len(lines) == 2
    assert message in lines[0]
    assert hint in lines[1]
    assert all("\n" not in line and len(line) < 700 for line in lines)


def test_the_embedded_models_name_is_no_file_of_the_hub():
    assert HubFile.parse(weights.MODEL_ID) is None
