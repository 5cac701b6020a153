"""`%%mixtral` and `%mixtral`: send a prompt, show the answer."""

from __future__ import annotations

import keyword
import re
import textwrap
from dataclasses import replace
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

from mixmagic.errors import BadArguments, MixmagicError, Stopped
from mixmagic.magics import _fix, _insert, _options, _words
from mixmagic.magics._asking import Asking
from mixmagic.sessions import Session

PARSER = _options.parser()
_QUESTION = re.compile(r"(\s*)%mixtral\s+(.*\S\s*\?)\s*$")
_FIX = re.compile(r"fix\s*(?:$|:\s*(?P<wish>.*))", re.DOTALL)


def keep_question_marks(lines: list[str]) -> list[str]:
    """Let `%mixtral What is this?` ask: IPython takes a last question mark for a call for help."""
    if not lines or lines[0].startswith("%%"):
        return lines
    return [
        f"{question[1]}get_ipython().run_line_magic('mixtral', {question[2]!r})\n"
        if question
        else line
        for line, question in ((line, _QUESTION.match(line)) for line in lines)
    ]


@magics_class
class Mixtral(Magics):
    """The `%%mixtral` of one session."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell)
        self._session = session
        self._cells = _insert.Cells(shell, session)
        self._failures = _fix.Failures(shell)
        _words.offer(shell, session, PARSER)
        shell.input_transformers_cleanup.append(keep_question_marks)

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def mixtral(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> None:
        words, rest = PARSER.leading(line)
        options = vars(PARSER.parse_args(words))
        if cell is not None and rest:
            raise BadArguments(
                f"%%mixtral does not know what {rest!r:.60} means.",
                "The prompt goes below the %%mixtral line; a model is named with -m.",
            )
        names = {**self.shell.user_ns, **(local_ns or {})} if self.shell else {}
        out, form, schema = _checked(options, names)
        insert, program, dry = (options.pop(name) for name in ("insert", "as", "dry_run"))
        prompt, fixing = rest if cell is None else cell, None
        if cell is None and (fixing := _FIX.match(rest)):
            redact = self._session.backends.access.redact
            prompt = self._failures.last().prompt(fixing["wish"] or "", redact)
            options |= {"raw": True, "system": options["system"] or _fix.INSTRUCTIONS}
        from mixmagic.magics._chats import cell_id

        asking = Asking(self._session, names, cell_id(self.shell))
        try:
            request = asking.request(options, prompt, form.instruction)
        except KeyboardInterrupt:  # in an expression, or while tokens were counted
            raise Stopped(sent=False) from None
        if program is not None:
            from mixmagic.tasks.programs import program as written

            print(written(_with_schema(request, schema), program))
            return
        if dry:
            self._plan(_with_schema(request, schema), out)
            return
        completion: Any = None
        try:
            completion, value = self._shown(asking, request, form, schema, cell is not None)
        except Stopped as stopped:
            completion = value = stopped.completion
            raise
        except MixmagicError as error:
            completion = value = error.partial
            raise
        finally:
            if completion is not None:
                self._keep(out, value, completion)
                asking.remember(completion)
        if insert or fixing:
            found = _insert.cells(_insert.blocks(completion))
            print(self._cells.insert(_fix.mended(found) if fixing else found))

    mixtral.__doc__ = textwrap.dedent(PARSER.format_help())

    def _shown(
        self, asking: Asking, request: Any, form: Any, schema: Any, owns_cell: bool
    ) -> tuple[Any, Any]:
        """The answer, shown as it comes, and what `-o` binds of it."""
        from mixmagic.completion import stopped_with
        from mixmagic.display.live import show
        from mixmagic.display.screens import screen

        live = self._session.settings.live
        place = screen(self.shell, live=live, owns_cell=owns_cell, form=form)
        if schema is None:
            completion = show(self._session, request, place, asking.notes)
            try:
                completion = form.finished(completion)
            except KeyboardInterrupt:
                raise stopped_with(completion) from None
            return completion, completion if completion.value is None else completion.value
        from mixmagic.display.rounds import Rounds
        from mixmagic.tasks.structured import ask_structured

        rounds = Rounds(place)
        last: Any = None
        try:
            found = ask_structured(
                lambda asked: show(self._session, asked, rounds, asking.notes), request, schema
            )
            last = found.completion
        except Stopped as stopped:
            last = stopped.completion
            raise
        except MixmagicError as error:
            last = error.partial
            raise
        finally:
            rounds.release(last)
        return found.completion, found.instance

    def _plan(self, request: Any, out: str | None) -> None:
        """Show what the call would cost."""
        from IPython.display import display

        from mixmagic.display.budget import plan_table

        plan = self._session.plan(request)
        display(plan_table(plan))
        if out is not None and self.shell is not None:
            self.shell.user_ns[out] = plan

    def _keep(self, out: str | None, value: object, completion: object) -> None:
        """Bind the answer as a result is bound: to `_`, to `Out[n]`, and where `-o` says."""
        if self.shell is None:
            return
        if self.shell.displayhook is not None:
            self.shell.displayhook.update_user_ns(completion)
        if out is not None:
            self.shell.user_ns[out] = value


def _with_schema(request: Any, schema: Any) -> Any:
    """The request, as it is sent where its answer is to have a form."""
    from mixmagic.tasks.structured import asking

    return request if schema is None else asking(request, schema)


def _checked(options: dict[str, Any], names: dict[str, Any]) -> tuple[str | None, Any, Any]:
    """The variable, the format and the schema that are named, taken from `options`.

    Raises:
        BadArguments: One that makes no sense.
    """
    from mixmagic.display.formats import FORMATS

    out, name, source = (options.pop(each) for each in ("out", "format", "schema"))
    options["stream"] = not options.pop("no_stream")
    if out is not None and (not out.isidentifier() or keyword.iskeyword(out)):
        raise BadArguments(f"-o cannot be {out!r}.", "It takes a variable's name.")
    if name is not None and name not in FORMATS:
        raise BadArguments(
            f"There is no format {name!r:.40}.", f"Formats are {', '.join(FORMATS)}."
        )
    if source is None:
        return out, FORMATS[name or "markdown"], None
    from mixmagic.tasks.prompts import names_near
    from mixmagic.tasks.schemas import Schema

    if name is not None:
        raise BadArguments("-f and --schema exclude each other.", "A schema's answer is JSON.")
    if source not in names:
        near = names_near(source, names)
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise BadArguments(
            f"There is no variable {source!r:.60}.",
            f"{meant}--schema takes the name of a schema of the notebook.",
        )
    schema = Schema.of(names[source], source)
    return out, replace(FORMATS["json"], instruction=""), schema  # the schema has its own
