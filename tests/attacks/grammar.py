"""Texts that nobody would write: Markdown, HTML, mathematics and addresses, cut up and mixed.

The same seed makes the same texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

from attacks import ATTACKS

_LONGEST = 3000
_IMG = "<img src=x onerror=acted()>"
_TAGS = [
    _IMG, "<script>acted()</script>", "<svg onload=acted()>", "<b onclick=acted()>", "<style>",
    "<iframe src=javascript:acted()></iframe>", "<a href=javascript:acted()>x</a>", "<!--", "-->",
    "<details open ontoggle=acted()>", "<input autofocus onfocus=acted()>", "<form><button>",
    "<meta http-equiv=refresh content=0;url=//evil.test>", "<base href=//evil.test/>", "<?x ?>",
    "<link rel=preconnect href=//evil.test>", '<span style="position:fixed">', "<!DOCTYPE x>",
    '<math><mi xlink:href="javascript:acted()">', "<h1 id=jupyterapp>", "<![CDATA[x]]>", "<div\n",
    "<a\nhref=javascript:acted()>", "<javascript:acted()>", "<a@evil.test>", "<http://e.test/>",
    '<cite data-cite="x&#10;&#96;&#96;&#96;&#10;\\input{a}">', "</cite>", "data-cite=x", "<code>",
    "</code>", "<span>", "</span>", "<span>&#36;</span>", "<span>&#92;</span>", "<pre>", "</pre>",
    "<code>&#60;b&#62;</code>", "&lt;img src=x onerror=acted()&gt;", '"onmouseover="acted()',
]  # fmt: skip
_LINKS = [
    "[x](javascript:acted())", "![x](http://evil.test/?s)", "[r]: javascript:acted()", "[r]",
    "![r]", "http://e.test/$\" onmouseover=\"acted()$", "https://e.test/`a`$$\" onx=\"acted()$$",
    "www.", 'www.e.test/$"onx="1$', "javascript:acted()", "data:text/html,acted", "http://",
    "https://e.test/", "http://e.test/a_b", "www.e.test", "a@b.test", "mailto:a@b.test",
    "ftp://x.test", "//e.test", "http://e.test:80/x?y=1&z=2#f", "http://u:p@e.test/",
    "http://[::1]/", "https://é.test/", "http://1.2.3.999/../x", "http://e.test:99999/../x",
    "http://%5D/", "\n[r]: http://e.test/ 't'\n", '[a](http://e.test "t")',
    "[a](<http://e.test/ x>)", "[a](http://e.test/(b))", "](", "[a](", "[", "]", "]:", "(", ")",
    "![", "!!", "[^1]", "[^1]: x", "^[x]", "[x]{.c}", "[[x]]", "<", ">",
]  # fmt: skip
_TEX = [
    r"\def\le{\ge}", r"\href{javascript:acted()}{x}", r"\renewcommand{\frac}[2]{X}",
    r"\let\sum\prod", r"\require{html}", r"\class{x}{y}", r"\cssId{x}{y}",
    r"\style{position:fixed}{x}", r"\ref{x}", r"\rule{4000em}{4000em}", r"\input{/etc/passwd}",
    r"\frac{a}{b}", r"\alpha", r"\begin{align}", r"\end{align}", r"\begin{matrix}", r"\end{matrix}",
    r"\begin{a}", r"\end{a}", r"\text{a $b$ c}", r"\mbox{$\def\a{b}$}", r"\unicode{x41}",
    r"\color{red}", r"\left(", r"\right)", "x_1^2", r"\sqrt{x}", r"\label{x}", r"\tag{1}",
    r"\\[2pt]", r"\\[2000em]", r"\hspace{999em}", "^^5cinput", r"\begin{alignat}{9999999}",
    r"\end{alignat}", r"\begin{array}{c@{x}c}", r"\end{array}", r"\verb|x|", "$", "$$", r"\(",
    r"\)", r"\[", r"\]", r"\\(", r"\\)", r"\\[", r"\\]", "\\", r"\\", r"\{", r"\}", r"\$", "{", "}",
    "{{", "}}", "&", "$x$", "$$y$$", "$5", r"\eqref{a}", r"\BEGIN{align}",
    "\\begin{align}x\\end{align}", "\n$$\nx\n$$\n", "\n\\begin{align}\na\n\\end{align}\n", "$\\$$",
]  # fmt: skip
_MARKS = [
    "`", "``", "```", "````", "~~~", "~~~~", "*", "**", "***", "_", "__", "~", "~~", "#", "# ",
    "## ", "- ", "+ ", "* ", "1. ", "2) ", "> ", ">> ", "|", "|---|", "\n|---|---|\n", "---", "===",
    "- [ ] ", "- [x] ", "[ ]", "`a`", "`<b>`", "`$`", "`$x$`", "```x```", "\n```python\n",
    "\n```mermaid\n", "\n```\n", "\n~~~\n", "\n    code\n", "\n> ", "\n- ", "\n1. ", "\n# ",
    "\n- - ", "\n  - ", "\n    - ", "\n>     ", "\n***\n", "\nx\n===\n", "\nx\n---\n", "{=latex}",
    "{=html}", "{.c onclick=x}", ":::", "^", "%", "..", ".. ", ".. include:: /etc/passwd",
    "include::/etc/passwd[]", "@", "@@", "@@0@@", "@@1@@", "@@0", "0@@", "mermaid", "python",
    "latex", ":", ";", '"', "'", "=", "!",
]  # fmt: skip
_CHARACTERS = [
    "&amp;", "&lt;", "&#36;", "&#92;", "&#60;", "&colon;", "&Tab;", "&NewLine;", "&#10;&#10;",
    "&#13;", "&#0;", "&#x1b;", "&nbsp;", "&#64;", "\t", "  ", "    ", " ", "\n", "\n\n", "\n\n\n",
    "  \n", "\\\n", "\r", "\r\n", "\x00", "\x0b", "\x0c", "\x1b[31m", "\x85", "\xa0", "\u2028",
    "\u2029", "\u200b", "\ufeff", "\u202e", "\u3000", "\xad", "\u0130", "\u212a", "\U0001f600",
    "\u0301", "\ud800", "a", "b", "x y", "word", "1", "0", "\n   ", "\n  ", "\n ",
]  # fmt: skip
_PIECES = (_TAGS, _LINKS, _TEX, _MARKS, _CHARACTERS)
_LINES = [
    "", "", "```", "~~~", "   ```", "  ```py", "    ```", "- ```", "1. ```x", "> ```", f"> {_IMG}",
    _IMG, f"   {_IMG}", f"    {_IMG}", "- a", "  - b <script>", "    - c", "$$", "a $$ b", "$x",
    "y$ <b>", r"\begin{align}", rf"\end{{align}} {_IMG}", rf"\\[ {_IMG}", r"\\]",
    '[a]: http://x.test "', f'" {_IMG}', '[a](http://x.test/ "', "[b", "]: http://y.test",
    "| a | b |", "|---|---|", "|:-:|--:|", f"| `c | {_IMG} |", "| $a | b$ |", '# $"onmouseover="z$',
    'http://x.test/$"onmouseover="z$', "![a](http://x.test)", "[c](javascript:z)", "<!--", "-->",
    "<div", "onclick=z>", "---", "===", "```~~~", "````", "``` `a` ```", " x ``` y", "\t```",
    f"\t{_IMG}", "\\", "> $$", "> x", ">", "> - a", ">   ```", "- > a", "  > b", "1. a", "   b",
    "2. c", "7) d", "* * *", "- - -", "+", "-", "text", "text  ", "text\\", "# h", "## h #",
    "- [ ] t", "  $$", "  x", r"- \begin{align}", "  a", r"  \end{align}", ".. include:: /x",
    ".. raw:: html", "% title", "{#id .c}", "::: {.x}", "a:  b", ": def", "*[HTML]: x", "[TOC]",
    "--", "...", "@@1", "include::/x[]", "title: x", "  \\\\(x\\\\)",
]  # fmt: skip
# Where something else stands in the place of the dot.
_CONTEXTS = [
    "·", "> ·", "- ·", "1. ·", "- a\n  ·", "- a\n\n  ·", "> - ·", "- > ·", "# ·", "*·*", "**·**",
    "~~·~~", "| · | b |\n|---|---|\n| c | · |", "[·](http://e.test/)", "![·](http://e.test/)",
    "`·`", "``·``", "```\n·\n```", "```python\n·\n```", "> ```\n> ·\n> ```", "- ```\n  ·\n  ```",
    "~~~\n·\n~~~", "1. a\n\n   ```py\n   ·\n   ```", "$$\n·\n$$", "$·$", "$$·$$", r"\(·\)",
    r"\[·\]", r"\\[·\\]", r"\begin{align}·\end{align}", r"$\text{·}$", "    ·", "a `b · c` d",
    "[a](http://e.test/·)", "<·>", "<http://e.test/·>", "http://e.test/·", "www.e.test/·",
    "[r]: http://e.test/·\n\n[r]", "<b title='·'>", '[a](http://e.test "·")', "<!-- · -->",
    "<code>·</code>", "<span>·</span>", "[^1]\n\n[^1]: ·", "- [ ] ·", "·\n===", "·\n---", "> a\n·",
    "x\n·", "·\n\n·", "$a$ · $b$", "`a` · `b`", r"\·", "·\\", "&·;", "·  \n·", "@@·@@", "(·)",
    "·:\n- ·", "a\n\n---\n·\n---\n\nb", ".. ·", "·::·[·]",
]  # fmt: skip


def texts(seed: int, count: int) -> Iterator[str]:
    """Yield that many texts."""
    return islice(_Grammar(Random(seed)), count)


class _Grammar:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._pool = [*ATTACKS.values(), *_LINES, *_TEX]

    def __iter__(self) -> Iterator[str]:
        kinds = (self._soup, self._lines, self._nested, self._mutated, self._mutated)
        while True:
            yield self._random.choice(kinds)()[:_LONGEST]

    def _piece(self) -> str:
        return self._random.choice(self._random.choice(_PIECES))

    def _soup(self) -> str:
        longest = self._random.choice([3, 8, 25, 60])
        return "".join(self._piece() for _ in range(self._random.randint(1, longest)))

    def _lines(self) -> str:
        count = self._random.randint(1, 14)
        lines = (
            self._random.choice(_LINES) if self._random.random() < 0.8 else self._soup()[:60]
            for _ in range(count)
        )
        return "\n".join(lines)

    def _nested(self, depth: int = 0) -> str:
        first, *rest = self._random.choice(_CONTEXTS).split("·")
        for part in rest:
            deeper = depth < 4 and self._random.random() < 0.55
            inside = self._nested(depth + 1) if deeper else self._soup()[:200]
            first += inside + part
        if depth or self._random.random() > 0.3:
            return first
        if self._random.random() < 0.5:
            between = self._random.choice(["\n", "\n\n", " ", ""])
            return first + between + self._nested(1)
        marks = ["> ", "- ", "  ", "    ", "1. ", ""]
        return "\n".join(self._random.choice(marks) + line for line in first.split("\n"))

    def _mutated(self) -> str:
        text = self._random.choice(self._pool)
        for _ in range(self._random.randint(1, 5)):
            start = self._random.randint(0, len(text))
            end = min(len(text), start + self._random.randint(0, 6))
            other = self._random.choice(self._pool)
            cut = self._random.randint(0, len(other))
            text = self._random.choice(
                [
                    text[:start] + self._piece() + text[start:],
                    text[:start] + text[end:],
                    text[:start] + other[cut:],
                    text[:end] + text[start:end] + text[end:],
                    text[:start]
                    + self._random.choice(" \n\t`$\\<>[]()*_|!~\"&@#{}^-+:.%'=")
                    + text[end:],
                    text[:start] + other[cut : cut + self._random.randint(1, 30)] + text[start:],
                ]
            )
        return text
