from __future__ import annotations

import doctest

import pytest
from upper_cased import loud

from mixmagic.tasks.translation import blocks, front_matter, segments
from mixmagic.tasks.translation.segments import assemble, markdown_segments, text_segments


@pytest.mark.parametrize(
    "module", [blocks, front_matter, segments], ids=lambda module: module.__name__
)
def test_examples_are_true(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


# In each document, lower-case letters are for people and `loud` raises them, but for what it keeps.
DOCUMENTS = [
    ("# title `x` ##\n", "# TITLE `x` ##\n"),
    ("one *two\nthree* `a\nb` four\n", "ONE *TWO\nTHREE* `a\nb` FOUR\n"),
    ("one  \ntwo\\\nthree", "ONE  \nTWO\\\nTHREE"),
    ("**one  \ntwo** three", "**ONE  \nTWO** THREE"),
    ("setext\nheading\n===\n", "SETEXT\nHEADING\n===\n"),
    ("> quote\nlazy\n> > nested\n>> more\n", "> QUOTE\nLAZY\n> > NESTED\n>> MORE\n"),
    ("* one\n\ttwo\n\n  three\n1) four\n", "* ONE\n\tTWO\n\n  THREE\n1) FOUR\n"),
    ("- [x] done\n- [ ] not\n  yet\n", "- [x] DONE\n- [ ] NOT\n  YET\n"),
    ("> - a b c\n>   ```py\n>   code\n>   ```\n", "> - a b c\n>   ```py\n>   code\n>   ```\n"),
    ("head | other\n---|---\n`a \\| b` | text \\| more\nlast",
     "HEAD | OTHER\n---|---\n`a \\| b` | TEXT \\| MORE\nLAST"),
    ("| one | two |\n|--|--|\n| `a|b` three | `c` | more |\n| last | four | no |\n",
     "| ONE | TWO |\n|--|--|\n| `a|b` THREE | `c` | more |\n| LAST | FOUR | no |\n"),
    ("text\n\n    code\n\n\tcode\n", "TEXT\n\n    code\n\n\tcode\n"),
    ("before\n$$\na\n\n- b\n$$\nafter $$x$$ end\n", "BEFORE\n$$\na\n\n- b\n$$\nAFTER $$x$$ END\n"),
    ("\\begin{align}\na\n\nb\n\\end{align}\ntext", "\\begin{align}\na\n\nb\n\\end{align}\nTEXT"),
    ("\\[\nx\n\\]\n\\[note\\] text", "\\[\nx\n\\]\n\\[NOTE\\] TEXT"),
    ("```{note} the title\n:class: x\n\nbody\n```\n",
     "```{note} THE TITLE\n:class: x\n\nBODY\n```\n"),
    ("````{tip}\n```{math}\nx\n```\ntext\n````\n", "````{tip}\n```{math}\nx\n```\nTEXT\n````\n"),
    ("```{figure} img.png\n---\nalt: x\n---\nthe caption\n```",
     "```{figure} img.png\n---\nalt: x\n---\nTHE CAPTION\n```"),
    ("```{code-cell} ipython3\nprint('hello')\n```\n",
     "```{code-cell} ipython3\nprint('hello')\n```\n"),
    (":::{warning} look\ntext\n:::\n:::{math}\nx\n\ny\n:::\nend",
     ":::{warning} LOOK\nTEXT\n:::\n:::{math}\nx\n\ny\n:::\nEND"),
    ("::: note\ntext\n:::\n", "::: note\nTEXT\n:::\n"),
    ('!!! tip "a tip"\n    text\n\n    more\nend\n',
     '!!! tip "A TIP"\n    TEXT\n\n    MORE\nEND\n'),
    ("see [^a]\n\n[^a]: the note\n    goes on\n\n    more\n[^b]: word\n",
     "SEE [^a]\n\n[^a]: THE NOTE\n    GOES ON\n\n    MORE\n[^b]: WORD\n"),
    ("term\n:   definition\n", "TERM\n:   DEFINITION\n"),
    ("> [!NOTE] title\n> text\n", "> [!NOTE] TITLE\n> TEXT\n"),
    ("(target)=\n% comment\n+++\ntext\n{: .class}\n",
     "(target)=\n% comment\n+++\nTEXT\n{: .class}\n"),
    ("[guide]: http://a.b/c\nsee [guide] and [this][guide]\n",
     "[guide]: http://a.b/c\nSEE [GUIDE] AND [THIS][guide]\n"),
    ('see [this](http://a.b/c "the title") and ![alt](d.png)\n',
     'SEE [THIS](http://a.b/c "THE TITLE") AND ![ALT](d.png)\n'),
    ('<div class="x">\n  <p>some <b>bold</b>\n  text</p>\n</div>\n\ntext\n',
     '<div class="x">\n  <p>SOME <b>BOLD</b>\n  TEXT</p>\n</div>\n\nTEXT\n'),
    ("<details><summary>sum</summary>\n\n*text*\n\n</details>\n",
     "<details><summary>SUM</summary>\n\n*TEXT*\n\n</details>\n"),
    ("<pre>\ncode\n\nmore\n</pre>\n<!-- note\n\nmore -->\n<script>x</script>\n",
     "<pre>\ncode\n\nmore\n</pre>\n<!-- note\n\nmore -->\n<script>x</script>\n"),
    ("---\ntitle: my page  # x\nauthor: me\n---\n\ntext\n",
     "---\ntitle: MY PAGE  # x\nauthor: me\n---\n\nTEXT\n"),
    ("---\ndescription: >-\n  long\n  text\ntags: [a, b]\nsubtitle: 'it''s'\n---\n",
     "---\ndescription: >-\n  LONG\n  TEXT\ntags: [a, b]\nsubtitle: 'IT''S'\n---\n"),
    ('+++\ntitle = "my page"\ndate = 2020\n+++\ntext',
     '+++\ntitle = "MY PAGE"\ndate = 2020\n+++\nTEXT'),
    ("---\n\ntext\n\n---\n", "---\n\nTEXT\n\n---\n"),
    ("text\n***\n- - -\n[TOC]\n", "TEXT\n***\n- - -\n[TOC]\n"),
    ("", ""), ("\n\n", "\n\n"), ("`x`", "`x`"),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(DOCUMENTS)))
def test_what_people_read_is_translated_and_nothing_else(index):
    source, expected = DOCUMENTS[index]
    assert loud(source) == expected
    assert loud(source.replace("\n", "\r\n")) == expected.replace("\n", "\r\n")
    assert loud(source.replace("\n", "\r")) == expected.replace("\n", "\r")
    assert loud(f"{source}\n") == f"{expected}\n"
    if not source.startswith(("---", "+++")):
        assert loud(f"\ufeff{source}") == f"\ufeff{expected}"


def translated(source, *translations):
    return assemble(source, markdown_segments(source), translations)


def test_lines_of_a_longer_translation_break_at_the_nearest_spaces_and_keep_their_prefixes():
    source = "> one two three\n>  four five\n> six\n"
    text = "eins zwei drei und noch vier und fünf und dann sechs"
    assert translated(source, text) == (
        "> eins zwei drei und noch\n>  vier und fünf und dann\n> sechs\n"
    )


@pytest.mark.parametrize("word", ["-", "1.", "#", "+", ">", "=", "```", "---", "<div>", ":::"])
def test_a_line_of_a_translation_begins_no_block(word):
    source = "one two\nthree four\n"
    text = f"un deux {word} trois"
    assert translated(source, text).replace("\n", " ") == f"{text} "
    assert len(markdown_segments(translated(source, text))) == 1
    assert markdown_segments(translated(source, text))[0].text == text


@pytest.mark.parametrize("text", ["- un", "1. un", "# un", "+ un", "> un", "12) un"])
def test_a_translation_begins_no_block(text):
    written = translated("one two\n", text)
    assert written.replace("\\", "") == f"{text}\n"
    assert [segment.kind for segment in markdown_segments(written)] == ["paragraph"]
    assert markdown_segments(written)[0].start == 0


@pytest.mark.parametrize(
    "text", ["[x-Achse](a.md) hier", "**so** nun", "*so* nun", "`x` nun", "[^1] nun", "1.5 nun"]
)
def test_a_translation_may_begin_with_a_link_emphasis_or_a_number(text):
    assert translated("see [x](a.md), **so**, *so*, `x`[^1]\n", text) == f"{text}\n"


def test_a_translation_stays_in_its_cell_and_its_heading():
    assert translated("| a one | two |\n|---|---|\n", "un | e", "deux") == (
        "| un \\| e | deux |\n|---|---|\n"
    )
    assert translated("# The language\n", "Die Sprache\nC #") == "# Die Sprache C \\#\n"


@pytest.mark.parametrize(
    ("source", "text", "written"),
    [
        ("title: my page", "Partie 1 : la fin", 'title: "Partie 1 : la fin"'),
        ("title: my page", "l'été", "title: l'été"),
        ("title: my page", "Nouveau", "title: Nouveau"),
        ("title: my page", "no", 'title: "no"'),
        ("title: my page", "2024", 'title: "2024"'),
        ('title: "my page"', 'la "page"', 'title: "la \\"page\\""'),
        ("title: 'my page'", "l'été", "title: 'l''été'"),
    ],
)
def test_a_value_of_the_front_matter_stays_valid(source, text, written):
    written = 'title: "Non"' if text == "Non" else written  # YAML 1.1 reads it as no word
    written = "title: Non" if text == "Non" else written
    assert translated(f"---\n{source}\n---\n", text) == f"---\n{written}\n---\n"


def test_a_long_paragraph_is_split_at_sentences():
    sentence = "This is a sentence with **some** words and `a. B` in it. "
    source = sentence * 40
    found = markdown_segments(source)
    assert len(found) > 2
    assert max(len(segment.text) for segment in found) < 1000
    assert all(segment.text.endswith("it.") for segment in found)
    assert loud(source) == source.upper().replace("`A. B`", "`a. B`")


def test_the_lines_of_a_plain_text():
    source = (
        "Shopping list\n- two eggs\n- some milk from the shop that is at the end of the street\n"
        "  next to the station\n\n  Dear all,\n\tthis is a long line that goes on in the next\n"
        "\tone, as `x` does.\n"
    )
    assert [segment.text for segment in text_segments(source)] == [
        "Shopping list",
        "two eggs",
        "some milk from the shop that is at the end of the street next to the station",
        "Dear all,",
        "this is a long line that goes on in the next one, as `x` does.",
    ]
    assert loud(source, text_segments) == source.upper().replace("`X`", "`x`")
