"""A scripted loopback server that plays the hosted providers, byte for byte."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

HANG = "hang"  # send nothing more until the client goes away
CUT = "cut"  # close the connection in the middle


@dataclass
class Answer:
    """What the server sends: bytes as they are, floats as seconds to wait, HANG or CUT.

    Each `bytes` step is one HTTP chunk, and one TCP segment.
    """

    steps: Iterable[bytes | float | str]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    type: str = "text/event-stream"


@dataclass
class Received:
    """A request that the server got, and when its client went away."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float = field(default_factory=time.monotonic)
    closed_at: float | None = None


def frames(*objects: Any, done: bool = True, end: bytes = b"\n\n") -> bytes:
    """Objects as server-sent events."""
    events = b"".join(b"data: " + json.dumps(each).encode() + end for each in objects)
    return events + (b"data: [DONE]" + end if done else b"")


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chat.completion.chunk."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "choices": [choice], **more}


def usage(prompt: int, completion: int) -> dict[str, Any]:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"usage": counts | {"total_tokens": prompt + completion}}


def together(*texts: str, prompt: int = 9) -> list[bytes]:
    """An answer as Together streams it: usage rides the chunk that carries the finish reason."""
    steps = [frames(chunk(text), done=False) for text in texts]
    steps.append(frames(chunk("", "stop", **usage(prompt, len(texts)))))
    return steps


def whole(text: str, prompt: int = 9, completion: int = 5) -> Answer:
    """An answer that is not streamed."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"object": "chat.completion", "choices": [choice], **usage(prompt, completion)}
    return Answer([json.dumps(body).encode()], type="application/json")


def refusal(status: int, body: Any, **headers: str) -> Answer:
    """An HTTP error; `body` is JSON, or bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if raw[:1] == b"<" else "application/json"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer([raw], status, named, kind)


class Server:
    """Answers requests in turn with what `plan` holds; the last answer is repeated.

    An answer may be a function from `Received` to `Answer`.
    """

    def __init__(self) -> None:
        self.plan: list[Answer | Callable[[Received], Answer]] = []
        self.received: list[Received] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._lock = threading.Lock()
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def close(self) -> None:
        self._open = False
        self._listener.close()

    def wait(self, look: Callable[[], Any], timeout: float = 5.0) -> Any:
        """Wait until `look()` is true; return it."""
        deadline = time.monotonic() + timeout
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise TimeoutError("the server did not see what was expected")
            time.sleep(0.002)
        return seen

    def _accept(self) -> None:
        while self._open:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        with connection, reader:
            while True:
                try:
                    request = self._read(reader)
                    if request is None or not self._reply(connection, request):
                        return
                except OSError:
                    return

    def _read(self, reader: Any) -> Received | None:
        first = reader.readline()
        if not first:
            return None
        method, path, _ = first.decode().split(" ")
        headers = {}
        while line := reader.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        raw = reader.read(int(headers.get("content-length", 0)))
        return Received(method, path, headers, json.loads(raw) if raw else None)

    def _reply(self, connection: socket.socket, request: Received) -> bool:
        with self._lock:
            self.received.append(request)
            planned = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
        answer = planned(request) if callable(planned) else planned
        head = {"content-type": answer.type, "transfer-encoding": "chunked", **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Scripted", *(f"{k}: {v}" for k, v in head.items())]
        sent_head = False
        try:
            for step in [*answer.steps, b""]:
                if step == CUT:
                    return False
                if isinstance(step, float) or step == HANG:
                    until = time.monotonic() + (step if isinstance(step, float) else 3600)
                    if self._gone(connection, until):
                        raise ConnectionResetError
                    continue
                if not sent_head:
                    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
                    sent_head = True
                connection.sendall(b"%x\r\n%s\r\n" % (len(step), step))
        except OSError:
            request.closed_at = time.monotonic()
            return False
        return True

    def _gone(self, connection: socket.socket, until: float) -> bool:
        """Wait; return early, and True, when the client closes."""
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([connection], [], [], min(left, 0.5))
            if ready and not connection.recv(1, socket.MSG_PEEK):
                return True
        return False
