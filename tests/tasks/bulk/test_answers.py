"""The answers of a job that are kept in a temporary file."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from mixmagic.errors import StoreError
from mixmagic.tasks.bulk.answers import AnswersInFile


def test_answers_are_there_for_all_threads():
    answers = AnswersInFile()
    values = {b"%d" % n: {"n": n, "text": "é\ud83d" * n} for n in range(200)}

    def put(keys):
        for key in keys:
            answers[key] = values[key]

    keys = list(values)
    threads = [threading.Thread(target=put, args=(keys[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(answers.get(key) == value and key in answers for key, value in values.items())
    assert b"no" not in answers
    assert answers.get(b"no") is None
    answers[b"1"] = None
    assert b"1" in answers
    assert answers.get(b"1") is None


def test_a_file_that_cannot_be_written_is_an_error_of_two_lines():
    answers = AnswersInFile()
    answers._file.execute("PRAGMA max_page_count = 10")
    with pytest.raises(StoreError, match="full") as error:
        answers[b"key"] = "x" * 1_000_000
    assert "TMPDIR" in error.value.hint
    assert isinstance(answers._file, sqlite3.Connection)
