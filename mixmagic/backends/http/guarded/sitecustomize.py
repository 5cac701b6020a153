"""Installs the guard in a Python that a guarded process has started, before its program runs.

Python imports the first `sitecustomize` that it finds, so the environment's own one follows here.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent
# The folder of `mixmagic`: a Python of another environment has none.
_ROOT = str(_HERE.parents[3])


def _run(spec: ModuleSpec) -> ModuleType:
    assert spec.loader is not None  # noqa: S101  # for the type checker
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _guard() -> None:
    # From its file, without the packages above it, which take longer than a short program.
    spec = importlib.util.spec_from_file_location(
        "mixmagic.backends.http.guard", _HERE.parent / "guard.py"
    )
    assert spec is not None  # noqa: S101
    sys.path.append(_ROOT)
    try:
        _run(spec).install()
    finally:
        sys.path.remove(_ROOT)


_guard()
_own = PathFinder.find_spec("sitecustomize", [path for path in sys.path if path != str(_HERE)])
if _own is not None:
    _run(_own)
