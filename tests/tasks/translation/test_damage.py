"""Each kind of damage to a translation is found, and the undamaged translation has no faults."""

from __future__ import annotations

import pytest

from mixmagic.tasks.translation.checks import faults
from mixmagic.tasks.translation.languages import parse_language

ENGLISH = parse_language("en")

# A lesson and its translation.
SOURCE = """\
## Load the data

Call `pd.read_csv("data.csv")` and keep the **first** 1,250 rows with *no* missing value. The file \
takes 3.5 GB on the disk. See [the guide](https://example.com/guide?lang=x&page=2#load) for more.

![The loss over time](img/loss.png)

The mean is $\\bar{x} = \\frac{1}{n}\\sum_i x_i$, as {ref}`fig-loss` shows[^1]. Press \
<kbd>Ctrl</kbd> to go on. Hello {name}, you have %d messages and %(count)s files in `$HOME`.

$$
E = mc^2 + \\alpha
$$

- Open the first notebook
  - Run all of its cells
  - Save the notebook
- Close the window

| Model | Loss | Time |
|---|---:|---|
| Linear | 0.25 | 12 ms |
| Forest | 0.19 | 340 ms |

```python
df = load("data.csv")  # read it
print(df.head())
```

> The result is good. We keep it.

[^1]: Measured at -5 °C on 2024-05-01.
"""
FRENCH = """\
## Charger les données

Appelez `pd.read_csv("data.csv")` et gardez les 1 250 **premières** lignes auxquelles *aucune* \
valeur ne manque. Le fichier prend 3,5 Go sur le disque. Voir \
[le guide](https://example.com/guide?lang=x&page=2#load) pour en savoir plus.

![La perte au cours du temps](img/loss.png)

La moyenne est $\\bar{x} = \\frac{1}{n}\\sum_i x_i$, comme le montre {ref}`fig-loss`[^1]. Appuyez \
sur <kbd>Ctrl</kbd> pour continuer. Bonjour {name}, vous avez %d messages et %(count)s fichiers \
dans `$HOME`.

$$
E = mc^2 + \\alpha
$$

- Ouvrez le premier notebook
  - Exécutez toutes ses cellules
  - Enregistrez le notebook
- Fermez la fenêtre

| Modèle | Perte | Temps |
|---|---:|---|
| Linéaire | 0,25 | 12 ms |
| Forêt | 0,19 | 340 ms |

```python
df = load("data.csv")  # read it
print(df.head())
```

> Le résultat est bon. Nous le gardons.

[^1]: Mesuré à -5 °C le 1er mai 2024.
"""
CODE = '```python\ndf = load("data.csv")  # read it\nprint(df.head())\n```\n'
SPANISH = "El archivo ocupa 3,5 GB en el disco y no se puede leer de una sola vez."
ENGLISH_SENTENCE = "The file takes 3.5 GB on the disk."
FILE = "Le fichier prend 3,5 Go sur le disque."
GUIDE = "[le guide](https://example.com/guide?lang=x&page=2#load)"
IMAGE = "![La perte au cours du temps](img/loss.png)"
MATH = "$\\bar{x} = \\frac{1}{n}\\sum_i x_i$"
DISPLAY = "$$\nE = mc^2 + \\alpha\n$$\n"

# Replacements in the translation, by the kind of damage.
DAMAGE = {
    "heading level": [
        ("## Charger", "# Charger"),
        ("## Charger", "### Charger"),
        ("## Charger", "Charger"),
        ("## Charger les données", "**Charger les données**"),
        ("- Ouvrez", "## Ouvrez"),
        ("## Charger les", "##Charger les"),
    ],
    "code block lost": [
        (CODE, ""),
        ("```python\n", ""),
        ("```python", "```"),
        ("```python", "```r"),
        ("df.head())\n```\n", "df.head())\n```\n\n```\nprint(1)\n```\n"),
    ],
    "code in a block translated": [
        ("# read it", "# le lire"),
        ("load(", "charger("),
        ("data.csv\")  #", "données.csv\")  #"),
        ("print(df.head())", "print(df.tail())"),
        ("print(df.head())\n", ""),
        ('load("data.csv")', "load('data.csv')"),
    ],
    "inline code renamed": [
        ("pd.read_csv", "pd.lire_csv"),
        ("`pd.read_csv(\"data.csv\")`", "`pd.read_csv('data.csv')`"),
        ("`$HOME`", "`$MAISON`"),
        ("`$HOME`", "`$Home`"),
        ("`pd.read_csv(\"data.csv\")`", "`read_csv(\"data.csv\")`"),
    ],
    "inline code lost": [
        ("`pd.read_csv(\"data.csv\")`", "la fonction"),
        ("`$HOME`", "$HOME"),
        ("`$HOME`", "« $HOME »"),
        ("dans `$HOME`", ""),
        ("`pd.read_csv(\"data.csv\")`", 'pd.read_csv("data.csv")'),
    ],
    "URL altered": [
        ("https://example.com", "http://example.com"),
        ("example.com", "exemple.com"),
        ("lang=x&page=2", "lang=x&page=3"),
        ("#load", "#charger"),
        ("?lang=x&page=2", ""),
        ("/guide?", "/le-guide?"),
        ("(https://example.com", "( https://www.example.com"),
    ],
    "link lost": [
        (GUIDE, "le guide"),
        (GUIDE, "[le guide]"),
        (GUIDE, "https://example.com/guide?lang=x&page=2#load"),
        (GUIDE, "[le guide] (https://example.com/guide?lang=x&page=2#load)"),
        (GUIDE, "[](https://example.com/guide?lang=x&page=2#load)"),
        (GUIDE, f"!{GUIDE}"),
    ],
    "image path": [
        ("img/loss.png", "img/perte.png"),
        ("img/loss.png", "loss.png"),
        ("img/loss.png", "img/loss.jpg"),
        ("img/loss.png", "images/loss.png"),
        (IMAGE, IMAGE[1:]),
        (IMAGE, ""),
        (IMAGE, "![](img/loss.png)"),
    ],
    "inline math altered": [
        ("\\frac{1}{n}", "\\frac{1}{m}"),
        (MATH, "x̄ = 1/n Σ x_i"),
        (MATH, MATH.strip("$")),
        ("\\sum_i x_i$", "\\sum_i x_j$"),
        (MATH, f"${MATH}$"),
        ("\\bar{x}", "\\hat{x}"),
        (f"La moyenne est {MATH}", "La moyenne"),
    ],
    "display math lost": [
        (DISPLAY, ""),
        (DISPLAY, "$E = mc^2 + \\alpha$\n"),
        ("mc^2", "mc^3"),
        ("\\alpha", "alpha"),
        (DISPLAY, f"```\n{DISPLAY}```\n"),
    ],
    "{x} renamed": [
        ("{name}", "{nom}"),
        ("{name}", "name"),
        ("{name}", "{ name }"),
        ("{name}", "{{name}}"),
        (" {name},", ","),
        ("{name}", "{Name}"),
    ],
    "%s lost": [
        ("%d", "plusieurs"),
        ("%(count)s", "%(nombre)s"),
        ("%d", "%s"),
        ("%(count)s", "%s"),
        ("%d ", "% d "),
        ("%(count)s", "(count)"),
    ],
    "table row lost": [
        ("| Linéaire | 0,25 | 12 ms |\n", ""),
        ("| Forêt | 0,19 | 340 ms |\n", ""),
        ("| Modèle | Perte | Temps |\n", ""),
        ("| Forêt | 0,19 | 340 ms |\n", "| Forêt | 0,19 | 340 ms |\n| Autre | | |\n"),
        ("12 ms |\n| Forêt", "12 ms | Forêt"),
        ("|---|---:|---|\n", ""),
    ],
    "table column lost": [
        ("| Linéaire | 0,25 | 12 ms |", "| Linéaire | 0,25 |"),
        ("| Forêt | 0,19 | 340 ms |", "| Forêt 0,19 | 340 ms |"),
        ("| Forêt | 0,19 | 340 ms |", "| Forêt | 0,19 | | 340 ms |"),
        ("| Forêt | 0,19 | 340 ms |", "| | 0,19 | 340 ms |"),
        ("|---|---:|---|", "|---|---|---|"),
    ],
    "list item lost": [
        ("  - Enregistrez le notebook\n", ""),
        ("- Fermez la fenêtre\n", ""),
        ("  - Exécutez toutes ses cellules\n  - Enreg", "  - Exécutez toutes ses cellules, enreg"),
        ("- Fermez la fenêtre\n", "- Fermez la fenêtre\n- Voilà\n"),
        ("- Fermez la fenêtre", "\nFermez la fenêtre"),
    ],
    "nesting lost": [
        ("  - Exécutez", "- Exécutez"),
        ("  - Enregistrez", "- Enregistrez"),
        ("- Fermez", "  - Fermez"),
        ("  - Exécutez toutes ses cellules\n  -", "- Exécutez toutes ses cellules\n-"),
        ("- Ouvrez le premier notebook\n  - Ex", "1. Ouvrez le premier notebook\n   - Ex"),
    ],
    "number changed": [
        ("1 250", "1 520"),
        ("1 250", "1,25"),
        ("1 250", "12 500"),
        ("3,5 Go", "3,5 Mo"),
        ("3,5 Go", "35 Go"),
        ("3,5 Go", "3,5"),
        ("-5 °C", "5 °C"),
        ("-5 °C", "-5 °F"),
        ("2024", "2025"),
        ("1er mai", "2 mai"),
        ("340 ms", "340 s"),
        ("0,19", "0,91"),
        ("12 ms", "ms"),
    ],
    "HTML tag lost": [
        ("<kbd>Ctrl</kbd>", "Ctrl"),
        ("<kbd>", ""),
        ("</kbd>", ""),
        ("kbd>", "b>"),
        ("<kbd>Ctrl</kbd>", "`Ctrl`"),
        ("<kbd>", '<kbd class="x">'),
    ],
    "role altered": [
        ("{ref}`fig-loss`", "{réf}`fig-loss`"),
        ("{ref}`fig-loss`", "`fig-loss`"),
        ("{ref}`fig-loss`", "{ref}`fig-perte`"),
        ("{ref}`fig-loss`", "{ref} `fig-loss`"),
        ("{ref}`fig-loss`", "fig-loss"),
    ],
    "footnote lost": [
        ("fig-loss`[^1]", "fig-loss`"),
        ("fig-loss`[^1]", "fig-loss`[^2]"),
        ("fig-loss`[^1]", "fig-loss`[1]"),
        ("fig-loss`[^1]", "fig-loss`^1"),
        ("[^1]: ", ""),
    ],
    "untranslated": [
        (FILE, ENGLISH_SENTENCE),
        ("Charger les données", "Load the data"),
        ("La perte au cours du temps", "The loss over time"),
        ("Ouvrez le premier notebook", "Open the first notebook"),
        ("Le résultat est bon. Nous le gardons.", "The result is good. We keep it."),
        (FILE, "Le fichier takes 3.5 GB on the disk."),
        ("Nous le gardons.", "We keep it."),
    ],
    "wrong language": [
        (FILE, "El archivo ocupa 3,5 GB en el disco."),
        (FILE, "Il file occupa 3,5 GB sul disco."),
        (FILE, "Die Datei belegt 3,5 GB auf der Festplatte."),
        ("Le résultat est bon. Nous le gardons.", "Das Ergebnis ist gut. Wir behalten es."),
        ("Charger les données", "Laden Sie die Daten"),
    ],
    "sentence dropped": [
        (f" {FILE}", ""),
        (" Nous le gardons.", ""),
        ("Le résultat est bon. ", ""),
        (" Appuyez sur <kbd>Ctrl</kbd> pour continuer.", ""),
        (f" Voir {GUIDE} pour en savoir plus.", ""),
        (" auxquelles *aucune* valeur ne manque", ""),
    ],
    "bold lost": [
        ("**premières**", "premières"),
        ("**premières**", "*premières*"),
        ("*aucune*", "aucune"),
        ("*aucune*", "**aucune**"),
        ("**premières**", "**premières"),
        ("**premières**", "** premières **"),
    ],
    "added": [
        ("## Charger", "Voici la traduction :\n\n## Charger"),
        ("Nous le gardons.", "Nous le gardons. Nous le gardons."),
        ("## Charger", "Bien sûr !\n\n## Charger"),
        ("le 1er mai 2024.\n", "le 1er mai 2024.\n\nNote : j'ai gardé les termes techniques.\n"),
        ("le 1er mai 2024.\n", "le 1er mai 2024.\n\nN'hésitez pas à demander plus.\n"),
        (FILE, f"{FILE} Il contient toutes les mesures de la station météo depuis le début."),
    ],
}  # fmt: skip


def found(source, translation, to="fr", *, markdown=True, **more):
    """Return the messages about a translation from English."""
    return [
        fault.message
        for fault in faults(
            source,
            translation,
            to=parse_language(to),
            source_language=ENGLISH,
            markdown=markdown,
            **more,
        )
    ]


def cases():
    return [
        pytest.param(old, new, id=f"{kind} {number}")
        for kind, changes in DAMAGE.items()
        for number, (old, new) in enumerate(changes, 1)
    ]


def test_the_undamaged_translation_has_no_faults():
    assert found(SOURCE, FRENCH) == []


@pytest.mark.parametrize(("old", "new"), cases())
def test_damage_to_a_document_is_found(old, new):
    assert FRENCH.count(old) >= 1
    assert found(SOURCE, FRENCH.replace(old, new, 1)) != []


def blocks(text):
    """Return the paragraphs of a document, but those of code and formulas."""
    return [
        block for block in text.split("\n\n") if not block.startswith(("$$", "```", "| ", "- "))
    ]


def paragraph_cases():
    """Return the cases whose damage is to one paragraph."""
    pairs = list(zip(blocks(SOURCE), blocks(FRENCH), strict=True))
    return [
        pytest.param(*next(pair for pair in pairs if old in pair[1]), old, new, id=case.id)
        for case in cases()
        for old, new in [case.values]
        if "\n" not in new and any(old in other for _, other in pairs)
    ]


@pytest.mark.parametrize(("source", "translation", "old", "new"), paragraph_cases())
def test_damage_to_a_paragraph_is_found(source, translation, old, new):
    """As the engine checks: one paragraph after the other."""
    assert found(source, translation.replace(old, new, 1)) != []
