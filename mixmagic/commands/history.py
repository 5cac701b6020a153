"""Find past prompts and answers of this session.

They are in this kernel's memory only, at most 500 calls, without keys; no file has them.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser, checked
from mixmagic.errors import counted

if TYPE_CHECKING:
    from mixmagic.sessions import Session
    from mixmagic.tasks.history import Entry

ONLY_IN = "notebook"
_MOST, _WIDTH = 20, 70


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("text", nargs="*", metavar="TEXT", help="only calls whose prompt or answer has it")
    args.add("--show", type=checked(int, "a number"), metavar="NUMBER", help="show one call whole")
    args.add("--all", action="store_true", help=f"list all, not just the last {_MOST}")
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """List past calls, or show one."""
    from mixmagic.text.table import Table

    history, text = session.history, " ".join(options.text)
    if options.show is not None:
        entry = history[options.show]
        out.write(f"{_when(entry)} · {entry.model}\n\n{entry.prompt}\n\n{'─' * 20}\n{entry.answer}")
        return
    found = history.find(text)
    if not found:
        about = f" has {text!r:.60} in it" if text else " was made in this session"
        out.print(f"No call{about}.")
        return
    shown = found if options.all else found[-_MOST:]
    lines = [] if len(shown) == len(found) else [f"{counted(len(found), 'call')}; --all lists all"]
    lines.append(
        "One of them: `%mixmagic history --show NUMBER`, or in Python"
        " `mixmagic.session().history[NUMBER].answer`. The last prompt again: `%mixtral again`."
    )
    rows = [
        [
            str(entry.number),
            _when(entry),
            entry.model,
            _excerpt(entry.prompt, text),
            _excerpt(entry.answer, text) or "no answer",
        ]
        for entry in shown
    ]
    columns = ["number>", "time", "model", "prompt", "answer"]
    out.show(Table(columns, rows, "\n".join(lines)))


def _when(entry: Entry) -> str:
    return time.strftime("%H:%M:%S", time.localtime(entry.at))


def _excerpt(text: str, wanted: str) -> str:
    """Return a text in one line, or the part of it around what is wanted."""
    line = " ".join(text.split())
    at = line.casefold().find(" ".join(wanted.split()).casefold())
    start = max(at - _WIDTH // 2, 0) if at > _WIDTH - len(wanted) else 0
    end = start + _WIDTH
    return "…" * (start > 0) + line[start:end] + "…" * (end < len(line))
