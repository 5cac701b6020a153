"""Threads that work on many items."""

from __future__ import annotations

import threading

from mixmagic.calls.pool import Pool


def test_the_end_is_told_once_however_quickly_the_work_is_done():
    for _ in range(50):
        items, done, ended = iter(range(3)), [], []
        over = threading.Event()

        def end(ended=ended, over=over):
            ended.append(threading.get_ident())
            over.set()

        pool = Pool(lambda items=items: next(items, None), done.append, end, 8)
        pool.start()
        assert over.wait(30)
        assert sorted(done) == [0, 1, 2]
        assert len(ended) == 1
