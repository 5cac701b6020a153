"""Texts of any length that slow down a reader with a weakness."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# Repeated until they are long enough.
UNITS = (
    "a", "a ", " ", "\t", "\n", "\r", "\x00", "\xe9", "\U0001f600", "\u2028", "1", "1,", "1;",
    "-", "--", "_", "=", "- ", "+ ", "* ", "> ", ">", "- > ", "1. ", "123456789) ", "- - - -\n",
    "> > >\n", "> - > - a\n", "- a\n", "-\n\n", "- a\n+ a\n* a\n", "> a\na\n", "a\n",
    "\na\n===\n", "# a\n", "***\n", "    a\n", "\ta\n", "`", "```", "```\n", "```a\n",
    "```a`b\n", "~~~\n", "~~~ ~\n", "~~~\n```\n", "- ```\n", "> ```\n", "```\nx\n```\n",
    "```py\nx\n```\n", "```json\n{}\n```\n", "```csv\na,b\n1,2\n```\n", "```\na,b\n1,2\n```\n",
    "```latex\n\\[x\\]\n```\n", "```html\n<b>\n```\n", "```sh\npip install x\n```\n", "` `` ",
    "a`b``c", "[", "]", "[x]: ", "[x]: /a\n", "[x]: <\n", "[x]: a \"\n", "[x](", "![", "[[",
    "[a", "[ ", "[a ", "[a\n", "[a b", "{", "}", "{}", "{\"a\":", "[[],", "{a ", "{ ", "{{",
    "[1, ", "[true", "[null, ", "[\"", "\"", "\"\\", "\\\"", "\\", "'", "//", "/*", "*/", "/* ",
    "// a\n", "[//\n", "{\"a\": 1}\n", "{\"a\": 1} ", "{\"a\": 1}, ", "- {\"a\": 1}\n", "(", ")",
    "[a)", "[1, 2)", "[0, 1)\n", "[a] ", "{x, y} ", "1.", "1e", "1e5,", "-1", "NaN", "[NaN,",
    "\ufeff", "$", "$$", "$a", "$a ", "$ a", "$a$", "$$a", "$a\n", "\\$", "\\[", "\\]", "\\(",
    "\\)", "\\[a\\]", "\\(a", "\\[\\(", "\\begin{align}", "\\begin{equation}", "\\end{align}",
    "\\begin{align}\\begin{gather*}", "\\begin{", "\\begin", "\\begin{align}a\\end{align}",
    "\\begin{align*}\\end{align}", "\\[$", "$$\\[", "\\\\[", "|", "||", "|a", "|a|\n", "|-",
    "|-|\n", "|a|b|\n|-|-|\n", "|a|b|\n", "| - ", "|:-:", "a|b\n-|-\n", "|\n|-|\n",
    "|a|\n|-|\n\n", "> |a|b|\n> |-|-|\n", "- |", "-|", "+-", "+-+\n", "\\|", "|\\", "| \\| ",
    "|a.1|a", "a,", "a,b\n", "a, b\n", "\"a\",", "\"a\"\n", "\"\",", "a;b\n", "a\tb\n", ",",
    ",\n", "<", "<a ", "<div>\n", "<!--", "</", "<?", "<![CDATA[", "&amp;", "&#", "://", "://a",
    "://a@", "@", "a:b@", "http://a:", "www.", "*a ", "**a", "_a", "~~a ", "a_", "*a_", "!",
    "!!", "pip install ", "pip -a ", "sudo ", "python -m ", "$ pip -q ", ">>> a\n", "... ", "%%",
    "%%bash\n", "cd a\n", "py a.py ", "python1.1.", "data: ", "data:\n", ": a\n",
    "sk-canary-key-4711", "sk-canary", "sk-", "s", "sk", "1.1 ", "w",
)  # fmt: skip

# What is repeated, behind what, and before what.
_BETWEEN = (
    ("", "- ", "```\nx\n```"), ("", "> ", "```\nx\n```"), ("", "1. ", "```\nx\n```"),
    ("", "> - ", "~~~\nx"), ("- a\n", "  - ", "```py\nx"), ("", "-\t", "```\nx\n```"),
    ("|a|\n", "-", "x"), ("|a|\n|-", " ", "x"), ("|a|\n|- ", " ", "|x"), ("|a|\n|", "- | ", "x"),
    ("|a|\n", " ", "|x"), ("|a|\n|", ":", "x"), ("|a|\n|-|\n", "|", ""), ("|a|\n> |-", " ", "x"),
    ("a|b\n", "-|", "x"), ("a|b\n", ":-: | ", "x"),
    ("|", "a|", "\n|-|\n|\n|\n|\n"),
    ("{\"a\": \"", "\\", ""), ("{\"a\": \"", "a", ""), ("[", "\"a\", ", ""), ("[", "1", "]"),
    ("[1.", "1", "]"), ("[1e", "1", "]"), ("[", "1 ", ""), ("[\"", "\\u", ""),
    ("[\"", "\\ud800", "\"]"), ("{", "\"a\":1,", "}"), ("x ", "[a ", "{}"), ("x {", "a ", "}"),
    ("x [", " ", "a"), ("x [", "a", " "), ("x [a", " ", "1"), ("```json\n", "/* ", ""),
    ("```json\n[", "// \"\n", ""), ("```json\n", "\"", ""), ("\\[", "a", ""),
    ("\\[", "\\(", "\\]"), ("\\begin{align}", "\\begin{align}", "\\end{align}"),
    ("\\begin{align}", "\\end{gather}", ""), ("$", "a", ""), ("$$", "$a", ""),
    ("\\(", "\n\n", "\\)"), ("```sh\npip ", "-a ", "x\n```\n```py\nx\n```"),
    ("```sh\nsudo", " ", "x\n```\n```py\nx\n```"),
    ("```sh\npython ", "a", "\n```\n```py\nx\n```"),
    ("```sh\npython", "1", "\n```\n```py\nx\n```"), ("```csv\na,b\n", "\"", "\n```"),
    ("```csv\na,b\n\"", "a,\n", "\n```"), ("```csv\n", "a,", "\n1\n```"),
    ("```csv\na,b\n", "1,2,\n", "```"), ("```csv\na,b\n1", ",", "\n```"),
    ("```csv\n", ",;\t|", "\n1\n```"), ("```pycon\n>>> a\n", "... a\n", "```"),
    ("```pycon\n>>> ", " ", "x\n```"),
)  # fmt: skip


def _repeated(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: before + unit * (size // len(unit)) + after


def _runs(sign: str, separator: str, *, shrinking: bool = False) -> Callable[[int], str]:
    """Runs of a sign, each longer than the one before, or shorter."""

    def make(size: int) -> str:
        lengths = range(1, int((2 * size) ** 0.5))
        return separator.join(sign * n for n in (reversed(lengths) if shrinking else lengths))

    return make


TEXTS: Mapping[str, Callable[[int], str]] = {
    **{repr(unit): _repeated(unit) for unit in UNITS},
    **{repr(each): _repeated(each[1], each[0], each[2]) for each in _BETWEEN},
    **{
        f"{unit!r} and a fence": _repeated(unit, "", "\n```\nx\n```")
        for unit in ("- ", "> ", "- > ", "[x]: /a\n", "a\n", "- a\n+ a\n", "> a\na\n", "    - a\n")
    },
    **{
        f"a fence and {unit!r}": _repeated(unit, "```\n")
        for unit in ("a\n", "> ```\n", "``\n", "  ```a\n", "~~~\n")
    },
    **{
        f"{before!r} and {unit!r}": _repeated(unit, f"{before}a\n", "\n```")
        for before in ("> " * 19, "- " * 9, "> - " * 6)
        for unit in ("a\n", "\n", "> " * 19 + "a\nb\n", " " * 18 + "a\n")
    },
    **{f"growing {sign}": _runs(sign, " ") for sign in "`$*_~\\(|["},
    **{f"shrinking {sign}": _runs(sign, " ", shrinking=True) for sign in "`$[{\\"},
    **{
        f"growing lines of {sign!r}": _runs(sign, "\n")
        for sign in ("`", "~", " ", "\t", "-", ">", "> ", "- ", "|", "|-", "#", "=")
    },
    **{
        f"shrinking lines of {sign!r}": _runs(sign, "\n", shrinking=True)
        for sign in ("`", "~", " ", "> ", "- ")
    },
}
