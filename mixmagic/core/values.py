"""The values that a call is made of: plain, frozen, free of I/O.

Every module but `errors`, `stop` and `money` may import this one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from mixmagic.core.cancel import Stop
from mixmagic.core.money import Budget, Price, Usage
from mixmagic.errors import MixmagicError

Role = Literal["system", "user", "assistant"]
Origin = Literal["live", "cache", "cassette"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a provider's JSON differs from OpenAI's.

    Attributes:
        rename: Our parameter's name to theirs.
        always: Fields that every request carries.
        streaming: Fields that a streamed request carries.
        live_price: Where `/models` gives prices: the dotted paths `input` and `output`, and
            `per`, the number of tokens that they pay for; where there are some, the paths
            `cached`, for cached tokens, `cache_write`, for those that go into the cache, and
            `request`, for what every call costs besides;
            `free`, whether a price of 0 means free, and not that it is sold in another way.
        rate_window: Seconds for which its `x-ratelimit-limit` holds; 0 where unknown.
        refuses: Our names of parameters that it does not take: they are left out, and a note says
            so. `system` stands for the role, `response_format` and `json_schema` for the two steps
            of structured output.
        any_root: True if the schema of an answer need not be that of an object.
    """

    rename: Mapping[str, str] = field(default_factory=dict, hash=False)
    always: Mapping[str, Any] = field(default_factory=dict, hash=False)
    streaming: Mapping[str, Any] = field(default_factory=dict, hash=False)
    live_price: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rate_window: int = 0
    refuses: tuple[str, ...] = ()
    any_root: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """One place that serves models: a catalog file's head.

    Attributes:
        name: What stands before the colon in `together:8x7b`.
        label: Its name for people.
        backend: The module of `mixmagic.backends` that speaks to it.
        base_url: Where its API starts, as in `https://…/v1`: see `keys.urls`.
        url_env: The environment variable that overrides `base_url`.
        key_env: The environment variable that holds the API key.
        key_header: The header that carries the key; if empty, `Authorization: Bearer` does.
        headers: Headers that every request carries; `$NAME` or `${NAME}` in a value stands for
            an environment variable.
        key_required: Whether a call without a key is refused before it is sent.
        key_url: The page where a person gets a key.
        free: Whether its models cost nothing, by declaration.
        max_in_flight: Calls that this process makes to it at the same time.
        dialect: How its JSON differs from OpenAI's.
        note: What a person should know before using it.
        hint: The ways out where it refuses one of its models.
    """

    name: str
    label: str
    backend: str = "http"
    base_url: str = ""
    url_env: str = ""
    key_env: str = ""
    key_header: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    key_required: bool = True
    key_url: str = ""
    free: bool = False
    max_in_flight: int = 32
    dialect: Dialect = field(default_factory=Dialect)
    note: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """One model at one provider: a catalog row.

    Attributes:
        id: The string that the provider's API takes.
        provider: Who serves it.
        aliases: Short names.
        context: Tokens that prompt and answer may have together; `None` where unknown.
        price: Dollars per million tokens; `None` where unknown.
        languages: ISO 639-1 codes.
        architecture: In words.
        total_params: Parameters, in billions.
        active_params: Parameters used per token, in billions.
        tokenizer: The tokenizer's name.
        strengths: What it is good at.
        status: `available`, `dedicated` (only on an endpoint of one's own), `retired`.
        caveat: A few words that belong beside every answer of it.
        note: What a person should know before choosing it.
        checked: The day that the row was checked.
        source: Where its facts come from.
        thinks: True if its chat template opens the model's thinking: then an answer begins with
            thoughts, and says only where they end.
        options: Settings of the backend that serves it.
        rename: As for a `Dialect`, for this model.
        refuses: As for a `Dialect`, for this model.
    """

    id: str
    provider: Provider
    aliases: tuple[str, ...] = ()
    context: int | None = None
    price: Price | None = None
    languages: tuple[str, ...] = ()
    architecture: str = ""
    total_params: float | None = None
    active_params: float | None = None
    tokenizer: str = ""
    strengths: tuple[str, ...] = ()
    status: str = "available"
    caveat: str = ""
    note: str = ""
    checked: date | None = None
    source: str = ""
    thinks: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rename: Mapping[str, str] = field(default_factory=dict, hash=False)
    refuses: tuple[str, ...] = ()

    @property
    def wire_names(self) -> Mapping[str, str]:
        """Our parameters' names to those that this model's provider takes, where they differ."""
        return {**self.provider.dialect.rename, **self.rename}

    @property
    def name(self) -> str:
        """The shortest name that the catalog resolves to this row."""
        alias = self.aliases[0] if self.aliases else self.id
        return alias if alias == self.provider.name else f"{self.provider.name}:{alias}"

    @property
    def about(self) -> str:
        """The caveat and the note, in one line."""
        return " · ".join(filter(None, (self.caveat, self.note)))


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model.

    Attributes:
        model: Whom to ask.
        messages: The conversation, oldest first.
        params: Sampling parameters under their OpenAI names.
        stream: Whether the answer is to come in pieces.
        budget: What the call may cost, together with others that carry the same one.
        timeout: Seconds that the call may take in all; the settings' `total_timeout` where `None`.
        deadline: When that is, on the monotonic clock: set when the call is made.
        stop: Set it, from any thread, to end the call.
        notes: What the user should read below the answer, known before it is asked for.
    """

    model: Model
    messages: tuple[Message, ...]
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    stream: bool = field(default=True, compare=False)
    budget: Budget | None = field(default=None, compare=False)
    timeout: float | None = field(default=None, compare=False)
    deadline: float = field(default=math.inf, compare=False, repr=False)
    stop: Stop = field(default_factory=Stop, compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def answers(self) -> int:
        """How many answers are asked for, by `n` in whatever place."""
        return max(self._asked("n"), 1)

    @property
    def candidates(self) -> int:
        """How many answers may come: `best_of` may ask for more than `n`."""
        return max(self.answers, self._asked("best_of"))

    def _asked(self, name: str) -> int:
        """A number in the body that is sent; 0 if there is none."""
        over = {**self.model.provider.dialect.always, **self.params.get("extra_body", {})}
        try:
            return int(over.get(name, self.params.get(name, 0)))  # servers read "3" and 3.0, too
        except (TypeError, ValueError):
            return 0

    @property
    def key(self) -> str:
        """The identity of the question: blake2b of its canonical JSON, 32 hex digits."""
        canonical = json.dumps(
            {
                "model": f"{self.model.provider.name}:{self.model.id}",
                "messages": [[m.role, m.content] for m in self.messages],
                "params": dict(self.params),
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider says of its limits in the head of an answer.

    Attributes:
        requests: Requests a second; `None` where it does not say.
        tokens: Tokens a second; `None` where it does not say.
        wait: Seconds until there is room again; 0 where there is room.
    """

    requests: float | None = None
    tokens: float | None = None
    wait: float = 0.0


class Tried(NamedTuple):
    """A try of a call that failed, and that the provider may bill.

    Attributes:
        cost: US dollars, the most where `told` is false; `None` if unknown.
        told: True if the provider has told what it counts.
    """

    cost: Decimal | None
    told: bool = False


class Delta(NamedTuple):
    """One piece of an answer. `str(delta)` is its text.

    A named tuple, for one is made of every chunk, and a frozen dataclass takes three times as long.

    Attributes:
        text: Text to append.
        reasoning: Text of the model's thinking.
        finish: Why the answer ended (`stop`, `length`, …), on the piece that says so.
        usage: The provider's count, on the piece that carries it; an estimate, of what is generated
            and shown to nobody: a call to a tool, the tags around thoughts.
        origin: Where the piece comes from.
        progress: What is going on while there is no answer yet ("loading …").
        note: What the user should read below the answer.
        limits: The provider has accepted the question, and says this of its limits.
        choice: Which of several answers it belongs to, from 0.
        logprobs: The natural logarithms of its tokens' probabilities, where they were asked for.
        alone: True if `usage` counts this one of several answers alone, False if it counts all of
            them; `None` if the piece does not say.
        failed: The error of a try that left this machine; the next one begins when the stream is
            resumed. From `layers.retry` to `layers.meter`.
        tried: A try that failed and may be billed, besides what comes.
        refusal: True if `text` is the model's refusal to answer.
        tool: The name of a tool that the model calls.
        resumed: True if the answer has ended before: it was not the end.
        instead: What the whole text and reasoning of this answer are, in place of all pieces
            before: thoughts have turned out to be text, or text to be thoughts.
    """

    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    usage: Usage | None = None
    origin: Origin = "live"
    progress: str = ""
    note: str = ""
    limits: Limits | None = None
    choice: int = 0
    logprobs: tuple[float, ...] = ()
    alone: bool | None = None
    failed: MixmagicError | None = None
    tried: Tried | None = None
    refusal: bool = False
    tool: str = ""
    resumed: bool = False
    instead: tuple[str, str] | None = None

    def __str__(self) -> str:
        return self.text


Stream = Callable[[Request], Generator[Delta, None, None]]
Layer = Callable[[Stream], Stream]
