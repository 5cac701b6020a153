"""Values of a call: plain, frozen data without I/O.

May import `control`, `image_size`, `logprobs`, `money` and `errors`; every module may import it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from mixmagic.core.control import Control
from mixmagic.core.image_size import image_size
from mixmagic.core.logprobs import TokenLogprob
from mixmagic.core.money import Price, Usage
from mixmagic.errors import MixmagicError

Role = Literal["system", "user", "assistant"]
Origin = Literal["live", "cache", "cassette"]


@dataclass(frozen=True, slots=True)
class Text:
    """A part of a message that is text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A part of a message that is an image.

    Attributes:
        data: The bytes of the image file.
        type: The MIME type of the file.
    """

    data: bytes = field(repr=False)
    type: str = "image/png"

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels; `None` if the file does not tell."""
        return image_size(self.data)

    def __str__(self) -> str:
        """Return the image in words, such as `[image 640×480]`."""
        return f"[image {self.size[0]}×{self.size[1]}]" if self.size else "[image]"


Part = Text | Image


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: A text, or parts in their order. Only the modules that send, count or store a
            message look at it; everything else uses `text`.
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
    def described(self) -> str:
        """The text of the message for people, with `[image 640×480]` in place of each image."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(p) if isinstance(p, Image) else p.text for p in self.content)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of the message."""
        if isinstance(self.content, str):
            return ()
        return tuple(part for part in self.content if isinstance(part, Image))


@dataclass(frozen=True, slots=True)
class Dialect:
    """Differences of a provider's JSON from OpenAI's.

    Attributes:
        rename: Our names of parameters to the provider's.
        always: Fields of every request.
        streaming: Fields of every streamed request.
        live_price: Dotted paths to the prices in `/models`: `input` and `output`, and, if the
            provider has them, `cached` for cached tokens, `cache_write` for tokens that are written
            to the cache, `request` for a fee for each call. `per` is the number of tokens that a
            price pays for; `free` is true if a price of 0 means that the model is free.
        rate_window: Seconds that `x-ratelimit-limit` refers to; 0 if unknown.
        refuses: Our names of parameters that the provider does not accept: they are left out, with
            a note. `system` stands for the role, `response_format` and `json_schema` for the two
            levels of structured output.
        most: The highest values of parameters, under our names: a higher one is lowered, with a
            note.
        any_root: True if the root of a schema may be of any type, not only an object.
        formats: Further fields of a request for an answer in a format, such as a grammar, by the
            format's name.
    """

    rename: Mapping[str, str] = field(default_factory=dict, hash=False)
    always: Mapping[str, Any] = field(default_factory=dict, hash=False)
    streaming: Mapping[str, Any] = field(default_factory=dict, hash=False)
    live_price: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rate_window: int = 0
    refuses: tuple[str, ...] = ()
    most: Mapping[str, Any] = field(default_factory=dict, hash=False)
    any_root: bool = False
    formats: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Provider:
    """A service that serves models: the head of a catalog file.

    Attributes:
        name: The part of `together:8x7b` before the colon.
        label: The name for people.
        backend: The module of `mixmagic.backends` that calls it.
        base_url: The URL of its API, such as `https://…/v1`: see `keys.urls`.
        url_env: The environment variable that overrides `base_url`.
        url_path: The path of the API at a URL in `url_env` that has none; `v1` or none if empty.
        any_server: True if the URL in `url_env` may be that of any server: then no key is required.
        key_env: The environment variable that holds the API key.
        other_key_envs: Other variables that may hold it, if the first one is not set.
        key_header: The header for the key; `Authorization: Bearer` if empty.
        list_key_header: The header for the key if the models are listed; `key_header` if empty.
        headers: Headers of every request; `$NAME` or `${NAME}` in a value stands for an environment
            variable.
        key_required: True if a call without a key is refused before it is sent.
        key_url: The web page that issues keys.
        free: True if its models cost nothing, by its own declaration.
        max_in_flight: Calls that this process makes to it at the same time.
        dialect: Differences of its JSON from OpenAI's.
        note: Advice for people before they use it.
        hint: Advice if it refuses one of its models.
        rank: Position among the providers of a shared alias; the lowest comes first.
        genai_prices: The name in the package genai-prices, which has prices that our files lack.
        hosts: Hosts for which those prices hold, besides that of `base_url`.
        families: Beginnings of names that belong to it: `gpt-` means `openai:gpt-…`.
        vendor: What its models' names begin with at OpenRouter, such as `anthropic`.
        list_prefix: What they begin with in its own list of models, such as `models/`.
        counts_exactly: True if its backend has the tokenizers of its models.
        images: As for a `Model`, of the models that do not say so themselves.
        image_tokens: Likewise.
        schema: As for a `Model`, of the models that do not say so themselves.
        thinking: As for a `Model`, of the models that do not say so themselves.
    """

    name: str
    label: str
    backend: str = "http"
    base_url: str = ""
    url_env: str = ""
    url_path: str = ""
    any_server: bool = False
    key_env: str = ""
    other_key_envs: tuple[str, ...] = ()
    key_header: str = ""
    list_key_header: str = ""
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
    families: tuple[str, ...] = ()
    vendor: str = ""
    list_prefix: str = ""
    counts_exactly: bool = False
    images: bool | None = None
    image_tokens: str | None = None
    schema: bool | None = None
    thinking: bool | None = None

    @property
    def is_users(self) -> bool:
        """True if its servers are the users' own, with the models that they put there."""
        return self.backend == "http" and (self.free or not self.base_url)

    @property
    def key_envs(self) -> tuple[str, ...]:
        """The environment variables that may hold its key, in the order in which they are read."""
        return (self.key_env, *self.other_key_envs) if self.key_env else ()


CAPABILITIES = ("images", "schema", "thinking", "image_tokens")


@dataclass(frozen=True, slots=True)
class Model:
    """One model at one provider: a catalog row.

    Attributes:
        id: The string that the provider's API takes.
        provider: The provider that serves it.
        aliases: Short names.
        context: Tokens of prompt and answer together, at most; `None` if unknown.
        answer: Tokens of an answer, at most; `None` if unknown, or if only the context limits it.
        price: Dollars per million tokens; `None` if unknown.
        languages: ISO 639-1 codes.
        architecture: In words.
        total_params: Parameters, in billions.
        active_params: Parameters used per token, in billions.
        tokenizer: The tokenizer's name.
        strengths: Tasks that it is good at.
        status: `available`, `dedicated` (only on a private endpoint) or `retired`.
        caveat: Short warning shown when it is chosen.
        note: Advice for people before they choose it.
        checked: The day that the row was checked.
        source: The source of the facts.
        thinks: True if its chat template opens the model's thinking, so that an answer begins with
            thoughts and marks only their end.
        images: True if it sees images in a prompt; the provider's if not given, `None` if unknown.
        image_tokens: How it counts images: a rule of `calls.image_tokens`; likewise.
        schema: True if its answers can be bound to a JSON Schema; likewise.
        thinking: True if it can think before it answers; likewise.
        options: Settings for the backend.
        rename: As for a `Dialect`, for this model.
        refuses: As for a `Dialect`, for this model.
        formats: As for a `Dialect`, for this model.
        most: As for a `Dialect`, for this model.
    """

    id: str
    provider: Provider
    aliases: tuple[str, ...] = ()
    context: int | None = None
    answer: int | None = None
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
    images: bool | None = None
    image_tokens: str | None = None
    schema: bool | None = None
    thinking: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    rename: Mapping[str, str] = field(default_factory=dict, hash=False)
    refuses: tuple[str, ...] = ()
    formats: Mapping[str, Any] = field(default_factory=dict, hash=False)
    most: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in CAPABILITIES:
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(self.provider, name))

    @property
    def wire_names(self) -> Mapping[str, str]:
        """Our names of parameters to the provider's, if they differ."""
        return {**self.provider.dialect.rename, **self.rename}

    @property
    def name(self) -> str:
        """The shortest name that the catalog resolves to this row."""
        alias = self.aliases[0] if self.aliases else self.id
        return alias if alias == self.provider.name else f"{self.provider.name}:{alias}"

    @property
    def free(self) -> bool:
        """True if its provider gives it away, and no price is set for it in the user's file."""
        return self.provider.free and (self.price is None or self.price.free)

    @property
    def about(self) -> str:
        """The caveat and the note, in one line."""
        return " · ".join(filter(None, (self.caveat, self.note)))


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
        """The number of answers that are asked for, by `n` in the parameters or the body."""
        return max(self._asked("n"), 1)

    @property
    def candidates(self) -> int:
        """The number of answers that may be received: `best_of` can ask for more than `n`."""
        return max(self.answers, self._asked("best_of"))

    def _asked(self, name: str) -> int:
        """Return a number in the body that is sent; 0 if there is none."""
        params = self.params
        value = self.model.provider.dialect.always.get(name, params.get(name, 0))
        try:
            # Servers read "3" and 3.0, too.
            return int(params.get("extra_body", {}).get(name, value))
        except (TypeError, ValueError):
            return 0


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Rate limits that a provider reports in the head of a response.

    Attributes:
        requests: Requests a second; `None` if it does not say.
        tokens: Tokens a second; `None` if it does not say.
        wait: Seconds until it accepts the next request.
    """

    requests: float | None = None
    tokens: float | None = None
    wait: float = 0.0


class Tried(NamedTuple):
    """A failed try of a call that the provider may bill.

    Attributes:
        cost: US dollars, the most that it can be unless `reported`; `None` if unknown.
        reported: True if the provider has reported its count.
    """

    cost: Decimal | None
    reported: bool = False


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

    A named tuple, since there is one for each chunk, and a frozen dataclass takes three times as
    long to make.

    Attributes:
        text: Text to append.
        reasoning: Text of the model's thinking.
        finish: Reason why the answer ended (`stop`, `length`, …), on its last piece.
        usage: The provider's count, on the piece that has it; or our estimate of tokens that are
            not shown: a call to a tool, the tags around thoughts.
        origin: `live`, `cache` or `cassette`.
        progress: Message for the user while there is no answer yet ("loading …").
        note: Note for the user, shown below the answer.
        passing: True if `note` is about this call, and not about its answer: it is not stored.
        limits: The provider's rate limits; it has accepted the question.
        choice: Index of the answer, if several were asked for.
        logprobs: Its tokens with their probabilities, if they were asked for.
        alone: True if `usage` counts this one of several answers alone, False if it counts all of
            them; `None` if unknown.
        failed: Error of a try that left this machine; the next try begins when the stream is
            resumed. From `layers.retry` to `layers.meter`.
        tried: A failed try that may be billed besides this answer.
        refusal: True if `text` is the model's refusal to answer.
        tool: The name of a tool that the model calls.
        resumed: True if an earlier piece wrongly marked the end of the answer.
        instead: The whole text and reasoning of this answer so far, replacing all earlier pieces:
            thoughts were read as text, or text as thoughts.
        timing: Recorded times of an answer that is not live.
        model: The model that answers, from `layers.resolve`.
        restarted: True if the answer begins again, and the pieces before count no longer: they came
            from a call that others shared, and that has ended early.
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
    logprobs: tuple[TokenLogprob, ...] = ()
    alone: bool | None = None
    failed: MixmagicError | None = None
    tried: Tried | None = None
    refusal: bool = False
    tool: str = ""
    resumed: bool = False
    instead: tuple[str, str] | None = None
    timing: Timing | None = None
    model: Model | None = None
    restarted: bool = False
    passing: bool = False

    def __str__(self) -> str:
        return self.text


Stream = Callable[[Request], Generator[Delta, None, None]]
Layer = Callable[[Stream], Stream]
