"""The notebooks replay their cassettes, as pytest's plugin runs them in any repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
# The packages of the extras `local` and `tokens`.
EXTRAS = ("xllamacpp", "filelock", "sentencepiece", "mistral_common")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_replays_without_network_model_extras_or_the_persons_settings(tmp_path, name):
    for package in EXTRAS:
        (tmp_path / f"{package}.py").write_text(f"raise ImportError({package!r})\n")
    person = tmp_path / "person"
    (person / "config").mkdir(parents=True)
    (person / "config" / "config.toml").write_text('model = "openai:another"\n')
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts="),
            *("--nbval", "--nbval-current-env", "--mixmagic-cassette=none", "--color=no"),
            f"notebooks/{name}",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "HOME": str(person),
            "MIXMAGIC_HOME": str(person),
            "PYTHONPATH": str(tmp_path),
            "FIREWORKS_API_KEY": "canary-key-4711",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not (person / "data").exists()
    assert not (person / "cache").exists()
