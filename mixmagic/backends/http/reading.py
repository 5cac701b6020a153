"""Turns the bytes of a response into the pieces of an answer, or one of our errors. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mixmagic.backends import error_bodies, provider_errors, wire
from mixmagic.backends.http import sse
from mixmagic.backends.token_texts import TokenRedactor
from mixmagic.core.logprobs import TokenLogprob
from mixmagic.core.values import Delta, Request
from mixmagic.errors import MixmagicError, StreamBroken, one_line
from mixmagic.keys.credentials import Credentials
from mixmagic.keys.redact import Redactor

# The longest error page that is read, in bytes.
_LONGEST_PAGE = 1024 * 1024
# The beginning of an event stream, because content types may be wrong: a field, or a comment.
_FIELDS = (b"data", b"event", b"id", b"retry", b"error:", b":")
_BOM = b"\xef\xbb\xbf"
_LONGEST_FIELD = 64  # bytes that are more than enough to tell if the answer is a stream
_DONE = "[DONE]"
_CONTENT = b'"content":'
_MOST_MISSES = 16


class RepeatedEvent:
    r"""Reads events that differ from an earlier one only in their text, without parsing JSON.

    Example:
        >>> event = RepeatedEvent()
        >>> event.learn(b'data: {"content":"Hi"}\n\n', "Hi")
        >>> event.text(b'data: {"content":" there"}\n\n')
        ' there'
    """

    __slots__ = ("_after", "_before", "_misses")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._misses = 0

    def text(self, chunk: bytes) -> str | None:
        """Return the text of an event; None if it differs otherwise, or the text has escapes."""
        if not (self._before and chunk.startswith(self._before) and chunk.endswith(self._after)):
            return None
        raw = chunk[len(self._before) : -len(self._after)]
        if b'"' in raw or b"\\" in raw:
            return None
        text = raw.decode("utf-8", "replace")
        if not (text and text.isprintable()):  # JSON has no control characters
            return None
        self._misses = 0
        return text

    def learn(self, chunk: bytes, text: str) -> None:
        """Learn the form of an event from its text, for the next ones."""
        if self._misses >= _MOST_MISSES:  # this server's events differ
            return
        self._misses += 1
        # In a string the quotation marks would be escaped: so this is a member, and the only one.
        start = chunk.find(_CONTENT)
        if start >= 0 and start == chunk.rfind(_CONTENT):
            quoted = f'"{text}"'.encode()
            at = start + len(_CONTENT)
            at += chunk[at : at + 1] == b" "
            if chunk.startswith(quoted, at):
                self._before, self._after = chunk[: at + 1], chunk[at + len(quoted) - 1 :]


class ResponseReader:
    """Reads one answer, streamed or not, as it is received.

    The first bytes tell if it is a stream: servers' content types cannot be trusted.

    Args:
        request: The request.
        access: Redacts keys, in case a server echoes one.

    Attributes:
        whole: True if the answer has a finish reason, and nothing was received after it.
        done: True if the end of the stream was received.
        alive: True if the last bytes were more than a ping.
        moved: True if the last bytes had text, a finish reason or token counts.
    """

    def __init__(self, request: Request, access: Credentials) -> None:
        self.whole = self.done = self.alive = self.moved = False
        self._said = self._resumed = False
        self._model, self._access = request.model, access
        self._least, self._most = request.answers, request.candidates
        self._ended: set[int] = set()  # indexes of the answers with a finish reason
        self._spoken = 0  # pieces with content
        self._hasty = False  # True if the first of them has a finish reason
        self._several = False  # True if a frame had pieces of more than one answer
        self._odd: Any = None  # the last frame with a message and no piece of an answer
        self._redactors: dict[int, tuple[Redactor, Redactor] | None] = {0: access.redactors()}
        self._tokens: TokenRedactor | None = None  # of the first answer
        self._decoder: sse.Decoder | None = None
        self._repeated = RepeatedEvent()
        self._body: list[bytes] = []
        self._size = 0

    @property
    def doubtful(self) -> bool:
        """True if the answer continued after a finish reason, or has nothing else."""
        return self._resumed or not self._spoken

    @property
    def hasty(self) -> bool:
        """True if the answer may continue: some servers send a finish reason with each piece."""
        return self.doubtful or (self._hasty and self._spoken == 1)

    def feed_text(self, chunk: bytes) -> Delta | None:
        """Take bytes that are one event with only text; return it, or None for any other bytes.

        A fast path for nearly all chunks of an answer. If it returns None, call `feed`.
        """
        if not self._said or self._ended or self.done:
            return None
        if self._decoder is None or not self._decoder.at_rest:
            return None
        text = self._repeated.text(chunk)
        if text is None:
            if (data := self._decoder.whole(chunk)) is None:
                return None
            try:
                text = wire.plain_text(error_bodies.loads(data))
            except (ValueError, RecursionError):
                return None
            if text is None:
                return None
            self._repeated.learn(chunk, text)
        self.alive = True
        self._spoken += 1
        if (redactors := self._redactors[0]) is not None:
            text = redactors[0].feed(text)
        return Delta(text)

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take the next bytes; yield the pieces that they complete, even if an error follows.

        Raises:
            MixmagicError: The bytes are not an answer, or report an error.
        """
        self.moved = False
        if self._decoder is None:
            self.alive = bool(chunk.strip())
            size_before = self._size
            self._keep(chunk)
            # After its beginning, an answer cannot turn out to be a stream.
            if size_before > _LONGEST_FIELD or not self._is_stream():
                self._measure()
                return
            self._decoder = sse.Decoder()
            chunk = b"".join(self._body)
        too_long: sse.EventTooLong | None = None
        try:
            events = self._decoder.feed(chunk)
        except sse.EventTooLong as error:
            events, too_long = error.events, error
        self.alive = bool(events)
        for event in events:
            yield from self._event(event)
        if too_long is not None:
            raise StreamBroken(f"{self._model.provider.label} sent {too_long}.", "Ask for less.")

    def close(self) -> Iterator[Delta]:
        """Yield the last pieces: the response has ended.

        Raises:
            MixmagicError: The answer is incomplete.
        """
        yield from self.rest(torn=self.whole)
        # With `best_of` a provider may send more answers than it must.
        self.whole = self.whole or len(self._ended) >= self._least
        if self._decoder is not None and (self.whole or self._odd) and not self._said:
            raise self._empty()
        if not self.whole:
            raise StreamBroken(
                f"{self._model.provider.label} ended the answer before it was complete.",
                "The part received is kept; run the cell again for a complete answer.",
            )

    def rest(self, *, torn: bool) -> Iterator[Delta]:
        """Yield the rest of the answer; afterwards `whole` is final.

        Args:
            torn: True to drop the last event, or the body, if it is truncated.

        Raises:
            MixmagicError: The rest is not an answer, or reports an error.
        """
        if self._decoder is None:
            body = b"".join(self._body)
            if not torn or error_bodies.is_json(body.decode("utf-8-sig", "replace")):
                yield from self._whole(body)
        else:
            for event in self._decoder.close():
                if not torn or event.data.startswith(_DONE) or error_bodies.is_json(event.data):
                    yield from self._event(event)
        yield from self.held()

    def held(self) -> Iterator[Delta]:
        """Yield text that was held back because it may begin a key."""
        for choice, redactors in self._redactors.items():
            if redactors is not None:
                text, reasoning = (redactor.close() for redactor in redactors)
                if text or reasoning:
                    yield Delta(text, reasoning, choice=choice)
        if self._tokens is not None and (tokens := self._tokens.close()):
            yield Delta(logprobs=tokens)

    def _keep(self, chunk: bytes) -> None:
        """Buffer bytes while the format is unknown, or of a body that is not a stream."""
        if not self._size:
            chunk = chunk.lstrip()  # some servers send whitespace to keep the connection open
        if chunk:
            self._body.append(chunk)
            self._size += len(chunk)

    def _measure(self) -> None:
        """Refuse a body that has become too long."""
        if self._size > sse.MAX_EVENT:
            raise StreamBroken(
                f"{self._model.provider.label} sent an answer of over {sse.MAX_EVENT:,} bytes.",
                "Ask for less.",
            )

    def _is_stream(self) -> bool:
        """True if the bytes so far begin a stream of events."""
        return b"".join(self._body).removeprefix(_BOM).lstrip().startswith(_FIELDS)

    def _event(self, event: sse.Event) -> Iterator[Delta]:
        """Yield an event as pieces of the answer."""
        if event.data.startswith(_DONE):  # some servers add a space
            self.whole = self.done = True
        elif self.done:
            yield from self._late(event)
        else:
            yield from self._pieces(event.data, failed=event.type == "error")

    def _late(self, event: sse.Event) -> list[Delta]:
        """The token counts of an event after the end; the rest is ignored."""
        try:
            deltas = list(self._pieces(event.data))
        except MixmagicError:
            return []
        return [
            Delta(usage=delta.usage, choice=delta.choice, alone=delta.alone)
            for delta in deltas
            if delta.usage is not None and not delta.usage.estimated
        ]

    def _whole(self, raw: bytes) -> Iterator[Delta]:
        """Yield an answer that is not streamed: it is complete even without a finish reason."""
        label = self._model.provider.label
        if not raw.strip():
            raise StreamBroken(f"{label} sent an empty answer.", "Run the cell again.")
        deltas = []
        try:
            for delta in self._pieces(raw.decode("utf-8-sig", "replace")):
                deltas.append(delta)  # noqa: PERF402  # needed even if it raises
        except MixmagicError:
            yield from deltas
            raise
        if not self._said:
            empty = self._empty()
            empty.usage = empty.usage or next(
                (delta.usage for delta in deltas if delta.usage), None
            )
            raise empty
        self.whole = True
        yield from (delta if delta.finish else delta._replace(finish="stop") for delta in deltas)

    def _empty(self) -> MixmagicError:
        """The error for an empty answer; it quotes the message that was sent instead, if any."""
        if self._odd is not None:
            return provider_errors.from_frame(self._model, self._odd, begun=False)
        label = self._model.provider.label
        return StreamBroken(f"{label} sent an answer without content.", "Run the cell again.")

    def _pieces(self, text: str, *, failed: bool = False) -> Iterator[Delta]:
        """Yield a JSON text as pieces of the answer, without keys; `failed` if it is an error."""
        try:
            frame = error_bodies.loads(text)
            frames = wire.answers(frame)
        except (ValueError, RecursionError):
            provider = self._model.provider
            raise StreamBroken(
                f"{provider.label} sent invalid JSON: {one_line(self._access.redact(text), 80)!r}",
                f"Check {provider.url_env or 'the URL'}: is it an OpenAI-compatible API?",
            ) from None
        choices = frame.get("choices") if isinstance(frame, dict) else None
        self._several = self._several or (isinstance(choices, list) and len(choices) > 1)
        for answer_frame in frames:
            yield self._decoded(answer_frame, failed=failed)

    def _decoded(self, frame: Any, *, failed: bool) -> Delta:
        """Return a JSON value as a piece of the answer, without keys."""
        if failed or (not self._said and provider_errors.is_error_frame(frame)):
            raise provider_errors.from_frame(
                self._model, self._access.redact(frame), begun=self._said
            )
        try:
            delta = wire.decode(self._model, frame)
        except MixmagicError:
            # The error quotes the frame: raise it again from a frame without keys.
            wire.decode(self._model, self._access.redact(frame))
            raise  # redacting removed the error: the key is one of the protocol's words
        if delta.choice and not self._several:
            # If each frame has one answer, there are no more answers than requested: the index of
            # some servers counts frames, or begins at 1.
            delta = delta._replace(choice=delta.choice % self._most)
        if delta.text or delta.finish or delta.usage:
            self.moved = True
        return self._clean(self._tracked(delta, frame))

    def _tracked(self, delta: Delta, frame: Any) -> Delta:
        """Record if a piece begins, ends or resumes the answer; return the piece."""
        has_content = bool(delta.text or delta.reasoning or delta.tool)
        if has_content:
            self._spoken += 1
            if delta.choice in self._ended and not self.done:
                self._ended.discard(delta.choice)
                self._resumed = True
                delta = delta._replace(resumed=True)
        if delta.finish is not None:
            self._ended.add(delta.choice)
            self._hasty = has_content
        if has_content or delta.finish is not None:
            self._said = True
            if not self.done:
                self.whole = len(self._ended) >= self._most
        elif delta.usage is None and not self._said and error_bodies.provider_message(frame):
            self._odd = self._access.redact(frame)
        return delta

    def _clean(self, delta: Delta) -> Delta:
        """Return a piece without keys."""
        if delta.finish is not None and delta.finish not in wire.OUR_FINISHES:
            delta = delta._replace(finish=one_line(self._access.redact(delta.finish), 40))
        if delta.note or delta.tool:
            note, tool = self._access.redact([delta.note, delta.tool])
            delta = delta._replace(note=note, tool=tool)
        if delta.choice not in self._redactors:  # each answer is a separate text
            self._redactors[delta.choice] = self._access.redactors()
        if (redactors := self._redactors[delta.choice]) is not None:
            if delta.text and (shown := redactors[0].feed(delta.text)) is not delta.text:
                delta = delta._replace(text=shown)
            if delta.reasoning:
                delta = delta._replace(reasoning=redactors[1].feed(delta.reasoning))
        if delta.logprobs:
            delta = delta._replace(logprobs=self._clean_tokens(delta))
        return delta

    def _clean_tokens(self, delta: Delta) -> tuple[TokenLogprob, ...]:
        """Return the tokens of a piece of the first answer without keys; others are not kept."""
        if delta.choice:
            return ()
        if self._tokens is None:
            redactors = self._access.redactors()
            if redactors is None:
                return delta.logprobs
            self._tokens = TokenRedactor(redactors[0], self._access.redact)
        return self._tokens.feed(delta.logprobs)


def page(chunks: Iterable[bytes], longest: int = _LONGEST_PAGE) -> bytes:
    """Return the beginning of a body that is not an answer."""
    received, size = [], 0
    for chunk in chunks:
        received.append(chunk)
        size += len(chunk)
        if size > longest:
            break
    return b"".join(received)
