"""The command that installs an extra names what was installed: a checkout, or the package."""

from __future__ import annotations

import importlib.metadata
import json
from types import SimpleNamespace

import pytest

from mixmagic.core import extras


@pytest.fixture
def installed(monkeypatch):
    """Have pip's record of the installation be a text."""

    def record(text: str | None) -> None:
        distribution = SimpleNamespace(read_text=lambda _name: text)
        monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: distribution)

    return record


def test_from_a_checkout_it_is_its_folder_from_anywhere(installed, tmp_path, monkeypatch):
    (tmp_path / "my clone").mkdir()
    folder = tmp_path / "my clone"
    (folder / "pyproject.toml").touch()
    installed(json.dumps({"url": folder.as_uri(), "dir_info": {}}))
    assert extras.install("all") == f'`pip install "{folder}[all]"`'
    monkeypatch.chdir(folder)
    assert extras.install("all") == '`pip install ".[all]"`'


@pytest.mark.parametrize(
    "text",
    [None, "", "{}", "not JSON", '{"url": "https://host/mixmagic.whl"}', '{"url": "file:///gone"}'],
)
def test_otherwise_it_is_the_package(installed, text):
    installed(text)
    assert extras.install("local") == '`pip install "mixmagic[local]"`'
