"""Files are written completely or stay as they were, and no other file is left behind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mixmagic.core import files


@pytest.fixture
def path(tmp_path) -> Path:
    """A file's path in a folder of its own."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "a.md"


def test_a_file_is_written_and_replaced(path):
    for text in ("first é\n", "second"):
        files.write(path, text)
        assert path.read_bytes() == text.encode()
    files.write(path, "a\r\nb", newline="")
    assert path.read_bytes() == b"a\r\nb"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.md", "/home/ada/über_1.md", "C:\\a-b.md"])
def test_a_plain_name_is_typed_without_quotes(name):
    assert files.typed(name) == name
    assert files.typed(f"my {name}") == f'"my {name}"'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_leaves_what_was_there(path, monkeypatch):
    files.write(path, "kept")
    monkeypatch.setattr(os, "urandom", bytes)
    path.with_name(".a.md.00000000.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "lost")
    assert path.read_text() == "kept"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_no_file_is_an_error_of_the_systems(path):
    with pytest.raises(OSError, match="directory"):
        files.write(path.parent, "text")
    with pytest.raises(ValueError, match="null"):
        files.write(path.with_name("a\0b"), "text")
    assert list(path.parent.iterdir()) == []


def test_who_reads_while_it_is_written_reads_one_whole_text(path):
    files.write(path, "old")
    with path.open() as reader:
        files.write(path, "new, and longer")
        assert reader.read() == "old"


def test_a_link_stays_and_what_it_points_to_is_written(path, tmp_path):
    link = tmp_path / "link.md"
    link.symlink_to(path)
    for text in ("first", "second"):
        files.write(link, text)
        assert (link.is_symlink(), path.read_text()) == (True, text)


def test_the_text_is_synced_before_the_file_is_renamed_and_the_folder_afterwards(path, monkeypatch):
    """A power cut can leave neither the new name without the text, nor the old text for long."""
    steps = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def replaced(*names):
        steps.append("rename")
        replace(*names)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    files.write(path, "text")
    assert steps == ["file", "rename", "folder"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xef\xbb\xbfmodel = 'a'\r\n", "model = 'a'\n"),
        (b"\xef\xbb\xbf", ""),
        ("é\n".encode(), "é\n"),
    ],
)
def test_a_text_is_read_with_or_without_a_byte_order_mark(path, raw, text):
    path.write_bytes(raw)
    assert files.read(path) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_a_text_in_another_encoding_is_named(path, encoding):
    path.write_bytes('model = "é"'.encode(encoding))
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # a kind of many messages
        files.read(path)
    assert "not UTF-8" in files.reason(caught.value)
