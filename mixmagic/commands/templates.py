"""`%mixmagic templates`: the prompts of one's own, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixmagic.commands._parser import Parser
from mixmagic.errors import MixmagicError

if TYPE_CHECKING:  # imported when a table is asked for: `%load_ext` stays light
    from pathlib import Path

    from mixmagic.display.table import Table
    from mixmagic.prompting.templates import Template

_BEGIN = """\
Save one as NAME.md and use it: %%mixtral --template NAME. For example:
+++
description = "What a careful reviewer would say"
system = "You review Python code. Be brief."
task = "code"
+++
Review this code, the worst first: {{ cell }}"""


def templates(folder: Path, words: list[str]) -> Table:
    """The templates of a folder, and how to begin; a damaged one says what is wrong with it.

    Raises:
        BadArguments: A word too many.
    """
    from mixmagic.display.table import Table
    from mixmagic.prompting.templates import templates

    Parser("%mixmagic templates").parse_args(words)
    found = templates(folder)
    return Table(
        ["template", "task", "model", "sets", "what it is for"],
        [
            [name, "", "", "", f"✗ {each.message} {each.hint}"]
            if isinstance(each, MixmagicError)
            else [name, each.task or "", each.model or "", _sets(each), each.description]
            for name, each in found.items()
        ],
        f"in {folder}\n{_BEGIN}" if not found else f"in {folder} · %%mixtral --template NAME",
    )


def _sets(template: Template) -> str:
    """What a template sets besides."""
    system = ["system"] if template.system else []
    return ", ".join([*system, *(f"{name} {value}" for name, value in template.params.items())])
