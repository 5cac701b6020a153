"""Faults of translations by people are none; each kind of damage is one."""

from __future__ import annotations

import pytest

from mixmagic.tasks.translation.checks import faults
from mixmagic.tasks.translation.languages import parse_language

LANGUAGES = {code: parse_language(code) for code in ("en", "fr", "de", "es", "it")}


def kinds(source, translation, to="fr", *, markdown=True, **more):
    """Return the kinds of the faults of a translation from English."""
    found = faults(
        source,
        translation,
        to=LANGUAGES[to],
        source_language=LANGUAGES["en"],
        markdown=markdown,
        **more,
    )
    return {fault.kind for fault in found}


def test_a_good_translation_has_no_faults():
    source = "Open the file `data.csv` with **pandas**, then count its 1,250 rows."
    good = "Ouvrez le fichier `data.csv` avec **pandas**, puis comptez ses 1 250 lignes."
    assert kinds(source, good) == set()


@pytest.mark.parametrize("translation", ["", "  \n"])
def test_an_empty_translation_is_a_fault(translation):
    assert kinds("Open the file.", translation) == {"empty"}


def test_placeholders_that_are_filled_in_by_position_keep_their_order():
    assert kinds("%d of %s files", "%s de %d fichiers") == {"placeholder"}
    assert kinds("%s of %s files", "Sur %s fichiers, %s") == set()
    assert kinds("%(n)d of %(all)s files", "Sur %(all)s fichiers, %(n)d") == set()


def test_a_short_sentence_between_two_others_is_missed():
    """The comma of a German clause is not the sign of two sentences that were joined."""
    source = (
        "Restart the kernel before you run the cells again. All variables will be lost."
        " You can save them to a file first."
    )
    lost = " Alle Variablen gehen verloren."
    good = (
        f"Starten Sie den Kernel neu, bevor Sie die Zellen erneut ausführen.{lost}"
        " Sie können sie vorher in einer Datei speichern."
    )
    assert kinds(source, good, "de") == set()
    assert kinds(source, good.replace(lost, ""), "de") == {"sentence"}
