"""The steps of a magic that asks a model: parse, build, then export or plan or ask, and keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixmagic.commands._parser import HelpAsked
from mixmagic.core.terminal import write
from mixmagic.errors import MixmagicError, Stopped
from mixmagic.magics._shell import calling
from mixmagic.magics._shell.options import Options, Question, check
from mixmagic.magics._shell.request import RequestBuilder

if TYPE_CHECKING:
    from mixmagic.core.values import Request
    from mixmagic.display.formats import Format
    from mixmagic.magics._shell.model_magics import ModelMagics
    from mixmagic.sessions import Session
    from mixmagic.structured.schema import Schema


def run(magic: ModelMagics, line: str, cell: str | None) -> Any:
    """Run a magic: see `ModelMagics.answer`."""
    session, shell = magic.session, magic.shell
    try:
        question = magic.question(Question.parse(magic.parser(), line, cell))
    except HelpAsked as help_asked:
        write(f"{help_asked}\n")
        return None
    options = question.options
    names = {**(shell.user_ns if shell else {}), **calling.scope()}
    form, schema = check(options, names)
    builder = RequestBuilder(session, names, question, calling.cell_id(shell))
    try:
        request = builder.build(form.instruction, schema)
    except KeyboardInterrupt:  # in an expression, or while tokens were counted
        raise Stopped(sent=False) from None
    if options.program is not None:
        return _export(session, _as_sent(session, request, schema), options.program)
    if options.dry_run:
        return _plan(magic, _as_sent(session, request, schema), options.out)
    completion: Any = None
    try:
        completion, value = _ask(magic, request, builder.notes, form, schema)
    except Stopped as stopped:
        completion = value = stopped.completion
        raise
    except MixmagicError as error:
        completion = value = error.partial
        raise
    finally:
        if completion is not None:
            _keep(shell, options, completion, value)
            builder.remember(completion)
    magic.answered(question, completion)
    return completion


def _as_sent(session: Session, request: Request, schema: Schema | None) -> Request:
    """Return the request as it would be sent now."""
    from mixmagic.structured.attempts import with_schema

    return session.resolved(request if schema is None else with_schema(request, schema))


def _export(session: Session, request: Request, program: str) -> str:
    """Print a request as a program, without keys; return it."""
    from mixmagic.tasks import export

    code = session.backends.access.redact(export.program(request, program))
    write(f"{code}\n")
    return code


def _plan(magic: ModelMagics, request: Request, out: str | None) -> Any:
    """Show what a request would cost; return that."""
    from IPython.display import display

    from mixmagic.display.budget import plan_table

    plan = magic.session.plan(request)
    display(plan_table(plan))
    if out is not None and magic.shell is not None:
        magic.shell.user_ns[out] = plan
    return plan


def _ask(
    magic: ModelMagics, request: Request, notes: list[str], form: Format, schema: Schema | None
) -> tuple[Any, Any]:
    """Show the answer as it arrives; return it, and the value for `-o`."""
    from mixmagic.calls.collector import stopped_with
    from mixmagic.display.live import show
    from mixmagic.display.renderers import renderer

    session = magic.session
    view = renderer(magic.shell, live=session.settings.live, form=form)
    if schema is None:
        completion = show(session, request, view, notes)
        try:
            completion = form.finished(completion)
        except KeyboardInterrupt:
            raise stopped_with(completion) from None
        return completion, completion if form.parse is None else completion.value
    from mixmagic.display.live import AttemptsRenderer
    from mixmagic.structured.attempts import ask_structured

    attempts = AttemptsRenderer(view, schema)
    last: Any = None
    try:
        answer = ask_structured(
            lambda asked: show(session, asked, attempts, notes), request, schema
        )
        last = answer.completion
    except Stopped as stopped:
        last = stopped.completion
        raise
    except MixmagicError as error:
        last = error.partial
        raise
    finally:
        attempts.release(last)
    return answer.completion, answer.instance


def _keep(shell: Any, options: Options, completion: object, value: object) -> None:
    """Bind the answer to `_` and `Out[n]`, and its value to the variable of `-o`."""
    if shell is None:
        return
    if shell.displayhook is not None:
        shell.displayhook.update_user_ns(completion)
    if options.out is not None:
        shell.user_ns[options.out] = value
