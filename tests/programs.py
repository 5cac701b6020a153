"""Programs that tests need beside the Python packages."""

from __future__ import annotations

import os
import shutil
import sys

import pytest


def required(*names: str) -> str:
    """Return the path of the first of these programs that is installed.

    If none is, the test is skipped; under CI, which installs them all, it fails.
    """
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        reason = f"{' or '.join(names)} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)
    return path


# Runs a script that forks with threads, of which Python 3.12 warns: here forks are the subject.
FORKING = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c"]
