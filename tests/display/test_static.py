"""Without a person at the front end an answer is shown once, when it is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import nbformat
import pytest
from kernels import notebook_client
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from server import Answer, chunk, frames, together, usage

pytestmark = pytest.mark.kernel

SLOW = Answer(
    [
        *(step for text in ("One ", "two ", "three") for step in (*together(text)[:1], 0.15)),
        frames(chunk("", "stop", **usage(9, 3))),
    ]
)
CELLS = ("%load_ext mixmagic", "%%mixtral\nHi", "for i in range(2):\n    %mixtral Hi {i}")


class Watched(NotebookClient):
    """A notebook client that keeps the kinds of the messages of each cell."""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        seen = self.__dict__.setdefault("seen", [])
        if "display" in msg["msg_type"] or msg["msg_type"] == "clear_output":
            seen.append((cell_index, msg["msg_type"]))
        return super().process_message(msg, cell, cell_index)


def test_nbclient_gets_exactly_one_display_for_each_answer(together):
    together.plan = [SLOW]
    client = notebook_client(*CELLS, kind=Watched)
    client.execute(cleanup_kc=True)
    assert client.seen == [(1, "display_data"), (2, "display_data"), (2, "display_data")]
    output = client.nb.cells[1].outputs[0]
    assert set(output.data) == {"text/markdown", "text/plain"}
    assert output.data["text/plain"].startswith("One two three\n\ntogether:8x7b · 9 → 3 tokens")
    nbformat.validate(client.nb)


def test_nbconvert_execute_saves_one_output(together, tmp_path):
    together.plan = [SLOW]
    path = tmp_path / "answers.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in CELLS]), path)
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", path],
        check=True,
        capture_output=True,
        env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        timeout=60,
    )
    cells = json.loads(path.read_text())["cells"]
    assert [len(cell["outputs"]) for cell in cells] == [0, 1, 2]
    assert cells[1]["outputs"][0]["output_type"] == "display_data"
    assert cells[1]["outputs"][0]["data"]["text/markdown"][0] == "One two three\n"


@pytest.mark.parametrize(
    ("setting", "live", "updates"),
    [("", True, True), ("", False, False), ("0", True, False), ("1", False, True)],
    ids=["a person", "no person", "a person, MIXMAGIC_LIVE=0", "no person, MIXMAGIC_LIVE=1"],
)
def test_the_front_end_decides_unless_mixmagic_live_does(
    together, start_kernel, setting, live, updates
):
    together.plan = [SLOW]
    ran = start_kernel(MIXMAGIC_LIVE=setting).run("%%mixtral\nHi", live=live)
    assert ran.status == "ok"
    assert ("update_display_data" in ran.kinds) is updates
    assert ran.kinds.count("display_data") == 1
    assert len(ran.outputs) == 1
    assert ran.text.startswith("One two three\n\ntogether:8x7b")


def test_the_embedded_model_shows_no_progress_where_nobody_watches(start_kernel):
    ran = start_kernel().run("%%mixtral -m local --max-tokens 4 -t 0\nHi", live=False, timeout=120)
    assert ran.status == "ok", ran.text
    assert [kind for kind in ran.kinds if "display" in kind or kind == "stream"] == ["display_data"]
