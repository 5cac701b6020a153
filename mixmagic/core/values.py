"""The values that a call is made of: plain, frozen, free of I/O.

Every module but `errors`, `stop` and `money` may import this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from mixmagic.core.cancel import Stop
from mixmagic.core.money import Budget, Price, Usage
from mixmagic.errors import MixmagicError

Role = Literal["system", "user", "assistant"]
Origin = Literal["live", "cache", "cassette"]
CachePolicy = Literal["auto", "use", "off", "refresh"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text between the images of a message."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a message.

    Attributes:
        data: Its bytes, encoded as `type` says.
        type: Its MIME type.
    """

    data: bytes = field(repr=False)
    type: str = "image/png"


Part = Text | Image


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: A text, or parts in their order. Only what sends, counts or stores a message
            reads it: everything else reads `text`.
    """

    role: Role
    content: str | tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text of the message, without its images."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of the message."""
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if isinstance(part, Image))


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
        rank: Its position among the providers of a shared alias; the lowest comes first.
        genai_prices: Its name in the package genai-prices, which has prices that our files lack.
        hosts: Hosts at which those prices hold, besides that of `base_url`.
        counts_exactly: True if its backend has its models' tokenizers.
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
    max_in_flight: int = 1024
    dialect: Dialect = field(default_factory=Dialect)
    note: str = ""
    hint: str = ""
    rank: int = 100
    genai_prices: str = ""
    hosts: tuple[str, ...] = ()
    counts_exactly: bool = False


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


@dataclass(slots=True, eq=False)
class Control:
    """Settings of one call that cannot change its answer: never compared, part of no key.

    Attributes:
        stop: Set it, from any thread, to end the call.
        deadline: When the call must be over, on the monotonic clock. The outermost layer sets it,
            on a copy, from `timeout`.
        timeout: Seconds that the call may take in all; the settings' `total_timeout` if `None`.
        budget: Limit of what the call may cost, shared by all calls that carry it.
        notes: Notes on the call that are known before it is made, for the user to read.
        tag: The ledger's `tag` column: the cell or task that made the call.
        job: The ledger's `job` column: the id of the job that the call belongs to.
        cache: Use of the answer cache: `auto` for repeatable questions alone, `use` for all,
            `off`, or `refresh` to ask again and store the new answer.
        on_end: Called with the `Completion` before the ledger records the end of the call.
        pause: Context manager around the wait before a retry: bulk work lends its slot meanwhile.
        urgent: True if a person waits for the answer: the call goes before those that wait.
    """

    stop: Stop = field(default_factory=Stop, repr=False)
    deadline: float = math.inf
    timeout: float | None = None
    budget: Budget | None = None
    notes: tuple[str, ...] = ()
    tag: str = ""
    job: str = ""
    cache: CachePolicy = "auto"
    on_end: Callable[[Any], None] | None = field(default=None, repr=False)
    pause: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False)
    urgent: bool = False

    def again(self) -> Control:
        """Return the control of a further call: a new stop, no deadline, no callbacks."""
        return Control(**self._portable)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as `again`: locks, callbacks and this machine's clock stay here."""
        return _control, (self._portable,)

    @property
    def _portable(self) -> dict[str, Any]:
        """The values that mean the same in another call and in another process."""
        names = ("timeout", "budget", "notes", "tag", "job", "cache", "urgent")
        return {name: getattr(self, name) for name in names}


def _control(values: dict[str, Any]) -> Control:
    """Return a control that was pickled."""
    return Control(**values)


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model.

    Attributes:
        model: The model to ask: the first catalog row of the asked name, until `layers.resolve`
            puts the row of the chosen provider in its place.
        messages: The conversation, oldest first.
        params: Sampling parameters under their OpenAI names.
        stream: True if the answer should be streamed.
        asked: The name that the user gave, such as `8x7b`; empty if the model was given itself.
        control: Settings of this call that are not part of the question.

    Example:
        >>> request = session.request("Name three colors.", model="local")
        >>> request.control.stop.set()
    """

    model: Model
    messages: tuple[Message, ...]
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    stream: bool = field(default=True, compare=False)
    asked: str = ""
    control: Control = field(default_factory=Control, compare=False, repr=False)

    def again(self) -> Request:
        """Return the same question for another call, which no earlier stop ends.

        Example:
            >>> completion.request.again() == completion.request
            True
        """
        return replace(self, control=self.control.again())

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


@dataclass(frozen=True, slots=True)
class RateLimits:
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


class Timing(NamedTuple):
    """Recorded times of an answer that comes from a cache or a cassette.

    Attributes:
        elapsed: Seconds from the call to the end.
        ttft: Seconds from the call to the first piece of the text; `None` if there was none.
        thinking: Seconds of the model's thinking; `None` if there was none.
        recorded: When the answer was recorded, in UTC; `None` if unknown.
    """

    elapsed: float
    ttft: float | None = None
    thinking: float | None = None
    recorded: datetime | None = None


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
        timing: Recorded times, of an answer that is not live.
        model: The model that answers, if it is not the request's. From `layers.resolve`.
    """

    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    usage: Usage | None = None
    origin: Origin = "live"
    progress: str = ""
    note: str = ""
    limits: RateLimits | None = None
    choice: int = 0
    logprobs: tuple[float, ...] = ()
    alone: bool | None = None
    failed: MixmagicError | None = None
    tried: Tried | None = None
    refusal: bool = False
    tool: str = ""
    resumed: bool = False
    instead: tuple[str, str] | None = None
    timing: Timing | None = None
    model: Model | None = None

    def __str__(self) -> str:
        return self.text


Stream = Callable[[Request], Generator[Delta, None, None]]
Layer = Callable[[Stream], Stream]
