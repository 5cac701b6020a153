"""Fixtures: a server, a Chromium and a page for all of these tests; a notebook for each test.

The page is JupyterLab's, or Notebook 7's if a module parametrizes `loaded` with `"notebook"`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from programs import required
from server import Server

from browser.chromium import Chromium
from browser.front_ends import FRONT_ENDS, served
from browser.readers import Readers

# Read before `tests/conftest.py` takes every MIXMAGIC_* away: name `tests/browser` on the
# command line, so that this file is loaded early enough.
_SCREENSHOTS = os.environ.get("MIXMAGIC_SCREENSHOTS")
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@pytest.fixture(scope="package")
def provider():
    """The scripted server in Together's place, for every kernel that Lab starts."""
    scripted = Server()
    yield scripted
    scripted.close()


@pytest.fixture(scope="package")
def chromium() -> str:
    """Chromium's path; without it the tests are skipped, but under CI they fail."""
    return required(*_CHROMIUM)


@pytest.fixture(scope="package")
def root(tmp_path_factory) -> Path:
    """The folder whose notebooks Lab shows."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="package")
def lab_home(tmp_path_factory, weights) -> Path:
    """An empty home for Jupyter's user, with the embedded model's weights."""
    home = tmp_path_factory.mktemp("lab-home")
    (home / "mixmagic").mkdir()
    (home / "mixmagic" / "cache").symlink_to(weights)
    return home


@pytest.fixture(scope="package")
def lab_url(chromium, provider, root, lab_home):
    """JupyterLab and Notebook 7, served."""
    environment = {
        "MIXMAGIC_HOME": str(lab_home / "mixmagic"),
        "TOGETHER_BASE_URL": provider.url,
        "TOGETHER_API_KEY": "canary-key-4711",
    }
    with served(lab_home, root, **environment) as url:
        yield url


@pytest.fixture(scope="package")
def playwright():
    """Playwright; it runs an event loop in this thread, so it ends with these tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def loaded(playwright, chromium, lab_url, root, request):
    """A front end in Chromium, without a notebook."""
    browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    shown = FRONT_ENDS[getattr(request, "param", "lab")](page, lab_url, root)
    shown.load()
    yield shown
    browser.close()


@pytest.fixture(scope="package")
def bare(playwright, chromium, tmp_path_factory):
    """A Chromium without Playwright's flags, which must have asked for no other host in the end."""
    started = Chromium(chromium, tmp_path_factory.mktemp("chromium"))
    browser = playwright.chromium.connect_over_cdp(started.url)
    yield browser.contexts[0]
    browser.close()
    assert started.close() == set()


@pytest.fixture(scope="package")
def readers_home(tmp_path_factory) -> Path:
    """The home of the user of `readers_url`."""
    return tmp_path_factory.mktemp("readers-home")


@pytest.fixture(scope="package")
def readers_root(tmp_path_factory) -> Path:
    """The folder with the notebooks of `readers_url`."""
    return tmp_path_factory.mktemp("readers")


@pytest.fixture(scope="package")
def readers_url(readers_home, readers_root):
    """JupyterLab and Notebook 7 for what needs only their pages: served once."""
    with served(readers_home, readers_root) as url:
        yield url


@pytest.fixture(scope="package", params=list(FRONT_ENDS))
def readers(bare, readers_url, readers_root, request):
    """The readers of an answer, in a page of each front end with a notebook open."""
    shown = FRONT_ENDS[request.param](bare.new_page(), readers_url, readers_root)
    shown.load()
    shown.open(f"readers-{request.param}")
    yield Readers(shown.page)
    shown.page.close()


@pytest.fixture
def lab(loaded, request, tmp_path):
    """A front end for one test; leaves a screenshot; nothing may go wrong in the browser."""
    yield loaded
    picture = tmp_path / f"{request.node.name}.png"
    loaded.page.screenshot(path=picture)
    if _SCREENSHOTS:
        Path(_SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, _SCREENSHOTS)
    loaded.close()
    complaints, loaded.complaints = loaded.complaints, []
    assert complaints == []
