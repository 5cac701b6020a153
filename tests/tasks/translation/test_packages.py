"""All Markdown, notebooks and programs of installed packages, upper-cased by a scripted model."""

from __future__ import annotations

import email
import json
import sysconfig
from collections import Counter
from pathlib import Path

import pytest
from upper_cased import judge, loud, loud_code

PACKAGES = Path(sysconfig.get_path("purelib"))


def documents():
    """Yield the name and the text of each Markdown document, with its own line ends."""
    for path in sorted(PACKAGES.rglob("*.md")):
        yield path.relative_to(PACKAGES), path.read_bytes().decode()
    for path in sorted(PACKAGES.rglob("METADATA")):
        metadata = email.message_from_bytes(path.read_bytes())
        if "markdown" in (metadata["Description-Content-Type"] or ""):
            yield path.relative_to(PACKAGES), metadata.get_payload(decode=True).decode()
    for path, cell in cells("markdown"):
        yield path, cell


def cells(kind):
    """Yield the cells of one type of all notebooks that can be read."""
    for path in sorted(PACKAGES.rglob("*.ipynb")):
        for cell in json.loads(path.read_bytes() or "{}").get("cells", ()):
            if cell["cell_type"] == kind:
                yield path.relative_to(PACKAGES), "".join(cell["source"])


def test_all_that_people_read_in_the_documents_of_packages_is_translated_and_nothing_else():
    counts = Counter()
    wrong = []
    for name, source in documents():
        found, counted = judge(source, loud(source))
        counts += counted + Counter(documents=1)
        wrong += [(str(name), *each) for each in found]
    assert wrong == []
    assert counts["documents"] > 100
    assert counts["all"] > 30_000
    assert counts["may stay"] < counts["all"] / 10


def test_the_code_cells_of_notebooks_stay_the_same_code():
    sources = [cell for _, cell in cells("code")]
    assert len(sources) > 20
    for source in sources:
        assert loud_code(source).casefold() == source.casefold()


@pytest.mark.parametrize("package", ["nbconvert", "papermill", "rich"])
def test_programs_stay_the_same_programs(package):
    paths = sorted((PACKAGES / package).rglob("*.py"))
    assert len(paths) > 10
    for path in paths:
        source = path.read_bytes().decode()
        assert loud_code(source).casefold() == source.casefold(), path
