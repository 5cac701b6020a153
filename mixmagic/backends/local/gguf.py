"""The GGUF file of a local model: its path, and fetching it.

It is the embedded model's, one of Hugging Face (`hf/OWNER/REPO/FILE.gguf`), or any other file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from mixmagic.backends.local import hub, weights
from mixmagic.core.extras import install
from mixmagic.core.hub import HubFile
from mixmagic.core.sealed import sealed
from mixmagic.core.values import Model
from mixmagic.errors import BadArguments, MissingPackage

_Done = TypeVar("_Done")


def require_package() -> None:
    """Check that local models can run.

    Raises:
        MissingPackage: xllamacpp is not installed.
    """
    if not find_spec("xllamacpp"):
        raise MissingPackage(
            "A local model needs xllamacpp, which is not installed.", f"Run {install('local')}."
        )


def on_hub(model: Model) -> HubFile | None:
    """Return the file of Hugging Face that a local model is; `None` if it is another one."""
    return HubFile.parse(model.options.get("path", model.id))


def path(model: Model, cache_dir: Path) -> Path:
    """Return the path of a local model's GGUF file, which may not be fetched yet."""
    if weights.is_embedded(model):
        return weights.path(cache_dir)
    if (theirs := on_hub(model)) is not None:
        return hub.path_of(theirs)
    with sealed():  # `expanduser` reads the environment
        return Path(os.path.expanduser(model.options.get("path", model.id))).absolute()  # noqa: PTH111  # Path's fails without a home


def fetched(
    model: Model, cache_dir: Path, env: Mapping[str, str], *, newest: bool = False
) -> Generator[str, None, Path]:
    """Fetch a local model's GGUF file unless it is there; yield the progress as text.

    Args:
        model: The model.
        cache_dir: The user's cache folder.
        env: The environment of the process that fetches it.
        newest: True to look for a newer version on Hugging Face.

    Returns:
        The path of the file.

    Raises:
        BadArguments: There is no such file, and it cannot be fetched.
        MixmagicError: See `hub.fetch` and `weights.fetch`.
    """
    if weights.is_embedded(model):
        return (yield from _as_text(weights.fetch(cache_dir, env), weights.bar))
    theirs, found = on_hub(model), path(model, cache_dir)
    if theirs is not None and (newest or not hub.is_cached(theirs)):
        return (yield from _as_text(hub.fetch(theirs, env), _with_size))
    if not found.is_file():
        raise BadArguments(f"There is no GGUF file {found}.", _hint(model.id))
    return found


def _hint(name: str) -> str:
    """Return the hint for a name that is not a file's."""
    file = re.search(r"(?:huggingface|hf)\.co/([^/]+/[^/]+)/(?:resolve|blob)/[^/]+/([^?]+)", name)
    if file or re.match("/*(?:hf|https?:)/", name, re.IGNORECASE):
        form = f"{file[1]}/{file[2]}" if file else "OWNER/REPO/FILE.gguf"
        return f"A file of Hugging Face has this form: -m local:hf/{form}."
    return "Name a file (-m local:/path/model.gguf), or use the embedded model: -m local."


def _as_text(
    steps: Generator[_Done, None, Path], text: Callable[[_Done], str]
) -> Generator[str, None, Path]:
    with closing(steps):
        while True:
            try:
                done = next(steps)
            except StopIteration as end:
                return Path(end.value)
            yield text(done)


def _with_size(progress: hub.Progress) -> str:
    size = "" if progress.size is None else f" of {progress.size / 1e6:,.0f} MB"
    return f"{weights.bar(progress.share)}{size}"
