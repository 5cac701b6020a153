"""From the options and the text of a `%%mixtral` cell to a request. For `magics.mixtral`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mixmagic.errors import BadArguments
from mixmagic.sessions import Session

if TYPE_CHECKING:  # imported when a cell runs: `%load_ext` stays light
    from mixmagic.completion import Completion
    from mixmagic.tasks.chats import Cell, Exchange
    from mixmagic.values import Request


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

    def request(self, options: dict[str, Any], prompt: str, told: str = "") -> Request:
        """The request of a cell.

        Args:
            options: The cell's, without those of the display.
            prompt: Its text.
            told: What its format tells the model.

        Raises:
            MixmagicError: An option, an expression or a template that makes no sense.
        """
        raw, name, system = (options.pop(each) for each in ("raw", "template", "system"))
        self.chat = options.pop("chat")
        template = None
        if name is not None:
            from mixmagic.tasks.templates import Template

            template = Template.load(self.session.settings.config_dir / "templates", name)
            options = template.under(options)
        own = options.pop("system", None)
        if not raw:
            system, prompt = self._expanded(options, [system or "", prompt])
        if template is not None:
            cell = prompt
            if not system and own is not None:
                (system,) = self._expanded(options, [own], cell=cell)
            prompt = template.prompt(
                cell, lambda body: self._expanded(options, [body], cell=cell)[0]
            )
        task, budget = options.pop("task", None), options.pop("budget", None)
        options["system"] = "\n\n".join(filter(None, (system, told)))
        if task is not None and options.get("temperature") is None:
            from mixmagic.tasks import choosing

            options["temperature"] = choosing.task(task).temperature
        self.question = prompt
        earlier = () if self.chat is None else self.session.chats.before(self.chat, self.cell)
        request = self.session.request(prompt, budget=budget, **options)
        if task is not None and options.get("model") is None:
            request = self._chosen(request, task, earlier)
        return self._continued(request, earlier) if earlier else request

    def remember(self, completion: Completion | None) -> None:
        """Keep the exchange in its conversation, if it is in one."""
        if self.chat is not None and completion is not None:
            self.session.chats.add(self.chat, self.cell, self.question, completion)

    def _expanded(self, options: Mapping[str, Any], texts: list[str], **more: Any) -> list[str]:
        """Texts with the values of their expressions; keys among the values are taken out."""
        if not any("{{" in text for text in texts):
            return texts
        from mixmagic import tokens
        from mixmagic.tasks.prompts import expand_all, room_for

        name = options.get("model")
        model = self.session.catalog.resolve(self.session.model if name is None else name)
        names = {**self.names, **more}

        def count(text: str) -> int:
            return tokens.count_text(text, model).tokens

        answer = options.get("max_tokens")
        room = room_for(texts, context=model.context, answer=answer, count=count)
        access = self.session.backends.access
        for provider in self.session.catalog.providers.values():
            if provider is model.provider or os.environ.get(provider.key_env):
                access.find(provider)  # so that its key is known
        try:
            found = expand_all(texts, _evaluator(names), names=names, room=room, count=count)
        except BadArguments as error:
            said = (access.redact(each, words=False) for each in (error.message, error.hint))
            raise BadArguments(*said) from None
        for each in found:
            self.notes += [access.redact(note, words=False) for note in each.notes]
        return [access.redact(each.text, words=False) for each in found]

    def _chosen(self, request: Request, task: str, earlier: tuple[Exchange, ...]) -> Request:
        """The request to the model that suits a task."""
        from mixmagic import tokens
        from mixmagic.tasks import choosing
        from mixmagic.tasks.chats import RESERVE

        turns = [turn for each in earlier for turn in each.messages]
        prompt = tokens.count([*turns, *request.messages], request.model).tokens
        access = self.session.backends.access
        choice = choosing.choose(
            task,
            prompt + request.params.get("max_tokens", RESERVE),
            self.session.catalog,
            lambda provider: choosing.has_key(access, provider),
            request.model,
        )
        self.notes.append(choice.reason)
        return replace(request, model=choice.model)

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


def _evaluator(names: dict[str, Any]) -> Callable[[str], Any]:
    """Evaluates an expression among the notebook's names."""
    return lambda source: eval(source, names)  # noqa: S307  # it is the user's own cell
