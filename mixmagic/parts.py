"""What a session is made of: each part is made at its first use. For `sessions`.

May import `backends`, `store` and what stands below them.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from mixmagic.forks import once

if TYPE_CHECKING:  # imported at the first call, not before: `%load_ext` stays light
    from mixmagic.backends import Backends
    from mixmagic.calls.interrupts import Calls
    from mixmagic.catalog import Catalog
    from mixmagic.keys.available import Keys
    from mixmagic.settings import Settings
    from mixmagic.store.ledger import Ledger
    from mixmagic.tasks.chats import Chats


class Parts:
    """Settings, catalog, ledger and backends.

    Args:
        settings: Read from the settings file and the environment where not given.
        of_process: True for the one session that the process shares with its workers.
    """

    def __init__(self, settings: Settings | None = None, *, of_process: bool = False) -> None:
        if settings is not None:
            self.settings = settings
        self._of_process = of_process
        _all.add(self)

    @once
    def id(self) -> str:
        """This session's id in the ledger."""
        from mixmagic.store.processes import session

        return session() if self._of_process else os.urandom(8).hex()

    @once
    def notebook(self) -> str | None:
        """The notebook's canonical path; `None` if the front end does not name one."""
        named = self.settings.notebook
        # Half a surrogate pair stands for what is not text in a path: nothing can keep that.
        return None if named is None else named.encode(errors="replace").decode()

    @once
    def settings(self) -> Settings:
        """The settings, read when first needed.

        Raises:
            BadArguments: The settings file or the environment makes no sense.
        """
        from mixmagic.settings import Settings

        return Settings.load()

    @once
    def model(self) -> str:
        """The name of the model that is asked where none is named; it can be set."""
        return self.settings.model

    @once
    def catalog(self) -> Catalog:
        """The models that can be named."""
        from mixmagic.catalog import Catalog

        return Catalog(self.settings.config_dir / "catalog")

    @once
    def ledger(self) -> Ledger:
        """The spend record."""
        from mixmagic.store.ledger import Ledger

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


_all: weakref.WeakSet[Parts] = weakref.WeakSet()
_of_the_parent: list[object] = []


def _after_fork() -> None:
    """Let every session of a forked child begin anew."""
    for each in list(_all):
        each.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
