"""List the models on this machine, and fetch one ahead of time."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, downloaded
from mixmagic.sessions import Session

if TYPE_CHECKING:
    from mixmagic.text.table import Table

_EMBEDDED = "local"


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    add = args.add_commands(required=True)
    add("list", "Show the models on this machine, with their sizes and names for -m")
    install = add("install", "Fetch a model unless it is there: without a name, the embedded one")
    install.add("name", nargs="?", default=_EMBEDDED, metavar="NAME", values=downloaded,
        help="hf/OWNER/REPO/FILE.gguf: also looks for a newer version")  # fmt: skip
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Show the models on this machine, or fetch one and print its path."""
    if options.command == "list":
        out.show(_table(session))
    else:
        out.write(str(install(session, out, options.name)))


def _table(session: Session) -> Table:
    """Return the models on this machine, with their sizes."""
    from mixmagic.backends.local import hub, weights
    from mixmagic.text.table import Table

    embedded = weights.path(session.settings.cache_dir)
    rows = [(_EMBEDDED, embedded.stat().st_size)] if embedded.exists() else []
    rows += [(f"local:{each.file.name}", each.size) for each in hub.on_disk()]
    caption = f"Hugging Face's cache: {hub.folder()}"
    if rows:
        caption = f"`%%mixtral -m MODEL` uses one\n{caption}"
    else:
        caption = f"none yet: `%mixmagic local install` fetches the embedded model\n{caption}"
    return Table(["model", "MB>"], [[name, f"{size / 1e6:,.0f}"] for name, size in rows], caption)


def install(session: Session, out: Out, name: str = _EMBEDDED) -> Path:
    """Fetch a local model unless it is there; return the path of its file.

    A terminal and a notebook show a progress bar.

    Raises:
        BadArguments: It is not a local model, or its file is not there and cannot be fetched.
        MixmagicError: It cannot be fetched.
    """
    from mixmagic.backends.local import gguf

    model = session.catalog.resolve(name if name == _EMBEDDED else _with_provider(name))
    env, drawn = session.backends.access.environment(), False
    with closing(gguf.fetched(model, session.settings.cache_dir, env, newest=True)) as fetching:
        while True:
            try:
                bar = f"{model.id}: {next(fetching)}"
            except StopIteration as end:
                if drawn:
                    _draw(out, f"{model.id}: fetched", last=True)
                return Path(end.value)
            if out.live or sys.stderr.isatty():
                _draw(out, bar, first=not drawn)
                drawn = True


def _with_provider(name: str) -> str:
    return name if name.startswith("local:") else f"local:{name}"


def _draw(out: Out, text: str, *, first: bool = False, last: bool = False) -> None:
    """Draw the progress in place of the last one."""
    if out.live:
        (out.show if first else out.replace)(_Line(text))
    else:
        print(f"\r{text}\x1b[K", end="\n" if last else "", flush=True, file=sys.stderr)


class _Line:
    """A line of text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
