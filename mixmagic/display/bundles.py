"""What is shown of answers, by MIME type: their thoughts, several of them, the line below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mixmagic.calls.completion import Completion, muted_html, stack
from mixmagic.text.escape import as_text, preformatted
from mixmagic.text.sanitize import sanitize

Bundle = dict[str, str]  # MIME types and what is shown for each

# A radio button, which the style makes a tab of, stands before each answer. They are a group of
# their form's own, so that a copy of the output takes no choice away; `dialog`: no key submits it.
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


def thoughts(completion: Completion, kinds: Iterable[str]) -> Bundle:
    """Return the thoughts in these MIME types, folded if they can fold."""
    opening = f"<details {_QUIET}><summary>{as_text(completion.thought)}</summary>"
    block = {
        "text/markdown": f"{opening}\n\n{sanitize(completion.reasoning)}\n\n</details>",
        "text/html": f"{opening}{preformatted(completion.reasoning)}</details>",
        "text/plain": f"({completion.thought}.)",
    }
    return {kind: block[kind] for kind in kinds}


def signed(body: Bundle, footer: str) -> Bundle:
    """Return what is shown with the line below it."""
    below = {
        "text/markdown": f"\n\n{muted_html(footer)}",
        "text/html": muted_html(footer),
        "text/plain": f"\n\n{footer}",
    }
    return {kind: (text.rstrip() + below[kind]).lstrip("\n") for kind, text in body.items()}


def tabbed(titles: Sequence[str], bodies: Sequence[dict[str, str]]) -> dict[str, str]:
    """Answers as MIME types, as tabs where these can be.

    Args:
        titles: What each is called.
        bodies: Each under its heading; their MIME types are the same.
    """
    bundle = stack(bodies)
    # Between blank lines Markdown is read as such.
    for kind, apart in (("text/markdown", "\n\n"), ("text/html", "")):
        if kind in bundle:
            panes = [
                f"{_tab(title, chosen=place == 0)}\n<div>{apart}{body[kind]}{apart}</div>"
                for place, (title, body) in enumerate(zip(titles, bodies, strict=True))
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
    """A tab. JupyterLab's keys, which act on cells, leave what has the focus alone."""
    checked = " checked" if chosen else ""
    return (
        f'<input type="radio" name="answer" aria-label="{title}" hidden="hidden"{checked}'
        " data-lm-suppress-shortcuts>"
    )
