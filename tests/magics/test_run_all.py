"""A failed `%%mixtral` cell ends Run All, papermill and nbclient, as any failed cell does."""

from __future__ import annotations

import pytest
from kernels import notebook_client
from nbclient.exceptions import CellExecutionError
from server import CUT, Answer, chunk, frames, refusal


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, {"error": {"message": "no"}}),
        Answer([frames(chunk("Half an"), done=False), CUT]),
    ],
    ids=["refused", "broken off"],
)
def test_the_cells_behind_a_failed_one_do_not_run(together, answer):
    together.plan = [answer]
    client = notebook_client("%load_ext mixmagic", "%%mixtral\nHi", "ran = True")
    with pytest.raises(CellExecutionError):
        client.execute(cleanup_kc=True)
    assert [cell.execution_count for cell in client.nb.cells] == [1, 2, None]
    last = client.nb.cells[1].outputs[-1]
    assert last.output_type == "error"
    assert len(last.traceback) == 2


def test_a_cell_queued_behind_a_failed_one_is_aborted(together, start_kernel):
    kernel = start_kernel()
    together.plan = [Answer([0.3, *refusal(500, {}).steps], 500)]
    first = kernel.send("%%mixtral\nHi")
    second = kernel.send("print('must not run')")
    assert kernel.collect(first).status == "error"
    ran = kernel.collect(second)
    assert ran.status == "aborted"
    assert "must not run" not in ran.text
