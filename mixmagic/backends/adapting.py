"""Requests sent again in another form if a model refuses the first one.

This happens below the meter: the layers above see one request. The user is told once what a model
does not accept; it is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

from mixmagic.backends import dialects, provider_errors, schema_roots, wire
from mixmagic.backends.dialects import Dialects, Habits
from mixmagic.backends.error_bodies import provider_message
from mixmagic.core.values import Delta, Model, Request
from mixmagic.errors import MixmagicError
from mixmagic.keys import urls

# Sends a request's JSON to the API that starts at a URL.
Send = Callable[[str, dict[str, Any]], Generator[Delta, None, None]]
_NOT_THERE = (404, 405)
_OF_PATHS = re.compile(
    r"not (?:be )?found|(?:invalid|unknown|unrecogni[sz]ed) (?:request )?(?:url|path|route)"
    r"|no (?:such )?(?:route|path|url|handler)|cannot (?:post|get)|method not allowed|404|405",
    re.IGNORECASE,
)
_REFUSES = (400, 404, 405, 415, 422, 424, 500, 501)


def send_adapted(request: Request, known: Dialects, send: Send) -> Generator[Delta, None, None]:
    """Send a request; send it again without the refused parts, until an answer begins.

    Args:
        request: The request.
        known: The habits of models; new ones are added.
        send: The function that makes a call.

    Raises:
        MixmagicError: The last call failed, and the request has no other form.
    """
    call = _AdaptedRequest(request, known)
    while True:
        try:
            with closing(send(call.url, call.body)) as deltas:
                for delta in deltas:
                    if delta.text or delta.reasoning or delta.finish or delta.usage:
                        yield from call.learned()
                        call.begun = True
                        if call.wrapper:
                            yield from schema_roots.unwrapped(_after(delta, deltas), call.wrapper)
                        else:
                            yield delta
                            yield from deltas
                        return
                    yield delta
                yield from call.learned()
            return  # noqa: TRY300  # the rest is for errors
        except MixmagicError as error:
            if not call.another_way(error):
                if not call.begun and error.status is not None and error.status not in _REFUSES:
                    yield from call.learned()
                error.transmitted = error.transmitted or call.refused
                if not any(message.images for message in request.messages):
                    raise
                problem = provider_errors.of_images(request.model, error)
                if problem is error:
                    raise
                raise problem from None


class _AdaptedRequest:
    """A request in the form that is sent next.

    Attributes:
        url: The base URL of the API.
        body: The request's JSON.
        refused: True if it was refused in another form.
        begun: True if an answer has begun.
        wrapper: The property that holds the answer, if its schema has been wrapped; or empty.
    """

    def __init__(self, request: Request, known: Dialects) -> None:
        self.refused = self.begun = False
        self._model, self._request, self._known = request.model, request, known
        self._asked = wire.body(request)
        self.url, *self._other_urls = urls.base_urls(request.model.provider)
        self._lesson, self._here = Habits(), Habits()
        self._not_there: MixmagicError | None = None
        self._put()

    def another_way(self, error: MixmagicError) -> bool:
        """Use another form, suggested by an error; return False if there is none.

        Raises:
            MixmagicError: No URL of the provider's has the API: the error of the first one.
        """
        if self.begun or error.body is None:
            return False
        is_elsewhere = _is_elsewhere(error, self._model)
        if is_elsewhere and self._other_urls:
            self._not_there = self._not_there or error
            self.url, *self._other_urls = self._other_urls
        elif is_elsewhere and self._not_there is not None:
            raise self._not_there from None
        elif not self._learns(error.status or 400, error.body):  # none in a stream
            return False
        self.refused = True
        self._put()
        return True

    def learned(self) -> Iterator[Delta]:
        """Remember the habits that refusals have revealed; yield notes for the user."""
        model, request, habits = self._model, self._request, self._habits
        if self._not_there is not None:
            urls.remember(model.provider, self.url)
        left_out = dialects.left_out(request, habits)
        new = self._known.learn(model, self.url, self._lesson) | self._here
        self._lesson = self._here = Habits()
        yield from (Delta(note=dialects.without(model, name)) for name in left_out)
        lowered = dialects.lowered_notes(model, self._asked, habits)
        yield from (Delta(note=note) for note in lowered)
        yield from (Delta(note=note) for note in dialects.lesson_notes(model, new, left_out))

    def _put(self) -> None:
        """Change the request to the form that the model is known to accept."""
        self._habits = self._known.of(self._model, self.url) | self._lesson | self._here
        self.body, self.wrapper = dialects.adapted(self._asked, self._habits)

    def _learns(self, status: int, body: Any) -> bool:
        """Learn from a refusal; return False if it reveals nothing new."""
        lesson = dialects.lesson(self._model, self.body, status, body)
        if lesson is None or (lesson.renamed and self._habits.renamed):
            return False
        if self._habits | lesson == self._habits:
            return False
        if dialects.is_of_schema(lesson, body):  # another schema may be accepted
            self._here |= lesson
        else:
            self._lesson |= lesson
        return True


def _is_elsewhere(error: MixmagicError, model: Model) -> bool:
    """True if an error means that the URL is wrong, not that the model is unknown."""
    if error.status not in _NOT_THERE:
        return False
    words = provider_message(error.body)
    if re.search(r"\bmodel\b", words, re.IGNORECASE) or (model.id and model.id in words):
        return False
    details = error.body.get("error") if isinstance(error.body, Mapping) else None
    return not isinstance(details, Mapping) or _OF_PATHS.search(words) is not None


def _after(first: Delta, deltas: Generator[Delta, None, None]) -> Generator[Delta, None, None]:
    """Yield a delta and the ones after it."""
    yield first
    yield from deltas
