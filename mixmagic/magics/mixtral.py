"""`%%mixtral` and `%mixtral`: send a prompt, show the answer."""

from __future__ import annotations

import argparse
import keyword
import re
import textwrap
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from mixmagic.errors import BadArguments, MixmagicError, Stopped
from mixmagic.magics._base import Parser, checked
from mixmagic.sessions import Session

_MANUAL = """\
Send the cell to a language model; the answer streams in below it.

    %%mixtral -m local -t 0 -o answer
    Explain this error in two sentences: …

In one line: `%mixtral -m local What is a monad?`. The first time, without any key,
`%mixmagic use local` makes the small embedded model the default.

The line below an answer says: model · tokens in → out · cost · time to the first token ·
tokens per second · what the session has cost. The stop button (Ctrl-C) ends an answer at once;
what has come is kept, and priced.
"""


def _parser() -> Parser:
    """The options, whose help is the manual."""
    parser = Parser(
        "%%mixtral",
        usage="%%%%mixtral [options], then the prompt below; or %%mixtral [options] PROMPT",
        description=_MANUAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    number, whole = checked(float, "a number"), checked(int, "a whole number")
    add("-m", "--model", metavar="NAME", help="8x7b, 8x22b, disco, local, PROVIDER:NAME, …"
        " (`%%mixmagic models` lists them)")  # fmt: skip
    add("-t", "--temperature", type=number, metavar="T", help="0 (always the likeliest word) to 2")
    add("--max-tokens", type=whole, metavar="N", help="end the answer after N tokens")
    add("--top-p", type=number, metavar="P", help="draw from the likeliest words of total weight P")
    add("--seed", type=whole, metavar="N", help="draw the same words again, where the model can")
    add(
        "--stop",
        action="append",
        metavar="TEXT",
        help="end before TEXT; may be given more than once",
    )
    add("-s", "--system", metavar="TEXT", help="instructions that stand before the prompt")
    add("-o", "--out", metavar="VARIABLE", help="bind the Completion: .text, .usage, .cost, …")
    add("-f", "--format", default="markdown", metavar="FORM", help="markdown; or html, shown in a"
        " frame in which nothing can run")  # fmt: skip
    add("--budget", metavar="DOLLARS", help="refuse the cell where it could cost more")
    add("--dry-run", action="store_true", help="show what it would cost; nothing is sent")
    add("--no-stream", action="store_true", help="ask for the whole answer at once")
    return parser


_PARSER = _parser()
_QUESTION = re.compile(r"%mixtral\s+(.*\S\s*\?)\s*$")


def keep_question_marks(lines: list[str]) -> list[str]:
    """Let `%mixtral What is this?` ask: IPython takes a last question mark for a call for help."""
    if not lines or lines[0].startswith("%%"):
        return lines
    return [
        f"get_ipython().run_line_magic('mixtral', {question[1]!r})\n" if question else line
        for line, question in ((line, _QUESTION.match(line)) for line in lines)
    ]


@magics_class
class Mixtral(Magics):
    """The `%%mixtral` of one session."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell)
        self._session = session
        shell.input_transformers_cleanup.append(keep_question_marks)

    @no_var_expand
    @line_cell_magic
    def mixtral(self, line: str, cell: str | None = None) -> None:
        words, rest = _PARSER.leading(line)
        options = vars(_PARSER.parse_args(words))
        if cell is not None and rest:
            raise BadArguments(
                f"%%mixtral does not know what {rest!r:.60} means.",
                "The prompt goes below the %%mixtral line; a model is named with -m.",
            )
        from IPython.display import display

        from mixmagic.display.budget import plan_table
        from mixmagic.display.formats import FORMATS
        from mixmagic.display.live import show
        from mixmagic.display.screens import screen

        out, whole, form, dry = (
            options.pop(name) for name in ("out", "no_stream", "format", "dry_run")
        )
        if out is not None and (not out.isidentifier() or keyword.iskeyword(out)):
            raise BadArguments(f"-o cannot be {out!r}.", "It takes a variable's name.")
        if form not in FORMATS:
            raise BadArguments(
                f"There is no format {form!r:.40}.", f"Formats are {', '.join(FORMATS)}."
            )
        told = FORMATS[form].instruction
        options["system"] = "\n\n".join(filter(None, (options["system"], told)))
        request = self._session.request(rest if cell is None else cell, stream=not whole, **options)
        if dry:
            plan = self._session.plan(request)
            display(plan_table(plan))
            self._bind(out, plan)
            return
        live = self._session.settings.live
        place = screen(self.shell, live=live, owns_cell=cell is not None, form=FORMATS[form])
        try:
            completion: Any = show(self._session, request, place)
        except Stopped as stopped:
            self._bind(out, stopped.completion)
            raise
        except MixmagicError as error:
            if error.partial is not None:
                self._bind(out, error.partial)
            raise
        self._bind(out, completion)

    mixtral.__doc__ = textwrap.dedent(_PARSER.format_help())

    def _bind(self, name: str | None, completion: object) -> None:
        """Bind the completion to a variable of the notebook."""
        if name is not None and self.shell is not None:
            self.shell.user_ns[name] = completion
