"""A cassette is a file of lines: each stands alone, and equal answers keep theirs."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.errors import StoreError, UnreadableRecord
from mixmagic.store.cassette import Cassette
from mixmagic.store.recording import Recording

TEXTS = st.text(max_size=30) | st.lists(st.text(max_size=9), max_size=4).map("\n".join)
REQUEST = {
    "v": 1,
    "asked": "8x7b",
    "model": {"provider": "together", "id": "m"},
    "messages": [{"role": "user", "content": "Hello"}],
}
HELLO = Recording(
    "0123456789abcdef" * 2,
    "cell/0",
    REQUEST,
    {"v": 1, "text": "Hi", "finish": "stop", "usage": {"v": 1}},
    timing={"elapsed": 1.5},
    recorded={"date": "2026-11-18T09:30:00+00:00", "by": "mixmagic 0.1.0"},
)


def numbered(number: int, **changes) -> Recording:
    return replace(HELLO, key=f"{number:032x}", **changes)


@pytest.fixture
def cassette(tmp_path) -> Cassette:
    return Cassette(tmp_path / "lesson.cassette.jsonl")


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=2), TEXTS)
def test_a_line_gives_the_recording_back(prompt, text, others, thoughts):
    parts = [{"text": prompt}, {"image": "AAAA", "type": "image/png"}]
    messages = [{"role": "user", "content": content} for content in (prompt, [], parts)]
    params = {"response_format": {"text": ["a", "b"], "messages": 1}}
    answer = {"v": 1, "text": text, "others": others, "reasoning": thoughts, "finish": "stop"}
    recording = replace(
        HELLO, request={**REQUEST, "messages": messages, "params": params}, answer=answer
    )
    line = recording.line()
    assert b"\n" not in line
    assert Recording.of_line(line) == recording
    failed = replace(recording, answer=None, error={"type": "StreamBroken", "partial": answer})
    assert Recording.of_line(failed.line()) == failed


def test_the_key_comes_first_and_the_date_last():
    line = HELLO.line().decode()
    assert line.startswith(f'{{"key": "{HELLO.key}", "n": "cell/0", "request": {{')
    assert line.endswith(
        '"recorded": {"date": "2026-11-18T09:30:00+00:00", "by": "mixmagic 0.1.0"}}'
    )


def test_a_text_of_lines_is_a_list_of_them():
    answer = {**HELLO.answer, "text": "Zwei\nZeilen é 😀"}
    assert '"text": ["Zwei", "Zeilen é 😀"]' in replace(HELLO, answer=answer).line().decode()


def test_half_a_surrogate_pair_is_escaped():
    recording = replace(HELLO, answer={**HELLO.answer, "text": "\ud83d and é"})
    assert b"\\ud83d and \xc3\xa9" in recording.line()
    assert Recording.of_line(recording.line()) == recording


def test_a_file_that_does_not_exist_is_empty(cassette):
    assert not cassette.exists
    assert (len(cassette), cassette.find(HELLO.key), cassette.damaged) == (0, [], [])


def test_what_is_added_is_found_by_its_key(cassette):
    assert cassette.add(HELLO)
    assert cassette.add(numbered(1))
    assert cassette.add(replace(HELLO, n="cell/1"))
    assert [found.n for found in cassette.find(HELLO.key)] == ["cell/0", "cell/1"]
    assert len(cassette) == len(Cassette(cassette.path)) == 3
    assert b"\r" not in cassette.path.read_bytes()


def test_an_equal_answer_keeps_its_line_byte_for_byte(cassette):
    cassette.add(HELLO)
    before = cassette.path.read_bytes()
    later = replace(HELLO, timing={"elapsed": 9.0}, recorded={"date": "2027-01-01", "by": "x"})
    assert not cassette.add(later, replace=True)
    assert cassette.path.read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "Ho"},
        {"others": ["Hi"]},
        {"reasoning": "Hm"},
        {"finish": "length"},
        {"usage": {"v": 1, "prompt_tokens": 9}},
    ],
)
def test_another_answer_takes_its_place(cassette, changes):
    for recording in (numbered(1), HELLO, numbered(2)):
        cassette.add(recording)
    lines = cassette.path.read_bytes().splitlines()
    other = replace(HELLO, answer={**HELLO.answer, **changes})
    assert cassette.add(other, replace=True)
    assert cassette.path.read_bytes().splitlines() == [lines[0], other.line(), lines[2]]


def test_an_equal_answer_of_another_model_takes_its_place(cassette):
    cassette.add(HELLO)
    other = replace(HELLO, model={"provider": "fireworks", "id": "m"})
    assert cassette.add(other, replace=True)
    assert cassette.find(HELLO.key)[0].model == other.model
    assert not cassette.add(other, replace=True)


def test_the_first_of_two_recordings_is_kept_unless_it_is_to_be_replaced(cassette):
    cassette.add(HELLO)
    assert not cassette.add(replace(HELLO, answer={**HELLO.answer, "text": "Ho"}))
    assert cassette.find(HELLO.key)[0].answer["text"] == "Hi"


def test_an_error_takes_the_place_of_an_answer(cassette):
    cassette.add(HELLO)
    failed = replace(HELLO, answer=None, error={"v": 1, "type": "RateLimited", "message": "No."})
    assert cassette.add(failed, replace=True)
    assert cassette.find(HELLO.key) == [failed]


DAMAGE = {
    "cut in its key": lambda line: line[:30],
    "another key": lambda line: line.replace(b'"key"', b'"kay"'),
    "a conflict of a merge": lambda _: b"<<<<<<< HEAD",
    "bytes that are not text": lambda _: b"\xff\xfe\x00",
    "not an object": lambda _: b"[]",
    "a key that is none": lambda line: line.replace(b'{"key": "0', b'{"key": "x'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_line_is_named_and_harms_no_other(cassette, damage):
    lines = [numbered(number).line() for number in range(3)]
    lines[1] = DAMAGE[damage](lines[1])
    cassette.path.write_bytes(b"\n".join(lines) + b"\n")
    assert cassette.damaged == [2]
    assert len(cassette) == 2
    assert cassette.find(f"{2:032x}") == [numbered(2)]
    cassette.add(numbered(3))  # appending and replacing keep it as it is
    cassette.add(replace(numbered(2), answer={"text": "new"}), replace=True)
    assert cassette.path.read_bytes().split(b"\n")[1] == lines[1]
    assert cassette.damaged == [2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[: len(line) // 2],
        lambda line: line.replace(b'"answer"', b'"onswer"'),
        lambda line: line.replace(b"Hello", b"\xff"),
        lambda line: line.replace(b'"n": "cell/0"', b'"n": "cell"'),
        lambda line: line.replace(b'"request": {', b'"request": 3, "x": {'),
    ],
)
def test_a_damaged_line_whose_key_is_known_is_named_when_it_is_wanted(cassette, damage):
    lines = [numbered(number).line() for number in range(3)]
    lines[1] = damage(lines[1])
    cassette.path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(UnreadableRecord, match=r"Line 2 of lesson\.cassette\.jsonl is damaged"):
        cassette.find(f"{1:032x}")
    with pytest.raises(UnreadableRecord):
        cassette.add(numbered(1))
    assert [found.key for found in cassette.recordings()] == [f"{0:032x}", f"{2:032x}"]
    assert cassette.add(numbered(1), replace=True)
    assert cassette.find(f"{1:032x}") == [numbered(1)]


def test_a_last_line_without_an_end_is_not_joined_to_the_next(cassette):
    cassette.path.write_bytes(numbered(0).line() + b"\n" + numbered(1).line()[:50])
    cassette.add(numbered(2))
    assert len(cassette.path.read_bytes().splitlines()) == 3
    assert cassette.find(f"{2:032x}") == [numbered(2)]


def test_other_programs_may_write_the_file_anew(cassette):
    cassette.add(HELLO)
    compact = json.dumps(json.loads(HELLO.line()), separators=(",", ":"), sort_keys=True)
    cassette.path.write_bytes(b"\xef\xbb\xbf" + compact.encode() + b"\r\n")
    assert cassette.find(HELLO.key) == [HELLO]


def test_a_change_of_the_file_is_seen(cassette, tmp_path):
    cassette.add(HELLO)
    other = Cassette(cassette.path)
    assert other.add(numbered(1))
    assert cassette.find(f"{1:032x}")
    cassette.path.unlink()
    assert (len(cassette), cassette.exists) == (0, False)


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes with a path")
def test_a_pipe_is_not_waited_for(cassette):
    os.mkfifo(cassette.path)
    with pytest.raises(StoreError, match="cannot be read: it is not a regular file"):
        cassette.find(HELLO.key)
    with pytest.raises(StoreError, match="cannot be read: it is not a regular file"):
        cassette.add(HELLO)


def test_a_file_that_cannot_be_written_is_an_error_of_two_lines(tmp_path):
    cassette = Cassette(tmp_path / "no such folder" / "x.jsonl")
    with pytest.raises(StoreError, match=r"x\.jsonl cannot be written: No such file"):
        cassette.add(HELLO)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="folder cannot be read"):
        Cassette(tmp_path / "folder").find(HELLO.key)


def _record(path, start: int, count: int) -> None:
    cassette = Cassette(path)
    for number in range(start, start + count):
        cassette.add(numbered(number, answer={"text": "word " * 5000, "finish": "stop"}))


def test_two_processes_record_at_once(cassette):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_record, args=(cassette.path, start, 100)) for start in (0, 50, 150)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    keys = sorted(recording.key for recording in cassette.recordings())
    assert keys == [f"{number:032x}" for number in range(250)]
    assert cassette.damaged == []


def _replace(path, count: int) -> None:
    cassette = Cassette(path)
    for number in range(count):
        cassette.add(replace(HELLO, answer={"text": f"answer {number}"}), replace=True)


def test_one_process_replaces_lines_while_another_adds_some(cassette):
    cassette.add(HELLO)
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_record, args=(cassette.path, 0, 150)),
        context.Process(target=_record, args=(cassette.path, 0, 150)),
        context.Process(target=_replace, args=(cassette.path, 150)),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    keys = [recording.key for recording in cassette.recordings()]
    assert sorted(keys) == sorted([HELLO.key, *(f"{number:032x}" for number in range(150))])
    assert cassette.find(HELLO.key)[0].answer["text"] == "answer 149"


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_cassette import Cassette, numbered
cassette = Cassette(Path(sys.argv[1]))
for number in range(100_000):
    cassette.add(numbered(number, answer={"text": "word " * 2000, "finish": "stop"}))
    print(number, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_kill_loses_at_most_the_line_under_way(cassette):
    here = Path(__file__).parent
    command = [sys.executable, "-c", KILLED, str(cassette.path), str(here)]
    path = os.pathsep.join(map(str, [here, here.parent]))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        deadline = time.monotonic() + 60
        while process.stdout.readline() != "40\n":
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
        written = 40 + len(process.stdout.read().splitlines())
    found = list(cassette.recordings())
    assert written <= len(found) - 1 <= written + 1
    assert cassette.damaged == []
    cassette.add(HELLO)  # the lock is free
    assert cassette.find(HELLO.key) == [HELLO]
