"""List your prompt templates, for `%%mixtral --template NAME`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.errors import MixmagicError

if TYPE_CHECKING:
    from mixmagic.prompting.templates import Template
    from mixmagic.sessions import Session

_EXAMPLE = """\
There are no templates in {folder}.
Save this file there as review.md, and use it: %%mixtral --template review

+++
description = "A careful review"
system = "You review Python code. Be brief."
task = "code"
+++
Review this code, worst problems first: {{ cell }}"""


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    return Parser(prog, __doc__)


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show the templates; for a damaged one, what is wrong with it."""
    from mixmagic.prompting.templates import templates
    from mixmagic.text.table import Table

    folder = session.settings.templates
    found = templates(folder)
    if not found:
        out.write(_EXAMPLE.replace("{folder}", str(folder)))
        return
    rows = [
        [name, "", "", "", f"✗ {template.message} {template.hint}"]
        if isinstance(template, MixmagicError)
        else [
            name,
            template.task or "",
            template.model or "",
            _sets(template),
            template.description,
        ]
        for name, template in found.items()
    ]
    out.show(
        Table(
            ["template", "task", "model", "sets?", "description"],
            rows,
            f"in {folder} · %%mixtral --template NAME",
        )
    )


def _sets(template: Template) -> str:
    """Return what else a template sets."""
    system = ["system"] if template.system else []
    return ", ".join([*system, *(f"{name} {value}" for name, value in template.params.items())])
