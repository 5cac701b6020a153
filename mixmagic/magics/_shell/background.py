"""`--bg`: the kernel is free at once, and the answer fills in below its own cell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mixmagic.calls.background import BackgroundCall
from mixmagic.core.control import Background
from mixmagic.display.renderers import Renderer
from mixmagic.errors import Stopped

if TYPE_CHECKING:
    from mixmagic.calls.completion import Completion
    from mixmagic.core.values import Request
    from mixmagic.magics._shell.answer import RequestBuilder
    from mixmagic.magics._shell.model_magics import ModelMagics
    from mixmagic.sessions import Session

# Seconds between two looks, while a call waits for an earlier one.
_TICK = 0.05
_WAITING = "waiting for the earlier answer in conversation {} …"

Ask = Callable[["Request", Renderer], tuple["Completion", Any]]


def run(
    magic: ModelMagics,
    builder: RequestBuilder,
    request: Request,
    ask: Ask,
    keep: Callable[[BackgroundCall, BackgroundCall], None],
    *,
    front: Renderer | None,
) -> BackgroundCall:
    """Begin a call in the background; in front, if no person sees outputs change later.

    Args:
        magic: The magic.
        builder: Builds the request again, after the earlier answers of its conversation.
        request: The request.
        ask: Makes a call and shows it; returns the completion and its value.
        keep: Binds the call to the variable of the cell, and as its value.
        front: Shows a call that is made in front; `None` to make it in the background.

    Raises:
        MixmagicError: The call was made in front, and failed.
        Stopped: The call was made in front, and was stopped.
    """
    session, shell, options, form = magic.session, magic.shell, builder.options, builder.form
    earlier = earlier_calls(session, options.chat)
    _stop_earlier_runs(session, builder)
    background = Background(session.calls.next_number(), options.out or "", _cell_name(shell))
    if front is not None:
        call = BackgroundCall(
            lambda: _with_value(ask(request, front)), request, background, session.calls
        )
        call.run()
        keep(call, call)
        call.result()
        return call
    from mixmagic.display.background import BackgroundRenderer

    request.control.background = background
    name = request.model.name
    shown = BackgroundRenderer(shell, form, f"waiting for {name} in the background …")

    def work() -> tuple[Completion, Any]:
        try:
            if not earlier:
                return _with_value(ask(request, shown))
            shown.draw("", _WAITING.format(options.chat))
            wait(earlier, background)
            again = builder.request()
            again.control.background = background
            return _with_value(ask(again, shown))
        except BaseException as error:
            with contextlib.suppress(Exception):  # the output may be gone
                shown.fail(error)
            raise

    chat = options.chat or ""
    call = BackgroundCall(work, request, background, session.calls, chat=chat, cell=builder.cell)
    keep(call, call)
    call.start()
    return call


def _cell_name(shell: Any) -> str:
    """Return the running cell as its prompt has it; empty if it has none."""
    # The shell's own count is already that of the next cell, since IPython 9.
    ran = getattr(getattr(shell, "displayhook", None), "exec_result", None)
    number = getattr(ran, "execution_count", None)
    return "" if number is None else f"In[{number}]"


def earlier_calls(session: Session, chat: str | None) -> list[BackgroundCall]:
    """Return the background calls whose answers a conversation waits for."""
    return [call for call in session.calls.background if chat and call.chat == chat]


def wait(calls: Sequence[BackgroundCall], background: Background | None = None) -> None:
    """Wait for earlier calls, however they end.

    Raises:
        Stopped: The background cell that waits was stopped.
    """
    for call in calls:
        while not call.wait(_TICK):
            if background is not None and background.stop.is_set():
                raise Stopped(sent=False)


def wait_in_front(session: Session, chat: str | None, view: Renderer) -> None:
    """Wait for the background calls of a conversation, and tell the user so."""
    if calls := earlier_calls(session, chat):
        view.draw("", _WAITING.format(chat))
        wait(calls)


def _stop_earlier_runs(session: Session, builder: RequestBuilder) -> None:
    """Stop what an earlier run of the same cell has begun: its output is gone."""
    for call in session.calls.background:
        if (
            builder.cell is not None
            and call.cell is not None
            and call.cell.id == builder.cell.id
            and call.cell.run != builder.cell.run
        ):
            call.stop()


def _with_value(answered: tuple[Completion, Any]) -> tuple[Completion, Any]:
    """Return a completion with the value that was read from it."""
    completion, value = answered
    return completion, completion.value if value is completion else value
