"""Glossaries are tables with a column for each language."""

from __future__ import annotations

import pytest

from mixmagic.errors import BadArguments, StoreError
from mixmagic.tasks.translation.glossary import (
    Glossary,
    Inconsistency,
    inconsistencies,
    term_faults,
)
from mixmagic.tasks.translation.languages import parse_language

FRENCH, GERMAN, ENGLISH = map(parse_language, ("fr", "de", "en"))
TABLE = "en,fr,de\nkernel,noyau,Kernel\ndata frame,tableau de données,Datentabelle\nJupyterLab,,\n"


def read(folder, text=TABLE, name="lessons.csv", **more):
    """Return the French glossary of a table."""
    (folder / name).write_text(text, "utf-8")
    return Glossary.read(folder / name, **{"to": FRENCH, "folder": folder, **more})


def test_terms_are_those_of_the_language(tmp_path):
    assert read(tmp_path).terms == {
        "kernel": "noyau",
        "data frame": "tableau de données",
        "JupyterLab": "JupyterLab",
    }
    assert read(tmp_path, to=GERMAN).terms["kernel"] == "Kernel"
    assert read(tmp_path, to=ENGLISH, source=FRENCH).terms["noyau"] == "kernel"


@pytest.mark.parametrize("head", ["en,fr", "English,French", "EN,français", "en-US,fr-FR"])
def test_languages_have_names_and_codes(tmp_path, head):
    assert read(tmp_path, f"{head}\ncell,cellule\n").terms == {"cell": "cellule"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_separated_as_spreadsheets_do(tmp_path, delimiter):
    text = TABLE.replace(",", delimiter)
    assert read(tmp_path, "\ufeff" + text).terms["kernel"] == "noyau"


def test_a_glossary_is_found_by_its_name(tmp_path):
    read(tmp_path)
    assert Glossary.read("lessons", to=FRENCH, folder=tmp_path).terms["kernel"] == "noyau"
    with pytest.raises(BadArguments, match="There is no glossary 'lesons'") as error:
        Glossary.read("lesons", to=FRENCH, folder=tmp_path)
    assert "Did you mean lessons?" in error.value.hint
    with pytest.raises(BadArguments):
        Glossary.read("../lessons", to=FRENCH, folder=tmp_path / "none")


def test_a_table_without_the_language_is_an_error(tmp_path):
    with pytest.raises(BadArguments, match="no column for Italian"):
        read(tmp_path, to=parse_language("it"))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path, content):
    if content is not None:
        (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(StoreError, match=r"x\.csv cannot be read"):
        Glossary.read(tmp_path / "x.csv", to=FRENCH, folder=tmp_path)


def test_only_terms_of_the_text_are_returned_the_longest_first(tmp_path):
    glossary = read(tmp_path)
    text = "Data frames live in the kernel."
    assert list(glossary.terms_in(text)) == ["data frame", "kernel"]
    assert glossary.terms_in("The kernelspec of a popcorn kernel's") == {"kernel": "noyau"}


@pytest.mark.parametrize(
    ("source", "translation", "wanted"),
    [
        ("the kernels", "les noyaux", "noyau"),
        ("the kernel", "LE NOYAU", "noyau"),
        ("two kernels", "dos núcleos", "núcleo"),
        ("the kernels", "i nuclei", "nucleo"),
        ("the kernel", "des Kerns", "Kern"),
        ("a data kernel", "ein Datenkern", "Kern"),
        ("a popcorn", "du popcorn", "noyau"),
    ],
)
def test_a_term_may_be_inflected(source, translation, wanted):
    assert list(term_faults(source, translation, {"kernel": wanted})) == []


@pytest.mark.parametrize("translation", ["le nuage", "kernel", "le n", "anoyer"])
def test_another_word_for_a_term_is_a_fault(translation):
    assert [fault.kind for fault in term_faults("A kernel", translation, {"kernel": "noyau"})] == [
        "term"
    ]


def test_a_text_with_several_translations_is_inconsistent():
    pairs = [
        ("Load the data", "Charger les données"),
        ("Load the data:", "Charger les données :"),
        ("Load the **data**", "Lire les **données**"),
        ("Plot", "Tracer"),
    ]
    assert inconsistencies(pairs) == [
        Inconsistency("Load the data", ("Charger les données", "Lire les **données**"))
    ]
    assert inconsistencies(pairs[:2]) == []
