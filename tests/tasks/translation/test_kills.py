"""A translation that is killed goes on, and one changed paragraph of fifty is one call."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from server import whole

PARAGRAPHS = 50
IN_FLIGHT = 8

TRANSLATE = f"""
import sys
from mixmagic.sessions import session

translation = session().translation(
    sys.argv[1], to="fr", model="8x7b", in_flight={IN_FLIGHT}
)
translation.job.start()
translation.job.wait(timeout=100)
print(translation.finish().path)
"""


def english(number: int) -> str:
    return f"Row {number} of the table has no value, so remove it."


def french(text: str) -> str:
    """The same sentence, as a person has translated it."""
    number = re.search(r"\d+", text)[0]
    return f"La ligne {number} du tableau n'a pas de valeur, donc supprimez-la."


def lesson_of(numbers, language=english) -> str:
    return "\n\n".join(map(language, numbers)) + "\n"


@pytest.fixture
def server(together):
    def answer(request):
        time.sleep(random.uniform(0.001, 0.01))  # not for security
        return whole(french(request.body["messages"][-1]["content"]))

    together.plan = [answer]
    return together


def asked(server) -> Counter:
    return Counter(request.body["messages"][-1]["content"] for request in server.received)


def start(lesson) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", TRANSLATE, str(lesson)], stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.strip()


@pytest.mark.parametrize("seed", range(3))
def test_a_translation_that_is_killed_asks_only_what_was_under_way(server, tmp_path, seed):
    lesson = tmp_path / "lesson.md"
    lesson.write_text(lesson_of(range(PARAGRAPHS)))
    moment = random.Random(seed).randrange(1, PARAGRAPHS - 1)
    with start(lesson) as process:
        server.wait(lambda: len(server.received) >= moment)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "lesson.fr.md").exists()
    found = finish(start(lesson))
    assert found == str(tmp_path / "lesson.fr.md")
    expected = lesson_of(range(PARAGRAPHS), lambda number: french(english(number)))
    assert (tmp_path / "lesson.fr.md").read_text() == expected
    twice = [text for text, times in asked(server).items() if times > 1]
    assert len(asked(server)) == PARAGRAPHS
    assert len(twice) <= IN_FLIGHT


def test_a_changed_paragraph_of_fifty_is_one_call(session, server, tmp_path):
    lesson = tmp_path / "lesson.md"
    lesson.write_text(lesson_of(range(PARAGRAPHS)))
    finish(start(lesson))
    server.received.clear()
    lesson.write_text(lesson_of([*range(20), 999, *range(21, PARAGRAPHS)]))
    finish(start(lesson))
    assert asked(server) == {english(999): 1}
    assert french(english(999)) in (tmp_path / "lesson.fr.md").read_text()
