"""A screen for an answer that may take more than one round."""

from __future__ import annotations

from mixmagic.completion import Completion
from mixmagic.display.screens import Screen


class Rounds:
    """Shows how the rounds come on another screen, and there, at the end, one answer.

    Args:
        screen: Where.

    Example:
        >>> rounds = Rounds(screen(shell, live=None, owns_cell=True, form=FORMATS["json"]))
        >>> try:
        ...     found = ask_structured(lambda asked: show(session, asked, rounds), request, schema)
        ... finally:
        ...     rounds.release()
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._held: tuple[Completion, str] | None = None

    @property
    def interval(self) -> float:
        return self._screen.interval

    def draw(self, text: str, progress: str) -> None:
        self._screen.draw(text, progress)

    def finish(self, completion: Completion, session: str) -> None:
        self._held = completion, session

    def abandon(self) -> None:
        if self._held is None:
            self._screen.abandon()

    def release(self, completion: Completion | None = None) -> None:
        """Show the last answer that came, or `completion` in its place; nothing where none did."""
        if self._held is not None:
            last, session = self._held
            self._screen.finish(last if completion is None else completion, session)
