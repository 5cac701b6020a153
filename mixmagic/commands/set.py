"""Set what calls take by default, in this session, or for all of them (--save).

`set NAME VALUE` sets it, `set NAME` shows it, and `set NAME off` takes it back. Names are model,
system, temperature, max-tokens, top-p, seed, stop (one or more texts), format and budget (US
dollars). `set system ""` sends no system prompt. The options of a cell win, and of `mixmagic.ask`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, constant, unescaped
from mixmagic.commands._settings import lines, text_of
from mixmagic.commands.use import full_name, using
from mixmagic.core.settings import DEFAULTS, checked_default, default_from_text
from mixmagic.errors import BadArguments, did_you_mean

if TYPE_CHECKING:
    from mixmagic.sessions import Session

_NAMES = tuple(name.replace("_", "-") for name in (*DEFAULTS, "budget"))
_OFF = ["off"]


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("name", nargs="?", metavar="NAME", values=constant(*_NAMES), help="such as system")
    args.add("value", nargs="*", metavar="VALUE", values=_values, help="its value, or `off`")
    args.add("--save", action="store_true", help="keep it in config.toml, for all sessions")
    return args


def _values(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    """Return the values that can be listed: `off`, and the formats."""
    from mixmagic.display.formats import FORMATS

    return ("off", *FORMATS)


def run(session: Session, options: Namespace, out: Out) -> None:
    """Set, show or take back a default."""
    if options.name is None:
        out.print("\n".join(lines(session, in_shell=out.shell is None)))
        return
    name = options.name.replace("-", "_").lower()
    if name.replace("_", "-") not in _NAMES:
        hint = f"{did_you_mean(options.name, _NAMES)}Names are {', '.join(_NAMES)}."
        raise BadArguments(f"`set` knows no {options.name!r:.40}.", hint)
    if not options.value:
        if options.save:
            raise BadArguments(
                "The value is missing.", f"Write `%mixmagic set {options.name} VALUE --save`."
            )
        out.print("\n".join(lines(session, name, in_shell=out.shell is None)))
        return
    if out.shell is None and not options.save:
        raise BadArguments(
            "A shell command has no session of its own.",
            "Add --save: then it is kept in config.toml, for all sessions.",
        )
    value = None if options.value == _OFF else _parsed(session, name, options.value)
    saved = ""
    if options.save:
        saved = _save(session, name, value)
    if out.shell is not None:
        if name == "budget":
            session.budget(value)
        else:
            session.set_default(name, value)
    out.print("\n".join(filter(None, [_report(session, name, value, out), saved])))


def checked(session: Session, name: str, value: Any) -> Any:
    """Return a default's value, checked: a model's full name, a format that exists, ….

    Raises:
        BadArguments: The value is invalid.
        UnknownModel: There is no such model.
    """
    value = checked_default(name, value)
    if name == "model":
        return full_name(session, value)
    if name == "format":
        from mixmagic.display.formats import format_named

        format_named(value)
    return value


def _parsed(session: Session, name: str, words: list[str]) -> Any:
    """Return the value that the words of a line mean."""
    if name == "budget":
        from mixmagic.core.money import parse_dollars

        return parse_dollars(" ".join(words))
    if name == "stop":
        return checked(session, name, [unescaped(word) for word in words])
    try:
        return checked(session, name, default_from_text(name, " ".join(words)))
    except BadArguments as error:
        raise BadArguments(error.message, f"{error.hint} `off` takes it back.") from None


def _save(session: Session, name: str, value: Any) -> str:
    """Keep a default in config.toml, or remove it there; return a line that says so."""
    from mixmagic.core import toml_file

    setting = "budget_session" if name == "budget" else name
    file = session.settings.config_dir / "config.toml"
    toml_file.save(file, str(value) if name == "budget" and value is not None else value, setting)
    done = f"{'Removed from' if value is None else 'Saved in'} {file}."
    winner = session.settings.sources.get(setting, "config.toml")
    return done if winner == "config.toml" else f"{done} But {winner} sets it, too, and wins."


def _report(session: Session, name: str, value: Any, out: Out) -> str:
    """Return the lines that say what holds now; none in a shell, which has no session."""
    if out.shell is None:
        return ""
    if name == "model" and value is not None:
        return using(session)
    if name == "system" and value and "{{" in value:
        return f"system: {text_of(value)} (this session); {{{{ … }}}} in it is sent as it is."
    return "\n".join(lines(session, name, in_shell=False))
