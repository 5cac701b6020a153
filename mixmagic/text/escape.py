r"""Escape characters so that they have no effect in any front end.

Signs become numeric entities: every Markdown parser decodes these in text, while backslashes
escape different signs in each. Two cases need more. MathJax looks for formulas in the finished
page, but within one element at a time: a dollar or a backslash is put alone into a `<span>`. And
the address of a link, in which nothing is decoded, is percent-encoded.
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
# pandoc copies other forms of it into reStructuredText, where they make roles and links.
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
# nbconvert reacts to these anywhere, even in code: it turns the first into TeX, and fails at the
# second.
NBCONVERT = re.compile(r"data-cite|<!\[", re.IGNORECASE)
# White space that some parser strips or folds, and invisible characters.
ODD_BLANK = r"[^\S \n]|[\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
# Escaped anywhere; of several characters, only the last one is.
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
# Lists, headings, titles and definitions, also pandoc's.
_AT_START = (r"^[-.(](?!\w)|^[+:%=]|^(?:\d{1,9}|[a-z]|[ivxlcdm]{1,4})[.)](?= |$)",)
_IN_HEADING = (r"#",)
_SIGNS = {
    (starts_line, heading): re.compile(
        "|".join(_AT_START * starts_line + _ANYWHERE + _IN_HEADING * heading), re.IGNORECASE
    )
    for starts_line in (False, True)
    for heading in (False, True)
}
# A backslash before this begins neither a formula nor a reference to one.
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
    r"""Return a text without control sequences.

    Example:
        >>> plain("\x1b[31mred\x07")
        'red'
    """
    return _CONTROL.sub("", text)


def preformatted(text: str) -> str:
    """Return a text as HTML that keeps its spaces and lines, fully escaped."""
    # JupyterLab would break words.
    style = "white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere"
    return f'<pre style="{style}">{html.escape(plain(text))}</pre>'


def as_text(text: str, *, starts_line: bool = True, heading: bool = False) -> str:
    """Return a text escaped for Markdown and for HTML.

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
    """Return a text escaped for the inside of a `<code>` element.

    Example:
        >>> as_code("f(x)")
        'f&#40;x&#41;'
    """
    text = _DIRECTIVE.sub("\xa0", text)
    return _NOT_PLAIN.sub(lambda match: f"&#{ord(match[0])};", text).replace("&#96;", TICK)


def address(url: str) -> str | None:
    """Return the address of a link, encoded for all parsers; `None` if it is not allowed.

    Allowed are web pages, mail addresses and headings of the same page.

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
    """Return True if a browser can open it: JupyterLab takes any other host for a local file."""
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
    """Yield start, end and address of texts that some parser would turn into links."""
    for match in _ADDRESS.finditer(text):
        link = _TRAILING.sub("", match[0])
        while link.endswith((")", "]")) and _closes_more(link):
            link = _TRAILING.sub("", link[:-1])
        scheme = "http://" if link[:4].lower() == "www." else "mailto:"
        target = address(link if "://" in link[:8] else scheme + link)
        if target is not None:
            yield match.start(), match.start() + len(link), target


def _closes_more(text: str) -> bool:
    """Return True if a text has more closing than opening brackets."""
    return text.count(")") + text.count("]") > text.count("(") + text.count("[")
