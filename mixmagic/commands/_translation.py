"""The options of translations, which a magic and a command have in common."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mixmagic.commands._parser import Parser, checked, models

if TYPE_CHECKING:
    from mixmagic.sessions import Session
    from mixmagic.tasks.translation.translate import Translation

_PARAMETERS = ("model", "temperature", "max_tokens", "budget")


def add_options(args: Parser) -> None:
    """Add the options that all translations have."""
    args.add("--to", metavar="LANGUAGE", required=True, values=_languages, help="the language to"
        " translate to, by name or code: fr, French, pt-BR, …")  # fmt: skip
    args.add("--from", dest="source_language", metavar="LANGUAGE", values=_languages, help="the"
        " language to translate from; detected if it is not given")  # fmt: skip
    args.add("--glossary", metavar="NAME", values=_glossaries, help="a file (.csv, .tsv), or the"
        " name of one of yours: terms with the translations that must be used")  # fmt: skip
    args.add("--tone", choices=("formal", "informal"), help="how to address the reader")
    args.add("--column", dest="columns", action="append", metavar="NAME", help="the column of a"
        " table to translate; may be repeated")  # fmt: skip
    args.add("--comments", action="store_true", help="translate the comments and docstrings of a"
        " notebook's code, too")  # fmt: skip
    args.add("--strings", action="store_true", help="translate the strings of its code that people"
        " read, too")  # fmt: skip
    args.add("--keep-outputs", dest="outputs", action="store_const", const="keep", default="keep",
        help="keep the outputs of a notebook's code (default)")  # fmt: skip
    args.add("--drop-outputs", dest="outputs", action="store_const", const="drop", default="keep",
        help="leave them out")  # fmt: skip
    args.add("-m", "--model", metavar="NAME", values=models, help="8x7b, 8x22b, disco, local,"
        " PROVIDER:NAME, … (`%%mixmagic models` lists them)")  # fmt: skip
    args.add("-t", "--temperature", type=checked(float, "a number"), metavar="T", help="randomness,"
        " from 0 (default) to 2")  # fmt: skip
    args.add("--budget", metavar="DOLLARS", help="what the whole translation may cost")
    args.add("--in-flight", type=checked(int, "a whole number"), metavar="N", help="texts that are"
        " asked about at the same time (default: 64)")  # fmt: skip
    args.add("--dry-run", action="store_true", help="show what it would cost; nothing is sent")


def translation(
    session: Session, source: Any, options: Namespace, out: str | None = None
) -> Translation:
    """Return the translation that a line asks for; it has not begun.

    Args:
        session: Makes the calls.
        source: What is translated.
        options: The options of `add_options`.
        out: The file that a file's translation is written to; beside the source if `None`.

    Raises:
        BadArguments: An option is not valid, or the source cannot be read.
    """
    given = {name: value for name, value in vars(options).items() if value is not None}
    params = {name: given[name] for name in _PARAMETERS if name in given}
    wishes = ("source_language", "tone", "glossary", "columns", "in_flight")
    return session.translation(
        source,
        to=options.to,
        out=out,
        comments=options.comments,
        strings=options.strings,
        outputs=options.outputs,
        **{name: given[name] for name in wishes if name in given},
        **params,
    )


def sources() -> list[str]:
    """Return the files in this folder that can be translated."""
    from mixmagic.tasks.translation.documents import KINDS

    return files_of(*KINDS)


def _languages(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    """Return the codes of the languages that are checked in full, then those of others."""
    from mixmagic.tasks.translation.language_names import NAMES
    from mixmagic.tasks.translation.languages import FIRST_CLASS

    return dict.fromkeys([*(language.code for language in FIRST_CLASS), *sorted(NAMES)])


def _glossaries(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    own = session.settings.glossaries
    return [*sorted({path.stem for path in own.glob("*.[ct]sv")}), *files_of(".csv", ".tsv")]


def files_of(*kinds: str) -> list[str]:
    """Return the names of the files of some kinds in this folder.

    Example:
        >>> files_of(".ipynb")
        ['lesson.ipynb']
    """
    from pathlib import Path

    return sorted(path.name for path in Path().iterdir() if path.suffix.lower() in kinds)
