"""Use another model by default, in this session."""

from __future__ import annotations

from argparse import Namespace

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, models
from mixmagic.sessions import Session

ONLY_IN = "notebook"


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("model", metavar="MODEL", values=models, help="8x7b, local, PROVIDER:NAME, …")
    return args


def full_name(session: Session, name: str) -> str:
    """Return the full name of a model; a name that several providers serve as it is.

    Raises:
        UnknownModel: There is no such model.
    """
    first, *others = session.catalog.serving(name)
    return name.strip() if others else first.name


def run(session: Session, options: Namespace, out: Out) -> None:
    """Change the session's model."""
    session.model = full_name(session, options.model)
    selection = session.select()
    model = selection.model
    about = " · ".join(filter(None, (model.provider.label, selection.reason, model.about)))
    out.print(
        f"Using {model.name} in this session ({about.rstrip('.')}).\n"
        f'For all sessions, put model = "{session.model}" into config.toml'
        " (`%mixmagic doctor` shows its path)."
    )
