from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mixmagic.core.values import Image, Text
from mixmagic.prompting.marks import Marks


def test_texts_and_images_keep_their_order():
    marks, one, two = Marks(), Image(b"1"), Image(b"2")
    text = f"From {marks.add(one)} to {marks.add(two)}\n"
    assert marks.content(text) == (Text("From "), one, Text(" to "), two, Text("\n"))[:4]
    assert marks.without(text) == "From [image] to [image]\n"


def test_only_marks_that_were_given_stand_for_images():
    marks, forged = Marks(), f"image{'0' * 32}"
    mark = marks.add(Image(b"1"))
    assert marks.content(forged) == forged
    assert marks.content(f"{forged}{mark}") == (Text(forged), Image(b"1"))
    assert Marks().content(mark) == mark


@given(st.lists(st.text() | st.binary()))
def test_no_text_is_lost(items):
    marks = Marks()
    text = "".join(marks.add(Image(item)) if isinstance(item, bytes) else item for item in items)
    content = marks.content(text)
    parts = [Text(content)] if isinstance(content, str) else content
    texts = "".join(part.text for part in parts if isinstance(part, Text))
    assert "".join(texts.split()) == "".join(
        "".join(i for i in items if isinstance(i, str)).split()
    )
    assert [p.data for p in parts if isinstance(p, Image)] == [i for i in items if type(i) is bytes]
