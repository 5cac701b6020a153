"""From a prompt and its parameters to a checked request, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from mixmagic.calls.tokens import RESERVE, high_estimate_prompt
from mixmagic.catalog import Catalog
from mixmagic.catalog.selection import task_preset
from mixmagic.core.control import CachePolicy, Control
from mixmagic.core.keywords import Parameters
from mixmagic.core.money import Budget, parse_dollars
from mixmagic.core.params import Prompt, check, conversation, is_number
from mixmagic.core.settings import PARAMETERS
from mixmagic.core.values import Message, Model, Request
from mixmagic.errors import BadArguments, counted
from mixmagic.prompting.parts import with_parts
from mixmagic.structured.openai_strict import response_format

_CACHE_POLICIES = get_args(CachePolicy)
# Parameters that are not sent to the model as they are.
_OF_THE_CALL = ("model", "system", "task", "budget", "timeout", "cache")
# Sizes of images in a note, at most.
_SHOWN = 3
_NO_DEFAULTS: Mapping[str, Any] = {}


def question(
    prompt: Prompt,
    catalog: Catalog,
    asked_name: Callable[[int], tuple[str, str]],
    *,
    stream: bool = True,
    params: Parameters,
    resolve: Callable[[str], Model] | None = None,
    chosen_by: str = "",
    defaults: Mapping[str, Any] = _NO_DEFAULTS,
) -> Request:
    """Return a checked request, to the first catalog row of the asked name.

    The arguments are those of `Session.request`. `asked_name` returns the model's name for a
    number of tokens, prompt and answer together, and why a task has chosen it, if one has.
    `resolve` returns the model of a name, if not the catalog does; `chosen_by` is for the control.
    `defaults` are the system prompt and the parameters of a call that leaves them open.

    Raises:
        BadArguments: The prompt is empty, or a parameter is invalid.
        UnknownModel: No catalog row has this name.
    """
    task, cache = params.get("task"), params.get("cache", "auto")
    timeout, budget = params.get("timeout"), params.get("budget")
    given = {name: value for name, value in params.items() if value is not None}
    usual = {name: defaults[name] for name in PARAMETERS if name in defaults}
    sampling = {n: value for n, value in {**usual, **given}.items() if n not in _OF_THE_CALL}
    messages = conversation(with_parts(prompt), params.get("system"))
    system = defaults.get("system")
    if system and "system" not in given and not any(m.role == "system" for m in messages):
        messages = conversation(messages, system)
    if timeout is not None and not (is_number(timeout) and timeout > 0):
        raise BadArguments(f"timeout cannot be {timeout!r:.80}.", "It takes seconds, over 0.")
    if cache not in _CACHE_POLICIES:
        raise BadArguments(
            f"cache cannot be {cache!r:.80}.", f"It is one of {', '.join(_CACHE_POLICIES)}."
        )
    if budget is not None and not isinstance(budget, Budget):
        budget = Budget(parse_dollars(budget))
    checked, size = check(sampling), 0
    if task is not None:
        checked.setdefault("temperature", task_preset(task).temperature)
        size = high_estimate_prompt(messages) + checked.get("max_tokens", RESERVE)
    name, purpose = asked_name(size)
    if "schema" in checked:
        checked["response_format"] = response_format(checked.pop("schema"))
    return Request(
        (resolve or catalog.resolve)(name),
        messages,
        checked,
        stream=stream,
        asked=name.strip(),
        control=Control(
            timeout=timeout,
            budget=budget,
            cache=cache,
            notes=tuple(filter(None, (purpose, images_note(messages)))),
            chosen_by=chosen_by,
        ),
    )


def with_messages(request: Request, messages: Sequence[Message]) -> Request:
    """Return a request with other messages, and the note about the images of these.

    Example:
        >>> with_messages(request, request.messages[-1:])
    """
    earlier = images_note(request.messages)
    notes = [note for note in request.control.notes if note != earlier]
    notes += filter(None, [images_note(messages)])
    control = replace(request.control, notes=tuple(notes))
    return replace(request, messages=tuple(messages), control=control)


def images_note(messages: Sequence[Message]) -> str:
    """Return the footer's note about the images of a call; empty if it has none.

    Example:
        >>> images_note(request.messages)
        '2 images (640×480, 1568×1176)'
    """
    own, total = messages[-1].images, sum(len(message.images) for message in messages)
    if not total:
        return ""
    sizes = [f"{image.size[0]}×{image.size[1]}" for image in own if image.size]
    shown = ", ".join(sizes[:_SHOWN]) + ", …" * (len(sizes) > _SHOWN)
    note = counted(len(own), "image") + (f" ({shown})" if shown else "") if own else ""
    earlier = total - len(own)
    before = f"{counted(earlier, 'image')} of earlier messages" if earlier else ""
    return " and ".join(filter(None, (note, before)))
