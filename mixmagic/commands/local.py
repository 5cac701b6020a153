"""Fetch the embedded model's weights (98 MB) ahead of time."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.sessions import Session


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add_commands(required=True)("install", "Fetch the weights unless they are there")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Download the weights and print their path."""
    out.print(str(install(session)))


def install(session: Session) -> Path:
    """Fetch the embedded model's weights unless they are there; return their path.

    A terminal shows a progress bar.
    """
    from mixmagic.backends.local import weights

    def draw(share: float, end: str = "") -> None:
        print(f"\rEmbedded model: {weights.bar(share)}", end=end, flush=True, file=sys.stderr)

    env = session.backends.access.environment()
    fetching, drawn = weights.fetch(session.settings.cache_dir, env), False
    while True:
        try:
            share = next(fetching)
        except StopIteration as end:
            if drawn:
                draw(1, "\n")
            return Path(end.value)
        if sys.stderr.isatty():
            draw(share)
            drawn = True
