"""Files of Hugging Face: those that are in its cache on this machine, and fetching others.

A file is found without the package huggingface_hub, and fetched with it, in a separate process:
that can be stopped at any moment, and Hugging Face's token is not in the kernel.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

from mixmagic.core.extras import install
from mixmagic.core.hub import MAIN, HubFile
from mixmagic.core.sealed import sealed
from mixmagic.errors import (
    MissingKey,
    MissingPackage,
    MixmagicError,
    NetworkBlocked,
    StoreError,
    Unavailable,
    UnknownModel,
    one_line,
)
from mixmagic.keys.environment import without_keys

_POLL = 0.1
# Seconds that the process has to delete what it has received.
_PATIENCE = 3.0
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


class Progress(NamedTuple):
    """The progress of fetching a file.

    Attributes:
        share: From 0 to 1.
        size: Bytes of the whole file; `None` if unknown.
    """

    share: float
    size: int | None


class OnDisk(NamedTuple):
    """A GGUF file in the cache.

    Attributes:
        file: Its name.
        path: Its path; of a split one, of its first part.
        size: Bytes, of all its parts.
    """

    file: HubFile
    path: Path
    size: int


def folder() -> Path:
    """Return the folder of Hugging Face's cache: its own rules, read anew each time."""
    with sealed():
        get = os.environ.get
        home = get("HF_HOME") or os.path.join(  # noqa: PTH118  # may begin with ~
            get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
        )
        named = get("HF_HUB_CACHE") or get("HUGGINGFACE_HUB_CACHE")
        path = named or os.path.join(home, "hub")  # noqa: PTH118
        return Path(os.path.expandvars(os.path.expanduser(path))).absolute()  # noqa: PTH111  # Path's fails without a home


def path_of(file: HubFile) -> Path:
    """Return the path of a file in the cache, where it need not be."""
    repo = folder() / f"models--{file.repo.replace('/', '--')}"
    commit = file.revision
    with contextlib.suppress(OSError, ValueError):
        commit = (repo / "refs" / file.revision).read_text("utf-8").strip() or commit
    return repo / "snapshots" / commit / (file.file or ".")


def is_cached(file: HubFile) -> bool:
    """Return True if a file, with all its parts, is on this machine."""
    path = path_of(file)
    name = Path(file.file).name
    within = path.parents[file.file.count("/")]
    return bool(name) and all((within / part).is_file() for part in file.parts)


def on_disk() -> Iterator[OnDisk]:
    """Yield the GGUF files in the cache, by name."""
    for repo in sorted(folder().glob("models--*--*")):
        names = _revisions(repo / "refs")
        owner, _, rest = repo.name.removeprefix("models--").partition("--")
        for path in sorted(repo.glob("snapshots/*/**/*.gguf")):
            commit, *steps = path.relative_to(repo / "snapshots").parts
            file = HubFile(f"{owner}/{rest}", "/".join(steps), names.get(commit, commit))
            if file.parts[0] == file.file and is_cached(file):
                within = path.parents[len(steps) - 1]
                size = sum((within / part).stat().st_size for part in file.parts)
                yield OnDisk(file, path, size)


def _revisions(refs: Path) -> dict[str, str]:
    """Return the branches and tags of a repository in the cache, by commit; `main` comes first."""
    names: dict[str, str] = {}
    paths = [path for path in refs.rglob("*") if path.is_file()] if refs.is_dir() else []
    for path in sorted(paths, key=lambda path: (path != refs / MAIN, path)):
        with contextlib.suppress(OSError, ValueError):
            names.setdefault(path.read_text("utf-8").strip(), path.relative_to(refs).as_posix())
    return names


def fetch(file: HubFile, env: Mapping[str, str] | None = None) -> Generator[Progress, None, Path]:
    """Fetch a file into Hugging Face's cache, or look for a newer one; yield the progress.

    The file is there completely or not at all. If the generator is closed, what has been received
    is deleted.

    Args:
        file: The file.
        env: The environment of the process that fetches it, to which Hugging Face's own token is
            added; if `None`, this process's environment without keys.

    Returns:
        The path of the GGUF file, of its first part if it is split.

    Raises:
        MissingPackage: huggingface_hub is not installed.
        UnknownModel: There is no such repository, revision or file.
        MissingKey: Hugging Face's token is missing, or is not accepted.
        StoreError: The cache cannot be written.
        Unavailable: Hugging Face cannot be reached, or does not send the file.
    """
    if not find_spec("huggingface_hub"):
        raise MissingPackage(
            f"Fetching {file.name} needs huggingface_hub, which is not installed.",
            f"Run {install('hf')}.",
        )
    question = {"repo": file.repo, "revision": file.revision, "files": file.parts}
    script = Path(__file__).with_name("download.py")
    command = [sys.executable, "-P", str(script), json.dumps({**question, "cache": str(folder())})]
    with sealed():  # its environment is a local variable of the callee
        process = _start(command, without_keys() if env is None else env)
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, messages), daemon=True).start()
    last = Progress(0.0, None)
    try:
        while True:
            yield last
            try:
                message = messages.get(timeout=_POLL)
            except queue.Empty:
                continue
            if message is None:
                raise Unavailable(
                    f"The process that fetched {file.name} has ended.", "Run this again."
                )
            if "failed" in message:
                raise _error(file, message)
            if "path" in message:
                return Path(message["path"])
            last = Progress(max(last.share, min(message["share"], 0.99)), message["size"])
    finally:
        _end(process)


def _start(command: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    tokens = {name: os.environ[name] for name in _TOKENS if name in os.environ}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**env, **tokens},
        # Otherwise Ctrl-C would reach it, too, as a member of the terminal's process group.
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process: it deletes what it has received when its input is closed."""
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(pipe: IO[bytes], messages: queue.SimpleQueue[Any]) -> None:
    """Pass on the messages of the process; at its end, `None`."""
    with contextlib.suppress(OSError, ValueError), pipe:
        for line in pipe:
            messages.put(json.loads(line))
    messages.put(None)


def _error(file: HubFile, message: Mapping[str, Any]) -> MixmagicError:
    """Return our error for a failure that the process reports."""
    detail = one_line(message.get("detail", ""), 200).rstrip(".")
    address = f"{message['endpoint']}/{file.repo}"
    at = "" if file.revision == MAIN else f" at revision {file.revision}"
    login = "set HF_TOKEN, or run `hf auth login` in a shell"
    errors: dict[str, tuple[type[MixmagicError], str, str]] = {
        "repo": (
            UnknownModel,
            f"There is no repository {file.repo} at {message['endpoint']}, or it is private.",
            f"Check its name; for a private one, {login}.",
        ),
        "revision": (
            UnknownModel,
            f"{file.repo} has no revision {file.revision!r:.80}.",
            f"Its branches, tags and commits: {address}/commits/main.",
        ),
        "file": (
            UnknownModel,
            f"{file.repo} has no GGUF file {file.file!r:.120}{at}."
            if file.file
            else f"hf/{file.repo} is a repository: name one of its GGUF files.",
            _files_hint(file, message.get("files", []), address),
        ),
        "gated": (
            MissingKey,
            f"{file.repo} is gated: its owner grants access to accounts that ask for it.",
            f"Accept its terms at {address}, then {login}.",
        ),
        "token": (
            MissingKey,
            f"Hugging Face refuses access to {file.repo}: {detail}.",
            f"To use another token, {login}.",
        ),
        "offline": (
            Unavailable,
            f"{file.name} is not on this machine, and HF_HUB_OFFLINE is set.",
            "Unset it to fetch the file; `%mixmagic local list` shows what is on disk.",
        ),
        "disk": (
            StoreError,
            f"{file.name} cannot be saved in {folder()}: {detail}.",
            "Free some space or fix the folder's permissions, or name another folder in HF_HOME.",
        ),
        "blocked": (NetworkBlocked, message.get("detail", ""), message.get("hint", "")),
        "connection": (
            Unavailable,
            f"{file.name} could not be fetched from {message['endpoint']}: {detail}.",
            "Check the network, HF_ENDPOINT and the proxy settings, then run this again.",
        ),
    }
    error, words, hint = errors[message["failed"]]
    return error(words, hint)


def _files_hint(file: HubFile, files: list[str], address: str) -> str:
    """Return a hint with the names of a repository's GGUF files, the closest ones first."""
    if not files:
        return f"It has no GGUF files that are known: {address}/tree/{file.revision}."
    names = {name.lower(): name for name in files}
    near = difflib.get_close_matches(file.file.lower(), names, 3, 0.6) if file.file else []
    shown = [names[name] for name in near] or files[:6]
    if near:
        return f"Did you mean {' or '.join(shown)}?"
    more = f", … ({len(files)} in all)" if len(files) > len(shown) else ""
    return f"It has {', '.join(shown)}{more}."
