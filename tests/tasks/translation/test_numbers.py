"""Numbers are compared by value and unit, in the custom of each language."""

from __future__ import annotations

import pytest

from mixmagic.tasks.translation.numbers import number_faults


@pytest.mark.parametrize(
    ("source", "translation", "to"),
    [
        ("1,000.5 rows", "1.000,5 Zeilen", "de"),
        ("1,000.5 rows", "1 000,5 lignes", "fr"),
        ("1,000.5 rows", "1000.5 lignes", "fr"),
        ("5%", "5 %", "fr"),
        ("5 percent", "5 por ciento", "es"),
        ("3.5 GB", "3,5 Go", "fr"),
        ("1200ms", "1200 ms", "it"),
        ("Python 3.11", "Python 3.11", "fr"),
        ("6 p.m.", "18:00", "fr"),
        ("3:30 PM", "15:30", "de"),
        ("May 1, 2024", "1er mai 2024", "fr"),
        ("2024-05-01", "01.05.2024", "de"),
        ("two cells", "2 cellules", "fr"),
        ("2 cells", "zwei Zellen", "de"),
        ("the 1st place", "la 1re place", "fr"),
        ("$5", "5 $", "fr"),
        ("1.5 billion", "1,5 milliard", "fr"),
        ("1 billion", "1.000 millones", "es"),
        ("10 million", "10 Mio.", "de"),
        ("1,250", "1250", "it"),
        ("5 years ago", "il y a 5 ans", "fr"),
    ],
)
def test_the_same_number_in_another_language_is_no_fault(source, translation, to):
    assert number_faults(source, translation, "en", to) == []


@pytest.mark.parametrize(
    ("source", "translation", "to"),
    [
        ("3.5 GB", "3,5 Mo", "fr"),
        ("3.5 GB", "3,5", "fr"),
        ("3.5", "35", "fr"),
        ("1,250", "1,25", "it"),
        ("Python 3.11", "Python 3.12", "fr"),
        ("set to -1", "mettre à 1", "fr"),
        ("$5", "5 €", "fr"),
        ("1.5 billion", "1,5 billion", "fr"),
        ("three models", "quatre modèles", "fr"),
        ("10 to 20", "20 à 30", "fr"),
        ("5 km", "5 miglia", "it"),
        ("1e-3", "1e-4", "it"),
        ("2 cells", "Zellen", "de"),
        ("cells", "2 Zellen", "de"),
    ],
)
def test_another_number_or_unit_is_a_fault(source, translation, to):
    assert [fault.kind for fault in number_faults(source, translation, "en", to)] == ["number"]
