"""Requests whose messages change after they were built."""

from __future__ import annotations

import pytest

from mixmagic.core.values import Image, Message, Text
from mixmagic.tasks.question import with_messages

PICTURE = (Text("See: "), Image(b"?"))


@pytest.mark.parametrize(
    ("left", "notes"),
    [(0, ("1 image of earlier messages",)), (2, ())],
)
def test_the_note_on_images_is_of_the_messages_that_are_sent(session, left, notes):
    """Not of exchanges that a conversation has dropped to fit the context."""
    messages = [Message("user", PICTURE), Message("assistant", "A."), Message("user", "And?")]
    request = session.request(messages)
    assert request.control.notes == ("1 image of earlier messages",)
    trimmed = with_messages(request, messages[left:])
    assert trimmed.control.notes == notes
    assert trimmed.control.stop is request.control.stop
    assert trimmed.messages == tuple(messages[left:])
