"""`mixmagic cache export`: a whole file, or none."""

from __future__ import annotations

import pytest
from command_lines import shown

from mixmagic.errors import BadArguments, StoreError


def test_an_export_that_fails_leaves_the_file_unchanged(session, tmp_path, monkeypatch):
    def entries():
        yield {"answer": {"text": "one"}}
        raise StoreError("cache.db cannot be read.", "Check its folder.")

    monkeypatch.setattr(session.cache, "entries", entries)
    file = tmp_path / "answers.jsonl"
    with pytest.raises(StoreError):
        shown(session, "cache", "export", str(file))
    assert not file.exists()
    file.write_text("an earlier export\n")
    with pytest.raises(StoreError):
        shown(session, "cache", "export", str(file), "--force")
    assert file.read_text() == "an earlier export\n"
    assert list(tmp_path.glob("*answers*")) == [file]


@pytest.mark.parametrize("name", ["none/x", ".", "nul\0"])
def test_where_no_file_can_be_written_the_error_says_why(session, tmp_path, name):
    with pytest.raises(BadArguments, match=r"cannot be written: [^:]+") as caught:
        shown(session, "cache", "export", f"{tmp_path}/{name}", "--force")
    assert caught.value.hint == "Name a file in another folder."
