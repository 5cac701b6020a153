"""The answer cache keeps whole answers under hashes, within its size, through damage and kills."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from answers import ANSWER, REQUEST
from databases import PAGE, noise, overwrite

from mixmagic.core.logprobs import Logprobs, TokenLogprob
from mixmagic.core.money import Price, Usage
from mixmagic.store.cache import AnswerCache

MB = 1_000_000
TESTS = Path(__file__).parents[1]
# The beginning of a script: an answer is stored, found and used once.
USED = """\
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from answers import ANSWER, REQUEST
from mixmagic.store.cache import AnswerCache
cache = AnswerCache(Path(sys.argv[1]), 10**6)
cache.put("0" * 32, ANSWER)
stored = cache.find("0" * 32, REQUEST)
cache.note_use(stored, ANSWER.usage, None)
"""


def key(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def cache(tmp_path):
    made = AnswerCache(tmp_path / "answers", 256 * MB)
    yield made
    made.close()


def texts(cache: AnswerCache) -> list[str]:
    return [entry["answer"].get("text", "") for entry in cache.entries()]


def rows(cache: AnswerCache) -> int:
    return cache.database.rows("SELECT COUNT(*) FROM answers")[0][0]


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        replace(ANSWER, text="größer 猫 \u2028 \x00 🎉", others=("zwei", ""), finish="tool_calls"),
        replace(
            ANSWER,
            text="half \ud83d a pair",
            reasoning="hm",
            thinking=1.5,
            logprobs=Logprobs([TokenLogprob("a", -0.5)]),
        ),
        replace(ANSWER, ttft=None, usage=Usage(1, 2, 1, charge=Decimal("0.01")), notes=("a", "b")),
    ],
)
def test_an_answer_is_found_as_it_was_stored(cache, answer):
    assert cache.find(key(1), REQUEST) is None
    cache.put(key(1), answer)
    stored = cache.find(key(1), REQUEST)
    assert stored.completion == replace(answer, request=REQUEST)
    assert cache.find(key(2), REQUEST) is None


def test_a_new_answer_takes_the_place_of_an_old_one(cache):
    cache.put(key(1), replace(ANSWER, text="old"))
    cache.put(key(1), replace(ANSWER, text="new"))
    assert cache.find(key(1), REQUEST).completion.text == "new"
    assert rows(cache) == 1


def test_no_prompt_is_in_the_files_and_only_the_user_may_read_them(cache):
    request = replace(REQUEST, messages=(replace(REQUEST.messages[0], content="canary-prompt"),))
    cache.put(key(1), replace(ANSWER, text="canary-answer", request=request))
    assert cache.locks.acquire(bytes(16))
    files = list(cache.database.path.parent.iterdir())
    assert {file.name for file in files} >= {"cache.db", "cache.db-wal", "cache.locks"}
    content = b"".join(file.read_bytes() for file in files)
    assert b"canary-answer" in content
    assert b"canary-prompt" not in content
    for file in files:
        if file.name != "cache.db-lock":  # which is empty
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_file_that_others_could_read_is_made_private(tmp_path):
    first = AnswerCache(tmp_path, MB)
    first.put(key(1), ANSWER)
    first.close()
    (tmp_path / "cache.db").chmod(0o644)
    assert AnswerCache(tmp_path, MB).find(key(1), REQUEST) is not None
    assert stat.S_IMODE((tmp_path / "cache.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("length", [10, 1000, 9000])
def test_the_file_stays_within_its_size(tmp_path, length):
    cache = AnswerCache(tmp_path, MB)
    count = 4 * MB // (length + 500)
    for number in range(count):
        cache.put(key(number), replace(ANSWER, text=f"{number:06}" + "x" * length))
        assert cache.statistics().size <= MB + 2 * PAGE
    cache.close()
    assert (tmp_path / "cache.db").stat().st_size <= MB + 16 * PAGE
    assert cache.statistics().size > 0.9 * MB
    assert cache.find(key(count - 1), REQUEST) is not None
    assert cache.find(key(0), REQUEST) is None


def test_the_answers_used_longest_ago_make_room(tmp_path, monkeypatch):
    clock = iter(range(1, 10**9))
    monkeypatch.setattr("mixmagic.store.cache._milliseconds", lambda: next(clock))
    cache, answer = AnswerCache(tmp_path, MB), replace(ANSWER, text="x" * 3000)
    wanted = [key(number) for number in (0, 7, 50)]
    for number in range(1000):
        cache.put(key(number), answer)
        for each in wanted:
            if (stored := cache.find(each, REQUEST)) is not None:
                cache.note_use(stored, ANSWER.usage, None)
    assert all(cache.find(each, REQUEST) for each in wanted)
    kept = [number for number in range(1000) if cache.find(key(number), REQUEST)]
    assert kept[3:] == list(range(kept[3], 1000))
    assert len(kept) > 100


def test_a_large_answer_makes_room_for_itself(tmp_path):
    cache = AnswerCache(tmp_path, MB)
    for number in range(2000):
        cache.put(key(number), replace(ANSWER, text="x" * 500))
    for number in range(5):
        cache.put(key(10_000 + number), replace(ANSWER, text="y" * 200_000))
        assert cache.statistics().size < 1.3 * MB
    cache.put(key(1), replace(ANSWER, text="z" * 2 * MB))  # too large itself
    assert cache.find(key(1), REQUEST) is None


def test_a_smaller_limit_is_reached_little_by_little(tmp_path):
    large = AnswerCache(tmp_path, 4 * MB)
    for number in range(2000):
        large.put(key(number), replace(ANSWER, text="x" * 1000))
    small = AnswerCache(tmp_path, MB)
    before = rows(small)
    small.put(key(5000), replace(ANSWER, text="x" * 1000))
    assert before - rows(small) == 2  # three less, one more
    for number in range(1000):
        small.put(key(6000 + number), replace(ANSWER, text="x" * 1000))
    assert small.statistics().size <= MB + 2 * PAGE


def test_nothing_is_stored_in_a_cache_of_no_size(tmp_path):
    cache = AnswerCache(tmp_path, 0)
    cache.put(key(1), ANSWER)
    assert cache.find(key(1), REQUEST) is None


def test_uses_are_written_together(cache):
    cache.put(key(1), ANSWER)
    stored, price = cache.find(key(1), REQUEST), Price(Decimal(1), Decimal(2))

    def written() -> int:
        return cache.database.rows("SELECT hits FROM totals")[0][0]

    for _ in range(255):
        cache.note_use(stored, Usage(1000, 500), price)
    assert written() == 0
    cache.note_use(None, Usage(1000, 500), price)
    assert written() == 256
    assert cache.statistics().saved == Decimal("0.512")
    cache.note_use(stored, Usage(1000, 500), None)
    cache.close()
    assert (written(), cache.statistics().saved) == (257, Decimal("0.512"))


def test_a_charge_of_any_size_is_no_trouble(cache):
    for charge in (Decimal("1e12"), Decimal("1e-12"), Decimal("-0")):
        answer = replace(ANSWER, usage=Usage(1, 1, charge=charge))
        cache.put(key(1), answer)
        cache.note_use(cache.find(key(1), REQUEST), answer.usage, None)
    assert cache.statistics().saved == 1000


def test_uses_are_written_after_a_while_and_when_the_process_ends(tmp_path):
    script = """
    import time
    start = time.monotonic
    time.monotonic = lambda: start() + 6
    cache.note_use(stored, ANSWER.usage, None)
    print(cache.database.rows("SELECT hits FROM totals")[0][0])
    cache.note_use(stored, ANSWER.usage, None)
    """
    ran = subprocess.run(
        [sys.executable, "-c", USED + textwrap.dedent(script), str(tmp_path), str(TESTS)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ran.stdout == "2\n"
    assert AnswerCache(tmp_path, MB).statistics().hits == 3


DAMAGES = {
    "random bytes": lambda path: path.write_bytes(noise(20_000)),
    "cut between pages": lambda path: os.truncate(path, 5 * PAGE),
    "cut within the header": lambda path: os.truncate(path, 50),
    "random pages": lambda path: overwrite(path, PAGE, noise(PAGE * 20)),
    "zeroed pages": lambda path: overwrite(path, PAGE, bytes(PAGE * 20)),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("first", ["find", "put"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_created_anew_and_nothing_is_raised(tmp_path, damage, first):
    old = AnswerCache(tmp_path, MB)
    for number in range(100):
        old.put(key(number), ANSWER)
    old.close()
    damage(tmp_path / "cache.db")
    cache = AnswerCache(tmp_path, MB)
    if first == "find":
        for number in range(100):
            cache.find(key(number), REQUEST)
    cache.put(key(1000), ANSWER)
    assert cache.find(key(1000), REQUEST).completion == replace(ANSWER, request=REQUEST)
    assert cache.database.check() == "ok"
    assert not list(tmp_path.glob("*damaged*"))
    assert stat.S_IMODE((tmp_path / "cache.db").stat().st_mode) == 0o600


def test_a_file_that_is_damaged_while_it_is_open_is_created_anew(cache):
    for number in range(100):
        cache.put(key(number), replace(ANSWER, text="x" * 3000))
    assert cache.find(key(1), REQUEST)
    cache.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    path = cache.database.path
    path.write_bytes(noise(path.stat().st_size))
    for number in range(100, 200):
        cache.find(key(number), REQUEST)
        cache.put(key(number), ANSWER)
    assert cache.find(key(199), REQUEST)
    assert cache.database.check() == "ok"


def test_an_answer_that_cannot_be_read_is_not_found_and_is_replaced(cache):
    for broken in ("", "[]", '{"v": 99}', '{"v": 1, "text": 4}', "{"):
        cache.put(key(1), ANSWER)
        with cache.database.transaction() as connection:
            connection.execute("UPDATE answers SET answer = ?", (broken,))
        assert cache.find(key(1), REQUEST) is None
    cache.put(key(1), ANSWER)
    assert cache.find(key(1), REQUEST)


def test_a_folder_that_cannot_be_written_is_read(tmp_path):
    old = AnswerCache(tmp_path, MB)
    old.put(key(1), ANSWER)
    old.close()
    for file in tmp_path.glob("cache.db-*"):
        file.unlink()
    (tmp_path / "cache.db").chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        cache = AnswerCache(tmp_path, MB)
        found = cache.find(key(1), REQUEST)
        cache.put(key(2), ANSWER)
        if os.geteuid():  # root may write anywhere
            assert cache.find(key(2), REQUEST) is None
        assert found is not None
        cache.note_use(found, ANSWER.usage, None)
        cache.close()
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_cannot_be_created_costs_nothing_but_answers(tmp_path):
    (tmp_path / "file").write_text("")
    cache = AnswerCache(tmp_path / "file" / "cache", MB)
    cache.put(key(1), ANSWER)
    assert cache.find(key(1), REQUEST) is None
    assert cache.locks.acquire(bytes(16))
    cache.locks.release(bytes(16))
    cache.note_use(None, ANSWER.usage, None)
    cache.close()


def test_a_locked_file_delays_no_reader_and_a_writer_only_briefly(cache, monkeypatch):
    monkeypatch.setattr("mixmagic.store.cache._PATIENCE", 0.05)
    cache.put(key(1), ANSWER)
    other = sqlite3.connect(cache.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cache.put(key(2), ANSWER)
    assert cache.find(key(1), REQUEST) is not None
    assert cache.find(key(2), REQUEST) is None
    other.rollback()
    other.close()
    cache.put(key(2), ANSWER)
    assert cache.find(key(2), REQUEST) is not None


def test_a_file_that_is_locked_when_the_cache_is_closed_is_waited_for(cache, monkeypatch):
    """There is no later time at which the use could be written."""
    monkeypatch.setattr("mixmagic.store.cache._PATIENCE", 30.0)
    cache.put(key(1), ANSWER)
    cache.note_use(cache.find(key(1), REQUEST), ANSWER.usage, None)
    other = sqlite3.connect(cache.database.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    unlocked = threading.Timer(0.2, other.rollback)
    unlocked.start()
    cache.close()
    unlocked.join(30)
    assert other.execute("SELECT hits FROM totals").fetchone() == (1,)
    other.close()


def test_readers_do_not_wait_for_a_transaction_of_another_thread(cache):
    cache.put(key(1), ANSWER)
    assert cache.find(key(1), REQUEST)
    found = []
    with cache.database.transaction():
        thread = threading.Thread(target=lambda: found.append(cache.find(key(1), REQUEST)))
        thread.start()
        thread.join(30)
        assert len(found) == 1
    assert found[0] is not None


def test_clear_leaves_no_trace(cache):
    for number in range(50):
        cache.put(key(number), replace(ANSWER, text=f"canary {number} " * 300))
    cache.note_use(cache.find(key(1), REQUEST), ANSWER.usage, None)
    assert cache.clear() == 50
    found = cache.statistics()
    assert (found.answers, found.hits) == (0, 0)
    for file in cache.database.path.parent.iterdir():
        assert b"canary" not in file.read_bytes()


def test_clear_of_a_model_keeps_the_others(cache):
    other = replace(REQUEST.model, id="other/model")
    cache.put(key(1), replace(ANSWER, text="mine"))
    cache.put(key(2), replace(ANSWER, text="canary", request=replace(REQUEST, model=other)))
    assert cache.clear([other]) == 1
    assert texts(cache) == ["mine"]
    assert b"canary" not in cache.database.path.read_bytes()


def test_a_folder_in_place_of_the_file_is_silent(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    (tmp_path / "cache.db").mkdir()
    cache = AnswerCache(tmp_path, 256 * MB)
    cache.put(key(1), ANSWER)
    assert cache.find(key(1), REQUEST) is None
    cache.close()
    assert said == []


def test_entries_have_answers_and_no_folders(cache):
    local = replace(REQUEST.model.provider, name="local", backend="local")
    model = replace(REQUEST.model, id="/home/ada/secret/tiny.gguf", provider=local)
    cache.put(key(1), replace(ANSWER, request=replace(REQUEST, model=model)))
    (entry,) = cache.entries()
    assert entry["model"] == "local:tiny.gguf"
    assert entry["key"] == key(1)
    assert "ada" not in json.dumps(entry)


@pytest.mark.parametrize("damage", ["answer = 'no json'", "created = 99999999999999999"])
def test_entries_that_cannot_be_read_are_left_out(cache, damage):
    cache.put(key(1), replace(ANSWER, text="one"))
    cache.put(key(2), replace(ANSWER, text="two"))
    with cache.database.transaction() as connection:
        connection.execute(f"UPDATE answers SET {damage} WHERE id = 1")
    assert texts(cache) == ["two"]


WORKER = """
import random, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from answers import ANSWER, REQUEST
from mixmagic.store.cache import AnswerCache
seed, steps = int(sys.argv[3]), int(sys.argv[4])
cache = AnswerCache(Path(sys.argv[1]), 10**6)
draw = random.Random(seed)
wrong = 0
for step in range(steps):
    number = draw.randrange(4000)
    stored = cache.find(f"{number:032x}", REQUEST)
    if stored is not None:
        wrong += not stored.completion.text.startswith(f"{number:06}")
        cache.note_use(stored, ANSWER.usage, None)
    else:
        text = f"{number:06}" + "x" * draw.randrange(2000)
        cache.put(f"{number:032x}", replace(ANSWER, text=text))
    if step % 10 == 0:
        print(wrong, flush=True)
cache.close()
"""


def start_worker(folder: Path, seed: int, steps: int) -> subprocess.Popen:
    command = [sys.executable, "-c", WORKER, str(folder), str(TESTS), str(seed), str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_insert_and_evict_stay_within_the_size(tmp_path):
    runs = [start_worker(tmp_path, seed, 1500) for seed in range(2)]
    for run in runs:
        assert run.communicate(timeout=120)[0] == "0\n" * 150
        assert run.returncode == 0
    cache = AnswerCache(tmp_path, MB)
    assert 0.5 * MB < cache.statistics().size <= MB + 2 * PAGE
    assert cache.statistics().hits > 0
    assert cache.database.check() == "ok"


def test_a_process_that_is_killed_leaves_a_good_file(tmp_path):
    for seed in range(5):
        run = start_worker(tmp_path, seed, 10**9)
        for _ in range(20 + seed):
            assert run.stdout.readline() == "0\n"
        run.kill()
        run.communicate(timeout=30)
        cache = AnswerCache(tmp_path, MB)
        cache.put(key(seed), ANSWER)
        assert cache.find(key(seed), REQUEST)
        assert cache.database.check() == "ok"
        cache.close()


def test_a_forked_child_reads_and_writes_and_notes_no_use_twice(tmp_path):
    script = """
    import os, threading
    going = True
    def read():
        while going:
            assert cache.find("0" * 32, REQUEST)
    threads = [threading.Thread(target=read) for _ in range(6)]
    [thread.start() for thread in threads]
    children = []
    for number in range(1, 9):
        child = os.fork()
        if child == 0:
            assert cache.find("0" * 32, REQUEST)
            cache.put(f"{number:032x}", ANSWER)
            cache.note_use(stored, ANSWER.usage, None)
            cache.close()
            os._exit(0)
        children.append(child)
    print([os.waitpid(child, 0)[1] for child in children])
    going = False
    [thread.join() for thread in threads]
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USED + textwrap.dedent(script),
         str(tmp_path), str(TESTS)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.stdout == f"{[0] * 8}\n", ran.stderr
    found = AnswerCache(tmp_path, MB).statistics()
    assert (found.answers, found.hits) == (9, 9)
