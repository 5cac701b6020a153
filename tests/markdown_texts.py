"""Random Markdown documents: every construct, nested and side by side, by a seed."""

from __future__ import annotations

import random

_WORDS = [
    "the", "model", "learns", "a", "function", "from", "data", "and", "returns", "one", "value",
    "for",
    "each", "row", "été", "Straße", "12.5",
]  # fmt: skip
_INLINE = [
    "`x = 1`", "``a`b``", "$x^2$", "**bold words**", "*so*", "__two__", "_under_", "~~gone~~",
    "[the link](http://a.b/c_d)", '[two](<a b> "the title")', "![the picture](a.png)", "[ref][id]",
    "[guide]", "[guide][]", "<b>html</b>", "<br/>", "&amp;", "{name}", "%s", "%(n)d", "{{ x }}",
    "\\*", "\\_a", "snake_case", "[^1]", "[@knuth]", ":smile:", "http://x.y/z", "<me@a.org>",
    "data/x.csv", "$HOME/x", "{ref}`sec`", ":py:func:`f`", "\\(a\\)", "<!-- c -->", "[[3]]", "`",
    "*", "[", "]", "<", "$5", "_", "\\", "|", "⟦1⟧", "(", "{#id}", "a<b", "\\cite{x}", "``", "!",
    "#",
    "[![badge](a.svg)](b)", "a  \nb", "a\\\nb", "\u00a0", "https://a.b/(c)", "…", "\x0b", "\u2028",
]  # fmt: skip
_BLOCKS = [
    "---", "***", "===", "```", "~~~", "    code here", "\tcode", "$$\na + b\n\n- c\n$$", "$$x$$",
    "\\begin{align}\na\n\\end{align}", "```py\ncode = 1\n\nmore\n```", "~~~\ncode\n~~~",
    "```{note} A title\n:class: x\n\nsome text\n```", ":::{tip}\nsome text\n:::", ":::",
    ":::{math}\nx\n:::",
    '!!! note "Title"\n    some text\n\n    more', "[^1]: the note\n    more\n",
    "[id]: http://a.b 'Title'", "[guide]: <x y>", "<div>\n<p>some text</p>\n</div>", "<div>",
    "</div>",
    "<details><summary>sum</summary>", "<!-- comment\n\nmore -->", "<pre>\ncode\n\nmore\n</pre>",
    "| a one | b two |\n|---|:-:|\n| `x\\|y` | text \\| more |\n| one", "(target)=", "% comment",
    "+++",
    "term\n: the definition", "> [!NOTE]\n> text", "- [ ] a task\n- [x] done", "\\[\nx\n\\]", "",
    "<script>\nx\n</script>", "Title\n=====", "Two\nlines\n---", "1) one\n2) two", "{: .x}",
    "[TOC]",
]  # fmt: skip


def document(seed):
    """Return a document."""
    choose = random.Random(seed)
    text = "\n".join(_blocks(choose, 0))
    if choose.random() < 0.1:
        text = f"---\ntitle: {' '.join(choose.sample(_WORDS, 3))}\ntags: [a, b]\n---\n{text}"
    if choose.random() < 0.2:  # damaged
        at = choose.randrange(len(text) + 1)
        text = (
            text[:at] + choose.choice(["`", "\n", "*", "\t", "  ", ">", "<", "$", "\r"]) + text[at:]
        )
    if choose.random() < 0.3:
        text = text.replace("\n", choose.choice(["\r\n", "\r"]))
    text += choose.choice(["", "\n", "\n\n", "\r\n", " "])
    return "\ufeff" + text if choose.random() < 0.1 else text


def _blocks(choose, depth):
    """Yield lines."""
    for _ in range(choose.randint(1, 4 if depth else 7)):
        kind = choose.random()
        if kind < 0.35:
            yield from _paragraph(choose).split("\n")
        elif kind < 0.5:
            hashes, closing = "#" * choose.randint(1, 7), choose.choice(["", " #", " ##  "])
            yield from f"{hashes} {_paragraph(choose)}{closing}".split("\n")
        elif kind < 0.75 or depth > 3:
            yield from choose.choice(_BLOCKS).split("\n")
        else:
            first, rest = choose.choice(
                [("> ", "> "), ("- ", "  "), ("1. ", "   "), ("* ", "\t"), (">", ">"), ("> ", ""),
                 ("10) ", "    "), ("+   ", "    ")]
            )  # fmt: skip
            for index, line in enumerate(_blocks(choose, depth + 1)):
                yield (first if index == 0 else rest) + line
        if choose.random() < 0.6:
            yield choose.choice(["", "", " ", "\t"])


def _paragraph(choose):
    """Return words and inline constructs, on some lines."""
    parts = []
    for _ in range(choose.randint(1, 14)):
        part = choose.choice(_INLINE) if choose.random() < 0.35 else choose.choice(_WORDS)
        parts.append(part + choose.choice([" ", " ", " ", "\n", "", ", ", ".", "  "]))
    return "".join(parts).strip("\n")
