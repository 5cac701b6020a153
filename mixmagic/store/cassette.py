"""A cassette: recorded calls in a file beside the notebook, one JSON line each.

A line begins with the call's key, at a fixed place: the file is indexed without being parsed, and a
damaged line harms no other.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mixmagic.core import files, lazy
from mixmagic.errors import StoreBusy, StoreError, UnreadableRecord
from mixmagic.store.recording import Recording
from mixmagic.store.sqlite.quarantine import InUse, exclusive

# A line begins with `{"key": "…", "n": "`, and the key has 32 hexadecimal digits.
_BEGIN, _KEY, _END = b'{"key": "', slice(9, 41), b'", "n": "'
_HEX = re.compile(rb"[0-9a-f]{32}")
# Seconds that a recording waits while another process writes the file.
_LOCKED = 30.0


@dataclass(slots=True)
class _View:
    """The lines of a file as it was last read."""

    state: object = None
    lines: list[bytes] = field(default_factory=list)
    of_key: dict[bytes, list[int]] = field(default_factory=dict)
    damaged: list[int] = field(default_factory=list)
    parsed: dict[int, Recording] = field(default_factory=dict)

    def add(self, line: bytes) -> None:
        """Index one more line."""
        index = len(self.lines)
        self.lines.append(line)
        if not line:
            return
        if line.startswith(_BEGIN) and line.startswith(_END, _KEY.stop):
            key = line[_KEY]
        else:
            try:  # written anew by another program
                key = Recording.of_line(line).key.encode()
            except ValueError:
                key = b""
        if _HEX.fullmatch(key):
            self.of_key.setdefault(key, []).append(index)
        else:
            self.damaged.append(index + 1)


class Cassette:
    """The recorded calls of a file, which may not exist yet. Any thread may use it.

    The file is read again when it has changed. A recording is one `write` at its end, under a lock:
    several processes may record at once, and a kill loses at most the calls under way.

    Args:
        path: The file.

    Example:
        >>> Cassette(Path("lesson.cassette.jsonl")).find(cassette_key(request))
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = _View()

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    @property
    def exists(self) -> bool:
        """True if there is a file."""
        return files.version(self.path) is not None

    def __len__(self) -> int:
        """Return the number of recorded calls, damaged lines not counted."""
        return sum(map(len, list(self._view().of_key.values())))

    @property
    def damaged(self) -> list[int]:
        """The numbers of the lines whose request is not known any more, from 1."""
        return list(self._view().damaged)

    def find(self, key: str) -> list[Recording]:
        """Return the recordings of a key, in the order of the file.

        Raises:
            UnreadableRecord: One of its lines is damaged; the message has its number.
            StoreError: The file cannot be read.
        """
        view = self._view()
        return [self._parsed(view, index) for index in view.of_key.get(key.encode(), ())]

    def recordings(self) -> Iterator[Recording]:
        """Return all recordings that can be read, in the order of the file."""
        return (recording for recording, _ in self.entries())

    def entries(self) -> Iterator[tuple[Recording, bytes]]:
        """Yield all recordings that can be read, each with its line, in the order of the file."""
        view = self._view()
        for index in sorted(index for indexes in list(view.of_key.values()) for index in indexes):
            with contextlib.suppress(UnreadableRecord):
                yield self._parsed(view, index), view.lines[index]

    def lines(self) -> list[bytes]:
        """Return the lines of the file that may be recordings."""
        view = self._view()
        return [view.lines[index] for indexes in list(view.of_key.values()) for index in indexes]

    def add(self, recording: Recording, *, replace: bool = False) -> bool:
        """Write a recording, unless an equal one is there.

        Args:
            recording: The recording.
            replace: True to replace the one with its key and number; otherwise that one is kept.

        Returns:
            True if the file has changed.

        Raises:
            StoreError: The file cannot be written.
        """
        with _writing(self.path):
            view = self._view()
            for index in view.of_key.get(recording.key.encode(), ()):
                try:
                    known = self._parsed(view, index)
                except UnreadableRecord:
                    if not replace:
                        raise
                    known = None
                if known is not None and known.n != recording.n:
                    continue
                if not replace or (known is not None and known.equals(recording)):
                    return False
                self._write([*view.lines[:index], recording.line(), *view.lines[index + 1 :]])
                return True
            self._append(view, recording.line())
        return True

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Replace the whole file, or leave it unchanged.

        Raises:
            StoreError: The file cannot be written.
        """
        with _writing(self.path):
            self._write(lines)

    def delete(self) -> None:
        """Delete the file, if there is one."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _write(self, lines: Iterable[bytes]) -> None:
        files.write(self.path, b"".join(line + b"\n" for line in lines if line))

    def _append(self, view: _View, line: bytes) -> None:
        """Write one line at the end of the file, with one call of the system."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path, flags, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and _last_byte(descriptor, size) != b"\n"
            data = b"\n" * torn + line + b"\n"
            while data:  # a full disk may take a part of it
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)
        with lazy.lock:
            if view is self._last and not torn:
                view.add(line)
                view.state = files.version(self.path)

    def _view(self) -> _View:
        """Return the lines of the file as it is now."""
        state = files.version(self.path)
        view = self._last
        if view.state == state:
            return view
        with lazy.lock:
            if self._last.state != state:
                view = _View(state)
                for line in self._read().split(b"\n"):
                    view.add(line.rstrip(b"\r"))
                if view.lines and not view.lines[-1]:
                    view.lines.pop()
                self._last = view
            return self._last

    def _read(self) -> bytes:
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # reading a pipe would wait
                raise ValueError("it is not a regular file")
            return self.path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        except FileNotFoundError:
            return b""
        except (OSError, ValueError) as error:
            raise _unusable(self.path, "read", error) from None

    def _parsed(self, view: _View, index: int) -> Recording:
        """Return the recording of a line, parsed at its first use."""
        recording = view.parsed.get(index)
        if recording is None:
            try:
                recording = Recording.of_line(view.lines[index], index + 1)
                view.parsed[index] = recording
            except ValueError:
                raise UnreadableRecord(
                    f"Line {index + 1} of {self.name} is damaged.",
                    "Restore the file, or delete the line and record it again.",
                ) from None
        return recording


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Be the only thread of all processes that writes a file.

    Raises:
        StoreError: The file cannot be written, or another process keeps it locked.
    """
    try:
        with exclusive(path.with_name(f".{path.name}"), _LOCKED, transient=True):
            yield
    except InUse:
        raise StoreBusy(
            f"{path.name} is being written by another process.", "Run the cell again."
        ) from None
    except (OSError, ValueError) as error:
        raise _unusable(path, "written", error) from None


def _unusable(path: Path, verb: str, error: Exception) -> StoreError:
    return StoreError(
        f"{path.name} cannot be {verb}: {files.reason(error)}.",
        "Check its folder, or name another file: `%mixmagic cassette FILE`.",
    )


def _last_byte(descriptor: int, size: int) -> bytes:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)
