"""Replay this notebook's answers from a file, or record those that are missing.

While a cassette is in use, an answer that is in it is replayed: nothing is sent, and it costs
nothing. Without FILE, it is NAME.cassette.jsonl beside the notebook NAME.ipynb. MIXMAGIC_CASSETTE
and MIXMAGIC_CASSETTE_MODE in the environment win over this line.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from mixmagic.commands import Out
from mixmagic.commands._parser import Parser
from mixmagic.core import files
from mixmagic.errors import BadArguments
from mixmagic.tasks.player import cassette_path

if TYPE_CHECKING:
    from mixmagic.layers.replay import Tape
    from mixmagic.sessions import Session

ONLY_IN = "notebook"
_MODES = ("none", "once", "off", "new", "all")
_OF_A_PERSON = ("new", "all")


def parser(prog: str) -> Parser:
    """Return the command's parser."""
    args = Parser(prog, __doc__)
    args.add("file", nargs="?", metavar="FILE", help="the cassette; `off` uses none")
    args.add("--mode", choices=_MODES, help="none: replay alone (default); once: also ask and"
        " record what is not recorded yet; off: use no cassette; new and all record anew, and are"
        " for the environment and `mixmagic record`")  # fmt: skip
    args.add("--pace", choices=("live", "none"), help="live: replay streams as slowly as they were"
        " recorded")  # fmt: skip
    return args


def run(session: Session, options: Namespace, out: Out) -> None:
    """Use a cassette, or none; print which."""
    if options.mode in _OF_A_PERSON:
        raise BadArguments(
            f"A notebook's line cannot have the mode {options.mode}: each run would be paid for.",
            f"Run `mixmagic record NOTEBOOK`, or set MIXMAGIC_CASSETTE_MODE={options.mode}.",
        )
    player, settings = session.player, session.settings
    if "off" in (options.file, options.mode):
        player.stop()
        if not player.in_use(settings):
            out.print("No cassette is in use: calls are made.")
            return
    else:
        file = str(cassette_path(settings, options.file)) if options.file else ""
        player.use(file, options.mode or "", paced=options.pace == "live")
        player.pass_on()
        # The line counts even if this fails: no later cell is paid for by accident.
        _refuse_missing(player.tape(settings))
    tape = player.tape(settings)
    out.print("No cassette is in use: MIXMAGIC_CASSETTE_MODE is off." if tape is None else
              _description(tape))  # fmt: skip


def _refuse_missing(tape: Tape | None) -> None:
    """Check that there is something to replay, if nothing may be recorded.

    Raises:
        BadArguments: The file does not exist, or its folder does not.
    """
    if tape is None or tape.cassette.exists:
        return
    if tape.mode == "none":
        raise BadArguments(
            f"There is no cassette {tape.cassette.name}.",
            f"Record it: `mixmagic record {files.typed(tape.notebook or 'NOTEBOOK')}`, or here with"
            " --mode once.",
        )
    if not tape.cassette.path.parent.is_dir():
        raise BadArguments(
            f"{tape.cassette.name} cannot be recorded: its folder does not exist.",
            "Name a file in a folder that exists.",
        )


def _description(tape: Tape) -> str:
    """Return the use of a cassette, in one line."""
    count = len(tape.cassette)
    line = f"Cassette {tape.cassette.name}: {count or 'no'} recorded answer{'s' * (count != 1)}."
    if tape.mode == "all":  # the same line in all other modes, so that a run can be compared
        line += " Every call is made, and paid for."
    if damaged := tape.cassette.damaged:
        line += f" Damaged: line {', '.join(map(str, damaged))}."
    return line
