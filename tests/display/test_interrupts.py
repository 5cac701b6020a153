"""Ctrl-C at any moment of the drawing: the handler must never wait for its own thread."""

from __future__ import annotations

import subprocess
import sys

from server import HANG, Answer, chunk, frames

# Raises SIGINT while the main thread stands at the first, second, third … line that it comes to
# in `threading` and in our own drawing once the answer has begun: whatever lock it holds.
SCRIPT = """
import faulthandler, signal, sys, threading
faulthandler.dump_traceback_later(50, exit=True)
from mixmagic.core import cancel as stop
from mixmagic.display import live
from mixmagic.display.formats import FORMATS
from mixmagic.display.renderers import SingleOutputRenderer
from mixmagic.errors import Stopped
from mixmagic.sessions import Session

session = Session()
files = {threading.__file__, live.__file__, stop.__file__}
for nth in range(1, 41):
    left, begun = nth, False

    class Traced(SingleOutputRenderer):
        interval = 0.001
        def draw(self, text, progress):
            global begun
            begun = begun or bool(text)
        def finish(self, completion, session):
            pass

    def trace(frame, event, argument):
        global left
        if frame.f_code.co_filename not in files:
            return None
        if begun and event == "line":
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        live.show(session, session.request("Hi"), Traced(FORMATS["markdown"]))
    except Stopped:
        sys.settrace(None)
        print(nth, flush=True)
session.close()
"""


def test_ctrl_c_ends_the_call_wherever_the_main_thread_stands(together):
    together.plan = [Answer([frames(chunk("One"), done=False), HANG])]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    stopped = ran.stdout.split()
    assert stopped == [str(nth) for nth in range(1, 41)], ran.stderr
    assert ran.returncode == 0, ran.stderr
