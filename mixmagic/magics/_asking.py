"""From the options and the text of a `%%mixtral` cell to a request. For `magics.mixtral`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

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
        raw, template = options.pop("raw"), options.pop("template")
        self.chat = options.pop("chat")
        if not raw:
            prompt, options["system"] = self._expanded(options, prompt, options["system"])
        if template is not None:
            from mixmagic.tasks.templates import Template

            found = Template.load(self.session.settings.config_dir / "templates", template)
            options = found.under(options)
            inserted = prompt
            prompt = found.prompt(
                inserted, lambda body: self._expanded(options, body, None, cell=inserted)[0]
            )
        task, budget = options.pop("task", None), options.pop("budget", None)
        options["system"] = "\n\n".join(filter(None, (options.get("system"), told)))
        if task is not None and options.get("temperature") is None:
            from mixmagic.tasks import choosing

            options["temperature"] = choosing.task(task).temperature
        self.question = prompt
        earlier = self.session.chats.before(self.chat, self.cell) if self.chat else ()
        request = self.session.request(prompt, budget=budget, **options)
        if task is not None and options.get("model") is None:
            request = self._chosen(request, task, earlier)
        return self._continued(request, earlier) if earlier else request

    def remember(self, completion: Completion | None) -> None:
        """Keep the exchange in its conversation, if it is in one."""
        if self.chat and completion is not None:
            self.session.chats.add(self.chat, self.cell, self.question, completion)

    def _expanded(
        self, options: Mapping[str, Any], prompt: str, system: str | None, **more: Any
    ) -> tuple[str, str | None]:
        """Prompt and system text with the values of their expressions."""
        if "{{" not in prompt + (system or ""):
            return prompt, system
        from mixmagic import tokens
        from mixmagic.tasks.prompts import expand_all, room_for

        name = options.get("model")
        model = self.session.catalog.resolve(self.session.model if name is None else name)
        names = {**self.names, **more}

        def count(text: str) -> int:
            return tokens.count_text(text, model).tokens

        texts = [system or "", prompt]
        answer = options.get("max_tokens")
        room = room_for(texts, context=model.context, answer=answer, count=count)
        before, asked = expand_all(texts, _evaluator(names), names=names, room=room, count=count)
        self.notes += [*before.notes, *asked.notes]
        return asked.text, before.text or None

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
