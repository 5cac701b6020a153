from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from mixmagic.core.toml_file import save
from mixmagic.errors import BadArguments, StoreError

OWN = """# Mine, since 2024.
idle_timeout = 30   # slow server
model = 'local'

[aliases]   # short ones
fast = "fireworks:8x7b"
"""


def test_a_new_file_is_made_with_its_folder(tmp_path):
    file = tmp_path / "a" / "config.toml"
    save(file, 0.2, "temperature")
    assert file.read_text() == "temperature = 0.2\n"


def test_comments_and_order_stay(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(OWN)
    save(file, "8x22b", "model")
    save(file, "Be brief.\nPlease.", "system")
    save(file, ["END", "\n"], "stop")
    save(file, "openrouter:a/b", "aliases", "free")
    text = file.read_text()
    assert tomllib.loads(text) == {
        "idle_timeout": 30,
        "model": "8x22b",
        "system": "Be brief.\nPlease.",
        "stop": ["END", "\n"],
        "aliases": {"fast": "fireworks:8x7b", "free": "openrouter:a/b"},
    }
    assert text.startswith("# Mine, since 2024.\nidle_timeout = 30   # slow server\nmodel = ")
    assert "[aliases]   # short ones\n" in text
    for keys in (("system",), ("stop",), ("aliases", "free"), ("nothing",), ("no", "table")):
        save(file, None, *keys)
    assert tomllib.loads(file.read_text()) == tomllib.loads(OWN.replace("'local'", "'8x22b'"))


def test_a_files_line_ends_and_mode_stay(tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf# Mine.\r\nlive = true\r\n")
    file.chmod(0o600)
    save(file, 1, "seed")
    assert file.read_bytes() == b"# Mine.\r\nlive = true\r\nseed = 1\r\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.toml").write_text("live = true\n")
    (tmp_path / "config.toml").symlink_to(tmp_path / "real.toml")
    save(tmp_path / "config.toml", 1, "seed")
    assert (tmp_path / "config.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "live = true\nseed = 1\n"


@pytest.mark.parametrize(
    "content",
    [b"model = ", b"model = '\xff'", b"model = 'a'\nmodel = 'b'", b"a = 1\0", b"[a]\n[a]"],
)
def test_a_damaged_file_is_an_error_and_stays(tmp_path, content):
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    with pytest.raises(BadArguments, match="nothing was saved") as caught:
        save(file, 1, "seed")
    assert str(file) in caught.value.message
    assert file.read_bytes() == content
    assert not list(tmp_path.glob(".*.part"))


def test_a_value_in_a_tables_place_is_an_error(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("aliases = 3\n")
    with pytest.raises(BadArguments, match="aliases"):
        save(file, "x", "aliases", "fast")
    assert file.read_text() == "aliases = 3\n"


def test_a_file_that_cannot_be_written_stays(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("live = true\n")
    with pytest.raises(StoreError, match="it stays as it was"):
        save(file, "half a pair: \ud800", "system")
    assert file.read_text() == "live = true\n"


def test_what_processes_save_at_the_same_moment_is_all_kept(tmp_path):
    file = tmp_path / "new" / "config.toml"
    program = (
        "import pathlib, sys; from mixmagic.core.toml_file import save\n"
        "for n in range(10): save(pathlib.Path(sys.argv[1]), n, 'aliases', f'{sys.argv[2]}{n}')"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, file, name]) for name in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(tomllib.loads(file.read_text())["aliases"]) == 30
