"""The models that a session can name, and its choice of one for a call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mixmagic.core import lazy
from mixmagic.core.lazy import cached
from mixmagic.tasks.configured import Configured

if TYPE_CHECKING:  # `%load_ext` stays light
    from mixmagic.backends import Backends
    from mixmagic.catalog import Catalog
    from mixmagic.catalog.selection import Selection
    from mixmagic.core.settings import Settings
    from mixmagic.core.values import Model, Request
    from mixmagic.keys.available import Availability
    from mixmagic.tasks.player import Player

_DEFAULT_MODEL = "8x7b"


class Defaults(Configured):
    """Base of `Session`: the catalog, the providers, and the model of a call that names none.

    Args:
        settings: Settings that never change; read from the file and the environment if `None`.
    """

    def __init__(self, settings: Settings | None) -> None:
        super().__init__(settings)
        self._model: str | None = None

    @cached
    def catalog(self) -> Catalog:
        """The models that can be named."""
        from mixmagic.catalog import Catalog

        return Catalog(self.settings.config_dir / "catalog")

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
        chosen = model if model is not None else self._chosen_model
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
        selection: Selection = lazy.load("mixmagic.catalog.selection").select(
            self.model if name is None else name, self.catalog, self.available
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
        return self._chosen_model or _DEFAULT_MODEL

    @model.setter
    def model(self, name: str) -> None:
        self._model = name

    @property
    def _chosen_model(self) -> str | None:
        """The default model's name if the user has chosen it: no task preset overrides that."""
        settings, own = self.settings, self._model
        if self.player.in_use(settings):  # then the user's own defaults do not count
            return settings.notebook_model if own in (None, self.player.profile_model) else own
        return settings.model if own is None else own

    def _chosen_by(self, task: str | None) -> str:
        """Return what has chosen the model of a call that names none, if the user has not."""
        if self._chosen_model is not None:
            return ""
        return f"task {task}" if task is not None else "default"
