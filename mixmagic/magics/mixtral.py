"""`%%mixtral` and `%mixtral`: send a prompt, show the answer."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import line_cell_magic, magics_class, no_var_expand

from mixmagic.magics._shell.insert import NewCells
from mixmagic.magics._shell.model_magics import ModelMagics

if TYPE_CHECKING:  # imported when a cell runs: `%load_ext` stays light
    from mixmagic.calls.completion import Completion
    from mixmagic.commands._parser import Parser
    from mixmagic.magics._shell.hooks import Hooks
    from mixmagic.magics._shell.options import Question
    from mixmagic.sessions import Session


@magics_class
class Mixtral(ModelMagics):
    """The `%%mixtral` of one session."""

    name = "mixtral"
    words = ("fix", "again")
    manual = """\
Send the cell to a language model; the answer streams in below it.

    %%mixtral -m local -t 0 -o answer
    Explain in two sentences what this cell does: {{ In[-2] }}

In one line: `%mixtral -m local What is a monad?`, or `answer = %mixtral …` to keep the Completion.
`--` ends the options. Without an API key, run `%mixmagic use local` first: it makes the small
embedded model the default.

`{{ expression }}` is replaced by its value: a DataFrame by its columns and first rows, a function
by its source, an exception by its traceback, a file by `{{ open("notes.md").read() }}`. A figure,
an image, the path of an image and an array of pixels are sent as images, to models that see them.
`{{ error }}` is the last error of your cells, unless you have a variable of that name. `\\{{` is
literal, and single braces are never touched. Your classes can define `_repr_prompt_()`.

The line below an answer shows: model · tokens in → out · cost · time to the first token ·
tokens per second · cost of the session. The stop button (Ctrl-C) ends an answer at once;
everything received so far is kept, and priced. `_` and `Out[n]` hold the answer, too.

`%mixtral fix` explains the last cell that failed, and offers a fixed version as a new cell.
`%mixtral again -t 1` sends the last prompt once more, as it was sent, with other options.

Note: IPython may take a `?` at the end of a line for a request for help: in the cell or script
that loads mixmagic, or behind another statement or `%time`. Use `%%mixtral` there.
"""

    def __init__(self, shell: InteractiveShell, session: Session, hooks: Hooks) -> None:
        super().__init__(shell, session, hooks)
        self._new_cells = NewCells(session, hooks)

    @no_var_expand
    @line_cell_magic
    def mixtral(self, line: str, cell: str | None = None) -> Any:
        """Send a prompt to a language model: `%%mixtral?` is the manual."""
        return self.answer(line, cell)

    @classmethod
    def add_options(cls, parser: Parser) -> None:
        """Add the options that this magic alone has."""
        from mixmagic.commands._parser import checked
        from mixmagic.display.formats import FORMATS

        add = parser.add
        add("-s", "--system", to="prompt", metavar="TEXT", help="the system prompt")
        add("-c", "--chat", to="prompt", nargs="?", const="chat", metavar="NAME",
            values=_chats, help="continue the conversation NAME (default: chat); in one"
            " line, write `-c -- PROMPT` to leave NAME out")  # fmt: skip
        add("--template", to="prompt", metavar="NAME", values=_templates, help="insert the cell"
            " into one of your templates (`%%mixmagic templates`)")  # fmt: skip
        add("--examples", to="prompt", metavar="VARIABLE", values=_examples, help="questions and"
            " answers before the prompt: a list of pairs or dicts, or a DataFrame")  # fmt: skip
        add("--each", to="prompt", metavar="VARIABLE", values=_tables, help="ask about each row of"
            " a DataFrame, a Series, a list or a file: {{ NAME }} is the row's value in the column"
            " NAME, {{ text }} in a Series or a list")  # fmt: skip
        add("--preview", to="cost", nargs="?", const=20, type=checked(int, "a number of rows"),
            metavar="N", help="ask about N rows of --each (default: 20), and show what all would"
            " cost and what a changed prompt changes")  # fmt: skip
        add("--raw", to="prompt", action="store_true", help="send {{ … }} unchanged")
        add("--task", to="model", metavar="TASK", values=_tasks, help="chat, code, analysis,"
            " creative, translate or summarize: sets the temperature, and the model unless you"
            " have chosen one")  # fmt: skip
        add("-n", to="model", type=checked(int, "a whole number"), metavar="N", help="ask for N"
            " answers, each of which is paid for")  # fmt: skip
        add("--in-flight", to="model", type=checked(int, "a whole number"), metavar="N", help="rows"
            " of --each that are asked at the same time (default: 64)")  # fmt: skip
        add("--logprobs", to="model", action="store_true", default=None, help="ask for the"
            " log-probabilities of the tokens (.logprobs)")  # fmt: skip
        add("-f", "--format", to="answer", metavar="FORM", values=_formats, help="the form of the"
            f" answer: {', '.join(FORMATS)}")  # fmt: skip
        add("--schema", to="answer", metavar="VARIABLE", values=_schemas, help="check the answer"
            " against a JSON Schema, a pydantic model, a dataclass or a TypedDict")  # fmt: skip
        add("--name", to="answer", metavar="NAME", help="the name of the job of --each, for"
            " `%%mixmagic jobs`")  # fmt: skip
        add("-i", "--insert", to="answer", action="store_true", help="put the answer's first"
            " program into a new cell below; it is never run automatically")  # fmt: skip

    def question(self, asked: Question) -> Question:
        """Turn `fix` and `again` into questions."""
        from dataclasses import replace

        from mixmagic.magics._shell import again, fix

        if (changed := again.changes(self.parser(), asked)) is not None:
            asked = again.question(self.last, changed, refresh=self.session.cache.on)
            return self._with_new_cells(asked)
        asked = fix.with_options_behind(self.parser(), asked)
        wish = None if asked.is_cell else fix.wish(asked.prompt)
        if wish is not None:
            failure = self.failures.last()
            prompt = failure.prompt(wish, self.session.backends.access.redact)
            system = asked.options.system or fix.INSTRUCTIONS
            asked = replace(asked, prompt=prompt, own=Namespace(failure=failure))
            asked = asked.with_options(raw=True, system=system, insert=True)
            if asked.options.schema is None and asked.options.format is None:
                asked = asked.with_options(format="markdown")  # not the user's default
        return self._with_new_cells(asked)

    def _with_new_cells(self, asked: Question) -> Question:
        """Return the question without `--insert`, and with a note, if new cells are impossible."""
        from dataclasses import replace

        if asked.options.insert and not (
            asked.options.sends_nothing or self._new_cells.are_taken()
        ):
            notes = (*asked.notes, "no new cell: that takes an interactive notebook")
            asked = replace(asked, notes=notes).with_options(insert=False)
        return asked

    def note(self, asked: Question, completion: Completion) -> str:
        """Offer the answer's code as a new cell; return what has been done."""
        if not asked.options.insert:
            return ""
        from mixmagic.magics._shell import fix
        from mixmagic.magics._shell.insert import code_cells

        cells = code_cells(completion)
        if failure := getattr(asked.own, "failure", None):
            cells = fix.fixed(cells, failure.cell)
        return self._new_cells.insert(cells)


def _chats(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    return session.chats.names or ("chat",)


def _templates(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    from mixmagic.prompting.templates import templates

    return templates(session.settings.templates)


def _tasks(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    from mixmagic.catalog.selection import TASKS

    return TASKS


def _formats(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    from mixmagic.display.formats import FORMATS

    return FORMATS


def _examples(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    def fits(value: object) -> bool:
        return isinstance(value, list | tuple | dict) or hasattr(type(value), "columns")

    return sorted(name for name, value in variables.items() if fits(value))


def _tables(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    """Return the variables with rows: frames and series first, then lists, then others."""
    from mixmagic.magics._shell.each import rank

    ranks = {name: rank(value) for name, value in variables.items()}
    return sorted(
        (name for name, found in ranks.items() if found), key=lambda name: (ranks[name], name)
    )


def _schemas(session: Session, variables: Mapping[str, Any]) -> Iterable[str]:
    from typing import get_origin

    def fits(value: object) -> bool:
        return issubclass(type(value), (dict, type)) or get_origin(value) is not None

    return sorted(name for name, value in variables.items() if fits(value))
