"""A notebook and its translation are run, and the outputs of their code cells are compared."""

from __future__ import annotations

import nbformat
import pytest

from mixmagic.commands._proof import prove

CODE = [
    "import random\nx = [1, 2]\nprint('sum', sum(x))",
    "x",
    "object()",
]


@pytest.fixture
def notebooks(tmp_path):
    """Write a notebook and its translation, with code cells after a Markdown cell."""

    def write(one, two):
        paths = tmp_path / "lesson.ipynb", tmp_path / "lesson.fr.ipynb"
        for path, code in zip(paths, (one, two), strict=True):
            cells = [nbformat.v4.new_markdown_cell("# Data")]
            cells += map(nbformat.v4.new_code_cell, code)
            nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return paths

    return write


def test_equal_outputs_are_a_proof_whatever_their_addresses(notebooks):
    comment = [*CODE[:2], f"# un objet\n{CODE[2]}"]
    proof = prove(*notebooks(CODE, comment))
    assert proof.is_equal
    assert str(proof) == "proved equal: 3 code cells"


def test_cells_that_differ_or_fail_are_named_and_those_that_always_differ_do_not_count(notebooks):
    random = "random.random()"
    proof = prove(*notebooks([*CODE[:2], random], [CODE[0].replace("sum'", "somme'"), "x", random]))
    assert (proof.different, proof.unstable) == ([2], [4])
    assert str(proof) == "not equal: the outputs of 2 differ, of 3 code cells"
    proof = prove(*notebooks([*CODE[:2], random], [*CODE[:2], random]))
    assert str(proof) == "proved equal: 3 code cells, but for 4, which differ in each run"
    proof = prove(*notebooks(CODE[:2], [CODE[0], "y"]))
    assert not proof.is_equal
    assert "cell 3 fails in the translation: NameError" in str(proof)


def test_a_translation_without_a_cell_is_not_equal(notebooks):
    proof = prove(*notebooks(CODE[:2], CODE[:1]))
    assert str(proof) == "not proved: the run broke off: cells are missing"
