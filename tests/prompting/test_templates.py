"""Personal prompts: files found by name, heads that make sense or are said not to, the cell."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from command_lines import shown
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.errors import BadArguments, StoreError
from mixmagic.prompting import interpolate
from mixmagic.prompting.marks import Marks
from mixmagic.prompting.templates import Template, templates

REVIEW = """\
+++
description = "What a careful reviewer would say"
system = "You review Python code. Be brief."
task = "code"
model = "8x22b"
max_tokens = 600
stop = "END"
[extra_body]
safe_prompt = true
+++
Review this code, the worst first:

{{ cell }}

Thank you.
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "templates"
    made.mkdir()
    (made / "review.md").write_text(REVIEW)
    return made


def test_a_template_is_its_head_and_its_body(folder):
    found = Template.load(folder, "review")
    assert (found.name, found.description) == ("review", "What a careful reviewer would say")
    assert (found.system, found.task, found.model) == (
        *("You review Python code. Be brief.", "code", "8x22b"),
    )
    assert found.params == {"max_tokens": 600, "stop": ["END"], "extra_body": {"safe_prompt": True}}
    assert found.prompt("x = 1\n") == (
        "Review this code, the worst first:\n\nx = 1\n\n\nThank you."
    )


@pytest.mark.parametrize("text", ["Just {{ cell }}!\n", "+++\n+++\nJust {{ cell }}!"])
def test_a_head_may_be_missing_or_empty(folder, text):
    (folder / "plain.md").write_text(text)
    found = Template.load(folder, "plain")
    assert found.prompt("this") == "Just this!"
    assert (found.params, found.system, found.task, found.model) == ({}, None, None, None)


def test_windows_line_ends_and_a_byte_order_mark(folder):
    (folder / "win.md").write_bytes(b"\xef\xbb\xbf+++\r\nseed = 7\r\n+++\r\nSay {{cell}}\r\n")
    found = Template.load(folder, "win")
    assert (found.params, found.prompt("hi")) == ({"seed": 7}, "Say hi")


@pytest.mark.parametrize(
    ("body", "cell", "prompt"),
    [
        ("Translate:", "Hallo", "Translate:\n\nHallo"),
        ("Translate:\n\n", "Hallo", "Translate:\n\nHallo"),
        ("", "Hallo", "Hallo"),
        ("Tell a joke.", "", "Tell a joke."),
        ("A {{cell}} B {{  cell  }}", "x", "A x B x"),
        (r"As \{{ cell }} says:", "x", r"As \{{ cell }} says:" + "\n\nx"),
        ("{{ cell.upper() }}", "x", "{{ cell.upper() }}"),
        ("{{ other }} of a cell }}", "x", "{{ other }} of a cell }}\n\nx"),
        ("{{ excellent }}", "x", "{{ excellent }}\n\nx"),
        ("{{{ cell }}}", "x", "{{{ cell }}}\n\nx"),
        ("{{ cell }}", "{{ cell }} \\1 {{ secret }}", "{{ cell }} \\1 {{ secret }}"),
    ],
)
def test_the_cell_replaces_its_placeholder_or_follows(body, cell, prompt):
    assert Template("t", body).prompt(cell) == prompt


def test_other_expressions_are_expanded_and_the_cell_is_not():
    """`expand` sees neither the cell nor what it says."""
    seen = []

    def expand(text: str) -> str:
        seen.append(text)
        return text.replace("{{ 1 + 1 }}", "2")

    assert Template("t", "{{ 1 + 1 }}: {{ cell }}").prompt("{{ 1 + 1 }}", expand) == (
        "2: {{ 1 + 1 }}"
    )
    assert len(seen) == 1
    assert seen[0].count("{{ 1 + 1 }}") == 1


def test_with_the_notebook_s_expressions():
    """Those of the body are evaluated, with `cell` among the names; a long cell is never cut."""
    cell = "{{ n }} " * 10_000
    names = {"n": 7, "cell": cell}

    def expand(text: str) -> str:
        (found,) = interpolate.expand(
            [text],
            lambda source: eval(source, names),
            names=names,
            limit=50,
            count=len,
            marks=Marks(),
        )
        return found.text

    body = r"{{ n }} {{ len(cell) }} \{{ cell }} {{ cell }}."
    assert Template("t", body).prompt(cell, expand) == f"7 80000 {{{{ cell }}}} {cell}."


@given(st.text())
def test_any_cell_comes_out_as_it_is(cell):
    assert Template("t", "<{{ cell }}>").prompt(cell) == f"<{cell}>"


@pytest.mark.parametrize(
    ("head", "line", "says", "hint"),
    [
        ('+++\ndescription = "x"\nseed 7\n+++\n', 3, "not valid TOML: Expected '='", "looks like"),
        ('+++\nseed = "7\n+++\n', 2, "not valid TOML: Unterminated string", "looks like"),
        ("+++\n\nseed = [1,\n+++\n", 3, "not valid TOML", "looks like"),
        ("+++\nseed = 1\nseed = 2\n+++\n", 3, "not valid TOML: Cannot overwrite", "looks like"),
        ("+++\nseed = 1\ntemperature = 3\n+++", 3, "temperature cannot be 3", "from 0 to 2"),
        ('+++\nseed = 1\ntemprature = "x"\n+++', 3, "'temprature'", "Did you mean temperature?"),
        ('+++\nseed = 1\nsytem = "x"\n+++', 3, "'sytem'", "Did you mean system?"),
        ("+++\nsystem = 1\n+++", 2, "system cannot be 1", "a text"),
        ('+++\ntask = "coding"\n+++', 2, "no task 'coding'", "Did you mean code?"),
        ("+++\nseed = 1\n[extra_body]\nday = 2026-11-22\n+++", 3, "extra_body cannot", "dict"),
        ("+++\nseed = 1\nYou are\n", 1, "does not end", "+++"),
        ("---\nseed: 1\n---\n", 1, "not ---", "TOML"),
    ],
)
def test_an_invalid_head_is_reported_with_its_line(folder, head, line, says, hint):
    path = folder / "bad.md"
    path.write_text(head)
    with pytest.raises(BadArguments) as error:
        Template.load(folder, "bad")
    assert error.value.message.startswith(f"{path}, line {line}: ")
    assert says in error.value.message
    assert hint in error.value.hint
    assert len(error.value._render_traceback_()) == 2


def test_a_file_that_is_not_utf_8(folder):
    (folder / "bad.md").write_bytes(b"+++\n\n+++\n\xff\xfe")
    with pytest.raises(BadArguments, match=r"bad\.md, line 4: this is not valid UTF-8") as error:
        Template.load(folder, "bad")
    assert error.value.hint == "Save the file as UTF-8."


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_file_that_may_not_be_read(folder):
    (folder / "review.md").chmod(0)
    with pytest.raises(StoreError, match="cannot be read"):
        Template.load(folder, "review")


@pytest.mark.parametrize(
    "name", ["../outside", "..", "", "sub/inner", "/etc/hosts", ".hidden", "review.md", "folder"]
)
def test_no_name_leaves_the_folder(folder, name):
    (folder.parent / "outside.md").write_text("secret")
    (folder / "sub").mkdir()
    (folder / "sub" / "inner.md").write_text("secret")
    (folder / ".hidden.md").write_text("secret")
    (folder / "folder.md").mkdir()
    with pytest.raises(BadArguments, match="no template") as error:
        Template.load(folder, name)
    assert str(folder) in error.value.hint


def test_an_unknown_name_names_the_nearest(folder):
    with pytest.raises(BadArguments) as error:
        Template.load(folder, "reveiw")
    assert error.value.hint.startswith("Did you mean review? ")
    with pytest.raises(BadArguments, match="no template 'x'"):
        Template.load(folder / "nowhere", "x")


def test_a_listing_survives_a_damaged_template(folder):
    (folder / "a.md").write_text("+++\n")
    (folder / "notes.txt").write_text("no template")
    found = templates(folder)
    assert list(found) == ["a", "review"]
    assert isinstance(found["a"], BadArguments)
    assert isinstance(found["review"], Template)
    assert templates(folder / "nowhere") == {}


def listed(folder, *words: str) -> list:
    """Return the table of `%mixmagic templates`."""
    session = SimpleNamespace(settings=SimpleNamespace(templates=folder))
    return shown(session, "templates", *words)


def test_the_table_has_the_folder_and_the_settings(folder):
    (folder / "a.md").write_text("+++\n")
    (table,) = listed(folder)
    assert table.columns == ["template", "task", "model", "sets", "description"]
    damaged, review = table.rows
    assert damaged[0] == "a"
    assert damaged[4].startswith(f"✗ {folder / 'a.md'}, line 1: ")
    assert review == [
        *("review", "code", "8x22b"),
        "system, max_tokens 600, stop ['END'], extra_body {'safe_prompt': True}",
        "What a careful reviewer would say",
    ]
    assert str(folder) in table.caption
    with pytest.raises(BadArguments, match="unrecognized"):
        listed(folder, "x")


def test_the_hint_for_an_empty_folder_works(folder):
    (folder / "review.md").unlink()
    (shown,) = listed(folder)
    assert str(folder) in shown
    example = shown.partition("\n\n")[2]
    (folder / "mine.md").write_text(example)
    found = Template.load(folder, "mine")
    assert (found.task, found.prompt("x = 1")) == (
        "code",
        "Review this code, worst problems first: x = 1",
    )
