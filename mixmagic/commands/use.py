"""Use another model by default, in this session."""

from __future__ import annotations

from argparse import Namespace

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, models
from mixmagic.errors import MissingKey, UnknownModel
from mixmagic.sessions import Session

ONLY_IN = "notebook"


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("model", metavar="MODEL", values=models, help="8x7b, local, PROVIDER:NAME, …")
    return args


def full_name(session: Session, name: str) -> str:
    """Return the full name of a model; a name that several providers serve, or an alias, as it is.

    Raises:
        UnknownModel: There is no such model.
    """
    first = session.named(name)  # recorded, if the catalog has it no more
    try:
        others = session.catalog.serving(name)[1:]
    except UnknownModel:
        return name.strip()
    return name.strip() if others or session.catalog.own_alias(name) else first.name


def using(session: Session) -> str:
    """Return the model that the session uses by default, in one line; why, if it cannot answer."""
    try:
        replayed = session.player.in_use(session.settings)
        selection = session.select() if replayed else session.answering()
    except (MissingKey, UnknownModel) as error:
        return f"Using {session.model} in this session, but: {error.message} {error.hint}"
    model = selection.model
    about = " · ".join(filter(None, (model.provider.label, selection.reason, model.about)))
    return f"Using {model.name} in this session ({about.rstrip('.')})."


def run(session: Session, options: Namespace, out: Out) -> None:
    """Change the session's model.

    Raises:
        MissingPackage: It is a local model, and these cannot run here.
    """
    name = full_name(session, options.model)
    is_local = session.named(name).provider.backend == "local"
    if is_local and not session.player.in_use(session.settings):  # a replay needs no model
        from mixmagic.backends.local import gguf

        gguf.require_package()
    session.model = name
    out.print(f"{using(session)}\nFor all sessions: `%mixmagic set model {session.model} --save`.")
