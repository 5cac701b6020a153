"""Each attack acts if a rule of the sanitizer is left out, and the readers detect it."""

from __future__ import annotations

import pytest
from attacks import ATTACKS, EVIDENCE, markup
from attacks.mutants import MUTANTS

from browser.chromium import Chromium
from browser.front_ends import Lab
from browser.readers import Readers
from mixmagic.text import page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bare(playwright, chromium, tmp_path_factory):
    """A Chromium without Playwright's flags, which must have asked for other hosts in the end."""
    started = Chromium(chromium, tmp_path_factory.mktemp("chromium"))
    browser = playwright.chromium.connect_over_cdp(started.url)
    yield browser.contexts[0]
    browser.close()
    assert started.close() >= {"evil.test", "framed.evil.test"}


@pytest.fixture(scope="module")
def readers(bare, readers_url, readers_root):
    """The readers of an answer, in JupyterLab's page in this Chromium."""
    shown = Lab(bare.new_page(), readers_url, readers_root)
    shown.load()
    shown.open("mutants")
    yield Readers(shown.page)
    shown.page.close()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_attack_acts_under_a_mutant(readers, mutant):
    names = [name for name, evidence in EVIDENCE.items() if evidence.get("mutant") == mutant]
    assert names
    verdicts = readers.verdicts([MUTANTS[mutant](ATTACKS[name]) for name in names])
    unseen = [
        name
        for name, verdict in zip(names, verdicts, strict=True)
        if EVIDENCE[name]["reader"] not in verdict
    ]
    assert unseen == []


def test_each_attack_has_acted():
    """Each attack acted before there was a sanitizer, or acts under a mutant of it."""
    assert set(EVIDENCE) == set(ATTACKS)
    assert len(ATTACKS) >= 300
    acted = [name for name, evidence in EVIDENCE.items() if len(evidence) > 1 or evidence["before"]]
    assert len(acted) == len(ATTACKS)


def test_a_page_that_is_not_cleaned_connects(readers, monkeypatch):
    """An uncleaned page connects from inside its frame; Chromium's log shows it at the end."""
    monkeypatch.setattr(page, "_clean", lambda source: source)
    attack = markup.ATTACKS["link-preconnect"].replace("secret", "framed")
    readers.frames([page.frame(attack, "a page")], 1)
