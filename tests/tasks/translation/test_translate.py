"""Documents in another language: only the language changes, and nothing is paid for twice."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from server import Answer, refusal, whole

from mixmagic.errors import BadArguments, Unfinished

# What people wrote, with its translations by people.
FRENCH = {
    "Load the data": "Charger les données",
    "The table has one row for each of the 12 months of the year.":
        "Le tableau contient une ligne pour chacun des 12 mois de l'année.",
    "Look at the first rows before you compute the mean.":
        "Regardez les premières lignes avant de calculer la moyenne.",
    "Then remove the rows that have no value.":
        "Supprimez ensuite les lignes qui n'ont pas de valeur.",
    "The results are saved in a new file.":
        "Les résultats sont enregistrés dans un nouveau fichier.",
}  # fmt: skip
LESSON = "# Load the data\n\n" + "\n\n".join(list(FRENCH)[1:4]) + "\n"
LESSON_IN_FRENCH = "# Charger les données\n\n" + "\n\n".join(list(FRENCH.values())[1:4]) + "\n"


def text_of(request) -> str:
    return request.body["messages"][-1]["content"]


def system_of(request) -> str:
    return request.body["messages"][0]["content"]


def people(request) -> Answer:
    """Answer as people have translated it."""
    return whole(FRENCH[text_of(request)], completion=9)


@pytest.fixture
def provider(together):
    together.plan = [people]
    return together


def translate(session, source, **options):
    """The result of a translation, without a display."""
    options = {"to": "fr", "model": "8x7b", **options}
    translation = session.translation(source, **options)
    if translation.job is not None:
        translation.job.start()
        assert translation.job.wait(timeout=100)
    return translation.finish()


def test_a_text_is_translated_segment_by_segment(session, provider):
    found = translate(session, LESSON)
    assert found == LESSON_IN_FRENCH
    assert found.faults == []
    assert found.report.style.source.name == "English"
    assert sorted(map(text_of, provider.received)) == sorted(list(FRENCH)[:4])
    assert "from English into French" in system_of(provider.received[0])


def test_a_fault_is_named_to_the_model_once_and_the_better_answer_is_kept(session, provider):
    """The second question has the same message: a model that transforms it can be trusted."""
    source = list(FRENCH)[1]
    provider.plan = [whole(FRENCH[source].replace("12", "13")), people]
    found = translate(session, source)
    assert (found, found.faults) == (FRENCH[source], [])
    first, second = provider.received
    assert text_of(first) == text_of(second) == source
    assert "12" in system_of(second)
    assert "12" not in system_of(first)


def test_a_fault_that_stays_is_returned_with_the_translation(session, provider):
    source = list(FRENCH)[1]
    wrong = FRENCH[source].replace("12", "13")
    provider.plan = [whole(wrong)]
    found = translate(session, source)
    assert found == wrong
    assert "12" in " ".join(fault.message for fault in found.faults)
    assert len(provider.received) == 2
    assert found.report.calls == 2


def test_a_file_is_written_beside_its_source_and_only_what_changed_is_asked(
    session, provider, tmp_path
):
    lesson = tmp_path / "lesson.md"
    lesson.write_text(LESSON)
    found = translate(session, lesson)
    assert found.path == tmp_path / "lesson.fr.md"
    assert found.path.read_text() == LESSON_IN_FRENCH
    provider.received.clear()
    old, new = list(FRENCH)[3:5]
    lesson.write_text(LESSON.replace(old, new))
    translate(session, lesson)
    assert list(map(text_of, provider.received)) == [new]
    assert found.path.read_text() == LESSON_IN_FRENCH.replace(FRENCH[old], FRENCH[new])


def test_what_a_person_corrected_is_kept(session, provider, tmp_path):
    lesson = tmp_path / "lesson.md"
    lesson.write_text(LESSON)
    translate(session, lesson)
    memory = tmp_path / "lesson.fr.po"
    corrected = memory.read_text().replace("Charger les données", "Lire les données")
    memory.write_text(corrected)
    provider.received.clear()
    found = translate(session, lesson)
    assert found.path.read_text().startswith("# Lire les données\n")
    assert found.report.origins == {"person": 1, "memory": 3}
    assert provider.received == []


@pytest.fixture
def notebook(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell(LESSON, metadata={"tags": ["intro"]}, id="one"),
        nbformat.v4.new_code_cell(
            "print('Load the data')  # Load the data",
            outputs=[nbformat.v4.new_output("stream", name="stdout", text="Load the data\n")],
            execution_count=3,
            id="two",
        ),
    ]
    book = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    path = tmp_path / "lesson.ipynb"
    nbformat.write(book, path)
    return path


def test_a_notebook_keeps_ids_metadata_code_and_outputs(session, provider, notebook):
    found = translate(session, notebook)
    assert found.path.name == "lesson.fr.ipynb"
    before, after = (json.loads(path.read_text()) for path in (notebook, found.path))
    nbformat.validate(after)
    assert "".join(after["cells"][0]["source"]) == LESSON_IN_FRENCH
    before["cells"][0]["source"] = after["cells"][0]["source"]
    assert before == after


def test_comments_strings_and_outputs_are_translated_or_dropped_on_request(
    session, provider, notebook
):
    found = translate(session, notebook, comments=True, strings=True, outputs="drop")
    cell = nbformat.read(found.path, 4).cells[1]
    assert cell.source == "print('Charger les données')  # Charger les données"
    assert (cell.outputs, cell.execution_count) == ([], None)


def test_a_cell_with_a_fault_is_marked_and_counted(session, provider, notebook):
    def answer(request):
        number = "12" in text_of(request)
        return refusal(400, {"error": {"message": "too long"}}) if number else people(request)

    provider.plan = [answer]
    found = translate(session, notebook)
    assert [place for place, _ in found.faults] == ["cell 1"]
    cell = nbformat.read(found.path, 4).cells[0]
    assert "translation-fault" in cell.metadata.tags
    assert list(FRENCH)[1] in cell.source, "it stays in its language"
    assert cell.source.splitlines()[-1].startswith("> ")
    provider.plan = [people]
    assert translate(session, notebook).faults == []


def test_columns_keep_their_index_and_missing_values(session, provider):
    texts = pd.Series([*list(FRENCH)[:2], None, "Load the data"], index=[7, 3, 9, 1], name="t")
    found = translate(session, texts)
    french = list(FRENCH.values())
    assert list(found.index) == [7, 3, 9, 1]
    assert found.tolist()[:2] == french[:2]
    assert found.isna().tolist() == [False, False, True, False]
    assert len(provider.received) == 2, "equals are asked once"
    frame = pd.DataFrame({"text": list(FRENCH)[:2], "n": [1, 2]})
    assert translate(session, frame, columns=["text"])["text"].tolist() == french[:2]
    frame["text"] = frame["text"].astype("category")
    assert translate(session, frame, columns="text")["text"].tolist() == french[:2]
    assert translate(session, list(FRENCH)[:2]) == french[:2]


def test_each_text_of_a_list_knows_its_own_faults(session, provider):
    source = list(FRENCH)[1]
    provider.plan = [lambda request: whole(FRENCH[text_of(request)].replace("12", "13"))]
    found = translate(session, ["Load the data", source, None])
    assert [[fault.kind for fault in text.faults] for text in found[:2]] == [[], ["number"]]
    assert found[2] is None
    assert [place for place, _ in found[0].report.faults] == ["text 2"]


def test_a_row_in_the_language_already_is_not_asked(session, provider):
    french = FRENCH["Look at the first rows before you compute the mean."]
    assert translate(session, [french, "Load the data"]) == [french, "Charger les données"]
    assert list(map(text_of, provider.received)) == ["Load the data"]


def test_a_csv_file_gets_a_column_in_the_other_language(session, provider, tmp_path):
    path = tmp_path / "notes.csv"
    pd.DataFrame({"n": [1, 2], "text": list(FRENCH)[:2]}).to_csv(path, index=False)
    found = translate(session, path, columns=["text"])
    frame = pd.read_csv(found.path)
    assert list(frame.columns) == ["n", "text", "text_fr"]
    assert frame["text_fr"].tolist() == list(FRENCH.values())[:2]
    with pytest.raises(BadArguments, match="at least one"):
        translate(session, path)


def test_a_budget_pauses_a_file_and_the_same_call_goes_on(session, provider, tmp_path):
    """Nothing is half-written, and nothing is paid for twice."""
    lesson = tmp_path / "lesson.md"
    lesson.write_text(LESSON)
    provider.plan = [lambda request: whole(FRENCH[text_of(request)], prompt=300)]  # $0.00018
    with pytest.raises(Unfinished, match=r"^Paused after 2 of 4 texts") as raised:
        translate(session, lesson, budget="0.0004", in_flight=1)
    assert "nothing is paid for twice" in raised.value.hint
    assert not (tmp_path / "lesson.fr.md").exists()
    before = len(provider.received)
    assert 0 < before < 4
    translate(session, lesson, budget=1)
    assert len(provider.received) == 4
    assert (tmp_path / "lesson.fr.md").read_text() == LESSON_IN_FRENCH


def test_a_document_in_the_language_already_is_refused(session, provider):
    with pytest.raises(BadArguments, match="in French already"):
        translate(session, LESSON_IN_FRENCH)
    with pytest.raises(BadArguments, match="tone"):
        translate(session, LESSON, tone="rude")
    assert provider.received == []


def test_a_folder_or_a_number_cannot_be_translated(session, tmp_path):
    for source in (tmp_path, 3, tmp_path / "no.md"):
        with pytest.raises(BadArguments):
            translate(session, source)


def test_the_source_may_not_be_overwritten(session, provider, tmp_path):
    lesson = tmp_path / "lesson.md"
    lesson.write_text(LESSON)
    with pytest.raises(BadArguments, match="the file that is translated"):
        translate(session, lesson, out=lesson)
    assert Path(lesson).read_text() == LESSON


def test_a_glossary_is_told_to_the_model_and_checked(session, provider, tmp_path):
    """A term without a translation stays as it is: the model does not see it."""
    glossary = tmp_path / "terms.csv"
    glossary.write_text("en,fr\nrow,ligne\nPandas,\n")
    source = "Then remove the rows that have no value."
    found = translate(session, source, glossary=glossary)
    assert (found, found.faults) == (FRENCH[source], [])
    assert "row = ligne" in system_of(provider.received[0])
    glossary.write_text("en,fr\nrow,rangée\n")
    found = translate(session, source, glossary=glossary)
    assert [fault.kind for fault in found.faults] == ["term"]
    glossary.write_text("en,fr\nPandas,\n")
    provider.plan = [lambda request: whole(text_of(request).replace("Load", "Charger"))]
    translate(session, "Load the data with Pandas.", glossary=glossary)
    assert "Pandas" not in text_of(provider.received[-1])


def test_texts_with_several_translations_are_reported(session, provider):
    answers = iter(["Charger les données", "Lire les données :"])
    provider.plan = [lambda request: whole(next(answers))]
    report = translate(session, ["Load the data", "Load the data:"], in_flight=1)[0].report
    (found,) = report.inconsistent
    assert found.source == "Load the data"


def test_a_gettext_file_gets_the_translations_that_it_lacks(session, provider, tmp_path):
    path = tmp_path / "app.po"
    path.write_text(
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
        'msgid "Load the data"\nmsgstr "Lire les données"\n\n'
        'msgid "The results are saved in a new file."\nmsgstr ""\n'
    )
    found = translate(session, path)
    assert found.path.name == "app.fr.po"
    text = found.path.read_text()
    assert 'msgstr "Lire les données"' in text
    assert FRENCH["The results are saved in a new file."] in text
    assert "Language: fr" in text
    assert len(provider.received) == 1


def test_a_notebook_shows_a_text_as_safe_markdown_with_its_faults(session, provider):
    provider.plan = [whole("**Les** données <script>x</script> ont 13 lignes.")]
    found = translate(session, "The **data** has 12 rows.")
    shown = found._repr_markdown_()
    assert shown.startswith("**Les** données")
    assert "<script>" not in shown
    assert "⚠ " in shown


def test_a_file_shows_its_faults_too(session, provider, tmp_path):
    provider.plan = [lambda request: whole(FRENCH[text_of(request)].replace("12", "13"))]
    (tmp_path / "lesson.md").write_text(LESSON)
    first, second = repr(translate(session, tmp_path / "lesson.md")).splitlines()
    assert first == f"<TranslatedFile {tmp_path / 'lesson.fr.md'}: 4 texts, 1 fault>"
    assert "12" in second


def test_the_faults_of_columns_are_a_warning(provider):
    import mixmagic

    provider.plan = [lambda request: whole(FRENCH[text_of(request)].replace("12", "13"))]
    with pytest.warns(UserWarning, match=r"^row 2: .*12.*13"):
        mixmagic.translate(pd.Series(list(FRENCH)[:2]), to="fr", model="8x7b")


def test_a_translation_may_begin_with_a_word_in_bold(session, provider):
    provider.plan = [whole("**Toutes** les lignes ont une valeur.")]
    found = translate(session, "The rows have a value, **all of them**.")
    assert found.startswith("**Toutes**")


def test_a_string_whose_translation_would_change_the_code_stays_and_is_counted(
    session, provider, notebook
):
    provider.plan = [lambda request: whole("Charger {x!z} les données {")]
    book = nbformat.read(notebook, 4)
    book.cells[1].source = "x = 1\nprint(f'Load the data of {x}')"
    nbformat.write(book, notebook)
    found = translate(session, notebook, strings=True)
    cell = nbformat.read(found.path, 4).cells[1]
    assert cell.source == book.cells[1].source
    assert "cell 2" in [place for place, _ in found.faults]
    assert cell.metadata.tags == ["translation-fault"]


def test_what_is_missing_is_named_once(session, provider):
    provider.plan = [whole("Appelez d'abord la fonction avec les données.")]
    found = translate(session, "First call `load_data()` with {x} and the data.")
    messages = [fault.message for fault in found.faults]
    assert len(messages) == 2
    assert sum("load_data" in message for message in messages) == 1
