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
    from mixmagic.core.values import Request
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
                    self.session.catalog.resolve(template.model)
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
        options["system"] = "\n\n".join(filter(None, (system, told)))
        self.question = prompt
        if self.chat is not None:
            self.notes.append(f"conversation {self.chat}")
        from mixmagic.core.values import Message

        earlier = () if self.chat is None else self.session.chats.before(self.chat, self.cell)
        turns = [turn for each in earlier for turn in each.messages]
        request = self.session.request([*turns, Message("user", prompt)], **options)
        request.control.urgent = True
        return self._continued(request, earlier) if earlier else request

    def remember(self, completion: Completion | None) -> None:
        """Keep the exchange in its conversation, if it is in one."""
        if self.chat is not None and completion is not None:
            self.session.chats.add(self.chat, self.cell, self.question, completion)

    def _context(self, options: Mapping[str, Any]) -> int | None:
        """Return the context that values must fit into: of a task's models, the longest."""
        name, _ = self.session.asked_name(
            options.get("model"), task=options.get("task"), tokens=sys.maxsize
        )
        return self.session.catalog.resolve(name).context

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
        from mixmagic.calls.tokens import high_estimate as count
        from mixmagic.prompting.interpolate import expand, values_limit

        names = {**self.names, **more}
        answer, context = options.get("max_tokens"), self._context(options)
        limit = values_limit([*texts, *beside], context=context, answer=answer, count=count)
        access = self.session.backends.access

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

    def _continued(self, request: Request, earlier: tuple[Exchange, ...]) -> Request:
        """Return a request with as much of its conversation as the context has room for."""
        from mixmagic.calls.tokens import high_estimate_prompt
        from mixmagic.tasks.chats import left_out, room_for, trimmed

        system = [message for message in request.messages if message.role == "system"]
        messages, dropped = trimmed(
            earlier,
            [*system, request.messages[-1]],
            room_for(request.model, request.params.get("max_tokens")),
            high_estimate_prompt,
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
