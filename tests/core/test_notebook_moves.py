"""A notebook that is renamed while its kernel runs keeps its budget and what it has cost."""

from __future__ import annotations

import os
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from kernels import Desk
from server import Answer, together, whole

from mixmagic.core.notebook import Place
from mixmagic.errors import BudgetExceeded
from mixmagic.sessions import Session

HELLO = Answer(together("Hello", " ", "there"))


@pytest.fixture
def book(tmp_path, monkeypatch) -> Path:
    """A notebook in a folder of its own, which the front end names."""
    folder = tmp_path / "work" / "lessons"
    folder.mkdir(parents=True)
    book = folder / "a.ipynb"
    book.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(book))
    return book


def spent(session: Session) -> dict[str, Decimal]:
    return {row.name: row.cost for row in session.ledger.spent("all", "notebook")}


def test_its_budget_applies_to_a_stream_from_before_the_first_request(book, together):
    session = Session()
    stream = session.stream
    session.budget(0, per="notebook")
    with pytest.raises(BudgetExceeded, match="this notebook's budget"):
        list(stream(session.request("Hi", stream=False)))
    session.close()


@pytest.mark.parametrize(
    "target", ["b.ipynb", "below/a.ipynb", "../c.ipynb", "../beside/d.ipynb", "é \U0001f642.ipynb"]
)
def test_its_budget_and_its_cost_follow(book, together, target):
    together.plan = [whole("Tea.")]
    session = Session()
    session.budget("0.001", per="notebook")
    first = session.ask("Hi", stream=False, max_tokens=5)
    new = book.parent / target
    new.parent.mkdir(exist_ok=True)
    book.rename(new)
    path = os.path.realpath(new)
    assert session.notebook == path
    (balance,) = session.budgets()
    assert (balance.limit.key, balance.spent) == (path, first.cost)
    second = session.ask("Hi", stream=False, max_tokens=5)
    assert {name: row for name, row in spent(session).items() if name.startswith("/")} == {
        path: first.cost + second.cost
    }
    with pytest.raises(BudgetExceeded, match="this notebook's budget"):
        session.ask("word " * 2000, stream=False)
    session.budget(None, per="notebook")
    assert session.budgets() == []
    session.close()


def test_every_rename_is_followed_and_the_old_name_is_free(book, together, monkeypatch):
    session = Session()
    session.budget("0.5", per="notebook")
    before = book
    for name in ("b", "c", "a", "d"):
        before = before.rename(book.with_name(f"{name}.ipynb"))
        assert session.notebook == str(before)
        assert [str(each.limit.dollars) for each in session.budgets()] == ["0.5"]
    book.write_text("{}")
    assert session.notebook == str(before)
    assert Session().budgets() == [], "another notebook of the first name"
    monkeypatch.setenv("JPY_SESSION_NAME", str(before))
    assert [str(each.limit.dollars) for each in Session().budgets()] == ["0.5"], "a new kernel"


def test_two_sessions_of_one_notebook_follow_it_both(book):
    sessions = Session(), Session()
    sessions[0].budget("0.5", per="notebook")
    assert sessions[1].notebook == str(book)
    new = book.rename(book.with_name("b.ipynb"))
    for each in sessions:
        assert each.notebook == str(new)
        assert [str(left.limit.dollars) for left in each.budgets()] == ["0.5"]


def test_the_lower_budget_stays_where_the_new_name_has_one(book, monkeypatch):
    session = Session()
    session.budget("0.5", per="notebook")
    other = book.with_name("b.ipynb")
    other.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(other))
    Session().budget("0.2", per="notebook")
    other.unlink()
    book.rename(other)
    monkeypatch.setenv("JPY_SESSION_NAME", str(book))
    assert session.notebook == str(other)
    assert [str(each.limit.dollars) for each in session.budgets()] == ["0.2"]


def moves(place: Place) -> list[tuple[str, str]]:
    """Return the old and the new path, if the notebook was moved."""
    paths: list[tuple[str, str]] = []
    assert place.follow(lambda *renamed: paths.append(renamed)) == bool(paths)
    return paths


def test_a_notebook_that_is_saved_or_deleted_keeps_its_path(book):
    place = Place(str(book))
    part = book.with_name("part")
    part.write_text('{"cells": []}')
    part.replace(book)
    assert moves(place) == [], "written anew under its name"
    new = book.rename(book.with_name("b.ipynb"))
    assert moves(place) == [(str(book), str(new))], "and it is known again"
    new.unlink()
    book.with_name("c.txt").write_text("{}")
    assert moves(place) == []
    shutil.rmtree(book.parent)
    assert moves(place) == []
    assert place.path == str(new)


def test_a_copy_is_another_notebook(book):
    place = Place(str(book))
    shutil.copy2(book, book.with_name("copy.ipynb"))
    assert moves(place) == []
    book.unlink()
    assert moves(place) == []


def test_a_name_that_never_was_a_file_is_kept(tmp_path):
    place = Place(str(tmp_path / "console-1"))
    (tmp_path / "x.ipynb").write_text("{}")
    assert moves(place) == []


def test_where_the_ledger_cannot_be_written_it_is_followed_later(book, home):
    session = Session()
    session.budget("0.5", per="notebook")
    new = book.rename(book.with_name("b.ipynb"))
    file = home / "data" / "budgets.json"
    kept = file.read_text()
    file.write_text("{")
    assert session.notebook == str(book)
    file.write_text(kept)
    assert session.notebook == str(new)
    assert [str(each.limit.dollars) for each in session.budgets()] == ["0.5"]


def test_in_a_kernel_the_budget_of_a_renamed_notebook_holds(tmp_path):
    book = tmp_path / "a.ipynb"
    book.write_text("{}")
    folder = tmp_path / "desk"
    folder.mkdir()
    desk = Desk(folder, JPY_SESSION_NAME=str(book))
    try:
        assert desk.run("%mixmagic budget 0.001 --notebook").status == "ok"
        assert desk.run("%mixtral --max-tokens 5 Hi", HELLO).status == "ok"
        book.rename(tmp_path / "b.ipynb")
        ran = desk.run("%mixtral Hi " + "word " * 2000, HELLO)
        assert ran.reply["ename"] == "BudgetExceeded", ran.text
        assert desk.value("__import__('mixmagic').session().notebook").endswith("/b.ipynb")
        assert "b.ipynb" in desk.run("%mixmagic spend --all --by notebook").text
        assert "a.ipynb" not in desk.run("%mixmagic spend --all --by notebook").text
    finally:
        desk.close()
