"""Remove a provider's API key from the keyring and from this kernel."""

from __future__ import annotations

from argparse import Namespace

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, providers
from mixmagic.sessions import Session


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("provider", metavar="PROVIDER", values=providers, help="such as together")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Remove the key."""
    from mixmagic.tasks.login import logout

    provider = session.catalog.provider(options.provider)
    logout(session.backends, provider)
    session.available.forget()
    out.print(f"{provider.label}: the key has been removed.")
