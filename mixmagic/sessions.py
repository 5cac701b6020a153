"""One person's work in one process: settings, stores and the order of the layers.

Not `session.py`: the import system would put that module in the place of `mixmagic.session()`.
May import `layers` and what stands below it.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from mixmagic import forks
from mixmagic.errors import BadArguments

if TYPE_CHECKING:  # imported at the first call, not before: `%load_ext` stays light
    from mixmagic.backends import Backends
    from mixmagic.catalog import Catalog
    from mixmagic.completion import Completion
    from mixmagic.params import Prompt
    from mixmagic.settings import Settings
    from mixmagic.store.ledger import Ledger
    from mixmagic.tasks.doctor import Check
    from mixmagic.values import Delta, Model, Provider, Request, Stream

_Made = TypeVar("_Made")


class _Once(Generic[_Made]):
    """A property that is made when first needed: once, whatever the threads, and before any fork.

    The standard library's `cached_property` has no lock since Python 3.12.
    """

    def __init__(self, make: Callable[[Session], _Made]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    @overload
    def __get__(self, session: None, owner: type) -> Self: ...

    @overload
    def __get__(self, session: Session, owner: type) -> _Made: ...

    def __get__(self, session: Session | None, owner: type) -> Self | _Made:
        if session is None:
            return self
        made: dict[str, _Made] = session.__dict__  # what is in there is found without us
        with forks.lock:
            if self._name not in made:
                made[self._name] = self._make(session)
            return made[self._name]


class Session:
    """Asks models, and knows what that has cost.

    There is one in a process: `mixmagic.session()`. All of it may be used from any thread.

    Args:
        settings: Where files live and what is asked by default; read from the settings file
            and the environment where not given.

    Attributes:
        id: What the ledger calls this session.
        notebook: The notebook's path, where known.

    Example:
        >>> session = mixmagic.session()
        >>> session.ask("Name three colours.", model="local").text
    """

    def __init__(self, settings: Settings | None = None) -> None:
        if settings is not None:
            self.settings = settings
        _all.add(self)
        self.id = os.urandom(8).hex()
        self.notebook = os.environ.get("JPY_SESSION_NAME")

    @_Once
    def settings(self) -> Settings:
        """The settings, read when first needed.

        Raises:
            BadArguments: The settings file or the environment makes no sense.
        """
        from mixmagic.settings import Settings

        return Settings.load()

    @_Once
    def model(self) -> str:
        """The name of the model that is asked where none is named; it can be set."""
        return self.settings.model

    @_Once
    def catalog(self) -> Catalog:
        """The models that can be named."""
        from mixmagic.catalog import Catalog

        return Catalog(self.settings.config_dir / "catalog")

    @_Once
    def ledger(self) -> Ledger:
        """The spend record."""
        from mixmagic.store.ledger import Ledger

        return Ledger(self.settings.data_dir, self.id)

    @_Once
    def backends(self) -> Backends:
        """The ways to reach a model."""
        from mixmagic.backends import Backends

        return Backends(self.settings)

    @_Once
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
        layers = [fit(), meter(self.ledger, self.notebook), retry(self.settings), throttle()]
        return stack(layers, self._send)

    def _send(self, request: Request) -> Generator[Delta, None, None]:
        with forks.lock:  # its module is imported
            opened = self.backends.open(request.model.provider)
        return opened(request)

    def request(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        system: str | None = None,
        stream: bool = True,
        timeout: float | None = None,
        **params: Any,
    ) -> Request:
        """A question, checked, ready for `stream`.

        Args:
            prompt: A text, or a conversation: `Message`s or dicts with `role` and `content`.
            model: A catalog name or `provider:API-string`; the session's model where `None`.
            system: Instructions that stand before the prompt.
            stream: Whether the answer is to come in pieces.
            timeout: Seconds that the call may take in all, with its waits and retries; the
                settings' `total_timeout` where `None`.
            **params: `temperature`, `max_tokens`, `top_p`, `seed`, `stop`, `schema`, …

        Raises:
            BadArguments: An empty prompt, or a parameter that makes no sense.
            UnknownModel: No catalog row has this name.
        """
        with forks.lock:
            from mixmagic.params import check, conversation, is_number
            from mixmagic.values import Request

        messages = conversation(prompt, system)
        resolved = self.catalog.resolve(self.model if model is None else model)
        if timeout is not None and not (is_number(timeout) and timeout > 0):
            raise BadArguments(f"timeout cannot be {timeout!r:.80}.", "It takes seconds, over 0.")
        return Request(resolved, messages, check(params), stream=stream, timeout=timeout)

    def ask(self, prompt: Prompt, *, model: str | None = None, **params: Any) -> Completion:
        """Ask and wait for the whole answer.

        Args:
            prompt: A text, or a conversation: `Message`s or dicts with `role` and `content`.
            model: A catalog name or `provider:API-string`; the session's model where `None`.
            **params: As for `request`.

        Returns:
            The answer, with its tokens and its cost.

        Raises:
            MixmagicError: What went wrong, and a hint that cures it.
            Stopped: Ctrl-C, or `request.stop`; its `completion` is what had come.

        Example:
            >>> session.ask("Name three colours.", model="local", temperature=0).text
        """
        with forks.lock:
            from mixmagic.completion import Collector, stopped_with

        request = self.request(prompt, model=model, **params)
        collector = Collector(request)
        try:
            with closing(self.stream(request)) as deltas:
                for delta in deltas:
                    collector.add(delta)
        except KeyboardInterrupt:
            raise stopped_with(collector.completion("stopped")) from None
        return collector.completion()

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
        listed = self.backends.access.redact(self.backends.models(asked), words=False)
        return self.catalog.merge(asked, listed)

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
            examine(self.settings, self.catalog, self.backends, self.ledger.database, self.model)
        )

    def forked(self) -> None:
        """Begin anew in a forked child, which has its parent's sockets and locks, but no threads.

        What the parent made is kept, not freed: freeing it would wait for those threads.
        """
        made = (self.__dict__.pop("backends", None), self.__dict__.pop("stream", None))
        _of_the_parent.append(made)

    def close(self) -> None:
        """Give back connections, threads and memory. The session can still be used."""
        if "backends" in self.__dict__:
            self.backends.close()
        if "ledger" in self.__dict__:
            self.ledger.database.close()


_sessions: list[Session] = []
_all: weakref.WeakSet[Session] = weakref.WeakSet()
_of_the_parent: list[object] = []


def _after_fork() -> None:
    """Let every session of a forked child begin anew."""
    for each in list(_all):
        each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def session() -> Session:
    """The session of this process, made when first asked for."""
    with forks.lock:
        if not _sessions:
            _sessions.append(Session())
        return _sessions[0]
