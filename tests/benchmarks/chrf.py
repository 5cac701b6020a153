"""Translations beside those of people: chrF, faults and seconds, for each language and model.

    pip install sacrebleu
    python tests/benchmarks/chrf.py [MODEL …] [--strings 60]

The texts are those strings of 6 to 25 words that JupyterLab's French, German, Spanish and Italian
language packs all translate: `pip download` fetches them. `copy` is the source, untranslated.
"""

from __future__ import annotations

import argparse
import gettext
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

_LANGUAGES = {"fr": "fr-FR", "de": "de-DE", "es": "es-ES", "it": "it-IT"}
_WORDS = range(6, 26)


def catalogs(folder: Path) -> dict[str, dict[str, str]]:
    """The strings of the catalogs, for each language."""
    found: dict[str, dict[str, str]] = {}
    for language, pack in _LANGUAGES.items():
        name = f"jupyterlab-language-pack-{pack}"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        subprocess.run([*command, name], check=True, stderr=subprocess.DEVNULL)
        (wheel,) = folder.glob(f"*{pack.replace('-', '_').lower()}*.whl")
        found[language] = {}
        with zipfile.ZipFile(wheel) as archive:
            for catalog in (each for each in archive.namelist() if each.endswith(".mo")):
                with archive.open(catalog) as file:
                    strings = vars(gettext.GNUTranslations(file))["_catalog"]
                for source, text in strings.items():
                    if isinstance(source, str) and source and text:
                        found[language][source.rpartition("\x04")[2]] = text
    return found


def main() -> None:
    """Print a line for each model and language."""
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("models", nargs="*", default=["local"])
    args.add_argument("--strings", type=int, default=60)
    options = args.parse_args()
    from sacrebleu.metrics import CHRF

    import mixmagic

    with tempfile.TemporaryDirectory() as folder:
        packs = catalogs(Path(folder))
    common = set.intersection(*(set(pack) for pack in packs.values()))
    sources = sorted(text for text in common if len(text.split()) in _WORDS)[: options.strings]
    print(f"{len(sources)} strings")

    def score(texts: list[str], language: str) -> float:
        references = [packs[language][source] for source in sources]
        return float(CHRF().corpus_score(texts, [references]).score)

    print("copy".ljust(40), *(f"{code} {score(sources, code):5.1f}" for code in _LANGUAGES))
    for model in options.models:
        print(Path(model).name.ljust(40), end=" ", flush=True)
        for language in _LANGUAGES:
            started = time.perf_counter()
            texts = [
                mixmagic.translate(source, to=language, source_language="en", model=model)
                for source in sources
            ]
            faults = sum(bool(text.faults) for text in texts)
            seconds = time.perf_counter() - started
            print(f"{language} {score(texts, language):5.1f} ({faults} with a fault,"
                  f" {seconds:.0f} s)", end=" ", flush=True)  # fmt: skip
        print()


if __name__ == "__main__":
    main()
