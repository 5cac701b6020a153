"""Conversations as people see them: the table, one of them to read, files, `%mixmagic chats`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_lines import shown
from kernels import notebook_client
from markdown_it import MarkdownIt

from mixmagic.calls.collector import Collector
from mixmagic.catalog import Catalog
from mixmagic.commands._parser import split
from mixmagic.core.values import Delta, Message, Request
from mixmagic.display.chats import Conversation, chats_table, markdown, save
from mixmagic.errors import BadArguments, StoreError
from mixmagic.magics._shell.calling import cell_id
from mixmagic.tasks.chats import Cell, Chats

LOCAL, MIXTRAL = map(Catalog().resolve, ("local", "8x7b"))
ASKS = "from mixmagic.magics._shell.calling import cell_id\nprint(repr(cell_id(get_ipython())))"
LISTED = "%mixmagic chats show NAME · forget NAME or --all · save NAME FILE"


def answer(text: str, finish: str = "", model=LOCAL):
    collector = Collector(Request(model, (Message("user", "?"),)))
    collector.add(Delta(text))
    return collector.completion(finish)


def told(*questions: str, name: str = "trip", model=LOCAL) -> Chats:
    """A conversation in which every answer is `Yes`."""
    chats = Chats()
    for question in questions:
        chats.add(name, None, question, answer("Yes", model=model))
    return chats


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


EVIL = "<script>alert(1)</script> ![x](https://example.org/?q) ```\nopen"


def test_markdown_of_a_conversation_is_safe_and_names_the_authors():
    chats = Chats()
    chats.add("trip", None, EVIL, answer(EVIL, "stopped"))
    chats.add("trip", None, "~~~\nopen", answer("*fine*"))
    text = markdown(chats.exchanges("trip"))
    assert "<script" not in text
    assert "![" not in text
    assert "1 · you" in text
    assert "1 · local · stopped" in text
    # What is left open in one turn does not swallow the next one.
    kinds = [token.type for token in MarkdownIt("commonmark").parse(text)]
    assert kinds.count("html_block") == 4
    assert kinds.count("em_open") == 0  # inline
    assert "<em>fine</em>" in MarkdownIt("commonmark").render(text)


def test_a_json_file_has_the_exact_texts(tmp_path):
    chats = Chats()
    chats.add("trip", None, "Où?", answer(EVIL, "stopped"))
    path = tmp_path / "trip.json"
    save("trip", chats.exchanges("trip"), path)
    saved = json.loads(path.read_text("utf-8"))
    (row,) = saved["exchanges"]
    assert saved["chat"] == "trip"
    assert (row["question"], row["answer"], row["model"], row["finish"]) == (
        *("Où?", EVIL, "local", "stopped"),
    )
    assert row["at"].endswith("+00:00")
    assert "Où?" in path.read_text("utf-8")


def test_a_markdown_file_has_the_displayed_text(tmp_path):
    chats = told("one")
    path = tmp_path / "trip.MD"
    save("trip", chats.exchanges("trip"), path)
    assert path.read_text("utf-8") == f"# trip\n\n{markdown(chats.exchanges('trip'))}\n"


def test_an_existing_file_is_replaced_only_with_force(tmp_path):
    chats, path = told("one"), tmp_path / "trip.json"
    path.write_text("mine")
    with pytest.raises(BadArguments, match="already exists") as error:
        save("trip", chats.exchanges("trip"), path)
    assert "--force" in error.value.hint
    assert path.read_text() == "mine"
    save("trip", chats.exchanges("trip"), path, force=True)
    assert json.loads(path.read_text())["chat"] == "trip"
    assert names(tmp_path / "home") == ["cache"]
    assert names(tmp_path) == ["home", "trip.json"]


@pytest.mark.parametrize("name", ["trip.txt", "trip", "trip.ipynb", ".md"])
def test_only_two_kinds_of_file(tmp_path, name):
    with pytest.raises(BadArguments, match="cannot be saved as"):
        save("trip", (), tmp_path / name)


@pytest.mark.parametrize("under", ["nowhere", "file"])
def test_a_folder_that_cannot_be_written_to(tmp_path, under):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        save("trip", (), tmp_path / under / "trip.md")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to try")
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    """The part is a full device: the write fails, and the file stays as it was."""
    chats, path = told("one"), tmp_path / "trip.json"
    path.write_text("mine")
    monkeypatch.setattr(os, "urandom", bytes)
    (tmp_path / ".trip.json.00000000.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="No space left"):
        save("trip", chats.exchanges("trip"), path, force=True)
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["home", "trip.json"]


def run_as(kernel, identity: str, code: str):
    """Run a cell as JupyterLab does, with its id beside it."""
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
    message = kernel.client.session.msg(
        "execute_request", content, metadata={"cellId": identity, "deletedCells": []}
    )
    kernel.client.shell_channel.send(message)
    return kernel.collect(message["header"]["msg_id"]), message["header"]["msg_id"]


def test_a_real_kernel_tells_its_cell_and_its_run(start_kernel):
    kernel = start_kernel(bare=True)
    for identity in ("9f0c-a", "9f0c-a", "b"):
        ran, sent = run_as(kernel, identity, ASKS)
        assert ran.text.strip() == repr(Cell(identity, sent))
    # A thread of the cell's knows it, too; a cell that a front end does not name has none.
    thread = f"import threading\ndef ask():\n    {ASKS.replace(chr(10), chr(10) + '    ')}\n"
    ran, sent = run_as(
        kernel, "c", f"{thread}t = threading.Thread(target=ask)\nt.start(); t.join()"
    )
    assert ran.text.strip() == repr(Cell("c", sent))
    assert kernel.run(ASKS).text.strip() == "None"


@pytest.mark.parametrize(
    "parent",
    [
        None,
        {},
        {"metadata": None},
        {"metadata": {"cellId": None}},
        {"metadata": {"cellId": ""}},
        {"metadata": {"cellId": 7}},
    ],
)
def test_a_front_end_that_tells_something_else_tells_no_cell(parent):
    assert cell_id(SimpleNamespace(get_parent=lambda: parent)) is None


def test_nbclient_tells_no_cell():
    client = notebook_client(ASKS)
    client.execute(cleanup_kc=True)
    (output,) = client.nb.cells[0].outputs
    assert output["text"].strip() == "None"


def test_a_terminal_has_no_cells():
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", "--quick", "-c", ASKS],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.stdout.strip() == "None", ran.stderr


def test_the_table_has_the_last_one_used_first():
    chats = told("one", "two", model=MIXTRAL)
    time.sleep(0.01)  # the clock has moved
    chats.add("later", None, "x" * 36, answer("y" * 36, model=LOCAL))
    table = chats_table(chats)
    assert table.columns == ["conversation", "exchanges", "tokens", "last used"]
    later, trip = table.rows
    assert later[:3] == ["later", "1", "≈ 20"]
    assert trip[:3] == ["trip", "2", "4"]  # Mixtral's tokenizer counts: a token for each word
    today = time.strftime("%Y-%m-%d ", time.localtime())
    assert later[3].startswith(today)
    assert table.caption == LISTED
    time.sleep(0.01)
    chats.add("trip", None, "three", answer("Yes"))
    trip, later = chats_table(chats).rows
    assert (trip[0], later[0]) == ("trip", "later")
    assert trip[2].startswith("≈ ")  # one of its three answers is another model's


def test_an_empty_table_says_how_to_begin():
    assert "-c NAME" in str(chats_table(Chats()))


def test_a_conversation_is_shown_as_markdown_and_as_text():
    chats = told("What\x1b[31m now?")
    chats.add("trip", None, "And?", answer("**Well**", "stopped"))
    bundle = Conversation(chats.exchanges("trip"))._repr_mimebundle_()
    assert bundle["text/markdown"] == markdown(chats.exchanges("trip"))
    assert bundle["text/plain"] == (
        "1 · you: What now?\n\n1 · local: Yes\n\n2 · you: And?\n\n2 · local (stopped): **Well**"
    )


def do(chats: Chats, line: str) -> str:
    (value,) = shown(SimpleNamespace(chats=chats), "chats", *split(line))
    return str(value)


def test_chats_lists_shows_and_forgets():
    chats = told("one")
    for line in ("", "list"):
        assert do(chats, line) == str(chats_table(chats))
    assert do(chats, "show trip") == "1 · you: one\n\n1 · local: Yes"
    chats.add("other", None, "x", answer("Yes"))
    chats.add("third", None, "x", answer("Yes"))
    assert do(chats, "forget trip") == "Forgotten: trip (1 exchange)."
    assert chats.names == ("other", "third")
    assert do(chats, "forget --all") == "Forgotten: other, third (2 exchanges)."
    assert chats.names == ()
    assert do(chats, "forget --all") == "Forgotten: nothing (0 exchanges)."


QUOTES = "\"'"


@pytest.mark.parametrize("file", ["trip.json", "'my trip.json'", '"my trip.json"'])
def test_chats_saves_to_a_file(tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    assert (
        do(told("one"), f"save trip {file}")
        == f"Saved conversation 'trip' to {file.strip(QUOTES)}."
    )
    path = tmp_path / file.strip(QUOTES)
    assert json.loads(path.read_text())["exchanges"][0]["question"] == "one"
    with pytest.raises(BadArguments, match="already exists"):
        do(told("two"), f"save trip {file}")
    do(told("two"), f"save trip {file} --force")
    assert json.loads(path.read_text())["exchanges"][0]["question"] == "two"


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [("drop trip", "invalid choice: 'drop'", "`%mixmagic chats -h` shows the options."),
     ("list trip", "unrecognized arguments: trip", "`%mixmagic chats -h`"),
     ("forget", "is missing, or not clear", "--all"),
     ("forget trip --all", "is missing, or not clear", "--all"),
     ("forget trp", "no conversation 'trp'", "Did you mean trip?"),
     ("show", "required: NAME", "`%mixmagic chats show -h`"),
     ("save trip", "required: FILE", "`%mixmagic chats save -h`"),
     ("save nowhere x.md", "no conversation 'nowhere'", "They are trip.")],
)  # fmt: skip
def test_chats_refuses_invalid_arguments(line, says, hint):
    chats = told("one")
    with pytest.raises(BadArguments) as error:
        do(chats, line)
    assert says in error.value.message
    assert hint in error.value.hint
    assert chats.names == ("trip",)
