"""Gettext files as documents."""

from __future__ import annotations

import polib
import pytest

from mixmagic.errors import BadArguments, StoreError
from mixmagic.tasks.translation.fault import Fault
from mixmagic.tasks.translation.languages import parse_language
from mixmagic.tasks.translation.po import PoDocument

FRENCH = parse_language("fr")
TEMPLATE = """
# A note of the translators.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Project-Id-Version: app 1\\n"

#. the menu
#: app.py:3
#, python-format
msgctxt "verb"
msgid "Open %s"
msgstr ""

msgid "Close"
msgstr "Fermer"

#, fuzzy
#| msgid "Save it"
msgid "Save all\\n"
msgstr "Enregistrer\\n"

#, python-format
msgid "%d file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""

#~ msgid "Old"
#~ msgstr "Vieux"
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "app.po"
    path.write_text(TEMPLATE, "utf-8")
    return path


def test_units_are_the_entries_without_a_translation(path):
    units = PoDocument(path, FRENCH).units()
    assert [(unit.source, unit.form) for unit in units] == [
        ("Open %s", None),
        ("Save all\n", None),
        ("%d file", 0),
        ("%d files", 1),
    ]
    assert units[0].context == "verb\nthe menu"


def test_a_filled_file_keeps_everything_else(path, tmp_path):
    document = PoDocument(path, FRENCH)
    for unit in document.units():
        document.fill(unit, unit.source.strip().upper())
    target = tmp_path / "app.fr.po"
    target.write_text(document.text)
    file = polib.pofile(str(target))
    assert file.metadata["Language"] == "fr"
    assert file.metadata["Project-Id-Version"] == "app 1"
    assert file.metadata["Plural-Forms"] == "nplurals=2; plural=(n > 1);"
    assert file.find("Close").msgstr == "Fermer"
    assert file.find("Save all\n").msgstr == "SAVE ALL\n"
    assert not file.find("Save all\n").fuzzy
    assert file.find("%d file").msgstr_plural == {0: "%D FILE", 1: "%D FILES"}
    assert file.find("Open %s", msgctxt="verb").occurrences == [("app.py", "3")]
    assert file.obsolete_entries()[0].msgstr == "Vieux"
    assert path.read_text("utf-8") == TEMPLATE
    assert PoDocument(target, FRENCH).units() == []


def test_a_translation_with_faults_is_fuzzy_until_it_is_filled_again(path):
    document = PoDocument(path, FRENCH)
    unit = document.units()[0]
    document.fill(unit, "Ouvrir", [Fault("placeholder", "The placeholder %s is missing.")])
    path.write_text(document.text)
    entry = polib.pofile(str(path)).find("Open %s", msgctxt="verb")
    assert entry.fuzzy
    assert "mixmagic: The placeholder %s is missing." in entry.tcomment
    document = PoDocument(path, FRENCH)
    assert document.units()[0] == unit
    document.fill(unit, "Ouvrir %s")
    path.write_text(document.text)
    entry = polib.pofile(str(path)).find("Open %s", msgctxt="verb")
    assert (entry.fuzzy, entry.tcomment) == (False, "")


def test_a_language_with_one_form_has_the_plural(path):
    units = PoDocument(path, parse_language("ja")).units()
    assert [unit.source for unit in units if unit.form is not None] == ["%d files"]


def test_the_number_of_forms_must_be_known(path):
    with pytest.raises(BadArguments, match="does not say how many forms Polish has"):
        PoDocument(path, parse_language("pl"))
    header = '"Plural-Forms: nplurals=3; plural=0;\\n"\n'
    path.write_text(TEMPLATE.replace('"Project', header + '"Project'), "utf-8")
    units = PoDocument(path, parse_language("pl")).units()
    assert [unit.form for unit in units if unit.form is not None] == [0, 1, 2]


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        PoDocument(tmp_path / "none.po", FRENCH)
