"""List, set or remove your own short names of models, for all sessions.

`alias fast openrouter:VENDOR/MODEL` sets one, in config.toml; `alias fast` shows it, and
`alias fast off` removes it. It can be used wherever a model is named.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, models
from mixmagic.core import toml_file
from mixmagic.errors import BadArguments, UnknownModel, did_you_mean

if TYPE_CHECKING:
    from mixmagic.sessions import Session

_OFF = "off"


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("name", nargs="?", metavar="NAME", values=_names, help="such as fast")
    args.add("model", nargs="?", metavar="MODEL", values=models, help="a model, or `off`")
    return args


def _names(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    return session.settings.aliases


def run(session: Session, options: Namespace, out: Out) -> None:
    """List, show, set or remove aliases."""
    aliases, written = session.settings.aliases, options.name or ""
    name = written.lower()
    if options.model is None:
        chosen = aliases if not name else {name: aliases[_known(session, name)]}
        out.print("\n".join(_line(session, *row) for row in chosen.items()) or _NONE)
        return
    file = session.settings.config_dir / "config.toml"
    if options.model.lower() == _OFF:
        _known(session, name)
        for spelled in _spellings(session, name):
            toml_file.save(file, None, "aliases", spelled)
        out.print(f"Removed the alias {name} from {file}.")
        return
    target = _target(session, name, options.model)
    for spelled in _spellings(session, name):
        toml_file.save(file, target, "aliases", spelled)
    out.print(f"{_line(session, name, target)}\nSaved in {file}.")


_NONE = "You have no aliases: `%mixmagic alias fast openrouter:VENDOR/MODEL` sets one."


def _spellings(session: Session, name: str) -> list[str]:
    """Return the spellings of an alias in the file: it may be edited by hand."""
    from mixmagic.core import files

    file = session.settings.config_dir / "config.toml"
    table = files.toml(files.read(file)).get("aliases", {}) if file.exists() else {}
    return [each for each in table if each.strip().lower() == name] or [name]


def _known(session: Session, name: str) -> str:
    """Return the name of an alias; raise if there is none."""
    aliases = session.settings.aliases
    if name in aliases:
        return name
    listed = f"Aliases are {', '.join(aliases)}." if aliases else _NONE
    raise BadArguments(f"There is no alias {name!r:.40}.", f"{did_you_mean(name, aliases)}{listed}")


def _target(session: Session, name: str, model: str) -> str:
    """Return the model that an alias is to name, checked; of another alias, its model.

    Raises:
        BadArguments: The alias cannot have this name.
        UnknownModel: There is no such model.
    """
    catalog = session.catalog
    if not re.fullmatch(r"[^\W_][\w.-]*", name) or name == _OFF:
        raise BadArguments(
            f"An alias cannot be called {name!r:.40}.",
            "Use letters, digits, `_`, `-` and `.`, without a provider's `:`.",
        )
    if (known := catalog.declared(name)) is not None:
        raise BadArguments(
            f"{name!r} is already a name of {known.name}.", "Choose another one for your alias."
        )
    target = catalog.own_alias(model) or model.strip()
    if target.lower() == name:
        raise UnknownModel(
            f"No model is called {model!r}.", "Name a model: `%mixmagic alias fast 8x22b`."
        )
    catalog.resolve(target)
    return target


def _line(session: Session, name: str, target: str) -> str:
    """Return an alias and its model in one line; a wrong one with the reason."""
    try:
        model = session.catalog.resolve(name if name in session.settings.aliases else target)
    except UnknownModel as error:
        return f"{name}: {target} ({error.message.rstrip('.')})"
    return f"{name}: {target} ({model.provider.label})"
