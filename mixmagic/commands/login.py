"""Ask for a provider's API key, check it, and store it in the system's keyring."""

from __future__ import annotations

from argparse import Namespace

from mixmagic.commands import Out
from mixmagic.commands._parser import SAVED, Parser, providers
from mixmagic.errors import BadArguments, did_you_mean
from mixmagic.sessions import Session

_LONGEST = 12  # letters of a name that is certainly not a key


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__, usage="%(prog)s [-h] PROVIDER")
    # Any words: argparse's error would repeat the rest, which may be a key.
    args.add("provider", nargs="+", metavar="PROVIDER", values=providers, help="such as together")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Ask for a key, check it with the provider, and store it."""
    import getpass

    from mixmagic.keys.redact import Secret
    from mixmagic.tasks.login import keyed, login

    name, *more = options.provider
    if more:
        raise BadArguments(SAVED, "Type `login PROVIDER` alone: it asks for the key.")
    if name not in session.catalog.providers:
        known = ", ".join(session.catalog.providers)
        # It may be a key, which is not repeated; a key has digits, or is long.
        shown = (
            f"provider {name!r}" if name.isalpha() and len(name) <= _LONGEST else "such provider"
        )
        hint = f"{did_you_mean(name, session.catalog.providers)}Providers are {known}."
        raise BadArguments(f"There is no {shown}.", hint)
    provider = keyed(session.catalog.provider(name))
    session.backends.access.check_keyring(provider)  # a typed key would be lost
    try:
        key = Secret(getpass.getpass(f"API key of {provider.label} (not shown, not saved here): "))
    except (NotImplementedError, EOFError):  # as a kernel says it, and a terminal
        raise BadArguments(
            "This front end cannot ask for a key.",
            f"Set {provider.key_env} in the environment, or in a file .env beside the notebook.",
        ) from None
    kept = login(session.backends, provider, key)
    session.available.forget()
    if kept.checked:
        result = f"accepts the key ({kept.models} models). It is in the system's keyring"
    else:
        result = (
            f"lists {kept.models} models, but does not say if it accepts the key. It is in the"
            " system's keyring; the first call will show if it is right"
        )
    out.print(f"{provider.label} {result}.")
