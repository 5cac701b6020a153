"""The defaults of a session: the model, the system prompt and more for calls that leave them open.

The first of these that has a value counts: the call itself (a cell's option, an argument), its
template, this session (`%mixmagic set`, `%config Mixmagic`), the environment, `mixmagic.toml`
beside the notebook, `config.toml`. If a setting changes, a session's earlier value is forgotten:
the last word counts. While a cassette is in use, the session's own lines and `mixmagic.toml` count,
but neither the environment, nor `config.toml`, nor IPython's profile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mixmagic.core import lazy
from mixmagic.core.lazy import cached
from mixmagic.errors import UnknownModel
from mixmagic.tasks.configured import Configured

if TYPE_CHECKING:  # `%load_ext` stays light
    from collections.abc import Mapping

    from mixmagic.backends import Backends
    from mixmagic.catalog import Catalog
    from mixmagic.catalog.selection import Selection
    from mixmagic.core.settings import Settings
    from mixmagic.core.values import Model, Request
    from mixmagic.keys.available import Availability
    from mixmagic.tasks.player import Player

_DEFAULT_MODEL = "8x7b"


class Defaults(Configured):
    """Base of `Session`: the catalog, the providers, and the defaults of calls.

    Args:
        settings: Settings that never change; read from the file and the environment if `None`.
    """

    def __init__(self, settings: Settings | None) -> None:
        super().__init__(settings)
        self._own: dict[str, Any] = {}  # what this session has set
        self._of_profile: set[str] = set()  # the names among them that IPython's profile has set

    @cached
    def catalog(self) -> Catalog:
        """The models that can be named."""
        from mixmagic.catalog import Catalog

        catalog = Catalog(self.settings.config_dir / "catalog")
        catalog.own_aliases = self.settings.aliases
        return catalog

    @cached
    def player(self) -> Player:
        """The cassette in use, if any."""
        from mixmagic.tasks.player import Player

        return Player()

    @cached
    def backends(self) -> Backends:
        """The ways to reach a model."""
        from mixmagic.backends import Backends

        return Backends(self.settings, self.catalog.providers.values())

    @cached
    def available(self) -> Availability:
        """A function that returns True for a provider that is set up."""
        from mixmagic.keys.available import Availability

        return Availability(self.backends.access)

    def asked_name(
        self, model: str | None = None, *, task: str | None = None, tokens: int = 0
    ) -> tuple[str, str]:
        """Return the name of the model that a call asks for, and why if a task has chosen it.

        It depends on no key: `select` finds the provider.

        Args:
            model: The name that the call gives, if any.
            task: A task, as for `request`.
            tokens: Prompt and answer together: a long prompt needs a model with a long context.

        Raises:
            BadArguments: There is no such task.
        """
        return self._name(self.defaults().get("model") if model is None else model, task, tokens)

    def _name(self, chosen: str | None, task: str | None, tokens: int) -> tuple[str, str]:
        """Return the name of the model that a call or the user has chosen, else the task's."""
        if chosen is not None or task is None:
            return _DEFAULT_MODEL if chosen is None else chosen, ""
        names: tuple[str, str] = lazy.load("mixmagic.catalog.selection").name_for_task(
            task, tokens, self.catalog
        )
        return names

    def select(self, name: str | None = None) -> Selection:
        """Return the model that a name means now, and the reason if there were alternatives.

        A bare alias that several providers serve, such as `8x7b`, means the cheapest of those
        that are set up.

        Raises:
            UnknownModel: No catalog row has this name.

        Example:
            >>> session.select("fireworks:8x7b").model.name
            'fireworks:8x7b'
        """
        name = self.model if name is None else name
        selecting = lazy.load("mixmagic.catalog.selection")
        try:
            selection: Selection = selecting.select(name, self.catalog, self.available)
        except UnknownModel:
            selection = selecting.Selection(self.named(name))
        return selection

    def answering(self, name: str | None = None) -> Selection:
        """Return the model that a name means now, or the default one, if it can answer.

        Raises:
            MissingKey: It cannot for lack of a key; the hint names models that can.
            UnknownModel: There is no such model, or no provider serves it.
        """
        selection = self.select(name)
        lazy.load("mixmagic.layers.resolve").check(
            self.model if name is None else name,
            selection.model,
            self.catalog,
            self.available,
            require=self.backends.access.require,
            by=chosen_by(self.defaults().get("model") if name is None else name, None),
        )
        return selection

    def named(self, name: str) -> Model:
        """Return the first catalog row of a name; while a cassette is in use, or the recorded one.

        Raises:
            UnknownModel: There is neither.
        """
        return self.player.resolve(name, self.catalog, lambda: self.settings)

    def resolved(self, request: Request) -> Request:
        """Return a request with the model that would answer it now, for what sends nothing.

        Example:
            >>> session.resolved(session.request("Hi", model="8x7b")).model.provider.name
            'together'
        """
        if self.player.in_use(self.settings):  # the same on every machine, whatever keys it has
            return request
        selection: Selection = lazy.load("mixmagic.layers.resolve").selected(
            request, self.catalog, self.available
        )
        return replace(request, model=selection.model)

    @property
    def model(self) -> str:
        """The default model's name.

        It can be set, and stays so until the setting changes.
        """
        return self.defaults().get("model") or _DEFAULT_MODEL

    @model.setter
    def model(self, name: str | None) -> None:
        self.set_default("model", name)

    def defaults(self) -> Mapping[str, Any]:
        """Return the values for calls that leave them open, by name; see `core.settings.DEFAULTS`.

        Example:
            >>> session.set_default("temperature", 0)
            >>> session.defaults()
            {'temperature': 0}
        """
        return self._defaults(self.settings)

    def _defaults(self, settings: Settings) -> Mapping[str, Any]:
        """Return `defaults` by settings that were just read: looking at them takes 20 µs."""
        own: Mapping[str, Any] = self._own
        if self.player.in_use(settings):
            given = settings.beside
            own = {name: value for name, value in own.items() if name not in self._of_profile}
        else:
            names = lazy.load("mixmagic.core.settings").DEFAULTS
            given = {name: getattr(settings, name) for name in names}
        values = {**given, **own}
        return {name: value for name, value in values.items() if value is not None}

    def set_default(self, name: str, value: Any, *, by_profile: bool = False) -> None:
        """Set a value for this session's calls that leave it open.

        Args:
            name: One of `core.settings.DEFAULTS`.
            value: Its value; `None` takes it back: then the settings count again.
            by_profile: True if IPython's profile sets it, not the notebook.

        Raises:
            BadArguments: There is no such default, or its value is invalid.

        Example:
            >>> session.set_default("system", "Answer in one sentence.")
        """
        _ = self.settings  # a change that has not been seen yet must not undo this
        checked = lazy.load("mixmagic.core.settings").checked_default(name, value)
        with lazy.lock:
            own = {each: kept for each, kept in self._own.items() if each != name}
            self._own = own if checked is None else {**own, name: checked}
            self._of_profile.discard(name)
            if by_profile:
                self._of_profile.add(name)

    def origin(self, name: str) -> str:
        """Return where a default comes from: `this session`, a variable, a file or `default`.

        Example:
            >>> session.origin("model")
            'default'
        """
        settings = self.settings
        recorded = self.player.in_use(settings)
        of_profile = name in self._of_profile
        if name in self._own and not (recorded and of_profile):
            own = "IPython profile" if of_profile else "this session"
            same = getattr(settings, name) == self._own[name]
            return (
                f"{own} and {settings.sources[name]}" if same and name in settings.sources else own
            )
        if recorded:
            return "mixmagic.toml" if name in settings.beside else "default"
        return settings.sources.get(name, "default")

    def _forget(self, before: Settings, after: Settings) -> None:
        """Forget the session's own values of settings that have changed."""
        names = lazy.load("mixmagic.core.settings").DEFAULTS
        changed = {name for name in names if getattr(before, name) != getattr(after, name)}
        self._own = {name: own for name, own in self._own.items() if name not in changed}


def chosen_by(model: str | None, task: str | None) -> str:
    """Return what has chosen the model of a call, if neither the call nor the user has."""
    if model is not None:
        return ""
    return f"task {task}" if task is not None else "default"
