"""What a session is made of: each part is made at its first use. For `sessions`.

May import `backends`, `store` and what stands below them.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from mixmagic.core import lazy
from mixmagic.core.lazy import once

if TYPE_CHECKING:  # imported at the first call, not before: `%load_ext` stays light
    from mixmagic.backends import Backends
    from mixmagic.calls.interrupts import Calls
    from mixmagic.catalog import Catalog
    from mixmagic.core.notebook import Place
    from mixmagic.core.settings import Settings
    from mixmagic.keys.available import Keys
    from mixmagic.store.ledger.ledger import Ledger
    from mixmagic.tasks.chats import Chats


class Parts:
    """Settings, catalog, ledger and backends.

    Args:
        settings: Read from the settings file and the environment where not given.
        of_process: True for the one session that the process shares with its workers.
    """

    def __init__(self, settings: Settings | None = None, *, of_process: bool = False) -> None:
        self._settings, self._fixed = settings, settings is not None
        self._version: object = None  # of the settings that were read
        self._model: str | None = None
        self._place: tuple[str, Place] | None = None  # as the front end names it, and where it is
        self._of_process = of_process
        _all.add(self)

    @once
    def id(self) -> str:
        """This session's id in the ledger."""
        from mixmagic.store.ledger.processes import session_id

        return session_id() if self._of_process else os.urandom(8).hex()

    @property
    def notebook(self) -> str | None:
        """The notebook's canonical path; `None` if the front end does not name one.

        If it is renamed, its budget and what it has cost are renamed, too.
        """
        named = self.settings.notebook
        if named is None:
            return None
        with lazy.lock:
            if self._place is None or self._place[0] != named:
                from mixmagic.core.notebook import Place

                self._place = named, Place(named)
            place = self._place[1]
            if (now := place.now()) != place.path and self._moved(place.path, now):
                place.follow(now)
            return _as_text(place.path)

    def _moved(self, before: str, after: str) -> bool:
        """Tell the ledger that a notebook was renamed; return False if it cannot note it now."""
        from mixmagic.errors import StoreError

        try:
            self.ledger.rename_notebook(_as_text(before), _as_text(after))
        except StoreError:
            return False
        self.__dict__.pop("stream", None)
        return True

    @property
    def settings(self) -> Settings:
        """The settings; they are read again when the file or the environment has changed.

        Raises:
            BadArguments: The settings file or the environment has an invalid setting.
        """
        with lazy.lock:
            before = self._settings
            if before is None or not (self._fixed or before.version() == self._version):
                from mixmagic.core.settings import Settings

                after = Settings.load()
                self._settings, self._version = after, after.version()
                if before is not None and before != after:
                    self._renew(before, after)
                return after
            return before

    def _renew(self, before: Settings, after: Settings) -> None:
        """Make again, at their next use, the parts whose settings have changed."""
        if before.model != after.model:
            self._model = None
        kept = replace(before, model=after.model, live=after.live)
        if kept == after:
            return
        stale = ["stream"]
        ledger = self.__dict__.get("ledger")
        if ledger is not None:
            ledger.budgets.settings, ledger.floor = after.budgets, after.budget_floor
        budgets = {name: getattr(after, name) for name in _OF_BUDGETS}
        if replace(kept, **budgets) != after:
            stale += ["backends", "keys"]
        if (before.config_dir, before.data_dir) != (after.config_dir, after.data_dir):
            stale += ["catalog", "ledger"]
        for name in stale:
            part = self.__dict__.pop(name, None)
            if name in ("backends", "ledger") and part is not None and not list(self.calls):
                part.close()  # calls under way go on with what they have begun with

    @property
    def model(self) -> str:
        """The name of the model that is asked where none is named.

        It can be set, and stays so until the setting changes.
        """
        setting = self.settings.model
        return setting if self._model is None else self._model

    @model.setter
    def model(self, name: str) -> None:
        self._model = name

    @once
    def catalog(self) -> Catalog:
        """The models that can be named."""
        from mixmagic.catalog import Catalog

        return Catalog(self.settings.config_dir / "catalog")

    @once
    def ledger(self) -> Ledger:
        """The spend record."""
        from mixmagic.store.ledger.ledger import Ledger

        return Ledger(
            self.settings.data_dir, self.id, self.settings.budgets, self.settings.budget_floor
        )

    @once
    def backends(self) -> Backends:
        """The ways to reach a model."""
        from mixmagic.backends import Backends

        return Backends(self.settings, self.catalog.providers.values())

    @once
    def keys(self) -> Keys:
        """Which providers are set up."""
        from mixmagic.keys.available import Keys

        return Keys(self.backends.access)

    @once
    def calls(self) -> Calls:
        """The calls under way."""
        from mixmagic.calls.interrupts import Calls

        return Calls()

    @once
    def chats(self) -> Chats:
        """The conversations that cells continue by name."""
        from mixmagic.tasks.chats import Chats

        return Chats()

    def forked(self) -> None:
        """Begin anew in a forked child, which has its parent's sockets and locks, but no threads.

        What the parent made is kept, not freed: freeing it would wait for those threads.
        """
        made = [self.__dict__.pop(name, None) for name in ("backends", "stream", "keys", "calls")]
        _of_the_parent.append(made)

    def close(self) -> None:
        """Give back connections, threads and memory. The session can still be used."""
        if "backends" in self.__dict__:
            self.backends.close()
        if "ledger" in self.__dict__:
            self.ledger.close()


# Settings that the ledger alone reads.
_OF_BUDGETS = ("budget_session", "budget_day", "budget_month", "budget_floor")


def _as_text(path: str) -> str:
    """Half a surrogate pair stands for what is not text in a path: nothing can keep that."""
    return path.encode(errors="replace").decode()


_all: weakref.WeakSet[Parts] = weakref.WeakSet()
_of_the_parent: list[object] = []


def _after_fork() -> None:
    """Let every session of a forked child begin anew."""
    for each in list(_all):
        each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
