from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mixmagic

HEAVY = ["IPython", "anywidget", "httpcore", "httpx", "ipykernel", "ipywidgets", "jupyter_client",
         "mistral_common", "numpy", "pandas", "platformdirs", "sqlite3", "tomllib", "traitlets",
         "xllamacpp"]  # fmt: skip


def fresh(code: str) -> str:
    """Return the output of `code` in a separate process."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_public_names():
    assert sorted(mixmagic.__all__) == mixmagic.__all__
    assert mixmagic.__all__ == [
        "Completion",
        "Delta",
        "Image",
        "Message",
        "Session",
        "Text",
        "aask",
        "ask",
        "astream",
        "budget",
        "errors",
        "session",
        "spend",
        "stopped",
        "stream",
        "translate",
    ]
    assert dir(mixmagic) == sorted([*mixmagic.__all__, "__version__", "map"])


@pytest.mark.parametrize("name", mixmagic.__all__)
def test_every_name_is_there_at_first_use(name):
    assert fresh(f"import mixmagic; print(mixmagic.{name}.__name__)").endswith(name)
    assert fresh(f"from mixmagic import *; print({name}.__name__)").endswith(name)


@pytest.mark.parametrize("name", mixmagic.__all__)
def test_every_name_is_documented(name):
    assert getattr(mixmagic, name).__doc__


def test_map_is_there_and_no_star_import_replaces_pythons_own():
    assert fresh("import mixmagic; print(mixmagic.map.__module__)") == "mixmagic"
    assert fresh("from mixmagic import *; print(map.__module__)") == "builtins"
    assert mixmagic.map.__doc__


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'mixmagic' has no attribute 'nothing'"):
        mixmagic.nothing  # noqa: B018


def test_names_stay_what_they_are_after_all_is_imported():
    """A submodule called as a function would take its place when it is imported."""
    code = "import mixmagic, mixmagic.sessions as s; print(mixmagic.session is s.session)"
    assert fresh(code) == "True"


@pytest.mark.parametrize(
    "statement", ["import mixmagic", "import mixmagic.sessions, mixmagic.errors"]
)
def test_imports_are_light(statement):
    """Only fast modules of the standard library are imported."""
    loaded = fresh(f"{statement}\nimport sys\nprint(*sys.modules)").split()
    assert "mixmagic" in loaded
    assert sorted(set(HEAVY) & set(loaded)) == []


def test_the_first_session_reaches_no_network_library():
    code = "import mixmagic, sys; mixmagic.session().catalog; print('httpx' in sys.modules)"
    assert fresh(code) == "False"


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert mixmagic.__version__ == version("mixmagic")


def test_the_package_is_typed():
    assert (Path(mixmagic.__file__).parent / "py.typed").exists()
