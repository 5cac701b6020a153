"""A scripted loopback server that plays the hosted providers, byte for byte."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

HANG = "hang"  # send nothing more until the client goes away
CUT = "cut"  # close the connection in the middle; under TLS, without its goodbye
RESET = "reset"  # break the connection off: a TCP RST
GOODBYE = "goodbye"  # close the connection in the middle; under TLS, with its goodbye

Step = bytes | float | str


@dataclass
class Answer:
    """A response: bytes are sent as they are, floats are seconds to wait, words are those above.

    Each `bytes` step is one HTTP chunk, and one TCP segment.
    """

    steps: Iterable[Step]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    type: str = "text/event-stream"


@dataclass
class Raw:
    """A response with its head and chunks: bytes on the wire, one TCP segment each.

    Where no step ends the connection, it waits for the next request.
    """

    steps: Iterable[Step]


@dataclass
class Received:
    """A request that the server received, its connection, and when that ended."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float = field(default_factory=time.monotonic)
    closed_at: float | None = None
    connection: int = 0  # the client's port


def head(status: int = 200, **headers: str) -> bytes:
    """The head of a response; `content_length="5"` names a header."""
    lines = [f"HTTP/1.1 {status} Scripted"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunked(body: bytes) -> bytes:
    """One HTTP chunk; an empty one is the last."""
    return b"%x\r\n%s\r\n" % (len(body), body)


def wire(answer: Answer) -> Iterator[Step]:
    """An answer as it goes over the wire: the head before the first chunk."""
    headers = {"content-type": answer.type, "transfer-encoding": "chunked", **answer.headers}
    begun = False
    for step in [*answer.steps, b""]:
        if not isinstance(step, bytes):
            yield step
            continue
        if not begun:
            yield head(answer.status, **headers)
            begun = True
        if step:  # an empty chunk would be the last
            yield chunked(step)
    yield chunked(b"")


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

    An answer may be a function from `Received` to `Answer` or `Raw`.

    Args:
        tls: With a certificate, where the server speaks TLS.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.plan: list[Answer | Raw | Callable[[Received], Answer | Raw]] = []
        self.received: list[Received] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._lock = threading.Lock()
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def close(self) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def wait(self, look: Callable[[], Any], timeout: float = 30.0) -> Any:
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
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        port, served = connection.getpeername()[1], []
        reader = connection.makefile("rb")
        with connection, reader, contextlib.suppress(OSError):
            while (request := self._read(reader)) is not None:
                request.connection = port
                served.append(request)
                if not self._reply(connection, request):
                    break
        for request in served:
            request.closed_at = request.closed_at or time.monotonic()

    def _read(self, reader: Any) -> Received | None:
        first = reader.readline()
        if not first:
            return None
        method, path, _ = first.decode().split(" ")
        headers = {}
        while line := reader.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        raw = reader.read(length)
        if len(raw) < length:  # the client was killed in the middle
            return None
        return Received(method, path, headers, json.loads(raw) if raw else None)

    def _reply(self, connection: socket.socket, request: Received) -> bool:
        with self._lock:
            self.received.append(request)
            planned = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
        answer = planned(request) if callable(planned) else planned
        try:
            return self._send(connection, answer.steps if isinstance(answer, Raw) else wire(answer))
        except OSError:
            request.closed_at = time.monotonic()
            return False

    def _send(self, connection: socket.socket, steps: Iterable[Step]) -> bool:
        """Send the steps; return True if the connection is kept."""
        for step in steps:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, float) or step == HANG:
                until = time.monotonic() + (step if isinstance(step, float) else 3600)
                if self._gone(connection, until):
                    raise ConnectionResetError
            else:
                self._end(connection, step)
                return False
        return True

    @staticmethod
    def _end(connection: socket.socket, how: str) -> None:
        """Prepare the end of the connection."""
        if how == RESET:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif how == GOODBYE and isinstance(connection, ssl.SSLSocket):
            connection.settimeout(1.0)
            with contextlib.suppress(OSError):  # the client need not say goodbye too
                connection.unwrap()

    def _gone(self, connection: socket.socket, until: float) -> bool:
        """Wait; return True early if the client closes."""
        poll = select.poll()  # and not select, for descriptors may be many
        poll.register(connection, select.POLLIN)
        while (left := until - time.monotonic()) > 0:
            if poll.poll(min(left, 0.5) * 1000) and not self._peek(connection):
                return True
        return False

    @staticmethod
    def _peek(connection: socket.socket) -> bytes:
        """Read from the client during an answer: only its close can arrive."""
        if isinstance(connection, ssl.SSLSocket):  # which has no MSG_PEEK
            return connection.recv(1)
        return connection.recv(1, socket.MSG_PEEK)
