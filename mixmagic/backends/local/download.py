"""Fetch files of Hugging Face into its cache: the script of a separate process.

It writes a line of JSON for each step of the progress, and a last one for the path or the failure.
When its input is closed, it deletes what it has received, and ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

# Seconds until the process ends in any case, after its input has been closed; and seconds between
# two messages.
_PATIENCE, _OFTEN = 2.0, 0.1
Say = Callable[..., None]


def _download(question: dict[str, Any], say: Say) -> str:
    """Fetch the files; return the path of the first one."""
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    names, done, said = question["files"], 0, 0.0

    class Progress(tqdm):  # type: ignore[misc]  # untyped
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": nowhere})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal said
            shown: bool | None = super().update(n)
            if self.total and time.monotonic() > said + _OFTEN:
                said = time.monotonic()
                size = int(self.total) if len(names) == 1 else None
                say(share=(done + self.n / self.total) / len(names), size=size)
            return shown

    paths = []
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        for name in names:
            if not name.lower().endswith(".gguf"):
                raise _NotGGUF
            paths.append(
                hf_hub_download(
                    question["repo"],
                    name,
                    revision=question["revision"],
                    cache_dir=question["cache"],
                    tqdm_class=Progress,
                )
            )
            done += 1
    return str(paths[0])


class _NotGGUF(Exception):  # it says what is wrong
    """The file's name does not end in `.gguf`."""


def _failure(error: BaseException, question: dict[str, Any]) -> dict[str, Any]:
    """Return the kind of an error, and its words, by the classes of huggingface_hub's errors."""
    from huggingface_hub import constants

    chain = list(_chain(error))
    classes = {each.__name__ for one in chain for each in type(one).__mro__}
    responses = [getattr(one, "response", None) for one in chain]
    statuses = {getattr(response, "status_code", None) for response in responses}
    system = [one for one in chain if isinstance(one, OSError) and one.errno is not None
              and not isinstance(one, (ConnectionError, TimeoutError))]  # fmt: skip
    first = str(chain[-1]).strip().partition("\n")[0] or type(chain[-1]).__name__
    found: dict[str, Any] = {"endpoint": constants.ENDPOINT, "detail": _without_queries(first)}
    if "NetworkBlocked" in classes:
        blocked = next(one for one in chain if type(one).__name__ == "NetworkBlocked")
        own = {"detail": str(blocked), "hint": getattr(blocked, "hint", "")}
        return {**found, "failed": "blocked", **own}
    if "OfflineModeIsEnabled" in classes:
        return {**found, "failed": "offline"}
    if "GatedRepoError" in classes:
        return {**found, "failed": "gated"}
    if {"RepositoryNotFoundError", "HFValidationError"} & classes:
        return {**found, "failed": "repo"}
    if "RevisionNotFoundError" in classes:
        return {**found, "failed": "revision"}
    if isinstance(error, _NotGGUF) or ("EntryNotFoundError" in classes and 404 in statuses):
        return {**found, "failed": "file", "files": _gguf_files(question)}
    if statuses & {401, 403}:
        return {**found, "failed": "token"}
    if system and "HTTPError" not in classes:
        return {**found, "failed": "disk", "detail": system[-1].strerror}
    return {**found, "failed": "connection"}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _without_queries(text: str) -> str:
    """Return a text without the queries of its URLs: they can be signed, as a key is."""
    return re.sub(r"\?[^\s'\"]+", "", text)


def _gguf_files(question: dict[str, Any]) -> list[str]:
    """Return the GGUF files of a repository; none if they cannot be listed."""
    from huggingface_hub import HfApi

    try:
        names = HfApi().list_repo_files(question["repo"], revision=question["revision"])
    except Exception:  # noqa: BLE001  # the first error is the one that matters
        return []
    return sorted(name for name in names if name.lower().endswith(".gguf"))


def _watch() -> None:
    """Interrupt the main thread when the input is closed; end the process if that does not."""
    os.read(0, 1)
    main = threading.main_thread()
    if hasattr(signal, "pthread_kill") and main.ident is not None:
        signal.pthread_kill(main.ident, signal.SIGINT)
    else:
        import _thread

        _thread.interrupt_main()
    time.sleep(_PATIENCE)
    os._exit(1)


def main() -> None:
    """Fetch what the first argument names."""
    out = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # warnings of other packages are not messages

    def say(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    question = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_watch, daemon=True).start()
    try:
        say(path=_download(question, say))
    except Exception as error:  # noqa: BLE001  # reported
        say(**_failure(error, question))
    except KeyboardInterrupt:
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
