"""The settings and the notebook of a session, followed while they change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from mixmagic.core import lazy
from mixmagic.errors import StoreError

if TYPE_CHECKING:  # `%load_ext` stays light
    from mixmagic.core.notebook import Place
    from mixmagic.core.settings import Settings


class Part(Protocol):
    """A part of a session that is closed when its settings have changed."""

    def close(self) -> None:
        """Release connections, threads and memory."""


class Configured:
    """Base of `Session`: reads the settings again when they change, and finds a moved notebook.

    Args:
        settings: Settings that never change; read from the file and the environment if `None`.
    """

    def __init__(self, settings: Settings | None) -> None:
        self._settings, self._fixed = settings, settings is not None
        self._version: object = None  # of the settings that were read
        self._last_place: Place | None = None

    @property
    def settings(self) -> Settings:
        """The settings; they are read again when the file or the environment has changed.

        Raises:
            BadArguments: The settings file or the environment has an invalid setting.
        """
        settings = self._settings
        if settings is not None and (self._fixed or settings.version() == self._version):
            return settings
        stale: Sequence[Part] = ()
        with lazy.lock:
            before = self._settings
            if before is not None and before.version() == self._version:  # by another thread
                return before
            after: Settings = lazy.load("mixmagic.core.settings").Settings.load()
            self._settings, self._version = after, after.version()
            if before is not None:
                stale = self._outdated(before, after)
        for part in stale:
            part.close()
        return after

    @property
    def notebook(self) -> str | None:
        """The notebook's canonical path, also after a move; `None` if the front end names none."""
        return self._follow(self.settings)

    def _follow(self, settings: Settings) -> str | None:
        """Return the notebook's path by settings that were just read; see `notebook`."""
        place = self._place(settings)
        if place is None:
            return None
        with suppress(StoreError):  # tried again at the next call
            if place.follow(self._renamed):
                self._moved()
        return place.text

    def _place(self, settings: Settings) -> Place | None:
        """Return the notebook as it was found last; `None` if the front end names none."""
        named, place = settings.notebook, self._last_place
        if named is None:
            place = self._last_place = None
        elif place is None or place.named != named:
            from mixmagic.core.notebook import Place

            place = self._last_place = Place(named)
        return place

    def _outdated(self, before: Settings, after: Settings) -> Sequence[Part]:
        """Forget the parts whose settings have changed; return those that must be closed."""
        return ()

    def _renamed(self, before: str, after: str) -> None:
        """Rename the notebook in the session's files. If it raises, that is tried again."""

    def _moved(self) -> None:
        """Forget the parts that know the notebook's old path."""
