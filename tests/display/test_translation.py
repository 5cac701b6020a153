"""The result of a translation: its summary, its faults, the line below."""

from __future__ import annotations

import pytest
from translators import french, french_without_12

from mixmagic.display.translation import bundle, fault_lines, footer_line, languages, summary


def translated(session, source, **options):
    """A translation that is over, and its result."""
    options.setdefault("to", "fr")
    translation = session.translation(source, model="8x7b", **options)
    if translation.job is not None:
        translation.job.start()
        assert translation.job.wait(60)
    return translation, translation.finish()


def test_the_languages_are_named_also_if_one_is_unknown(session, together):
    together.plan = [french]
    translation, _ = translated(session, "The cat is in the house and it is not here.")
    assert languages(translation.style) == "English → French"
    translation, _ = translated(session, ["The cat."])
    assert languages(translation.style) == "→ French"


def test_many_faults_are_counted_and_the_first_ones_named(session, together):
    together.plan = [french_without_12]
    texts = [f"The box {name} has 12 pears." for name in "abcdefghijklm"]
    translation, result = translated(session, texts)
    lines = fault_lines(translation.report())
    assert lines[0].startswith("text 1: ")
    assert len(lines) == 11
    assert lines[-1].startswith("… and ")
    head, *_ = summary(translation, translation.report())
    assert head.startswith("13 texts: ")
    assert "with a fault" in head
    shown = bundle(translation, result)["text/plain"]
    assert shown.startswith(head)
    assert shown.endswith(footer_line(translation, translation.report()))


def test_a_text_in_another_language_says_that_it_is_not_checked(session, together):
    together.plan = [french]
    translation, _ = translated(session, ["The cat."], to="nl")
    line = footer_line(translation, translation.report())
    assert line.startswith("→ Dutch · 8x7b · 1 call · $0.00")
    assert line.endswith("that it is Dutch is not checked")


@pytest.mark.parametrize("source", ["42", "`x = 1`"])
def test_what_has_no_words_is_shown_without_a_call(session, together, source):
    translation, result = translated(session, source, source_language="en")
    assert result == source
    assert together.received == []
    assert bundle(translation, result)["text/plain"].endswith("English → French")


def test_markup_of_a_model_is_inert(session, together):
    from server import whole

    together.plan = [whole("Le <script>alert(1)</script> chat est dans la maison.")]
    translation, result = translated(session, "The cat is in the house.")
    shown = bundle(translation, result)
    assert "<script>" not in shown["text/markdown"]
