from __future__ import annotations

import pytest

from mixmagic.errors import BadArguments
from mixmagic.tasks.translation.languages import FIRST_CLASS, detect, parse_language

# The same paragraph in the five languages.
LESSON = {
    "en": "Load the file with the measurements, then remove the rows that have no value. The last"
    " cell shows how many rows are left for each station.",
    "fr": "Chargez le fichier des mesures, puis supprimez les lignes qui n'ont pas de valeur. La"
    " dernière cellule montre combien de lignes il reste pour chaque station.",
    "de": "Lade die Datei mit den Messungen und entferne die Zeilen, die keinen Wert haben. Die"
    " letzte Zelle zeigt, wie viele Zeilen für jede Station übrig sind.",
    "es": "Cargue el archivo con las mediciones y elimine las filas que no tienen valor. La última"
    " celda muestra cuántas filas quedan para cada estación.",
    "it": "Carica il file con le misure, poi elimina le righe che non hanno valore. L'ultima cella"
    " mostra quante righe restano per ogni stazione.",
}
SENTENCES = {
    "en": ["Please close the window before you go on.", "Where are the results of this run?"],
    "fr": ["Fermez la fenêtre avant de continuer.", "Où sont les résultats de cet essai ?"],
    "de": ["Bitte schließen Sie das Fenster vorher.", "Wo sind die Ergebnisse dieses Laufs?"],
    "es": ["Cierre la ventana antes de continuar.", "¿Dónde están los resultados de la prueba?"],
    "it": ["Chiudi la finestra prima di continuare.", "Dove sono i risultati di questa prova?"],
}
NOISE = (
    " `the_value = of(this)` <a href='the.html'>x</a> https://the.example.com/with/this"
    " {this_is_the} %(the)s $\\text{where the}$ the/file/with.csv @the"
)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("fr", "fr"),
        ("FR", "fr"),
        ("French", "fr"),
        ("français", "fr"),
        ("Francais", "fr"),
        (" german ", "de"),
        ("Deutsch", "de"),
        ("español", "es"),
        ("castellano", "es"),
        ("italiano", "it"),
        ("en_US", "en-US"),
        ("fr-fr", "fr-FR"),
        ("pt-BR", "pt-BR"),
        ("Brazilian Portuguese", "pt-BR"),
        ("zh-hant", "zh-Hant"),
        ("es-419", "es-419"),
        ("日本語", "ja"),
        ("Norwegian", "no"),
    ],
)
def test_a_language_is_known_by_its_names_and_codes(name, code):
    assert parse_language(name).code == code


def test_a_region_is_part_of_the_name():
    assert parse_language("fr-CA").name == "French (Canada)"
    assert parse_language("fr-CA").base == "fr"


@pytest.mark.parametrize("name", ["Frensh", "Klingon", "", "xx", "fr-", "french-france", "en US"])
def test_an_unknown_language_is_an_error(name):
    with pytest.raises(BadArguments, match="is not a language"):
        parse_language(name)


def test_the_error_names_the_language_that_was_meant():
    with pytest.raises(BadArguments) as error:
        parse_language("Frensh")
    assert "Did you mean French" in error.value.hint


def test_five_languages_are_first_class_in_any_region():
    assert {language.name for language in FIRST_CLASS} == {
        "English", "French", "Italian", "German", "Spanish",
    }  # fmt: skip
    assert parse_language("de-AT").first_class
    assert not parse_language("Dutch").first_class


@pytest.mark.parametrize("code", LESSON)
@pytest.mark.parametrize(
    "change",
    [str, str.upper, str.title, lambda text: text + NOISE, lambda text: f"## **{text}**\n> *ok*"],
    ids=["as it is", "upper case", "title", "code around it", "Markdown"],
)
def test_the_language_of_a_paragraph(code, change):
    assert detect(change(LESSON[code])).code == code


@pytest.mark.parametrize("code", SENTENCES)
def test_the_language_of_a_sentence(code):
    assert [detect(text).code for text in SENTENCES[code]] == [code, code]


@pytest.mark.parametrize(
    "text",
    ["", "OK", "x = 1", "pandas", "NumPy 2.0", "Jupyter Notebook", "`the of and to`", "12:30",
     "https://en.example.com/the/of/and", "{the} {of} {and}", "日本語のテキスト"],
)  # fmt: skip
def test_a_text_without_words_of_a_language_has_none(text):
    assert detect(text) is None


def test_a_mixed_text_has_no_language():
    assert detect(SENTENCES["en"][0] + " " + SENTENCES["de"][0]) is None
