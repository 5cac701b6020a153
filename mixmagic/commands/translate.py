"""Translate a file, and check that only its language has changed.

The translation of lesson.ipynb is written to lesson.fr.ipynb. Code, formulas, links, placeholders,
numbers and structure stay as they are; a translation in which they do not is asked for once more,
and then its faults are named. The status is 1 if there are any, or if --verify finds a difference.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mixmagic.commands import Out, _translation
from mixmagic.commands._parser import Parser
from mixmagic.errors import BadArguments

if TYPE_CHECKING:
    from mixmagic.sessions import Session


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("file", metavar="FILE", values=_files, help="a file: .ipynb, .md, .txt, .po, or .csv"
        " with --column")  # fmt: skip
    _translation.add_options(args)
    args.add("-o", "--out", metavar="FILE", help="the file to write (default: beside FILE, with the"
        " code of the language in its name)")  # fmt: skip
    args.add("--verify", action="store_true", help="run a notebook and its translation, and compare"
        " the outputs of their code")  # fmt: skip
    return args


def run(session: Session, options: Namespace, out: Out) -> int:
    """Translate; return 0 if nothing is wrong with the translation, else 1."""
    from pathlib import Path

    from mixmagic.display import jobs
    from mixmagic.display.translation import footer_line, plan_table, summary

    source = Path(options.file).expanduser()
    if options.verify and source.suffix != ".ipynb":
        raise BadArguments(
            f"{source.name} cannot be verified: it is not run.", "--verify is for notebooks."
        )
    translation = _translation.translation(session, source, options, options.out)
    if options.dry_run:
        out.show(plan_table(session, translation))
        return 0
    if translation.job is not None:
        jobs.follow(translation.job, errors=False)
    result = translation.finish()
    report = translation.report()
    first, *faults = summary(translation, report)
    out.print(
        "\n".join([first, *(f"  {line}" for line in faults), footer_line(translation, report)])
    )
    is_whole = not report.faults and not report.origins.get("unasked")
    if options.verify:
        from mixmagic.commands._proof import prove

        proof = prove(source, result.path)
        out.print(f"{result.path.name}: {proof}.")
        if proof.different and options.strings:
            out.print("Strings were translated, too: without --strings, they may be equal.")
        is_whole = is_whole and proof.is_equal
    return int(not is_whole)


def _files(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    return _translation.sources()
