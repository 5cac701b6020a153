"""The version of the environment changes with each variable, and holds none."""

import os

import pytest

from mixmagic.core import environment


@pytest.fixture
def before(monkeypatch):
    monkeypatch.setenv("MM_TEST", "one")
    return environment.version()


def test_it_changes_with_a_new_variable(before, monkeypatch):
    monkeypatch.setenv("MM_TEST_2", "")
    assert environment.version() != before


def test_it_changes_with_a_value(monkeypatch):
    monkeypatch.setenv("MM_TEST", "one")
    before = environment.version()
    monkeypatch.setenv("MM_TEST", "two")
    assert environment.version() != before
    monkeypatch.setenv("MM_TEST", "one")
    assert environment.version() == before


def test_it_changes_if_one_variable_replaces_another(before, monkeypatch):
    monkeypatch.delenv("MM_TEST")
    monkeypatch.setenv("MM_TEST_2", "one")
    assert environment.version() != before


def test_an_environment_without_a_dict_behind_it_will_do(before, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    first = environment.version()
    os.environ["MM_TEST"] = "two"
    assert environment.version() != first


def test_no_value_can_be_read_from_it(before, monkeypatch):
    monkeypatch.setenv("MM_TEST", "a-secret")
    assert "a-secret" not in repr(environment.version())
