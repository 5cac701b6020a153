"""An HTML page of an answer, in a frame without scripts and without network access.

Elements and attributes pass an allow-list (nh3). Style sheets are kept separately and unchecked:
the frame's content security policy prevents them from loading anything.
"""

from __future__ import annotations

import html
import math
import re

from mixmagic.core import lazy

_TAGS = frozenset(
    """
    a abbr address article aside b bdi bdo blockquote br button caption cite code col colgroup data
    dd del details dfn div dl dt em fieldset figcaption figure footer h1 h2 h3 h4 h5 h6 header hr i
    img input ins kbd label legend li main mark meter nav ol optgroup option p pre progress q rp rt
    ruby s samp section select small span strong sub summary sup table tbody td textarea tfoot th
    thead time tr u ul var wbr
    svg g path rect circle ellipse line polyline polygon text tspan defs linearGradient
    radialGradient stop clipPath marker
    """.split()  # noqa: SIM905  # a list literal would take 100 lines
)
_ATTRIBUTES = frozenset(
    """
    align alt aria-hidden aria-label checked class colspan cols datetime dir disabled for height
    high href id label lang low max min open optimum placeholder role rows rowspan scope span src
    start style title type value width
    viewBox d x y x1 y1 x2 y2 cx cy r rx ry dx dy points transform fill fill-opacity fill-rule
    stroke stroke-width stroke-linecap stroke-linejoin stroke-dasharray stroke-opacity opacity
    offset stop-color stop-opacity gradientUnits gradientTransform preserveAspectRatio text-anchor
    dominant-baseline font-family font-size font-weight clip-path marker-start marker-mid marker-end
    markerWidth markerHeight refX refY orient
    """.split()  # noqa: SIM905
)
_INPUTS = frozenset(("checkbox", "radio", "range", "text", "number", "color", "date", "button"))
# No scripts, forms or requests; only pictures and fonts in the page itself.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
_TAG = re.compile(r"<[A-Za-z][^<>]*>")
_STYLE = re.compile(r"<style\b[^<>]*>", re.IGNORECASE)
_STYLE_END = re.compile(r"</style", re.IGNORECASE)
_COLORS = re.compile(r"(?:color|color-scheme|background|fill)\s*[:=]", re.IGNORECASE)
_PICTURE = re.compile(r"<(?:svg|img)\b")
# No theme reaches into a frame of another origin, so that black on white is turned around.
_DARK = (
    "<style>:is([data-jp-theme-light=false], .vscode-dark) .mixmagic-page "
    "{ filter: invert(1) hue-rotate(180deg); background: transparent !important }</style>"
)
_ROWS = re.compile(
    r"</(?:p|div|li|tr|h[1-6]|dt|dd|pre|section|header|footer|article|summary|legend|option)>|<br|<hr"
)
# Elements with margins, in lines: browsers' own style sheets.
_MARGINS = {"h1": 3.0, "h2": 2.5, "h3": 2.0, **dict.fromkeys(("p", "ul", "ol", "pre", "dl"), 1.0)}
_MARGIN = re.compile(rf"</({'|'.join(_MARGINS)})>")
_HEIGHT = re.compile(r"<(?:svg|img)\b[^>]*\bheight=\"(\d{1,4})")
# Nesting of elements: several hundred levels crash the front end's layout.
_DEEPEST = 100
_NESTED = re.compile(r"<(/?)(?!(?:br|col|hr|img|input|wbr)\b)[A-Za-z][^<>]*>")
# Initial lines of a frame, at least and at most, and characters of a line.
_LEAST, _MOST, _WIDTH = 4, 32, 90


def is_page(text: str) -> bool:
    """Return True if a text has HTML in it."""
    return bool(_TAG.search(text))


def frame(source: str, title: str) -> str:
    """Return HTML of a frame that shows a page.

    Args:
        source: The page as the model wrote it.
        title: Its title, for screen readers.
    """
    source = source.encode(errors="replace").decode()  # nh3 takes no halves of surrogate pairs
    body, styles = _clean(source), _styles(source)
    if _depth(body) > _DEEPEST:
        body, styles = f"<pre>{html.escape(source)}</pre>", ""
    # A page with colors or pictures is shown as it is, on white; others follow a dark theme.
    own_colors = _COLORS.search(styles + body) or _PICTURE.search(body)
    page = (
        f'<!DOCTYPE html><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta http-equiv="x-dns-prefetch-control" content="off">'
        "<style>:root { color-scheme: light; font-family: sans-serif }</style>"
        f"<style>{styles}</style><body>{body}"
    )
    start = "<iframe" if own_colors else f'{_DARK}<iframe class="mixmagic-page"'
    return (
        f'{start} sandbox srcdoc="{html.escape(page)}" title="{html.escape(title)}"'
        f' style="width: 100%; height: {_lines(body) * 1.5:g}em;'
        " max-height: 80vh; resize: vertical; border: 1px solid rgba(128, 128, 128, 0.4);"
        ' color-scheme: light; background: white"></iframe>'
    )


def _clean(source: str) -> str:
    """Return the elements of a page that are visible and make no requests."""
    cleaned: str = lazy.load("nh3").clean(
        source,
        tags=_TAGS,
        attributes={"*": _ATTRIBUTES},
        attribute_filter=_attribute,
        clean_content_tags={"script", "style", "title", "noscript", "template"},
        url_schemes={"data"},
        link_rel=None,
    )
    return cleaned


def _depth(body: str) -> int:
    """Return the nesting depth of a clean page."""
    depth = deepest = 0
    for tag in _NESTED.finditer(body):
        depth += -1 if tag[1] else 1
        deepest = max(deepest, depth)
    return deepest


def _attribute(tag: str, name: str, value: str) -> str | None:
    """Return an attribute's value; `None` if it refers to something outside of the page."""
    if name == "href":
        return value if value.startswith("#") else None
    if name == "src":
        return value if value.startswith("data:image/") else None
    if name == "type" and tag in ("input", "button"):
        return value if value.lower() in _INPUTS else None
    return value


def _styles(source: str) -> str:
    """Return the style sheets of a page, without characters that could end them."""
    sheets = [_STYLE_END.split(part, 1)[0] for part in _STYLE.split(source)[1:]]
    css = "\n".join(sheets).replace("<!--", "").replace("-->", "")
    return css.replace("<", r"\3c ")


def _lines(body: str) -> int:
    """Estimate the lines of a page, within limits."""
    characters = len(html.unescape(_TAG.sub("", body)).split()) * 6
    drawn = sum(int(height) for height in _HEIGHT.findall(body)) // 20
    rows = max(len(_ROWS.findall(body)), characters // _WIDTH) + drawn
    margins = sum(_MARGINS[name] for name in _MARGIN.findall(body))
    return min(max(rows + math.ceil(margins) + 2, _LEAST), _MOST)
