"""Print false alarms on translations by people, and how many languages are detected.

    python tests/benchmarks/translations.py [-v]

Downloads Django 5.2 and JupyterLab's language packs from PyPI (9 MB; too much for a test), and
reads their gettext files. `-v` prints each fault.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polib

from mixmagic.tasks.translation.checks import faults
from mixmagic.tasks.translation.languages import detect, parse_language

PACKS = {"fr": "fr_FR", "de": "de_DE", "es": "es_ES", "it": "it_IT"}
PLACEHOLDER = re.compile(r"%\(\w+\)|%\d|%[sdr]|\{\w*\}|<\w+|`|https?:")


def pairs(folder: Path, code: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a package with their translations."""
    django = name == "Django"
    pattern = f"django/**/locale/{code}/**/*.po" if django else f"**/{PACKS[code]}/**/*.mo"
    for path in sorted(folder.glob(pattern)):
        for entry in polib.pofile(str(path)) if django else polib.mofile(str(path)):
            if entry.obsolete or "fuzzy" in getattr(entry, "flags", ()):
                continue
            if not entry.msgid_plural:
                yield entry.msgid, entry.msgstr
            for form, text in entry.msgstr_plural.items():
                yield (entry.msgid_plural if form else entry.msgid), text


def main() -> None:
    """Print the figures."""
    catalogs = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        packs = [f"jupyterlab-language-pack-{code.replace('_', '-')}" for code in PACKS.values()]
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", temporary]
        subprocess.run([*download, "django==5.2", *packs], check=True, timeout=600)
        for wheel in folder.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        for name in ("Django", "JupyterLab"):
            for code in PACKS:
                catalogs[name, code] = {
                    one: other for one, other in pairs(folder, code, name) if other
                }
    english = parse_language("en")
    for (name, code), texts in catalogs.items():
        counts = {True: [0, 0], False: [0, 0]}
        for source, text in texts.items():
            to = parse_language(code)
            found = faults(source, text, to=to, source_language=english, markdown=False)
            count = counts[bool(PLACEHOLDER.search(source))]
            count[0] += 1
            count[1] += bool(found)
            if found and "-v" in sys.argv:
                print(f"  {source!r}\n  {text!r}\n  {[fault.message for fault in found]}\n")
        (all_with, with_faults), (others, other_faults) = counts[True], counts[False]
        print(f"{name:10} {code}  with placeholders: {with_faults} of {all_with} have faults,"
              f" others: {other_faults} of {others}")  # fmt: skip
    common = set.intersection(*(set(catalogs["JupyterLab", code]) for code in PACKS))
    chosen = sorted(text for text in common if 6 <= len(text.split()) <= 25)
    texts = [("en", text) for text in chosen]
    texts += [(code, catalogs["JupyterLab", code][text]) for code in PACKS for text in chosen]
    answers = [
        (code, language.code if (language := detect(text)) else None) for code, text in texts
    ]
    right = sum(code == answer for code, answer in answers)
    unclear = sum(answer is None for _, answer in answers)
    print(f"languages: {right} of {len(texts)} right ({right / len(texts):.1%}), {unclear} unclear")


if __name__ == "__main__":
    main()
