"""Bundles of MIME types for parts of an answer: thoughts, several answers in tabs, the footer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mixmagic.calls.completion import Completion, muted_html, stack
from mixmagic.text.escape import as_text, preformatted
from mixmagic.text.sanitize import sanitize

Bundle = dict[str, str]  # content by MIME type

# The style turns the radio button before each answer into a tab. Each form has its own group, so
# that copies of the output are independent; with `method="dialog"` no key submits the form.
_STYLE = (
    "@media screen { .mixmagic-tabs:not(body.jp-Notebook *) {"
    " & { display: flex; flex-wrap: wrap; margin: 0;"
    " --mixmagic-accent: var(--jp-brand-color1, var(--vscode-focusBorder, currentColor)) }"
    " > input { appearance: none; display: block; width: auto; height: auto; margin: 0;"
    " padding: 4px 12px; border: 0; border-radius: 0; background: none; color: inherit;"
    " font: inherit; opacity: 0.65; cursor: pointer }"
    " > input::before { content: attr(aria-label) }"
    " > input:hover, > input:checked { opacity: 1 }"
    " > input:checked { box-shadow: inset 0 -2px var(--mixmagic-accent) }"
    " > input:focus-visible { outline: 2px solid var(--mixmagic-accent); outline-offset: -2px }"
    " > div { order: 1; flex: 0 0 100%; min-width: 0; padding-top: 8px;"
    " border-top: 1px solid rgba(128, 128, 128, 0.4) }"
    " > :not(:checked) + div, > div > p:first-child { display: none } } }"
)
_QUIET = 'style="opacity: 0.65; font-size: 85%"'


def thoughts_bundle(completion: Completion, kinds: Iterable[str]) -> Bundle:
    """Return the model's thoughts in these MIME types, collapsed if possible."""
    opening = f"<details {_QUIET}><summary>{as_text(completion.thought)}</summary>"
    block = {
        "text/markdown": f"{opening}\n\n{sanitize(completion.reasoning)}\n\n</details>",
        "text/html": f"{opening}{preformatted(completion.reasoning)}</details>",
        "text/plain": f"({completion.thought}.)",
    }
    return {kind: block[kind] for kind in kinds}


def with_footer(body: Bundle, footer: str) -> Bundle:
    """Return a bundle with the footer appended."""
    appended = {
        "text/markdown": f"\n\n{muted_html(footer)}",
        "text/html": muted_html(footer),
        "text/plain": f"\n\n{footer}",
    }
    return {kind: (text.rstrip() + appended[kind]).lstrip("\n") for kind, text in body.items()}


def error_bundle(lines: Sequence[str]) -> Bundle:
    """Return the lines of an error, for the output of a cell that has ended."""
    markup = "<br>".join(map(as_text, lines))
    block = f'<div style="color: #d32f2f; font-size: 90%">{markup}</div>'
    return {"text/markdown": block, "text/html": block, "text/plain": "\n".join(lines)}


def in_tabs(titles: Sequence[str], bodies: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return several answers as one bundle, with tabs in HTML and in Markdown.

    A front end that sanitizes HTML drops the style: the answers then stand below each other, as
    they do on paper and in nbconvert's pages.

    Args:
        titles: The name of each answer.
        bodies: The bundle of each answer with its heading, all with the same MIME types.
    """
    bundle = stack(bodies)
    # Markdown inside of HTML needs blank lines around it.
    for kind, apart in (("text/markdown", "\n\n"), ("text/html", "")):
        if kind in bundle:
            panes = [
                f"{_tab(title, chosen=index == 0)}\n<div>{apart}{body[kind]}{apart}</div>"
                for index, (title, body) in enumerate(zip(titles, bodies, strict=True))
            ]
            bundle[kind] = "\n".join(
                [
                    '<form class="mixmagic-tabs" method="dialog">',
                    f'<div hidden="hidden"><style>{_STYLE}</style></div>',
                    *panes,
                    "</form>",
                ]
            )
    return bundle


def _tab(title: str, *, chosen: bool) -> str:
    """Return a tab; while it has the focus, JupyterLab's keyboard shortcuts do not act."""
    checked = " checked" if chosen else ""
    return (
        f'<input type="radio" name="answer" aria-label="{title}" hidden="hidden"{checked}'
        " data-lm-suppress-shortcuts>"
    )
