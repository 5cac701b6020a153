"""A process and its workers share one session and its budget; other processes have their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path

import pytest
from server import Answer, Received, chunk, frames, usage

from mixmagic.store.ledger import processes

KINDS = ["spawn", "forkserver", "fork", "loky", "executor", "nested", "nested in loky"]
TOKENS = 400
TOKEN = Decimal("600e-9")  # of 8x7b, in and out
COST = (9 + TOKENS) * TOKEN
LIMIT = Decimal("0.0015")  # four calls and a bit

KIDS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import mixmagic

def session(_=None):
    found = mixmagic.session()
    return found.id, [str(left.limit.dollars) for left in found.budgets()]

def ask(number):
    try:
        return float(mixmagic.ask(f"Hi {number}", model="8x7b", max_tokens=400).cost)
    except mixmagic.errors.BudgetExceeded:
        return 0

def limit(dollars):
    mixmagic.budget(dollars)

def nested_in_loky(work, items):
    from joblib.externals.loky import get_reusable_executor
    return list(get_reusable_executor(max_workers=2).map(work, items))

def nested(work, items):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(work, items)
"""
MAIN = """
import json, multiprocessing, subprocess, sys
from concurrent.futures import ProcessPoolExecutor

def workers(kind):
    '''A function that maps another over items in workers of a kind; they are running.'''
    if "loky" in kind:
        from joblib.externals.loky import get_reusable_executor
        pool = get_reusable_executor(max_workers=2)
    elif kind == "executor":
        pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    else:
        pool = multiprocessing.get_context(kind.replace("nested", "spawn")).Pool(2)
        if kind == "nested":  # whose workers are daemons, and may have no children
            pool.terminate()
            pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    if "nested" in kind:
        nested = getattr(kids, kind.replace(" ", "_"))
        return lambda work, items: pool.submit(nested, work, list(items)).result()
    return lambda work, items: list(pool.map(work, items))

if __name__ == "__main__":
    import kids
    kind = sys.argv[1]
"""


@pytest.fixture
def run(tmp_path, home):
    """Run a main script whose workers can import `kids`; return its output, parsed as JSON."""
    (tmp_path / "kids.py").write_text(KIDS)

    def run(script: str, *words: str):
        (tmp_path / "main.py").write_text(MAIN + textwrap.indent(textwrap.dedent(script), "    "))
        ran = subprocess.run(
            [sys.executable, "main.py", *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return run


def bill(received: Received) -> Answer:
    first = frames(chunk("word "), done=False)
    return Answer([first, 0.05, frames(chunk("end", "stop", **usage(9, TOKENS)))])


@pytest.mark.parametrize("kind", KINDS)
def test_workers_share_the_session_and_its_budget(run, together, kind):
    """The workers were started before the budget was set."""
    together.plan = [bill]
    script = """
    map_ = workers(kind)
    before = map_(kids.session, range(4))
    import mixmagic
    mixmagic.budget("0.0015")
    own = kids.session()
    after = map_(kids.session, range(4))
    costs = map_(kids.ask, range(12))
    print(json.dumps([own, before, after, costs]))
    """
    own, before, after, costs = run(script, kind)
    assert own[1] == [str(LIMIT)]
    assert {session for session, _ in before} == {own[0]}
    assert {limits[0] for _, limits in before if limits} == set()
    assert after == [own] * 4
    billed = len(together.received) * COST
    assert 3 * COST <= billed <= LIMIT
    assert sum(costs) == pytest.approx(float(billed))


def test_a_worker_sets_the_budget_of_all(run):
    script = """
    map_ = workers(kind)
    map_(kids.limit, ["0.25"])
    print(json.dumps([kids.session()[1], [limits for _, limits in map_(kids.session, range(4))]]))
    """
    assert run(script, "spawn") == [["0.25"], [["0.25"]] * 4]


def test_a_subprocess_and_another_kernel_begin_their_own(run, start_kernel):
    script = """
    kids.limit("0.25")
    command = [sys.executable, "-c", "import json, kids; print(json.dumps(kids.session()))"]
    ran = [json.loads(subprocess.check_output(command)) for _ in range(2)]
    print(json.dumps([kids.session(), *ran]))
    """
    own, first, second = run(script, "")
    assert own[1] == ["0.25"]
    assert first[1] == second[1] == []
    kernels = [start_kernel() for _ in range(2)]
    kernels[0].run("import mixmagic; mixmagic.budget(0.5)")
    ids = [kernel.run("import mixmagic; print(mixmagic.session().id)").text for kernel in kernels]
    assert len({own[0], first[0], second[0], *ids}) == 5
    assert "No budget is set" in kernels[1].run("%mixmagic budget").text


def test_a_clusters_worker_begins_its_own(run):
    """Dask's local ones are children of the notebook's kernel, and known by their name."""
    script = """
    kids.limit("0.25")
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    import helper
    for name in ("Dask Worker process (from Nanny)", "a worker"):
        process = context.Process(target=helper.put, args=(queue,), name=name)
        process.start()
        process.join()
    print(json.dumps([kids.session(), queue.get(), queue.get()]))
    """
    folder = Path(os.environ["MIXMAGIC_HOME"]).parent
    (folder / "helper.py").write_text("import kids\ndef put(queue): queue.put(kids.session())\n")
    own, dask, other = run(script, "")
    assert (dask[1], other) == ([], own)
    assert dask[0] != own[0]


def test_a_session_that_is_over_leaves_no_budget_behind(run, home, session):
    budgets = home / "data" / "budgets.json"
    run('kids.limit("0.25"); print(json.dumps(1))', "")
    (name,) = json.loads(budgets.read_text())
    assert name.startswith("session:")
    run('kids.limit("0.75"); print(json.dumps(1))', "")
    assert list(json.loads(budgets.read_text()).values()) == ["0.75"]
    assert name not in json.loads(budgets.read_text())
    session.budget(1, per="day")
    assert json.loads(budgets.read_text()) == {"day": "1"}


def test_a_budget_outlives_the_session_object_and_its_modules(run):
    script = """
    kids.limit("0.25")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mixmagic"]:
        del sys.modules[name]
    import mixmagic
    print(json.dumps([str(left.limit.dollars) for left in mixmagic.session().budgets()]))
    """
    assert run(script, "") == ["0.25"]


def test_the_id_tells_nothing_of_the_key_that_it_is_made_of():
    import multiprocessing

    key = bytes(multiprocessing.current_process().authkey)
    assert processes.session_id() not in (key.hex()[:16], key.hex()[-16:])
    assert len(processes.session_id()) == 16
