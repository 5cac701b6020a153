"""Ids of processes, and if their process still runs."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time

import psutil
import pytest

from mixmagic.store.ledger import processes


def identified(pid: int, later: float = 0.0) -> str:
    """Return the id of a process of this host that started `later` seconds later."""
    return f"{platform.node()}/{pid}@{psutil.Process(pid).create_time() + later:.2f}"


def test_this_process_runs_and_a_missing_id_means_an_ended_process():
    assert processes.own_process_id() == identified(os.getpid())
    assert processes.has_exited(processes.own_process_id()) is False
    assert processes.has_exited(None) is True


def test_a_process_that_reuses_the_number_of_an_earlier_one_is_another_process():
    """The start time is computed from the clock, which may have been adjusted."""
    for later, exited in ((1.5, False), (-1.5, False), (3.0, True), (-3.0, True)):
        assert processes.has_exited(identified(os.getpid(), later)) is exited


def test_the_state_of_a_process_on_another_host_is_unknown():
    assert processes.has_exited("another-host/1@1.00") is None


@pytest.mark.skipif(sys.platform == "win32", reason="there are no zombies")
def test_a_zombie_counts_as_ended():
    """Its parent may never wait for it, such as a kernel's manager that was killed."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = identified(child.pid)
    assert processes.has_exited(name) is False
    child.stdin.close()
    deadline = time.monotonic() + 30
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert processes.has_exited(name) is True
    child.wait(10)
    assert processes.has_exited(name) is True
