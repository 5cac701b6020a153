"""Commands without a notebook: what they show is kept."""

from __future__ import annotations

from typing import Any

from mixmagic import commands
from mixmagic.sessions import Session


class Kept:
    """An `Out` that keeps what is shown."""

    live = False

    def __init__(self, shell: object) -> None:
        self.shell = shell
        self.values: list[Any] = []
        self.show = self.print = self.write = self.values.append

    def replace(self, value: object) -> None:
        raise AssertionError("nothing here can be replaced")


def shown(session: Session, *words: str, place: commands.Place = "notebook") -> list[Any]:
    """Run a command; return all that it shows."""
    out = Kept(object() if place == "notebook" else None)
    commands.parse([*words], place)(session, out)
    return out.values
