"""`%%mixtral` and `%mixtral`: send a prompt, show the answer."""

from __future__ import annotations

import keyword
import re
import textwrap
from dataclasses import replace
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from mixmagic.commands._parser import refuse_keys
from mixmagic.core.terminal import write
from mixmagic.errors import BadArguments, MixmagicError, Stopped, did_you_mean
from mixmagic.magics._shell import fix
from mixmagic.magics._shell import insert as _insert
from mixmagic.magics._shell import names as _calls
from mixmagic.magics._shell import options as _options
from mixmagic.magics._shell import words as _words
from mixmagic.magics._shell.answer import Asking
from mixmagic.sessions import Session

PARSER = _options.parser()
_PARAMETERS = ("temperature", "max_tokens", "top_p", "seed", "stop", "n", "logprobs")
_FIX = re.compile(r"fix\s*(?:$|:\s*(?P<wish>.*))", re.DOTALL)


@magics_class
class Mixtral(Magics):
    """The `%%mixtral` of one session."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        super().__init__(shell)
        self._session = session
        self._cells = _insert.Cells(shell, session)
        self._failures = fix.Failures(shell)
        _words.offer(shell, session, PARSER)
        _calls.install(shell)

    @no_var_expand
    @line_cell_magic
    def mixtral(self, line: str, cell: str | None = None) -> Any:
        words, rest = PARSER.leading(line)
        if not {"-h", "--help"}.isdisjoint(words):
            print(PARSER.format_help())
            return None
        options = vars(PARSER.parse_args(words))
        if cell is not None and rest:
            refuse_keys(rest)
            raise BadArguments(
                f"%%mixtral does not know what {rest!r:.60} means.",
                "The prompt goes below the %%mixtral line; a model is named with -m.",
            )
        names = {**self.shell.user_ns, **_calls.scope()} if self.shell else {}
        out, form, schema = _checked(options, names)
        insert, program, dry = (options.pop(name) for name in ("insert", "as", "dry_run"))
        prompt = rest if cell is None else cell
        failure: fix.Failure | None = None
        if cell is None and (fixing := _FIX.match(rest)):
            failure = self._failures.last()
            prompt = failure.prompt(fixing["wish"] or "", self._session.backends.access.redact)
            options |= {"raw": True, "system": options["system"] or fix.INSTRUCTIONS}
        from mixmagic.commands.chats import cell_id

        asking = Asking(self._session, names, cell_id(self.shell))
        try:
            request = asking.request(options, prompt, form.instruction, schema)
        except KeyboardInterrupt:  # in an expression, or while tokens were counted
            raise Stopped(sent=False) from None
        if program is not None or dry:
            return self._unsent(_with_schema(request, schema), program, out)
        insert = insert or failure is not None
        if insert and not (insert := self._cells.taken()):
            asking.notes.append(_insert.NOBODY)
        completion: Any = None
        try:
            completion, value = self._shown(asking, request, form, schema)
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
        if insert:
            found = _insert.cells(_insert.blocks(completion))
            done = self._cells.insert(fix.mended(found, failure.cell) if failure else found)
            write(f"{done}\n")
        return completion

    mixtral.__doc__ = textwrap.dedent(PARSER.format_help())

    def _shown(self, asking: Asking, request: Any, form: Any, schema: Any) -> tuple[Any, Any]:
        """The answer, shown as it comes, and what `-o` binds of it."""
        from mixmagic.calls.collector import stopped_with
        from mixmagic.display.live import show
        from mixmagic.display.renderers import renderer

        place = renderer(self.shell, live=self._session.settings.live, form=form)
        if schema is None:
            completion = show(self._session, request, place, asking.notes)
            try:
                completion = form.finished(completion)
            except KeyboardInterrupt:
                raise stopped_with(completion) from None
            return completion, completion if form.parse is None else completion.value
        from mixmagic.display.live import AttemptsRenderer
        from mixmagic.structured.attempts import ask_structured

        attempts = AttemptsRenderer(place, schema)
        last: Any = None
        try:
            found = ask_structured(
                lambda asked: show(self._session, asked, attempts, asking.notes), request, schema
            )
            last = found.completion
        except Stopped as stopped:
            last = stopped.completion
            raise
        except MixmagicError as error:
            last = error.partial
            raise
        finally:
            attempts.release(last)
        return found.completion, found.instance

    def _unsent(self, request: Any, program: str | None, out: str | None) -> Any:
        """Show a request as a program, or what it would cost, and return that."""
        request = self._session.resolved(request)
        if program is not None:
            from mixmagic.tasks.export import program as written

            code = self._session.backends.access.redact(written(request, program))
            write(f"{code}\n")
            return code
        from IPython.display import display

        from mixmagic.display.budget import plan_table

        plan = self._session.plan(request)
        display(plan_table(plan))
        if out is not None and self.shell is not None:
            self.shell.user_ns[out] = plan
        return plan

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
    from mixmagic.structured.attempts import with_schema

    return request if schema is None else with_schema(request, schema)


def _checked(options: dict[str, Any], names: dict[str, Any]) -> tuple[str | None, Any, Any]:
    """The variable, the format and the schema that are named, taken from `options`.

    Raises:
        BadArguments: An option that makes no sense, whichever: before any expression is evaluated.
    """
    from mixmagic.core.params import check
    from mixmagic.display.formats import FORMATS

    check({each: options[each] for each in _PARAMETERS})
    if options["task"] is not None:
        from mixmagic.catalog.selection import task_preset

        task_preset(options["task"])
    if options["budget"] is not None:
        from mixmagic.core.money import parse_dollars

        parse_dollars(options["budget"])
    if options["as"] is not None:
        from mixmagic.tasks import export

        export.check(options["as"])
        if options["out"] is not None or options["insert"]:
            raise BadArguments(
                "--as prints a program and sends nothing: there is no answer for -o or -i.",
                "Leave them out, or leave --as out.",
            )
    out, name, source = (options.pop(each) for each in ("out", "format", "schema"))
    options["stream"] = not options.pop("no_stream")
    if out is not None and (not out.isidentifier() or keyword.iskeyword(out)):
        raise BadArguments(f"-o cannot be {out!r}.", "It takes a variable's name.")
    if name is not None and name not in FORMATS:
        raise BadArguments(
            f"There is no format {name!r:.40}.",
            f"{did_you_mean(name, FORMATS)}Formats are {', '.join(FORMATS)}.",
        )
    if source is None:
        return out, FORMATS[name or "markdown"], None
    from mixmagic.prompting.interpolate import similar_variables
    from mixmagic.structured.schema import Schema

    if name is not None:
        raise BadArguments("-f and --schema exclude each other.", "A schema's answer is JSON.")
    if source not in names:
        raise BadArguments(
            f"There is no variable {source!r:.60}.",
            f"{similar_variables(source, names)}--schema takes the name of a variable.",
        )
    schema = Schema.of(names[source], source)
    return out, replace(FORMATS["json"], instruction=""), schema  # the schema has its own
