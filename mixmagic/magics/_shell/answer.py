"""The steps of a magic that asks a model: parse, build, then export or plan or ask, and keep."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mixmagic.commands._parser import HelpAsked
from mixmagic.core.sealed import sealed
from mixmagic.core.settings import PARAMETERS
from mixmagic.core.terminal import wrapped, write
from mixmagic.core.values import Message, Part
from mixmagic.display.renderers import renderer, updates_are_seen
from mixmagic.errors import BadArguments, MixmagicError, Stopped, UnknownModel, counted, received
from mixmagic.magics._shell import background, calling, each
from mixmagic.magics._shell.failures import LastError
from mixmagic.magics._shell.options import Question, Sent, check
from mixmagic.prompting.marks import Marks

if TYPE_CHECKING:
    from pathlib import Path

    from mixmagic.calls.completion import Completion
    from mixmagic.core.values import Request
    from mixmagic.display.formats import Format
    from mixmagic.display.renderers import Renderer
    from mixmagic.magics._shell.model_magics import ModelMagics
    from mixmagic.prompting.templates import Template
    from mixmagic.sessions import Session
    from mixmagic.structured.schema import Schema
    from mixmagic.tasks.chats import Cell, Exchange


def run_magic(magic: ModelMagics, line: str, cell: str | None) -> Any:
    """Run a magic: see `ModelMagics.answer`."""
    session, shell = magic.session, magic.shell
    try:
        question = magic.question(Question.parse(magic.parser(), line, cell))
    except HelpAsked as help_asked:
        write(f"{wrapped(str(help_asked))}\n")
        return None
    if each.is_asked(question):
        return each.run(magic, question)
    asked, question = question, _with_default_format(question, session)
    options = question.options
    names = {**(shell.user_ns if shell else {}), **calling.scope()}
    wanted = form, _ = check(options, names)
    names.setdefault("error", LastError(magic.failures, session.backends.access.redact))
    builder = RequestBuilder(session, names, question, wanted, calling.cell_id(shell))
    view = renderer(shell, live=session.settings.live, form=form)
    in_front = not options.bg or not updates_are_seen(shell, view)
    magic.last = asked  # also if it cannot be built
    try:
        builder.expand()
        if in_front or options.sends_nothing:
            background.wait_in_front(session, options.chat, view)
        request = builder.request()
    except KeyboardInterrupt:  # in an expression, or while tokens were counted
        raise Stopped(sent=False) from None
    sent = magic.last = builder.sent(asked)
    if options.program is not None:
        return _export(session, _as_sent(session, request, builder.schema), options.program)
    if options.dry_run:
        return _plan(magic, _as_sent(session, request, builder.schema), builder.notes, options.out)

    note = partial(magic.note, question)

    def ask(request: Request, view: Renderer) -> tuple[Any, Any]:
        try:
            return _ask(magic, builder, request, view, note)
        finally:
            if magic.last is sent:  # no other cell has asked meanwhile
                magic.last = builder.sent(asked)

    if options.bg:
        bind = partial(keep, shell, options.out)
        front = view if in_front else None
        return background.run(magic, builder, request, ask, bind, front=front)
    completion, _ = ask(request, view)
    return completion


def _ask(
    magic: ModelMagics,
    builder: RequestBuilder,
    request: Request,
    view: Renderer,
    note: Callable[[Completion], str],
) -> tuple[Any, Any]:
    """Make the call, show it and keep its answer, also if it is partial; return it, and its value.

    The answer of a background cell is kept in its `BackgroundCall`. `note` returns a note for the
    footer of a complete answer.
    """
    from mixmagic.display.live import AttemptsRenderer, show, with_note

    session, notes, schema = magic.session, builder.notes, builder.schema
    completion: Any = None
    value: Any = None
    try:
        if schema is None:
            completion = _finished(builder.form, show(session, request, view, notes, note))
            value = completion if builder.form.parse is None else completion.value
        else:
            from mixmagic.structured.attempts import ask_structured

            with AttemptsRenderer(view, schema) as attempts:
                answer = ask_structured(
                    lambda asked: show(session, asked, attempts, notes), request, schema
                )
                completion = with_note(answer.completion, note(answer.completion))
                attempts.release(completion)
            value = answer.instance
    except (MixmagicError, Stopped) as error:
        completion = value = received(error)
        raise
    finally:
        if completion is not None:
            if not builder.options.bg:
                keep(magic.shell, builder.options.out, completion, value)
            builder.remember(completion)
    return completion, value


def _finished(form: Format, completion: Completion) -> Completion:
    """Return an answer with its value, which may take long to read."""
    from mixmagic.calls.collector import stopped_with

    try:
        return form.finished(completion)
    except KeyboardInterrupt:
        raise stopped_with(completion) from None


def _with_default_format(question: Question, session: Session) -> Question:
    """Return the question with the user's own format, if its options leave that open.

    Raises:
        BadArguments: A setting names a format that does not exist.
    """
    options = question.options
    name = session.defaults().get("format")
    if name is None or options.format is not None or options.schema is not None:
        return question
    from mixmagic.display.formats import format_named

    try:
        format_named(name)
    except BadArguments as error:
        message = f"{error.message} It comes from {session.origin('format')}."
        raise BadArguments(message, error.hint) from None
    return question.with_options(format=name)


def _as_sent(session: Session, request: Request, schema: Schema | None) -> Request:
    """Return the request as it would be sent now."""
    from mixmagic.structured.attempts import with_schema

    return session.resolved(request if schema is None else with_schema(request, schema))


def _export(session: Session, request: Request, program: str) -> str:
    """Print a request as a program, without keys; return it. Write the images that it reads."""
    from mixmagic.tasks import export

    export.write_images(request)
    code = session.backends.access.redact(export.program(request, program))
    write(f"{code}\n")
    return code


def _plan(magic: ModelMagics, request: Request, notes: list[str], out: str | None) -> Any:
    """Show what a request would cost; return that."""
    from IPython.display import display

    from mixmagic.display.budget import plan_table

    plan = magic.session.plan(request)
    table = plan_table(plan)
    table.caption = "\n".join(filter(None, [" · ".join(notes), table.caption]))
    display(table)
    if out is not None and magic.shell is not None:
        magic.shell.user_ns[out] = plan
    return plan


def keep(shell: Any, out: str | None, answer: object, value: object) -> None:
    """Bind an answer, a job or a preview to `_` and `Out[n]`, and its value to the variable `out`.

    Nothing is bound outside of IPython, and `out` is left out if it is `None`.
    """
    if shell is None:
        return
    if shell.displayhook is not None:
        shell.displayhook.update_user_ns(answer)
    if out is not None:
        shell.user_ns[out] = value


class RequestBuilder:
    """Builds the request of one cell: `expand` first, then `request`, which may be repeated.

    Attributes:
        options: The cell's options.
        form: The form of the answer.
        schema: The answer's schema, if any.
        cell: The identity of the cell; `None` if unknown.
    """

    def __init__(
        self,
        session: Session,
        names: Mapping[str, Any],
        question: Question,
        wanted: tuple[Format, Schema | None],
        cell: Cell | None = None,
    ) -> None:
        self.form, self.schema = wanted
        self.options, self.cell = question.options, cell
        self._notes = list(question.notes)
        self._omitted = ""  # the note on the exchanges that the last request leaves out
        self._session, self._names, self._before = session, names, question.sent
        self._scope = session.player.scope
        self._exchange: Exchange | None = None
        self._own_system: str | None = None  # as sent
        if self._before is not None:
            self.cell = self._before.cell or cell
            self._exchange = self._before.exchange
        self._prompt: str | tuple[Part, ...] = question.prompt
        self._marks = Marks()
        self._examples: tuple[Message, ...] = ()
        self._model, self._task = self.options.model, self.options.task
        usual = session.defaults()
        self._system = str(usual.get("system", ""))  # of calls without one
        self._usual = {name: usual[name] for name in usual.keys() & set(PARAMETERS)}
        self._of_template = {} if self._before is None else self._before.params
        self._params = {**self._usual, **self._of_template, **self.options.parameters}

    @property
    def notes(self) -> list[str]:
        """Notes for the footer."""
        return [*self._notes, *filter(None, [self._omitted])]

    def expand(self) -> None:
        """Evaluate the expressions of the cell, once and in its own thread.

        Values leave room for the schema, which is added by the caller.

        Raises:
            MixmagicError: An expression fails, or a template is wrong.
        """
        instruction, schema = self.form.instruction, self.schema
        options, template = self.options, self._template()
        if options.system is not None or (template is not None and template.system is not None):
            self._system = ""
        system, prompt = options.system or "", str(self._prompt) if self._before is None else ""
        beside = [instruction, self._system]
        beside += [] if schema is None else [json.dumps(schema.json)]
        self._examples = self._read_examples()  # before any expression is evaluated
        beside += [message.text for message in self._examples]
        if not options.raw:
            system, prompt = self._expanded([system, prompt], beside)
        if template is not None:
            system, prompt = self._filled(template, system, prompt, beside)
        if self._marks.images(system):
            raise BadArguments(
                "A system prompt cannot contain an image: providers refuse it.",
                "Insert the image into the prompt, below the %%mixtral line.",
            )
        if options.system is not None or (template is not None and template.system is not None):
            self._own_system = system
        self._prompt = self._marks.content(prompt) if self._before is None else self._before.content
        self._system = "\n\n".join(filter(None, (system or self._system, instruction)))
        if options.chat is not None:
            self._notes.append(f"conversation {options.chat}")

    def request(self) -> Request:
        """Return the request, which continues its conversation as it is now.

        Raises:
            MixmagicError: A parameter is invalid, or the model is unknown.
        """
        options, earlier, self._omitted = self.options, self._earlier(), ""
        turns = [turn for exchange in earlier for turn in exchange.messages]
        request = self._session.request(
            [*self._examples, *turns, Message("user", self._prompt)],
            model=self._model,
            task=self._task,
            system=self._system,
            stream=not options.no_stream,
            budget=options.budget,
            cache=options.cache,
            **self._params,
        )
        request.control.urgent = True
        request.control.scope = self._scope
        if options.format is not None and self.schema is None:
            from mixmagic.structured.grammar import with_format

            request = with_format(request, options.format)
        return self._continued(request, earlier) if earlier else request

    def for_rows(self) -> tuple[str, dict[str, Any]]:
        """Return the prompt about rows, with its expressions, and the parameters of its calls.

        Raises:
            MixmagicError: An expression of the system prompt fails, or a template is wrong.
        """
        prompt, system = str(self._prompt).strip("\n"), self.options.system
        if (template := self._template()) is not None:
            prompt = template.prompt(prompt)
            system = template.system if system is None else system
        if system is not None:
            (system,) = self._expanded([system], [prompt])
        params = {**self._params, "model": self._model, "task": self._task, "system": system}
        return prompt, {**params, "budget": self.options.budget}

    def remember(self, completion: Completion) -> None:
        """Add the exchange to its conversation, if it is in one."""
        if (chat := self.options.chat) is not None:
            added = self._session.chats.add(
                chat, self.cell, self._prompt, completion, instead_of=self._exchange
            )
            self._exchange = added or self._exchange

    def sent(self, asked: Question) -> Question:
        """Return a question as it was sent, so that it can be sent again."""
        changes = {"model": self._model, "task": self._task, "template": None, "raw": True}
        if self._own_system is not None:
            changes["system"] = self._own_system
        sent = Sent(self._prompt, self._of_template, self.cell, self._exchange, self._examples)
        return replace(asked.with_options(**changes), sent=sent)

    def _read_examples(self) -> tuple[Message, ...]:
        """Return the examples that go before the prompt, without the keys in them."""
        if self.options.examples is None:
            examples = () if self._before is None else self._before.examples
            self._notes += [counted(len(examples) // 2, "example")] if examples else []
            return examples
        from mixmagic.calls.tokens import high_estimate_prompt
        from mixmagic.prompting.examples import messages, pairs
        from mixmagic.prompting.interpolate import similar_variables

        name, names = self.options.examples, self._names
        if name not in names:
            hint = f"{similar_variables(name, names)}--examples takes the name of a variable."
            raise BadArguments(f"There is no variable {name!r:.60}.", hint)
        redact, context = self._session.backends.access.redact, self._context()
        limit = None if context is None else context // 2
        shown = redact([list(pair) for pair in pairs(names[name], name)])
        examples, note = messages(shown, limit, high_estimate_prompt)
        self._notes.append(note)
        return examples

    def _template(self) -> Template | None:
        """Read the template, if one is named; it sets what the options leave open."""
        if (name := self.options.template) is None:
            return None
        from mixmagic.prompting.templates import Template

        folder = self._session.settings.templates
        template = Template.load(folder, name)
        if self._model is None and template.model is not None:
            with _naming(template, folder):
                self._session.named(template.model)
            self._model = template.model
        self._task = self._task or template.task
        self._of_template = template.params
        self._params = {**self._usual, **template.params, **self.options.parameters}
        return template

    def _filled(
        self, template: Template, system: str, prompt: str, beside: list[str]
    ) -> tuple[str, str]:
        """Insert the cell into a template; return the system prompt and the prompt."""
        cell, text = prompt, self._marks.without(prompt)
        with _naming(template, self._session.settings.templates):
            if self.options.system is None and template.system is not None:
                (system,) = self._expanded([template.system], [*beside, cell], cell=text)
            around = [*beside, cell, system]
            prompt = template.prompt(
                cell, lambda body: self._expanded([body], around, cell=text)[0]
            )
        return system, prompt

    def _context(self) -> int | None:
        """Return the context that values must fit into: of a task's models, the longest."""
        name, _ = self._session.asked_name(self._model, task=self._task, tokens=sys.maxsize)
        return self._session.named(name).context

    def _expanded(self, texts: list[str], beside: list[str], **more: Any) -> list[str]:
        """Replace the expressions of texts by their values, without the keys among them.

        Args:
            texts: Texts, such as the system prompt and the prompt.
            beside: Other texts of the request, for which the values must leave room.
            more: More variables.
        """
        if not any("{{" in text for text in texts):
            return texts
        from mixmagic.calls.tokens import high_estimate as count
        from mixmagic.prompting.interpolate import expand, values_limit

        names = {**self._names, **more}
        answer, context = self._params.get("max_tokens"), self._context()
        limit = values_limit([*texts, *beside], context=context, answer=answer, count=count)
        access = self._session.backends.access
        # A key that is in the keyring alone is known, and kept out of values, once it is read.
        if not self._session.player.replays_alone(self._session.settings):
            name, _ = self._session.asked_name(self._model, task=self._task)
            access.find(self._session.select(name).model.provider)

        def redacted() -> list[list[str]]:
            expanded = expand(
                texts, _evaluator(names), names=names, limit=limit, count=count, marks=self._marks
            )
            return [access.redact([prompt.text, *prompt.notes]) for prompt in expanded]

        try:
            with sealed(access.redact):
                shown = redacted()
        except BadArguments as error:
            raise BadArguments(*access.redact([error.message, error.hint])) from None
        self._notes += [note for _, *notes in shown for note in notes]
        return [text for text, *_ in shown]

    def _earlier(self) -> tuple[Exchange, ...]:
        """Return the conversation before this cell."""
        if self.options.chat is None:
            return ()
        if self._exchange is not None:
            return self._session.chats.before_exchange(self.options.chat, self._exchange)
        return self._session.chats.before(self.options.chat, self.cell)

    def _continued(self, request: Request, earlier: tuple[Exchange, ...]) -> Request:
        """Return the request with as much of its conversation as fits into the context."""
        from mixmagic.calls.tokens import high_estimate_prompt
        from mixmagic.tasks.chats import prompt_limit, trim, trim_note
        from mixmagic.tasks.question import with_messages

        system = [message for message in request.messages if message.role == "system"]
        before = [*system, *self._examples]
        messages, dropped = trim(
            earlier,
            request.messages[-1:],
            prompt_limit(request.model, request.params.get("max_tokens")),
            lambda messages: high_estimate_prompt([*before, *messages]),
        )
        if dropped:
            self._omitted = trim_note(dropped)
        return with_messages(request, (*before, *messages))


@contextmanager
def _naming(template: Template, folder: Path) -> Iterator[None]:
    """Name the template's file in errors about it."""
    try:
        yield
    except (BadArguments, UnknownModel) as error:
        file = folder / f"{template.name}.md"
        raise type(error)(f"{file}: {error.message}", error.hint) from None


def _evaluator(names: dict[str, Any]) -> Callable[[str], Any]:
    """Return a function that evaluates an expression, given its variables."""
    return lambda source: eval(source, names)  # noqa: S307  # the user's own code
