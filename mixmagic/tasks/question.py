"""From a prompt and its parameters to a checked request, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from mixmagic.calls.tokens import RESERVE, high_estimate_prompt
from mixmagic.catalog import Catalog
from mixmagic.catalog.selection import task_preset
from mixmagic.core.keywords import Parameters
from mixmagic.core.money import Budget, parse_dollars
from mixmagic.core.params import Prompt, check, conversation, is_number
from mixmagic.core.values import CachePolicy, Control, Model, Request
from mixmagic.errors import BadArguments
from mixmagic.structured.openai_strict import response_format

# Parameters that are not sent to the model as they are.
_OF_THE_CALL = ("model", "system", "task", "budget", "timeout", "cache")


def question(
    prompt: Prompt,
    catalog: Catalog,
    asked_name: Callable[[int], tuple[str, str]],
    *,
    stream: bool = True,
    params: Parameters,
    resolve: Callable[[str], Model] | None = None,
    chosen_by: str = "",
) -> Request:
    """Return a checked request, to the first catalog row of the asked name.

    The arguments are those of `Session.request`. `asked_name` returns the model's name for a
    number of tokens, prompt and answer together, and why a task has chosen it, if one has.
    `resolve` returns the model of a name, if not the catalog does; `chosen_by` is for the control.

    Raises:
        BadArguments: The prompt is empty, or a parameter is invalid.
        UnknownModel: No catalog row has this name.
    """
    task, cache = params.get("task"), params.get("cache", "auto")
    timeout, budget = params.get("timeout"), params.get("budget")
    sampling = {name: value for name, value in params.items() if name not in _OF_THE_CALL}
    messages = conversation(prompt, params.get("system"))
    if timeout is not None and not (is_number(timeout) and timeout > 0):
        raise BadArguments(f"timeout cannot be {timeout!r:.80}.", "It takes seconds, over 0.")
    if cache not in get_args(CachePolicy):
        raise BadArguments(
            f"cache cannot be {cache!r:.80}.", f"It is one of {', '.join(get_args(CachePolicy))}."
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
            notes=(purpose,) if purpose else (),
            chosen_by=chosen_by,
        ),
    )
