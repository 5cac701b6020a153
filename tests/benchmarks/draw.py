"""CPU of drawing an answer: the notebook's renderer, with its messages written into a real socket.

An answer of prose, lists, tables, code and formulas comes in equal pieces, each of them drawn.
Another thread reads the messages, as a server would.

Run: python tests/benchmarks/draw.py [KILOBYTES [UPDATES [ROUNDS]]]
"""

from __future__ import annotations

import statistics
import sys
import threading
import time

import zmq
from ipykernel.zmqshell import ZMQInteractiveShell
from jupyter_client.session import Session

_PART = """\
## Part {0}: what the figures say

The *average* order grew by **{0} %** to $x_{{{0}}} = \\frac{{a}}{{b}}$, see [the report][1] and
`orders.csv`; it cost $5 or $10 more than in [the year before](https://example.org/{0}?a=b).

- First, the regions: north, south, east
- Then the products, which `sell()` counts
  - by week
  - by month

| region | orders | share |
|---|---:|---:|
| north | {0} | 12.5 % |
| south | 4{0} | 87.5 % |

```python
def sell(orders: list[int], share: float = 0.{0}) -> float:
    return sum(orders) * share  # <b>, $5, "quoted"
```

> Nothing here is financial advice.

$$
\\sum_{{i=1}}^{{{0}}} i = \\frac{{n(n+1)}}{{2}}
$$

"""


def main(kilobytes: int, updates: int, rounds: int) -> None:
    """Print milliseconds of CPU per kilobyte, and of the slowest update."""
    context = zmq.Context.instance()
    publisher, reader = context.socket(zmq.PUB), context.socket(zmq.SUB)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    reader.connect(f"tcp://127.0.0.1:{port}")
    reader.setsockopt(zmq.SUBSCRIBE, b"")
    read = [0]

    def drain() -> None:
        while True:
            read[0] += sum(map(len, reader.recv_multipart()))

    threading.Thread(target=drain, daemon=True).start()
    shell = ZMQInteractiveShell.instance()
    shell.display_pub.session, shell.display_pub.pub_socket = Session(), publisher

    from mixmagic.calls.completion import Completion
    from mixmagic.core.money import Usage
    from mixmagic.display.formats import FORMATS
    from mixmagic.display.renderers import NotebookRenderer
    from mixmagic.sessions import Session as Asking

    text = "".join(_PART.format(number) for number in range(1, 10_000))[: kilobytes * 1024]
    request = Asking().request("hello", model="together:8x7b")
    whole = Completion(text, Usage(9, 9), None, "stop", request, 1.0, 0.5)
    step = -(-len(text) // updates)
    pieces = [text[start : start + step] for start in range(0, len(text), step)]
    totals, worst, ends, sent = [], [], [], []
    for _ in range(rounds + 1):
        renderer = NotebookRenderer(FORMATS["markdown"])
        before, took = read[0], []
        for piece in pieces:
            started = time.thread_time()
            renderer.draw(piece, "")
            took.append((time.thread_time() - started) * 1000)
            time.sleep(0.001)
        started = time.thread_time()
        renderer.finish(whole, "$1")
        ends.append((time.thread_time() - started) * 1000)
        time.sleep(0.3)
        totals.append((sum(took) + ends[-1]) / kilobytes)
        worst.append(max(took))
        sent.append((read[0] - before) / 1e6)
    for name, figures in (
        ("ms per KB, the end with it", totals),
        ("ms, the slowest update", worst),
        ("ms, the end", ends),
        ("MB sent", sent),
    ):
        of = figures[1:]  # the first one imports
        print(f"{name:28} {statistics.median(of):7.2f} ({min(of):.2f} to {max(of):.2f})")


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], *("80", "200", "7")[len(sys.argv) - 1 :]]))
