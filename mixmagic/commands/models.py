"""`%mixmagic models --for "long documents"`: which model does that well, and why."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from mixmagic.errors import UnknownModel

if TYPE_CHECKING:  # imported when a table is asked for: `%load_ext` stays light
    from mixmagic.display.table import Table
    from mixmagic.sessions import Session


def suited(session: Session, words: Sequence[str]) -> Table:
    """The models that do well what the words say, the best first, with the guide to them.

    Args:
        session: Whose catalog is searched; its model is marked.
        words: Such as `"long documents"`, with its quotation marks or not; or a task's name.

    Raises:
        BadArguments: No model is known to be good for that.
    """
    from mixmagic.catalog.selection import GUIDE, TASKS, suited
    from mixmagic.display.prices import models_table

    wanted = " ".join(words).strip("'\"")
    about = ["the best first: by what a model is good at, whether it is served today, its price"]
    about += GUIDE.values()
    if wanted in TASKS:
        task = TASKS[wanted]
        about.append(f"--task {wanted}: temperature {task.temperature}, {task.model} by default")
    found, own = suited(session.catalog, wanted), None
    with suppress(UnknownModel):
        own = session.select().model
    return models_table(found, own, "\n".join(about))
