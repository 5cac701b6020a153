"""One person's work in one process: settings, stores and the order of the layers.

Not `session.py`: the import system would put that module in the place of `mixmagic.session()`.
May import `layers` and what stands below it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mixmagic.core import lazy
from mixmagic.core.lazy import once
from mixmagic.errors import BadArguments
from mixmagic.parts import Parts

if TYPE_CHECKING:  # imported at the first call, not before: `%load_ext` stays light
    from mixmagic.calls.completion import Completion
    from mixmagic.calls.interrupts import Running
    from mixmagic.calls.tokens import Count
    from mixmagic.catalog.selection import Choice
    from mixmagic.core.amount import Dollars
    from mixmagic.core.money import Budget, Per
    from mixmagic.core.params import Prompt
    from mixmagic.core.settings import Settings
    from mixmagic.core.values import Delta, Layer, Model, Provider, Request, Stream
    from mixmagic.store.ledger.budgets import Balance
    from mixmagic.tasks.doctor import Check
    from mixmagic.tasks.plan import Plan


class Session(Parts):
    """Asks models, and knows what that has cost.

    There is one in a process: `mixmagic.session()`. All of it may be used from any thread.

    Args:
        settings: Where files live and what is asked by default; read from the settings file
            and the environment where not given.

    Example:
        >>> session = mixmagic.session()
        >>> session.ask("Name three colours.", model="local").text
    """

    @once
    def stream(self) -> Stream:
        """Ask, and get the answer in pieces: a function from `Request` to an iterator of `Delta`.

        Close the iterator (`contextlib.closing`) if you may leave it early.
        """
        from mixmagic.layers import stack
        from mixmagic.layers.fit import fit
        from mixmagic.layers.meter import meter
        from mixmagic.layers.retry import retry
        from mixmagic.layers.throttle import throttle

        # Outermost first.
        layers = [
            _begun(self.settings),
            fit(),
            meter(self.ledger, self.notebook, self.calls),
            retry(self.settings),
            throttle(),
        ]
        return stack(layers, self._send)

    def _send(self, request: Request) -> Generator[Delta, None, None]:
        with lazy.lock:  # its module is imported
            opened = self.backends.open(request.model.provider)
        return opened(request)

    def request(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        system: str | None = None,
        stream: bool = True,
        budget: Budget | Dollars | None = None,
        timeout: float | None = None,
        **params: Any,
    ) -> Request:
        """A question, checked, ready for `stream`.

        Args:
            prompt: A text, or a conversation: `Message`s or dicts with `role` and `content`.
            model: A catalog name (see `choose`) or `provider:API-string`; the session's model where
                `None`.
            system: Instructions that stand before the prompt.
            stream: Whether the answer is to come in pieces.
            budget: US dollars that the call may cost; a `Budget` is shared by calls that carry it.
            timeout: Seconds that the call may take in all, with its waits and retries; the
                settings' `total_timeout` where `None`.
            **params: `temperature`, `max_tokens`, `top_p`, `seed`, `stop`, `schema`, …

        Raises:
            BadArguments: An empty prompt, or a parameter that makes no sense.
            UnknownModel: No catalog row has this name.
        """
        _ = self.notebook  # it may have been renamed, and the settings may have changed
        with lazy.lock:
            from mixmagic.core.amount import amount
            from mixmagic.core.money import Budget
            from mixmagic.core.params import check, conversation, is_number
            from mixmagic.core.values import Control, Request
            from mixmagic.structured.openai_strict import response_format

        messages = conversation(prompt, system)
        choice = self.choose(model)
        if timeout is not None and not (is_number(timeout) and timeout > 0):
            raise BadArguments(f"timeout cannot be {timeout!r:.80}.", "It takes seconds, over 0.")
        if budget is not None and not isinstance(budget, Budget):
            budget = Budget(amount(budget))
        given = check(params)
        if "schema" in given:
            given["response_format"] = response_format(given.pop("schema"))
        notes = (choice.reason,) if choice.reason else ()
        return Request(
            choice.model,
            messages,
            given,
            stream=stream,
            asked=self.model if model is None else model,
            control=Control(timeout=timeout, budget=budget, notes=notes),
        )

    def choose(self, name: str | None = None) -> Choice:
        """Whom a call asks, and why, where that was a choice.

        A bare alias that several providers serve, such as `8x7b`, means the cheapest of those
        whose key is there.

        Args:
            name: As `model` for `request`.

        Raises:
            UnknownModel: No catalog row has this name.

        Example:
            >>> session.choose("fireworks:8x7b").model.name
            'fireworks:8x7b'
        """
        with lazy.lock:
            from mixmagic.catalog.selection import named

        wanted = self.model if name is None else name
        return named(wanted, self.catalog, self.keys)

    def count(
        self, prompt: Prompt, *, model: str | None = None, system: str | None = None
    ) -> Count:
        """The tokens of a prompt with the model's chat template; nothing is sent.

        An embedded model is loaded for it, where it is not.

        Args:
            prompt: A text, or a conversation: `Message`s or dicts with `role` and `content`.
            model: A catalog name or `provider:API-string`; the session's model where `None`.
            system: Instructions that stand before the prompt.

        Returns:
            `tokens`, and whether they are `exact`; where they are not, `most` is their bound.

        Raises:
            BadArguments: An empty prompt.
            UnknownModel: No catalog row has this name.

        Example:
            >>> session.count("Hello", model="local")
            Count(tokens=31, most=31, exact=True)
        """
        request = self.request(prompt, model=model, system=system)
        return self.backends.count(request.messages, request.model)

    def ask(self, prompt: Prompt, *, model: str | None = None, **params: Any) -> Completion:
        """Ask and wait for the whole answer.

        Args:
            prompt: As for `request`.
            model: As for `request`.
            **params: As for `request`.

        Returns:
            The answer, with its tokens and its cost.

        Raises:
            MixmagicError: What went wrong, and a hint that cures it.
            Stopped: Ctrl-C, or `request.control.stop`; its `completion` is what had come.

        Example:
            >>> session.ask("Name three colours.", model="local", temperature=0).text
        """
        with lazy.lock:
            from mixmagic.calls.completion import Collector, stopped_with
            from mixmagic.calls.running import outcome

        request = self.request(prompt, model=model, **params)
        collector = Collector(request)
        try:
            with closing(self.stream(request)) as deltas:
                for delta in deltas:
                    collector.add(delta)
        except KeyboardInterrupt as stop:
            completion = outcome(collector, stop, stopped=True)
            self.calls.keep(completion)
            raise stopped_with(completion, where="mixmagic.stopped()") from None
        return outcome(collector, None, stopped=False)

    @property
    def running(self) -> list[Running]:
        """The calls under way, each with its `request`, what has come of it, and `stop()`.

        Example:
            >>> for call in session.running:
            ...     call.stop()
        """
        return list(self.calls)

    @property
    def stopped(self) -> list[Completion]:
        """What had come of the calls that were stopped last, in one cell or at once."""
        return list(self.calls.stopped)

    def budget(self, limit: Dollars | None, *, per: Per = "session") -> None:
        """Set what may be spent, or take the limit off: see `mixmagic.budget`."""
        from mixmagic.core.amount import amount
        from mixmagic.store.ledger.budgets import PERIODS

        if per not in tuple(PERIODS):  # it may be anything
            raise BadArguments(
                f"There is no budget per {per!r:.40}.", f"Budgets are per {', '.join(PERIODS)}."
            )
        self.ledger.set_limit(per, None if limit is None else amount(limit), self.notebook)

    def budgets(self) -> list[Balance]:
        """Return the balances of the budgets that are set, the session's first.

        Raises:
            StoreError: The ledger, or the budgets, cannot be read.
        """
        return self.ledger.balances(self.notebook)

    def plan(self, request: Request) -> Plan:
        """What a call would take and cost; nothing is sent.

        Raises:
            ContextTooLong: The prompt does not fit into the model's context.
            StoreError: The ledger, or the budgets, cannot be read.

        Example:
            >>> session.plan(session.request("Hi", model="8x7b")).bound.cost
        """
        from mixmagic.tasks.plan import plan

        prompt = self.backends.count(request.messages, request.model)
        balances = self.ledger.balances(self.notebook, request.control.budget)
        answers = self.ledger.answers(request.model)
        return plan(request, prompt, balances, *answers, floor=self.settings.budget_floor)

    def models(self, provider: str | None = None) -> list[Model]:
        """The catalog's rows, of one provider or of all.

        Raises:
            BadArguments: There is no such provider.
        """
        wanted = None if provider is None else self.provider(provider)
        return [row for row in self.catalog.models if wanted in (None, row.provider)]

    def live_models(self, provider: str) -> list[Model]:
        """What a provider itself says that it serves, completed from the catalog.

        Afterwards the catalog knows these models and their prices too.

        Args:
            provider: A provider's name, as in `catalog.providers`.

        Raises:
            BadArguments: There is no such provider.
            MixmagicError: It could not be asked.
        """
        asked = self.provider(provider)
        return self.catalog.merge(asked, self.backends.models(asked))

    def provider(self, name: str) -> Provider:
        """A provider of the catalog.

        Raises:
            BadArguments: There is no such provider.
        """
        providers = self.catalog.providers
        if name not in providers:
            raise BadArguments(
                f"There is no provider {name!r}.", f"Providers are {', '.join(providers)}."
            )
        return providers[name]

    def doctor(self) -> list[Check]:
        """Check what an answer needs, one line each; providers that are set up are asked."""
        from mixmagic.tasks.doctor import examine

        return list(
            examine(self.settings, self.catalog, self.backends, self.ledger.database, self.choose)
        )


def _begun(settings: Settings) -> Layer:
    """A layer: the call's deadline bounds all below it; what is known of it is said first."""
    from mixmagic.core.values import Delta

    def layer(inner: Stream) -> Stream:
        def stream(request: Request) -> Generator[Delta, None, None]:
            control = request.control
            yield from (Delta(note=note) for note in control.notes)
            deadline = time.monotonic() + (control.timeout or settings.total_timeout)
            yield from inner(replace(request, control=replace(control, deadline=deadline)))

        return stream

    return layer


_sessions: list[Session] = []


def session() -> Session:
    """The session of this process, made when first asked for.

    It is that of the process's workers, too, which multiprocessing or loky starts: they have the
    same budget, and what they spend is the session's.
    """
    with lazy.lock:
        if not _sessions:
            _sessions.append(Session(of_process=True))
        return _sessions[0]
