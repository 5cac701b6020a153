"""A cassette: recorded calls in a file beside the notebook, one JSON line each.

A line begins with the call's key, at a fixed place: the file is indexed without being parsed, and a
damaged line harms no other. It has neither headers nor URLs nor keys.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mixmagic.core import files, lazy
from mixmagic.errors import StoreBusy, StoreError, UnreadableRecord
from mixmagic.store.sqlite.quarantine import InUse, exclusive, sibling

# A line begins with `{"key": "…", "n": "`, and the key has 32 hexadecimal digits.
_BEGIN, _KEY, _END = b'{"key": "', slice(9, 41), b'", "n": "'
_HEX = re.compile(rb"[0-9a-f]{32}")
# Seconds that a recording waits while another process writes the file.
_LOCKED = 30.0


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded call: a line of a cassette.

    Attributes:
        key: The key of its request, 32 hexadecimal digits.
        n: Its scope and its number among equal requests there, such as `9f2c41ab/0`.
        request: The request, as `calls.codec` writes it.
        answer: The answer, or `None` after an error.
        error: The error, or `None`.
        model: The model that answered, if it is not the request's: a row of a request's JSON.
        pace: Seconds since the start, and the characters received by then; empty if not streamed.
        timing: The times of the call: `elapsed`, `ttft`, `thinking`.
        recorded: `date` in UTC, and `by`, the version that recorded it.
        at: The number of its line in the file, from 1; 0 if it is in none.

    Example:
        >>> Recording.of_line(recording.line()) == recording
        True
    """

    key: str
    n: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    pace: tuple[tuple[float, int], ...] = ()
    timing: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Any] = field(default_factory=dict)
    at: int = field(default=0, compare=False)

    @property
    def scope(self) -> str:
        """The part of the work that asked: a cell, a row, a column; or the whole process."""
        return self.n.rpartition("/")[0]

    @property
    def number(self) -> int:
        """Its number among equal requests in its scope, from 0."""
        return int(self.n.rpartition("/")[2])

    def line(self) -> bytes:
        """Return the line, without its end."""
        values = {
            "key": self.key,
            "n": self.n,
            "request": _with_lines(self.request),
            "model": self.model,
            "answer": self.answer and _with_lines(self.answer),
            "error": self.error and _with_lines(self.error),
            "pace": self.pace,
            "timing": self.timing,
            "recorded": self.recorded,
        }
        return _json({name: value for name, value in values.items() if value})

    @classmethod
    def of_line(cls, line: bytes, at: int = 0) -> Recording:
        """Return the recording in a line.

        Raises:
            ValueError: The line is damaged.
        """
        try:
            data = json.loads(line)
            number = data["n"].rpartition("/")[2]
            answer, error = data.get("answer"), data.get("error")
            if (answer is None) is (error is None) or not number.isdecimal():
                raise ValueError("it has no answer")
            return cls(
                _typed(data["key"], str),
                data["n"],
                _with_texts(_typed(data["request"], dict)),
                None if answer is None else _with_texts(_typed(answer, dict)),
                None if error is None else _with_texts(_typed(error, dict)),
                data.get("model"),
                tuple(
                    (float(seconds), int(received)) for seconds, received in data.get("pace", ())
                ),
                _typed(data.get("timing", {}), dict),
                _typed(data.get("recorded", {}), dict),
                at,
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"it has no {error}") from None

    def equals(self, other: Recording) -> bool:
        """Return True if the answers, usage and ends are equal, whenever they were recorded."""
        return self._essence() == other._essence()

    def _essence(self) -> object:
        """Return the parts that make a recording another one."""
        answer, error = self.answer or {}, self.error or {}
        partial = error.get("partial", {})
        return (
            self.key,
            [answer.get(name) for name in ("text", "others", "reasoning", "finish", "usage")],
            [error.get(name) for name in ("type", "message", "status")],
            [partial.get(name) for name in ("text", "others", "reasoning")],
        )


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
        return self._state() is not None

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
        """Delete the file, if there is one, and its lock."""
        for path in (self.path, sibling(_lock_path(self.path), "-lock")):
            with contextlib.suppress(OSError):
                path.unlink()

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
                view.state = self._state()

    def _view(self) -> _View:
        """Return the lines of the file as it is now."""
        state = self._state()
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
            return self.path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        except FileNotFoundError:
            return b""
        except (OSError, ValueError) as error:
            raise _unusable(self.path, "read", error) from None

    def _state(self) -> object:
        """Return a value that changes with the file; `None` if there is none."""
        try:
            status = os.stat(self.path)  # noqa: PTH116  # at every call
        except (OSError, ValueError):
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

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
        with exclusive(_lock_path(path), _LOCKED):
            yield
    except InUse:
        raise StoreBusy(
            f"{path.name} is being written by another process.", "Run the cell again."
        ) from None
    except (OSError, ValueError) as error:
        raise _unusable(path, "written", error) from None


def _lock_path(path: Path) -> Path:
    """Return the path of which the sibling `-lock` is the lock: a hidden file beside it."""
    return path.with_name(f".{path.name}")


def _unusable(path: Path, verb: str, error: Exception) -> StoreError:
    return StoreError(
        f"{path.name} cannot be {verb}: {files.reason(error)}.",
        "Check its folder, or name another file: `%mixmagic cassette FILE`.",
    )


def _last_byte(descriptor: int, size: int) -> bytes:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)


def _json(value: Any) -> bytes:
    """Return JSON in UTF-8; half of a surrogate pair is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return re.sub(r"[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def _with_lines(value: Any) -> Any:
    """Return JSON of `calls.codec` with texts of several lines as lists of their lines."""
    return _mapped(value, _split)


def _with_texts(value: Any) -> Any:
    """Return JSON of `calls.codec` with lists of lines as texts."""
    return _mapped(value, _joined)


def _mapped(value: Any, change: Any) -> Any:
    """Return JSON with the texts of messages and answers changed; parameters stay."""
    mapped = dict(value)
    for name in ("text", "reasoning"):
        if name in mapped:
            mapped[name] = change(mapped[name])
    if "others" in mapped:
        mapped["others"] = [change(text) for text in mapped["others"]]
    if "partial" in mapped:
        mapped["partial"] = _mapped(mapped["partial"], change)
    if "messages" in mapped:
        mapped["messages"] = [
            {**message, "content": _content(message["content"], change)}
            for message in mapped["messages"]
        ]
    return mapped


def _content(content: Any, change: Any) -> Any:
    """Return the content of a message with its texts changed: a text, or a list of parts."""
    if isinstance(content, list) and not any(isinstance(item, str) for item in content):
        return [{**part, "text": change(part["text"])} if "text" in part else part
                for part in content]  # fmt: skip
    return change(content)


def _split(text: str) -> Any:
    return text.split("\n") if "\n" in text[:-1] else text  # a cell may end with one


def _joined(text: Any) -> Any:
    return "\n".join(text) if isinstance(text, list) else text


def _typed(value: Any, kind: type) -> Any:
    """Return a value of JSON, after a check of its type."""
    if not isinstance(value, kind):
        raise TypeError(kind.__name__)
    return value
