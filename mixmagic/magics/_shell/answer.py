"""From the options and the text of a `%%mixtral` cell to a request. For `magics.mixtral`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mixmagic.core.sealed import sealed
from mixmagic.errors import BadArguments, UnknownModel
from mixmagic.sessions import Session

if TYPE_CHECKING:  # imported when a cell runs: `%load_ext` stays light
    from pathlib import Path

    from mixmagic.calls.completion import Completion
    from mixmagic.core.values import Model, Request
    from mixmagic.structured.schema import Schema
    from mixmagic.tasks.chats import Cell, Exchange


@dataclass
class Asking:
    """A cell on its way to a request.

    Args:
        session: Who asks.
        names: The notebook's namespace.
        cell: The cell's identity, where it continues a conversation.

    Attributes:
        notes: What the footer is to say of it.
        chat: The conversation that it continues, if any.
        question: The prompt, as it is sent.
    """

    session: Session
    names: Mapping[str, Any]
    cell: Cell | None = None
    notes: list[str] = field(default_factory=list)
    chat: str | None = None
    question: str = ""

    def request(
        self, options: dict[str, Any], prompt: str, told: str = "", schema: Schema | None = None
    ) -> Request:
        """The request of a cell.

        Args:
            options: The cell's, without those of the display.
            prompt: Its text.
            told: What its format tells the model.
            schema: What its answer is to be: values leave room for it, who asks adds it.

        Raises:
            MixmagicError: An option, an expression or a template that makes no sense.
        """
        raw, name, system = (options.pop(each) for each in ("raw", "template", "system"))
        self.chat = options.pop("chat")
        template = None
        if name is not None:
            from mixmagic.prompting.templates import Template

            folder = self.session.settings.templates
            template, file = Template.load(folder, name), folder / f"{name}.md"
            if options["model"] is None and template.model is not None:
                with _told_of(file):
                    self.session.choose(template.model)
            options = template.under(options)
        own = options.pop("system", None)
        beside = [told] if schema is None else [told, json.dumps(schema.json)]
        if not raw:
            system, prompt = self._expanded(options, [system or "", prompt], beside)
        if template is not None:
            cell = prompt
            beside.append(cell)
            with _told_of(file):
                if not system and own is not None:
                    (system,) = self._expanded(options, [own], beside, cell=cell)
                beside.append(system or "")
                prompt = template.prompt(
                    cell, lambda body: self._expanded(options, [body], beside, cell=cell)[0]
                )
        task, budget = options.pop("task", None), options.pop("budget", None)
        options["system"] = "\n\n".join(filter(None, (system, told)))
        if task is not None and options.get("temperature") is None:
            from mixmagic.catalog import selection

            options["temperature"] = selection.task(task).temperature
        self.question = prompt
        if self.chat is not None:
            self.notes.append(f"conversation {self.chat}")
        earlier = () if self.chat is None else self.session.chats.before(self.chat, self.cell)
        request = self.session.request(prompt, budget=budget, **options)
        request.control.urgent = True
        if task is not None and self._open(options):
            request = self._chosen(request, task, earlier)
        return self._continued(request, earlier) if earlier else request

    def remember(self, completion: Completion | None) -> None:
        """Keep the exchange in its conversation, if it is in one."""
        if self.chat is not None and completion is not None:
            self.session.chats.add(self.chat, self.cell, self.question, completion)

    def _open(self, options: Mapping[str, Any]) -> bool:
        """Whether nobody has named a model, so that a task may choose it."""
        from mixmagic.core.settings import MODEL

        return options.get("model") is None and self.session.model == MODEL

    def _widest(self, options: Mapping[str, Any]) -> Model:
        """The model in whose context values must have room: of a task's, the largest."""
        own = self.session.choose(options.get("model")).model
        task = options.get("task")
        if task is None or not self._open(options):
            return own
        from mixmagic.catalog.selection import choose

        return choose(task, sys.maxsize, self.session.catalog, self.session.keys, own).model

    def _expanded(
        self, options: Mapping[str, Any], texts: list[str], beside: list[str], **more: Any
    ) -> list[str]:
        """Texts with the values of their expressions; keys among the values are taken out.

        Args:
            options: The call's.
            texts: Such as its system text and its prompt.
            beside: What else is sent with them.
            more: Names besides the notebook's.
        """
        if not any("{{" in text for text in texts):
            return texts
        from mixmagic.calls import tokens
        from mixmagic.prompting.interpolate import expand, values_limit

        model = self._widest(options)
        names = {**self.names, **more}

        def count(text: str) -> int:
            return tokens.count_text(text, model).tokens

        answer = options.get("max_tokens")
        limit = values_limit([*texts, *beside], context=model.context, answer=answer, count=count)
        access = self.session.backends.access
        access.find(model.provider)  # so that its key is known, if the keyring has it

        def redacted() -> list[list[str]]:
            found = expand(texts, _evaluator(names), names=names, limit=limit, count=count)
            return [access.redact([each.text, *each.notes]) for each in found]

        try:
            with sealed(access.redact):
                shown = redacted()
        except BadArguments as error:
            raise BadArguments(*access.redact([error.message, error.hint])) from None
        self.notes += [note for _, *notes in shown for note in notes]
        return [text for text, *_ in shown]

    def _chosen(self, request: Request, task: str, earlier: tuple[Exchange, ...]) -> Request:
        """The request to the model that suits a task."""
        from mixmagic.calls import tokens
        from mixmagic.catalog import selection
        from mixmagic.tasks.chats import RESERVE

        turns = [turn for each in earlier for turn in each.messages]
        prompt = tokens.count([*turns, *request.messages], request.model).tokens
        choice = selection.choose(
            task,
            prompt + request.params.get("max_tokens", RESERVE),
            self.session.catalog,
            self.session.keys,
            request.model,
        )
        control = replace(request.control, notes=(choice.reason,))
        return replace(request, model=choice.model, control=control)

    def _continued(self, request: Request, earlier: tuple[Exchange, ...]) -> Request:
        """The request behind as much of its conversation as its context has room for."""
        from mixmagic.tasks.chats import left_out, room_for, trimmed

        messages, dropped = trimmed(
            earlier,
            request.messages,
            room_for(request.model, request.params.get("max_tokens")),
            lambda some: self.session.backends.count(some, request.model).tokens,
        )
        if dropped:
            self.notes.append(left_out(dropped))
        return replace(request, messages=messages)


@contextmanager
def _told_of(file: Path) -> Iterator[None]:
    """Name the template's file in what is wrong with it."""
    try:
        yield
    except (BadArguments, UnknownModel) as error:
        raise type(error)(f"{file}: {error.message}", error.hint) from None


def _evaluator(names: dict[str, Any]) -> Callable[[str], Any]:
    """Evaluates an expression among the notebook's names."""
    return lambda source: eval(source, names)  # noqa: S307  # it is the user's own cell
