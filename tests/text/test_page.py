"""A page of an answer: what shows something stays, what acts or calls somebody goes."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmagic.text.page import frame, is_page


def inside(source: str) -> tuple[str, str]:
    """The head and the body of what is in the frame."""
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', frame(source, "t"))[1])
    head, _, body = page.partition("<body>")
    return head, body


@pytest.mark.parametrize(
    "page",
    [
        '<h1 style="color: teal">Sales</h1><p class="a" id="b">by <em>region</em></p>',
        '<table><thead><tr><th colspan="2">a</th></tr></thead></table>',
        '<ul><li>a</li></ul><ol start="3"><li>b</li></ol>',
        '<details open=""><summary>c</summary>d</details>',
        '<img src="data:image/png;base64,AAAA" alt="a dot">',
        '<svg viewBox="0 0 10 10" width="10"><path d="M0 0L9 9" stroke="red"></path></svg>',
        '<a href="#part">part</a>',
        '<input type="checkbox" checked=""><button>go</button>',
    ],
)
def test_visible_content_stays(page):
    assert inside(page)[1] == page


ACTIVE = [
    "<script>acted()</script>",
    "<link rel=preconnect href=https://evil.test>",
    "<link rel=dns-prefetch href=//evil.test>",
    "<LINK/rel=stylesheet/href=//evil.test>",
    "<meta http-equiv=refresh content='0;url=//evil.test'>",
    "<base href=//evil.test>",
    "<iframe src=//evil.test></iframe>",
    "<object data=//evil.test>",
    "<embed src=//evil.test>",
    "<img src=//evil.test>",
    "<img srcset='//evil.test 1x'>",
    "<img src=x onerror=acted()>",
    "<a href=//evil.test ping=//evil.test>x</a>",
    "<a href=javascript:acted()>x</a>",
    "<form action=//evil.test><button formaction=//evil.test>x</form>",
    "<input type=image src=//evil.test>",
    "<video src=//evil.test poster=//evil.test></video>",
    "<audio src=//evil.test>",
    "<source src=//evil.test>",
    "<track src=//evil.test>",
    "<svg><use href=//evil.test></svg>",
    "<svg><image href=//evil.test></svg>",
    "<svg><script>acted()</script></svg>",
    "<svg><a xlink:href=//evil.test>x</a></svg>",
    "<svg><foreignObject><iframe src=//evil.test></svg>",
    "<math href=//evil.test>x</math>",
    "<body background=//evil.test onload=acted()>",
    "<table background=//evil.test>",
    "<portal src=//evil.test>",
    "<frameset><frame src=//evil.test></frameset>",
    "<fencedframe></fencedframe>",
    "<noscript><link href=//evil.test></noscript>",
    "<template><link href=//evil.test></template>",
    "<style></style><link href=//evil.test>",
    "<svg><style><link href=//evil.test></style></svg>",
    "<title><link href=//evil.test></title>",
    "<textarea></textarea><link href=//evil.test>",
    "<!--><link href=//evil.test>-->",
    "<input autofocus onfocus=acted()>",
    "<details ontoggle=acted() open>",
    "<applet code=//evil.test>",
    "<isindex action=//evil.test>",
    "<img src='data:text/html,x'>",
]


@pytest.mark.parametrize("attack", ACTIVE)
def test_nothing_acts_or_calls(attack):
    """Styles can name other hosts: the policy in the head lets none of them be fetched."""
    head, body = inside(f"<p>a</p>{attack}<p>b</p>")
    assert "evil" not in body
    assert "acted" not in body
    assert not re.search(r"<(?:link|meta|base|iframe|object|embed|form|script|style)\b", body)
    assert head.count("<meta") == 2
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:" in head
    assert "evil" not in head or attack.count("<style>")
    assert head.count("<style>") == head.count("</style>") == 2


def test_styles_stay_in_their_sheet():
    head, body = inside("<style>a > b { color: red }<link href=x></style><b>x</b><STYLE x>c {}")
    assert "a > b { color: red }" in head
    assert "<link" not in head
    assert "c {}" in head
    assert body == "<b>x</b>"


@given(
    st.lists(
        st.sampled_from(
            [
                *ACTIVE,
                "<",
                ">",
                "'",
                '"',
                "<svg>",
                "</svg>",
                "<p",
                "x=",
                "<!--",
                "-->",
                "<math>",
                "<table>",
                "<select>",
                "<style>",
                "</style>",
            ]
        )
    )
)
def test_no_mixture_acts_or_calls(parts):
    head, body = inside("".join(parts))
    elements = re.findall(r"<([a-zA-Z][\w-]*)([^>]*)>", body)
    assert not {name.lower() for name, _ in elements} & {
        "script",
        "link",
        "meta",
        "base",
        "iframe",
        "object",
        "embed",
        "form",
        "style",
        "use",
        "image",
    }
    assert not any(
        re.search(r"""\s(?:on\w+|href="(?!#)|src="(?!data:image/))""", rest) for _, rest in elements
    )
    assert head.count("<style>") == head.count("</style>") == 2


def test_the_height_depends_on_the_content_within_limits():
    heights = [
        float(re.search(r"height: ([\d.]+)em", frame(source, "t"))[1])
        for source in (
            "<p>a</p>",
            "<p>a</p>" * 12,
            "<p>a</p>" * 10_000,
            '<svg height="9999"></svg>',
        )
    ]
    assert heights == sorted(heights)
    assert heights[0] < 8
    assert heights[-1] <= 48


@pytest.mark.parametrize(
    "part",
    [
        "<style>p { color: #333 }</style>",
        "<style>:root { color-scheme: dark }</style>",
        '<svg><path fill="red"></svg>',
        "<svg></svg>",
        '<img src="data:image/png;base64,AA==">',
        '<p style="background:#eee">b</p>',
    ],
)
def test_only_a_page_without_colors_and_pictures_follows_a_dark_theme(part):
    assert "invert" in frame("<p>a</p>", "t")
    assert "invert" not in frame(f"{part}<p>a</p>", "t")


def test_text_without_elements_is_not_a_page():
    assert is_page("<p>x")
    assert not is_page("I cannot do that: 1 < 2 > 0")


def test_a_storm_of_tags_is_work_in_proportion():
    for part in ("<style>", "<p>", "<", "<b", "<!--", "</style", "<svg>"):
        assert len(frame(part * 20_000, "t")) < 2_000_000


@pytest.mark.parametrize("tag", ["div", "b", "table><tr><td", "svg><g", "ul><li"])
def test_a_page_nested_too_deeply_is_shown_as_source(tag):
    """A browser's process ends while it lays several hundred levels out."""
    page = f"<{tag} title='</i></i>' style='display:inline-block'>" * 300 + "x"
    shown = html.unescape(frame(page, "t"))
    assert f"<body><pre>{html.escape(page)}</pre>" in shown
    flat = "<p>a<br>b<img alt=c><hr><b>c</b></p>" * 300
    assert "<pre>" not in frame(flat, "t")
    level = "<div>" * 40 + "x" + "</div>" * 40
    assert "<pre>" not in frame(level, "t")


def test_half_of_a_surrogate_pair_is_no_obstacle():
    frame("<style>p::before { content: '\ud83d' }</style><p>\ud83d</p>", "t").encode()
