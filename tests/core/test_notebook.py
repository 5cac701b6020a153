"""One path for all spellings of a notebook's: its budget and its `.env` are the same for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from mixmagic.core import notebook
from mixmagic.core.settings import Settings
from mixmagic.errors import BudgetExceeded
from mixmagic.sessions import Session

SPELLINGS = {
    "plain": "{work}/a.ipynb",
    "dots": "{work}/../work/./a.ipynb",
    "slashes": "{work}//a.ipynb",
    "a link to the file": "{root}/link.ipynb",
    "a link to the folder": "{root}/folder/a.ipynb",
    "a link to a link": "{root}/twice.ipynb",
    "home": "~/work/a.ipynb",
    "relative": "work/a.ipynb",
    "relative with dots": "../{name}/work/a.ipynb",
}


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A folder with a notebook, and links to both beside it."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.ipynb").write_text("{}")
    (tmp_path / "link.ipynb").symlink_to(work / "a.ipynb")
    (tmp_path / "twice.ipynb").symlink_to("link.ipynb")
    (tmp_path / "folder").symlink_to(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return work


def spelled(work: Path, spelling: str) -> str:
    return spelling.format(work=work, root=work.parent, name=work.parent.name)


def limit(session: Session) -> list[str]:
    return [str(left.limit.dollars) for left in session.budgets()]


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_has_the_one_path(work, monkeypatch, spelling):
    monkeypatch.setenv("JPY_SESSION_NAME", spelled(work, spelling))
    path = os.path.realpath(work / "a.ipynb")
    assert notebook.path() == Session().notebook == Settings.load().notebook == path
    assert Settings.load().dotenv == Path(os.path.realpath(work)) / ".env"


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_budget_holds_for_every_spelling(work, together, monkeypatch, spelling):
    monkeypatch.setenv("JPY_SESSION_NAME", str(work / "a.ipynb"))
    Session().budget("0.00001", per="notebook")
    monkeypatch.setenv("JPY_SESSION_NAME", spelled(work, spelling))
    other = Session()
    assert limit(other) == ["0.00001"]
    with pytest.raises(BudgetExceeded, match="this notebook's budget"):
        other.ask("Hi", max_tokens=100)
    other.budget(None, per="notebook")
    assert limit(other) == []


def test_limits_in_the_file_hold_in_any_spelling_and_the_lowest_of_them(work, home, monkeypatch):
    """A person may have written them there."""
    spellings = [spelled(work, SPELLINGS[name]) for name in ("dots", "a link to the file", "home")]
    (home / "data").mkdir()
    dollars = zip(spellings, ("0.7", "0.5", "0.6"), strict=True)
    limits = {f"notebook:{path}": limit for path, limit in dollars}
    (home / "data" / "budgets.json").write_text(json.dumps({**limits, "day": 1}))
    monkeypatch.setenv("JPY_SESSION_NAME", str(work / "a.ipynb"))
    session = Session()
    assert limit(session) == ["0.5", "1"]
    session.budget("0.9", per="notebook")
    assert limit(session) == ["0.9", "1"], "it takes the place of all"
    session.budget(None, per="notebook")
    assert limit(session) == ["1"]


def test_other_notebooks_have_their_own(work, monkeypatch):
    (work / "b.ipynb").write_text("{}")
    for name in ("a", "b"):
        monkeypatch.setenv("JPY_SESSION_NAME", str(work / f"{name}.ipynb"))
        Session().budget("0.1" if name == "a" else "0.2", per="notebook")
    assert limit(Session()) == ["0.2"]


def test_a_name_that_is_not_a_file_has_a_budget_and_no_folder(work, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "console-1-4711")
    session = Session()
    session.budget("0.1", per="notebook")
    assert session.notebook == os.path.realpath("console-1-4711")
    assert session.settings.dotenv == Path.cwd() / ".env"


def test_on_a_filesystem_that_tells_cases_apart_they_are_two(work):
    if (work / "A.IPYNB").exists():
        pytest.skip("this one does not")
    (work / "A.ipynb").write_text("{}")
    assert notebook.canonical(f"{work}/A.ipynb") != notebook.canonical(f"{work}/a.ipynb")


@pytest.fixture
def caseless(tmp_path):
    """A filesystem that takes names in any case; skips where none can be mounted."""
    image, folder = tmp_path / "image", tmp_path / "caseless"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * 2**20)
    made = [["mkfs.vfat", image], ["mount", "-o", "loop", image, folder]]
    try:
        for command in made:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("none can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True, timeout=120)


def test_on_a_filesystem_that_does_not_they_are_one(caseless):
    (caseless / "Notes").mkdir()
    (caseless / "Notes" / "Lesson.ipynb").write_text("{}")
    for spelling in ("Notes/Lesson.ipynb", "notes/LESSON.ipynb", "NOTES/lesson.ipynb"):
        assert notebook.canonical(f"{caseless}/{spelling}") == f"{caseless}/Notes/Lesson.ipynb"


@pytest.mark.parametrize("spelling", ["CAFÉ.ipynb", "cafe\N{COMBINING ACUTE ACCENT}.ipynb"])
def test_as_a_filesystem_would_that_takes_names_in_any_case_and_form(work, monkeypatch, spelling):
    """Where none can be mounted: only the question whether two names are one file is answered."""
    (work / "café.ipynb").write_text("{}")

    def plain(name: str) -> str:
        return unicodedata.normalize("NFD", name).lower()

    monkeypatch.setattr(os.path, "samefile", lambda a, b: plain(a) == plain(b))
    folder = os.path.realpath(work)
    assert notebook.canonical(f"{folder}/{spelling}") == f"{folder}/café.ipynb"


def test_the_path_is_read_once_and_not_where_the_kernel_has_gone_since(work, tmp_path):
    script = """
import os, mixmagic
session = mixmagic.session()
before = session.notebook
os.chdir("/")
print(before == session.notebook, session.settings.notebook == before)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "JPY_SESSION_NAME": "work/a.ipynb"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert ran.stdout == "True True\n"
