"""A renderer for an answer that may take more than one round."""

from __future__ import annotations

from mixmagic.calls.completion import Completion, stopped_with
from mixmagic.display.live import not_shown
from mixmagic.display.renderers import Renderer
from mixmagic.errors import AnswerUnusable
from mixmagic.structured.attempts import read
from mixmagic.structured.schema import Schema


class Rounds:
    """Shows how the rounds come by another renderer, and there, at the end, one answer.

    Args:
        renderer: Where.
        schema: What the answer is to be, to say why the first one is not.

    Example:
        >>> place = renderer(shell, form=FORMATS["json"])
        >>> rounds = Rounds(place, schema)
        >>> try:
        ...     found = ask_structured(lambda asked: show(session, asked, rounds), request, schema)
        ... finally:
        ...     rounds.release()
    """

    def __init__(self, renderer: Renderer, schema: Schema) -> None:
        self._renderer = renderer
        self._schema = schema
        self._held: tuple[Completion, str] | None = None
        self._again = False

    @property
    def interval(self) -> float:
        return self._renderer.interval

    def draw(self, text: str, progress: str) -> None:
        if self._held is not None and not self._again:
            self._again = True
            self.restart(f"{self._problem(self._held[0])} Asking again:")
        self._renderer.draw(text, progress)

    def thought(self, completion: Completion) -> None:
        self._renderer.thought(completion)

    def restart(self, why: str) -> None:
        self._renderer.restart(why)

    def finish(self, completion: Completion, session: str) -> None:
        self._held = completion, session

    def discard(self, what: str) -> None:
        if self._held is None:
            self._renderer.discard(what)

    def release(self, completion: Completion | None = None) -> None:
        """Show the last answer that came, or `completion` in its place; nothing if none did.

        Raises:
            AnswerUnusable: No display took it; `partial` is the answer.
            Stopped: Ctrl-C; `completion` is the answer.
        """
        if self._held is not None:
            last, session = self._held
            answer = last if completion is None else completion
            try:
                self._renderer.finish(answer, session)
            except KeyboardInterrupt:
                raise stopped_with(answer) from None
            except Exception as failure:  # noqa: BLE001  # whatever a display fails with
                raise not_shown(answer, failure) from None

    def _problem(self, completion: Completion) -> str:
        """Why an answer is not what was asked for."""
        try:
            read(completion, self._schema)
        except AnswerUnusable as error:
            return error.message
        return "The answer does not fit."
