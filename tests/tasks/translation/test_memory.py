"""The memory of a document: a gettext file that models and people write."""

from __future__ import annotations

import subprocess
import sys

import polib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.errors import StoreError
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.languages import parse_language
from mixmagic.tasks.translation.memory import Entry, Memory

FRENCH = parse_language("fr")
FAULT = Fault("number", "The number 5 s became 6 s, which is a long message that is wrapped here.")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lesson.fr.po"


@pytest.fixture
def memory(path):
    """A memory with two translations by a model, on the disk."""
    memory = Memory(path, FRENCH)
    memory.put("Stop the kernel.", "Stoppez le noyau.")
    memory.put("Save the notebook now.", "Sauvez le notebook maintenant.")
    memory.write()
    return memory


def edit(path, source, text, **more):
    """Change an entry as a person does, in an editor for gettext files."""
    file = polib.pofile(str(path))
    entry = file.find(source)
    entry.msgstr = text
    for name, value in more.items():
        setattr(entry, name, value)
    file.save()


def test_a_translation_is_found_again(memory, path):
    assert Memory(path, FRENCH).find("Stop the kernel.") == Entry("Stoppez le noyau.", False)
    assert Memory(path, FRENCH).find("Stop the kernel") is None


def test_the_file_names_its_language(memory, path):
    assert polib.pofile(str(path)).metadata["Language"] == "fr"


def test_what_a_person_corrected_is_never_overwritten(memory, path):
    edit(path, "Stop the kernel.", "Arrêtez le noyau.")
    memory = Memory(path, FRENCH)
    assert memory.find("Stop the kernel.") == Entry("Arrêtez le noyau.", True)
    memory.put("Stop the kernel.", "Stoppez le noyau.")
    memory.write()
    assert Memory(path, FRENCH).find("Stop the kernel.") == Entry("Arrêtez le noyau.", True)


def test_what_a_person_saved_during_a_run_is_kept(memory, path):
    running = Memory(path, FRENCH)
    running.put("Stop the kernel.", "Stoppe le noyau.")
    edit(path, "Stop the kernel.", "Arrêtez le noyau.")
    running.write()
    assert running.find("Stop the kernel.") == Entry("Arrêtez le noyau.", True)


def test_what_a_person_added_is_theirs(memory, path):
    path.write_text(path.read_text("utf-8") + '\nmsgid "Go."\nmsgstr "Allez."\n', "utf-8")
    memory = Memory(path, FRENCH)
    memory.put("Go.", "Va.")
    memory.write()
    assert Memory(path, FRENCH).find("Go.") == Entry("Allez.", True)


@pytest.mark.parametrize("width", [0, 20, 200])
def test_wrapped_lines_headers_and_flags_change_nothing(memory, path, width):
    file = polib.pofile(str(path), wrapwidth=width)
    file.metadata["Last-Translator"] = "Ada"
    file.metadata["X-Generator"] = "Weblate 5.9"
    for entry in file:
        entry.flags.append("no-wrap")
        entry.occurrences = [("lesson.ipynb", "3")]
    file.save()
    memory = Memory(path, FRENCH)
    assert memory.find("Stop the kernel.") == Entry("Stoppez le noyau.", False)
    memory.put("Stop the kernel.", "Arrête le noyau.")
    memory.write()
    file = polib.pofile(str(path))
    assert file.metadata["Last-Translator"] == "Ada"
    assert file.find("Stop the kernel.").msgstr == "Arrête le noyau."
    assert file.find("Stop the kernel.").flags == ["no-wrap"]


def test_a_translation_with_faults_is_requested_again_and_its_faults_are_shown(path):
    memory = Memory(path, FRENCH)
    memory.put("Wait 5 s.", "Attendez 6 s.", [FAULT])
    assert memory.find("Wait 5 s.") is None
    memory.write()
    entry = polib.pofile(str(path)).find("Wait 5 s.")
    assert entry.fuzzy
    assert "The number 5 s became 6 s" in entry.tcomment
    memory = Memory(path, FRENCH)
    assert memory.find("Wait 5 s.") is None
    memory.put("Wait 5 s.", "Attendez 5 s.")
    memory.write()
    entry = polib.pofile(str(path)).find("Wait 5 s.")
    assert not entry.fuzzy
    assert entry.tcomment.startswith("mixmagic: ")
    assert "\n" not in entry.tcomment


def test_a_translation_with_faults_that_a_person_accepts_is_used(path):
    memory = Memory(path, FRENCH)
    memory.put("Wait 5 s.", "Attendez 6 s.", [FAULT])
    memory.write()
    edit(path, "Wait 5 s.", "Attendez 6 s.", flags=[])
    assert Memory(path, FRENCH).find("Wait 5 s.") == Entry("Attendez 6 s.", False)


def test_a_persons_draft_is_theirs(memory, path):
    edit(path, "Stop the kernel.", "Arrêtez-le.", flags=["fuzzy"])
    assert Memory(path, FRENCH).find("Stop the kernel.") == Entry("Arrêtez-le.", True)


def test_a_translation_that_msgmerge_kept_for_a_changed_text_is_not_used(memory, path):
    edit(path, "Stop the kernel.", "Arrêtez le noyau.", msgid="Stop the kernel now.",
         previous_msgid="Stop the kernel.", flags=["fuzzy"])  # fmt: skip
    memory = Memory(path, FRENCH)
    assert memory.find("Stop the kernel now.") is None
    memory.put("Stop the kernel now.", "Arrêtez le noyau maintenant.")
    memory.write()
    memory = Memory(path, FRENCH)
    assert memory.find("Stop the kernel now.") == Entry("Arrêtez le noyau maintenant.", False)
    assert memory.find("Stop the kernel.") == Entry("Arrêtez le noyau.", True)


def test_texts_that_the_document_lost_become_obsolete_and_come_back(memory, path):
    memory.write(current=["Save the notebook now."])
    assert polib.pofile(str(path)).obsolete_entries()[0].msgid == "Stop the kernel."
    memory = Memory(path, FRENCH)
    assert memory.find("Stop the kernel.") == Entry("Stoppez le noyau.", False)
    memory.write(current=["Stop the kernel.", "Save the notebook now."])
    assert polib.pofile(str(path)).obsolete_entries() == []


def test_a_persons_corrections_that_resemble_a_text_are_examples(memory, path):
    edit(path, "Stop the kernel.", "Arrêtez le noyau.")
    memory = Memory(path, FRENCH)
    assert memory.examples("Restart the kernel.", 3) == [("Stop the kernel.", "Arrêtez le noyau.")]
    assert memory.examples("Quite another topic", 3) == []
    assert memory.examples("Save the notebook today.", 3) == []  # a model wrote that one
    assert memory.examples("Restart the kernel.", 0) == []


def test_nothing_is_written_if_nothing_changed(memory, path):
    path.write_text(
        path.read_text("utf-8").replace("# mixmagic", "#  by hand\n# mixmagic"), "utf-8"
    )
    before = path.stat().st_mtime_ns
    Memory(path, FRENCH).write(current=["Stop the kernel.", "Save the notebook now."])
    assert path.stat().st_mtime_ns == before


def test_no_file_is_made_for_nothing(path):
    Memory(path, FRENCH).write()
    assert not path.exists()


def test_line_ends_of_windows_stay(memory, path):
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    memory = Memory(path, FRENCH)
    memory.put("Go.", "Allez.")
    memory.write()
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n")


@pytest.mark.parametrize(
    "content",
    [b"<<<<<<< HEAD\n", b'msgid "a\nmsgstr "b"\n', b"\xff\xfe", b'msgid "a"\nmsgstr "b"c"\n'],
    ids=["merge conflict", "open quote", "not UTF-8", "quote"],
)
def test_a_damaged_file_is_an_error_and_stays(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be read: "):
        Memory(path, FRENCH)
    assert path.read_bytes() == content


def test_a_full_disk_leaves_the_file_as_it_was(memory, path):
    before = path.read_bytes()
    code = f"""
import resource, signal
from pathlib import Path
from mixmagic.errors import StoreError
from mixmagic.tasks.translation.languages import parse_language
from mixmagic.tasks.translation.memory import Memory
memory = Memory(Path({str(path)!r}), parse_language("fr"))
memory.put("long", "x" * 100_000)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    memory.write()
except StoreError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "cannot be written: File too large" in run.stdout
    assert path.read_bytes() == before
    assert list(path.parent.glob("*.p*")) + list(path.parent.glob(".*")) == [path]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.dictionaries(TEXTS.filter(str.strip), TEXTS, min_size=1, max_size=4))
def test_any_text_comes_back_from_the_file(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("memory") / "x.po"
    memory = Memory(path, FRENCH)
    for source, text in pairs.items():
        memory.put(source, text)
    memory.write()
    memory = Memory(path, FRENCH)
    assert {source: memory.find(source) for source in pairs} == {
        source: Entry(text, False) for source, text in pairs.items()
    }
