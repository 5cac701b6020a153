r"""Characters written such that they mean nothing to whoever shows them. Imports nothing.

Signs become numeric entities: every reader of Markdown decodes these in text, while backslashes
escape different signs in each. Two readers need more. MathJax looks for formulas in the finished
page, but within one element at a time: a dollar or a backslash stands alone in a `<span>`. And
nothing is decoded in a link's address, which is percent-encoded.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import quote

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
DOLLAR, BACKSLASH = "<span>&#36;</span>", "<span>&#92;</span>"
# pandoc writes others into reStructuredText as they are, where they make roles and links.
TICK = "<span>&#96;</span>"
_WRITTEN = {
    "$": DOLLAR,
    "\\": BACKSLASH,
    "`": TICK,
    "<": "&lt;",
    "&": "&amp;",
    " ": "&#160;",
    "": "&#160;",
}
# What nbconvert reads wherever it stands, in code too: it makes TeX of the one, and of the other no
# page at all.
NBCONVERT = re.compile(r"data-cite|<!\[", re.IGNORECASE)
# White space that some reader strips or folds, and signs that nobody sees.
ODD_BLANK = r"[^\S \n]|[\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
# What is written otherwise: of several characters the last one.
_ANYWHERE = (
    r"[`*\[\]~^{@|<$\\]",
    ODD_BLANK,
    r"(?<![^\W_])_|_(?![^\W_])",
    r"&(?=[A-Za-z#]|$)",
    r"!(?=\[|$)",
    r":(?=//)|www\.",
    r"data-(?=cite)",
    r"^[#>]",
    # A comment or a directive of reStructuredText, which pandoc does not escape.
    r"(?<=^\.\.)(?: |$)|(?<= \.\.)(?: |$)|(?<=^__) ",
)
_DIRECTIVE = re.compile(r"(?:(?<=^\.\.)|(?<= \.\.)|(?<=^__)) ")
# Of lists, headings, titles, and definitions, also of pandoc's.
_AT_START = (r"^[-.(](?!\w)|^[+:%=]|^(?:\d{1,9}|[a-z]|[ivxlcdm]{1,4})[.)](?= |$)",)
_IN_HEADING = (r"#",)
_SIGNS = {
    (starts_line, heading): re.compile(
        "|".join(_AT_START * starts_line + _ANYWHERE + _IN_HEADING * heading), re.IGNORECASE
    )
    for starts_line in (False, True)
    for heading in (False, True)
}
# A backslash that begins no formula, and no reference to one.
_HARMLESS = re.compile(r"(?!begin|end|ref|eqref)[\w .,/:;-]")
_NOT_PLAIN = re.compile(
    r"[^A-Za-z0-9 ,\xa1-\xac\xae-\u167f\u1681-\u180d\u180f-\u1fff\u2010-\u2027\u2030-\u205e"
    r"\u2070-\u2fff\u3001-\ufefe\uff00-\U0010ffff]"
)

_ADDRESS = re.compile(
    r"(?<![\w/@:.-])(?:https?://|www\.)[^\s<>\"`]{1,2000}+(?![^\s<>\"`])"
    r"|(?<![\w/@:.+-])[A-Za-z0-9][\w.+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
    r"(?![\w-])",
    re.IGNORECASE,
)
_TRAILING = re.compile(r"[?!.,:;*_~'\"|\\]+$")
_LABEL = r"(?!xn--)[a-z0-9_][a-z0-9_-]{0,62}"
_LINKABLE = re.compile(
    rf"https?://(?P<host>(?:{_LABEL}\.)*{_LABEL})\.?(?::(?P<port>\d{{1,5}}))?(?:[/?#]|$)"
    r"|mailto:[\w.+%-]+@[\w.-]+(?:\?|$)|#[\w.%-]+$",
    re.IGNORECASE | re.ASCII,
)
_NUMERIC = re.compile(r"\d+$|0x[0-9a-f]*$", re.IGNORECASE | re.ASCII)
_ENTITY = re.compile(r"&(?=#?\w{1,32};)")
_NO_CODE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LONGEST_ADDRESS = 2000


def plain(text: str) -> str:
    r"""Return a text without what a terminal would obey.

    Example:
        >>> plain("\x1b[31mred\x07")
        'red'
    """
    return _CONTROL.sub("", text)


def preformatted(text: str) -> str:
    """Return text as HTML that keeps its blanks and lines, and in which no character acts."""
    return f'<pre style="white-space: pre-wrap">{html.escape(plain(text))}</pre>'


def as_text(text: str, *, starts_line: bool = True, heading: bool = False) -> str:
    """Return a text as Markdown, or as HTML, in which nothing acts.

    Args:
        text: A text on one line.
        starts_line: True if it begins a line.
        heading: True if it stands in a heading, which `#` could end.

    Example:
        >>> as_text("<b> costs $5")
        '&lt;b> costs <span>&#36;</span>5'
    """

    def write(match: re.Match[str]) -> str:
        sign = match[0]
        if sign == "\\" and _HARMLESS.match(text, match.end()):
            return "&#92;"
        return _WRITTEN.get(sign) or f"{sign[:-1]}&#{ord(sign[-1])};"

    return _SIGNS[starts_line, heading].sub(write, text)


def as_code(text: str) -> str:
    """Return a text as the inside of a `<code>` element, in which no reader finds a sign.

    Example:
        >>> as_code("f(x)")
        'f&#40;x&#41;'
    """
    text = _DIRECTIVE.sub("\xa0", text)
    return _NOT_PLAIN.sub(lambda match: f"&#{ord(match[0])};", text).replace("&#96;", TICK)


def address(url: str) -> str | None:
    """Return an address that a link may have, read alike by everybody; `None` for any other.

    It leads to the web, to a person's mail, or to a heading of the same page.

    Example:
        >>> address("https://example.org/a b"), address("javascript:alert()")
        ('https://example.org/a%20b', None)
    """
    match = _LINKABLE.match(url)
    if match is None or len(url) > _LONGEST_ADDRESS or NBCONVERT.search(url):
        return None
    if not _is_host(match["host"], match["port"]):
        return None
    encoded = _NO_CODE.sub("%25", quote(url, safe="-._:/?#@&,;=%+"))
    encoded = _ENTITY.sub("%26", encoded.replace("@@", "%40%40"))  # some decode it twice
    return encoded.replace("&", "&amp;")


def _is_host(host: str | None, port: str | None) -> bool:
    """Return True if a browser can go there: JupyterLab takes any other address for a local one."""
    if host is None:
        return True
    last = host.rpartition(".")[2]
    if len(host) > 253 or (port and int(port) > 65535):
        return False
    if not _NUMERIC.match(last):
        return True
    parts = host.split(".")
    return len(parts) == 4 and all(
        p.isdecimal() and (p == "0" or p[0] != "0") and int(p) < 256 for p in parts
    )


def addresses(text: str) -> Iterator[tuple[int, int, str]]:
    """Find what readers would make links of: where it starts and ends, and its address."""
    for match in _ADDRESS.finditer(text):
        found = _TRAILING.sub("", match[0])
        while found.endswith((")", "]")) and _closes_more(found):
            found = _TRAILING.sub("", found[:-1])
        scheme = "http://" if found[:4].lower() == "www." else "mailto:"
        to = address(found if "://" in found[:8] else scheme + found)
        if to is not None:
            yield match.start(), match.start() + len(found), to


def _closes_more(text: str) -> bool:
    """Return True if more brackets are closed in it than opened."""
    return text.count(")") + text.count("]") > text.count("(") + text.count("[")
