"""The keywords of a call: their types, their documentation, and their completion.

Imports nothing of the project: `import mixmagic` stays light.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

if TYPE_CHECKING:
    from mixmagic.core.control import CachePolicy
    from mixmagic.core.money import Budget, Dollars

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Parameters(TypedDict, total=False):
    """The keywords of `ask`, `stream`, `aask`, `astream` and `Session.request`.

    What is not set, or `None`, is the session's default (`%mixmagic set`). What one provider alone
    takes goes into `extra_body`.

    Attributes:
        model: A catalog name (`8x7b`, `fireworks:8x7b`, `local`) or `provider:API-string`; the
            session's default if not set.
        system: The system prompt; an empty one is none.
        task: A kind of work, such as `code`: its preset sets the temperature, and the model if the
            user has chosen none.
        temperature: Randomness, from 0 to 2.
        max_tokens: Tokens of the answer, at most.
        top_p: Sample from the likeliest tokens that together have this probability.
        top_k: Sample from this many of the likeliest tokens.
        min_p: Sample from the tokens with at least this share of the likeliest one's probability.
        seed: Makes sampling reproducible, if the model supports it.
        stop: Texts before which the answer ends.
        n: The number of answers; each is paid for.
        logprobs: True for the logarithms of the tokens' probabilities.
        top_logprobs: The number of alternatives to each token, from 0 to 20.
        presence_penalty: Penalty of tokens that have occurred, from -2 to 2.
        frequency_penalty: Penalty of tokens by how often they have occurred, from -2 to 2.
        repetition_penalty: Divides the likelihood of tokens that have occurred; 1 for no effect.
        schema: A JSON Schema that the answer has to match; for `map`, also a class.
        response_format: The form of the answer, as in OpenAI's API.
        extra_body: Fields of the request's JSON.
        budget: US dollars that the call may cost; a `Budget` is shared by calls that carry it.
        timeout: Seconds that the call may take in all, with its waits and retries; the settings'
            `total_timeout` if not set.
        cache: `auto`, `use`, `off` or `refresh`: see `Control.cache`.
    """

    model: str | None
    system: str | None
    task: str | None
    temperature: float | None
    max_tokens: int | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    seed: int | None
    stop: str | list[str] | tuple[str, ...] | None
    n: int | None
    logprobs: bool | None
    top_logprobs: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    schema: dict[str, Any] | type | None
    response_format: dict[str, Any] | None
    extra_body: dict[str, Any] | None
    budget: Budget | Dollars | None
    timeout: float | None
    cache: CachePolicy


def listed(function: _Function) -> _Function:
    """List the parameters in the signature of a function that takes them as `**params`.

    Type checkers read `Unpack[Parameters]`; completers and help read the signature.

    Example:
        >>> @listed
        ... def ask(prompt: Prompt, **params: Unpack[Parameters]) -> Completion: ...
    """
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    defaults = {"cache": "auto"}
    for name, annotation in Parameters.__annotations__.items():
        default, written = defaults.get(name), annotation.__forward_arg__
        own.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=written
            )
        )
    vars(function)["__signature__"] = signature.replace(parameters=own)
    return function
