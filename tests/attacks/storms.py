"""Long answers that take a reader's time: what opens and never closes, and blocks without end."""

from __future__ import annotations

from itertools import count

_LENGTH = 100_000
_UNITS = {
    "stars": "*a ", "stars-in-pairs": "**a b** ", "underscores": "_a ", "underscores-joined": "a_b",
    "crossed-marks": "_a**", "tildes": "~~a ", "mixed-marks": "*a _b **c __d ~~e ", "star-run": "*",
    "underscore-run": "_", "tilde-run": "~", "triple-stars": "***a* ",
    "stars-and-links": "*[a](b) ", "brackets": "[", "closing-brackets": "]", "pictures": "![",
    "links": "[a](http://b.test) ", "links-open": "[a](", "links-nested": "[a [b](http://c.test) ",
    "references": "[a][b] ", "definitions": "[a]: http://b.test\n", "definitions-joined": "[a]:",
    "footnotes": "[^1] ", "parentheses": "(", "titles": '[a](http://b.test "',
    "exclamation-marks": "!", "spans": "[a]{.b} ", "backticks": "`", "backticks-apart": "` ",
    "backticks-odd": "`a`` ", "code-spans": "`a` ", "fences": "```\n",
    "fences-of-words": "```a\nb\n```\n", "tildes-on-lines": "~~~\n", "indented": "    a\n\n",
    "code-with-ticks": "```\n`a``b```\n", "long-fences": "`````a\n", "dollars": "$",
    "dollars-apart": "$a ", "formulas": "$a$ ", "displayed": "$$a$$ ", "braces": "${",
    "begins": r"\begin{a}", "ends": r"\end{a}", "parentheses-of-tex": r"\\(",
    "brackets-of-tex": r"\\[ ", "fractions": r"\frac{", "slots": "@@0@@", "slots-open": "@@0",
    "rows": r"\\ ", "large-formulas": f"$${'x_1^2 + ' * 400}y$$\n\n",
    "matrices": f"$$\\begin{{matrix}}{'a & b ' * 200}\\end{{matrix}}$$\n\n", "quotes": "> ",
    "quotes-on-lines": "> a\n", "quotes-growing": "", "lists": "- a\n", "empty-items": "-\n",
    "nested-lists": "- ", "numbers": "1. a\n", "numbers-nested": "1. ", "deep-list": "",
    "headings": "# a\n", "setext": "a\n=\n", "rules": "***\n", "breaks": "a\\\n",
    "breaks-of-blanks": "a  \n", "tasks": "- [ ] a\n",
    "tables": "| a | b |\n|---|---|\n| c | d |\n\n", "table-rows": "| a | b |\n", "bars": "|",
    "cells": "| a ", "paragraphs": "a\n\n", "lines": "a\n", "mixed-containers": "> - 1. ",
    "letters": "a", "words": "word ", "backslashes": "\\", "escapes": "\\*", "ampersands": "&",
    "entities": "&amp;", "numeric-entities": "&#36;", "less-than": "<", "tags": "<b>",
    "tags-open": "<a b=", "comments": "<!-- ", "instructions": "<?a ",
    "addresses": "http://a.test/b ", "hosts": "www.a.", "schemes": "://", "mails": "a@b.test ",
    "at-signs": "a@", "mails-open": "a.", "autolinks": "<http://a", "controls": "\x1b[",
    "nothing-to-see": "\u200b", "wide-blanks": "\u3000", "emoji": "\U0001f600", "accents": "\u0301",
    "our-spans": "<span>&#36;</span>", "our-code": "<code>a</code>", "our-code-open": "<code>",
}  # fmt: skip


def _grown(name: str) -> str:
    """A storm each of whose lines is longer than the one before."""
    lines, length = [], 0
    for depth in count(1):
        lines.append({"quotes-growing": "> " * depth, "deep-list": "  " * depth + "- "}[name] + "a")
        length += len(lines[-1]) + 1
        if length > _LENGTH:
            return "\n".join(lines)
    raise AssertionError


def _repeated(unit: str) -> str:
    return (unit * (_LENGTH // len(unit.encode()) + 1))[:_LENGTH]


# Each of about 100 KB.
STORMS = {name: _repeated(unit) if unit else _grown(name) for name, unit in _UNITS.items()}
# Two kinds on one line, and one kind behind another.
STORMS |= {
    "backticks-of-growing-length": " ".join("`" * (n % 300 + 1) for n in range(660)),
    "backticks-of-growing-length-in-code": "```\n"
    + " ".join("`" * (n % 300 + 1) for n in range(660)),
    "backticks-on-short-lines": "\n".join("`" * (n % 300 + 1) for n in range(660)),
    "code-and-formulas": _repeated("`a` $b$ *c* [d](http://e.test) "),
    "list-of-everything": _repeated("- `a` $b$ *c* [d](http://e.test)\n"),
    "quoted-code-with-dollars": _repeated("> ```\n> $a\n> ```\n>\n"),
    "code-with-dollars-in-lists": _repeated("- ```\n  $a\n  ```\n"),
    "words-and-dollars": _repeated("word $5 and \\ "),
    "headings-with-formulas": _repeated("## $a$ `b`\n\n"),
    "one-long-line-of-code": "```\n" + _repeated("x = [$a, `b`] ") + "\n```",
    "escapes-and-closings": _repeated("\\](\\*`<a>"),
    "tables-of-formulas": "| a |\n|---|\n" + _repeated("| $a$ `b` \\| |\n"),
    "wide-table": f"|{'a|' * 20_000}\n|{'-|' * 20_000}\n|{'b|' * 10_000}\n",
    "many-tables": _repeated("|a|\n|-|\n"),
    # JupyterLab looks for a class in the source of each heading, for its table of contents.
    "classes-in-a-heading": "# `<a" + ' class=" tocSkip "' * 400 + "`",
    "classes-in-headings": ("# `<a" + ' class=" tocSkip "' * 100 + "`\n\n") * 50,
}
