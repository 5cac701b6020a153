"""Ask for a provider's API key, check it, and store it in the system's keyring.

If no keyring can be used, as in most containers, a notebook keeps the key in its kernel's memory.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import SAVED, Parser, providers
from mixmagic.errors import BadArguments, MissingPackage, StoreError, counted, did_you_mean
from mixmagic.sessions import Session

if TYPE_CHECKING:
    from mixmagic.core.values import Provider
    from mixmagic.tasks.login import Kept

_LONGEST = 12  # letters of a name that is certainly not a key


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__, usage="%(prog)s [-h] [--kernel] PROVIDER")
    # Any words: argparse's error would repeat the rest, which may be a key.
    args.add("provider", nargs="+", metavar="PROVIDER", values=providers, help="such as together")
    args.add("--kernel", action="store_true", help="keep the key in this kernel's memory only")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Ask for a key, check it with the provider, and store it."""
    import getpass

    from mixmagic.keys.redact import Secret
    from mixmagic.tasks.login import keyed, login

    name, *more = options.provider
    if more:
        raise BadArguments(SAVED, "Type `%mixmagic login PROVIDER` alone: it asks for the key.")
    if name not in session.catalog.providers:
        known = ", ".join(session.catalog.providers)
        # It may be a key, which is not repeated; a key has digits, or is long.
        shown = (
            f"provider {name!r}" if name.isalpha() and len(name) <= _LONGEST else "such provider"
        )
        hint = f"{did_you_mean(name, session.catalog.providers)}Providers are {known}."
        raise BadArguments(f"There is no {shown}.", hint)
    provider = keyed(session.catalog.provider(name))
    in_keyring, place = _place(session, provider, out, in_kernel=options.kernel)
    try:
        key = Secret(getpass.getpass(f"API key of {provider.label} ({place}not shown): "))
    except (NotImplementedError, EOFError):  # as a kernel says it, and a terminal
        raise BadArguments(
            "This front end cannot ask for a key.",
            f"Set {provider.key_env} in the environment, or in a file .env beside the notebook.",
        ) from None
    kept = login(session.backends, provider, key, in_keyring=in_keyring)
    session.available.forget()
    out.print(_result(provider, kept))


def _place(session: Session, provider: Provider, out: Out, *, in_kernel: bool) -> tuple[bool, str]:
    """Return True if the keyring will keep the key, and words for the prompt.

    A key that is typed first would be lost.

    Raises:
        MissingPackage: The package keyring is not installed, and there is no kernel to keep it.
        StoreError: The keyring cannot be used, and there is no kernel to keep it.
    """
    if not in_kernel:
        try:
            session.backends.access.check_keyring(provider)
        except (MissingPackage, StoreError):
            if out.shell is None:
                raise
            out.print("No keyring can be used here: the key is kept in this kernel only.")
            in_kernel = True
    elif out.shell is None:
        raise BadArguments("A shell command has no kernel.", "Leave out --kernel.")
    return not in_kernel, "for this kernel only, " if in_kernel else ""


def _result(provider: Provider, kept: Kept) -> str:
    """Return what has become of a key."""
    if kept.models is None:
        checked = f"The key could not be checked ({kept.problem.rstrip('.')})"
    elif kept.checked:
        checked = f"{provider.label} accepts the key ({counted(kept.models, 'model')})"
    else:
        checked = (
            f"{provider.label} lists {counted(kept.models, 'model')}, but does not say if it"
            " accepts the key: the first call will show it"
        )
    if kept.in_keyring:
        return f"{checked}. It is in the system's keyring."
    always = f"To keep it, set {provider.key_env} in the environment, or in a file .env."
    return f"{checked}. It is in this kernel's memory, until the kernel ends.\n{always}"
