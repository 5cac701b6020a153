from __future__ import annotations

import ast
import doctest

import nbformat
import pytest
from upper_cased import loud_code as loud

from mixmagic.tasks.translation import code, literals, shown_strings
from mixmagic.tasks.translation.code import assemble_code, code_segments
from mixmagic.tasks.translation.documents import Reading, Translated
from mixmagic.tasks.translation.documents.notebook import TAG, NotebookDocument


@pytest.mark.parametrize(
    "module", [code, literals, shown_strings], ids=lambda module: module.__name__
)
def test_examples_are_true(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


CELLS = [
    ("x = 1  # the count\n", "x = 1  # THE COUNT\n"),
    ("# see `x`\n#   - item\n#\n# end\nx\n", "# SEE `x`\n#   - ITEM\n#\n# END\nx\n"),
    ("# x = load(1)\n# import os\n# for a in b:\n# the rest\n",
     "# x = load(1)\n# import os\n# for a in b:\n# THE REST\n"),
    ("#!/bin/x\n# -*- coding: utf-8 -*-\n# %% cell\nx = 1  # type: ignore\ny  # why  # noqa: E1\n",
     "#!/bin/x\n# -*- coding: utf-8 -*-\n# %% cell\nx = 1  # type: ignore\ny  # WHY  # noqa: E1\n"),
    ("#@title load data\nx\n", "#@title LOAD DATA\nx\n"),
    (('def f(x):\n    """sum up.\n\n    Args:\n        x (int): the first\n\n    >>> f(1)\n'
     '    one\n    """\n'),
     ('def f(x):\n    """SUM UP.\n\n    Args:\n        x (int): THE FIRST\n\n    >>> f(1)\n'
     '    one\n    """\n')),
    ('class A:\n    r"""text \\n more"""\n    x = "no"\n',
     'class A:\n    r"""TEXT \\n MORE"""\n    x = "no"\n'),
    ("def f():\n    '''text\n\n    :param x: the x\n    :returns: all\n\n    x : int\n    '''\n",
     "def f():\n    '''TEXT\n\n    :param x: THE X\n    :returns: ALL\n\n    x : int\n    '''\n"),
    ("def f():\n  \'\'\'so::\n\n    code\n\n  text\n    ```\n    code\n    ```\n    \'\'\'\n",
     "def f():\n  \'\'\'SO::\n\n    code\n\n  TEXT\n    ```\n    code\n    ```\n    \'\'\'\n"),
    ("class A:\n    r\'\'\'it's \\n\'\'\'\n\nraise error('no \"x\"')\n",
     "class A:\n    r\'\'\'IT'S \\n\'\'\'\n\nraise error('NO \"X\"')\n"),
    ("print('it is', x, \"a\" 'be', end='no')\n", "print('IT IS', x, \"a\" 'BE', end='no')\n"),
    ("print('it\\'s \"so\"', \"it\\'s\\tnew\\n\")\n",
     "print('IT\\'S \"SO\"', \"IT\\'S\\tNEW\\n\")\n"),
    ("print(f'sum {x!r:>{w}} of {d[\"key\"]} {{and}} {y=}')\n",
     "print(f'SUM {x!r:>{w}} OF {d[\"key\"]} {{AND}} {y=}')\n"),
    ("print('%s rows' % n + 'and {} more'.format(y))\n",
     "print('%s ROWS' % n + 'AND {} MORE'.format(y))\n"),
    ("raise ValueError(f'not {x}')\nassert x, 'no x'\n",
     "raise ValueError(f'NOT {x}')\nassert x, 'NO X'\n"),
    ("df.plot(title='the plot', x='col', color='red')\nax.set(xlabel=r'$\\alpha$ angle')\n",
     "df.plot(title='THE PLOT', x='col', color='red')\nax.set(xlabel=r'$\\alpha$ ANGLE')\n"),
    ("plt.legend(['one', 'two'])\nd = {'title': 'no'}\nd['title']\nopen('read me')\n",
     "plt.legend(['ONE', 'TWO'])\nd = {'title': 'no'}\nd['title']\nopen('read me')\n"),
    ("print('é', 'ünd', \"\"\"long\ntext\"\"\") # ok: é\n",
     "print('é', 'ÜND', \"\"\"LONG\nTEXT\"\"\") # OK: É\n"),
    ("%matplotlib inline\n!ls \\\n  -l\nx = !ls\nif y:\n    %time f()\nz?\nprint('hi')  # so\n",
     "%matplotlib inline\n!ls \\\n  -l\nx = !ls\nif y:\n    %time f()\nz?\nprint('HI')  # SO\n"),
    ("%%time\nprint('hi')\n", "%%time\nprint('HI')\n"),
    ("%%bash\n# hello\n", "%%bash\n# hello\n"),
    ("x = (  # hello\n", "x = (  # hello\n"),
    ("print(b'hi', 'a.csv', 'http://a.b/c', '----')\n",
     "print(b'hi', 'a.csv', 'http://a.b/c', '----')\n"),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(CELLS)))
def test_what_people_read_in_code_is_translated_and_nothing_else(index):
    source, expected = CELLS[index]
    assert loud(source) == expected
    assert loud(source.replace("\n", "\r\n")) == expected.replace("\n", "\r\n")
    assert loud(source, comments=False, strings=False) == source


def test_comments_and_strings_are_each_on_request():
    source = "print('one')  # two\n"
    assert loud(source, strings=False) == "print('one')  # TWO\n"
    assert loud(source, comments=False) == "print('ONE')  # two\n"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("print('the day')", 'l\'été "chaud"'),
        ('print("the day")', 'l\'été "chaud"'),
        ("print('''the day''')", "l'été '''chaud'''"),
        ('print("""the day""")', 'dit "oui"'),
        ("print(f'the day')", "l'été"),
        ("print(r'the day')", "l'été"),
    ],
)
def test_quotes_in_a_translation_keep_the_literal_valid(source, text):
    found = code_segments(source, comments=True, strings=True)
    translated, refused = assemble_code(source, found, [text])
    value = ast.unparse(ast.parse(translated)).removeprefix("print(").removesuffix(")")
    assert refused == []
    expected = text.replace("'", "’") if source.startswith("print(r") else text  # noqa: RUF001
    assert ast.literal_eval(value.removeprefix("f")) == expected


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("print(f'hello {x}')", "hallo {y} {x}"),
        ("print(f'hello {x}')", "hallo"),
        ("print(f'hello {x}')", "hallo {x} {"),
        ("print('hello all')", "hallo \\"),
    ],
)
def test_a_translation_that_changes_the_code_is_refused_alone(source, text):
    cell = f"print('one day')\n{source}\n"
    found = code_segments(cell, comments=True, strings=True)
    translated, refused = assemble_code(cell, found, ["ein Tag", text])
    assert (translated, refused) == (f"print('ein Tag')\n{source}\n", [1])


def test_a_notebook_keeps_a_string_whose_translation_would_change_the_code(tmp_path):
    path = tmp_path / "lesson.ipynb"
    cell = nbformat.v4.new_code_cell("print(f'hello {x}')\nprint('one day')")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    document = NotebookDocument(path, Reading(strings=True))
    (piece,) = document.pieces
    found = piece.checked([Translated("hallo {y} {x}"), Translated("ein Tag")])
    assert [each.origin for each in found] == ["failed", "model"]
    (translated,) = document.translated([found]).cells
    assert translated.source == "print(f'hello {x}')\nprint('ein Tag')"
    assert translated.metadata["tags"] == [TAG]
