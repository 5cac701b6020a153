"""The options of `%%mixtral`: one parser, whose help is the manual."""

from __future__ import annotations

import argparse
import re

from mixmagic.commands._parser import Parser, checked

_MANUAL = """\
Send the cell to a language model; the answer streams in below it.

    %%mixtral -m local -t 0 -o answer
    Explain this error in two sentences: {{ error }}

In one line: `%mixtral -m local What is a monad?`, or `answer = %mixtral …` to keep the Completion;
though not in the cell or the script that loads mixmagic, nor behind another statement or `%time` on
its line: there IPython takes a last `?` for a call for help. `--` ends the options. The first time,
without any key, `%mixmagic use local` makes the small embedded model the default.

`{{ expression }}` is replaced by its value: a DataFrame by its columns and first rows, a function
by its source, an exception by its traceback, a file by `{{ open("notes.md").read() }}`. `\\{{` is
literal, single braces are never touched. Objects of yours may define `_repr_prompt_()`.

The line below an answer says: model · tokens in → out · cost · time to the first token ·
tokens per second · what the session has cost. The stop button (Ctrl-C) ends an answer at once;
what has come is kept, and priced. `_` and `Out[n]` hold the answer, too.

`%mixtral fix` explains the last cell that failed, and offers it mended as a new cell.
"""


def _text(written: str) -> str:
    r"""A text whose `\n`, `\t` and `\\` are read."""
    signs = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda sign: signs[sign[1]], written)


def parser() -> Parser:
    """The parser of a `%%mixtral` line."""
    made = Parser(
        "%%mixtral",
        usage="%%%%mixtral [options], then the prompt below; or %%mixtral [options] PROMPT",
        description=_MANUAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    number, whole = checked(float, "a number"), checked(int, "a whole number")
    add = made.add_argument_group("what goes in").add_argument
    add("-s", "--system", metavar="TEXT", help="instructions that stand before the prompt")
    add("-c", "--chat", nargs="?", const="chat", metavar="NAME", help="continue the conversation"
        " NAME, or `chat`; in one line, where the next word is its NAME, `-c -- PROMPT` leaves it"
        " out")  # fmt: skip
    add("--template", metavar="NAME", help="put the cell into a template of yours"
        " (`%%mixmagic templates`); where it needs no cell, in one line: `%%mixtral --template"
        " NAME`")  # fmt: skip
    add("--raw", action="store_true", help="send {{ … }} as it stands")
    add = made.add_argument_group("who answers, and how").add_argument
    add("-m", "--model", metavar="NAME", help="8x7b, 8x22b, disco, local, PROVIDER:NAME, …"
        " (`%%mixmagic models` lists them)")  # fmt: skip
    add("--task", metavar="TASK", help="chat, code, analysis, creative, translate or summarize:"
        " sets the temperature, and without -m the model")  # fmt: skip
    add("-t", "--temperature", type=number, metavar="T", help="0 (always the likeliest word) to 2")
    add("--max-tokens", type=whole, metavar="N", help="end the answer after N tokens")
    add("--top-p", type=number, metavar="P", help="draw from the likeliest words of total weight P")
    add("--seed", type=whole, metavar="N", help="draw the same words again, where the model can")
    add("--stop", action="append", type=_text, metavar="TEXT", help="end before TEXT, where \\n"
        " is a new line, \\t a tab, \\\\ a backslash; may be given more than once")  # fmt: skip
    add("-n", type=whole, metavar="N", help="N answers to one question, each paid for: tabs in"
        " a live notebook, one under the other elsewhere")  # fmt: skip
    add("--logprobs", action="store_true", default=None, help="how likely each token was, where"
        " the provider says so (.logprobs)")  # fmt: skip
    add = made.add_argument_group("what comes out").add_argument
    add("-o", "--out", metavar="VARIABLE", help="bind the Completion: .text, .usage, .cost, …;"
        " with -f code, json, latex or table, and with --schema, the value")  # fmt: skip
    add("-f", "--format", metavar="FORM", help="markdown, text, code, json, latex, table; or html,"
        " shown in a frame in which nothing can run")  # fmt: skip
    add("--schema", metavar="VARIABLE", help="an answer of the form of a JSON Schema, a pydantic"
        " model, a dataclass or a TypedDict of the notebook")  # fmt: skip
    add("-i", "--insert", action="store_true", help="code blocks become new cells below, in order,"
        " never run by themselves")  # fmt: skip
    add("--as", metavar="FORM", help="print the request as curl, python, together, openai or js;"
        " nothing is sent")  # fmt: skip
    add("--no-stream", action="store_true", help="ask for the whole answer at once")
    add = made.add_argument_group("what it costs").add_argument
    add("--budget", metavar="DOLLARS", help="refuse the cell where it could cost more")
    add("--dry-run", action="store_true", help="show what it would cost; nothing is sent")
    return made
