"""A real ipykernel, driven as a front end drives it."""

from __future__ import annotations

import ast
import html
import os
import queue
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from server import Server

# False while a test runs that is not marked `kernel`.
allowed = True


def _check_mark() -> None:
    if not allowed:
        raise RuntimeError("only tests that are marked `kernel` may start kernels")


@dataclass
class Ran:
    """Result of a cell: its reply, and every iopub message with its arrival time."""

    reply: dict[str, Any] = field(default_factory=dict)
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    replied_at: float = 0.0

    @property
    def status(self) -> str:
        return self.reply["status"]

    @property
    def kinds(self) -> list[str]:
        return [message["msg_type"] for _, message in self.messages]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The outputs that a front end would save: updates and clear_output are carried out."""
        outputs: list[dict[str, Any]] = []
        clear = False
        for _, message in self.messages:
            kind, content = message["msg_type"], message["content"]
            if kind == "clear_output":
                clear = content["wait"]
                outputs = outputs if clear else []
            elif kind == "update_display_data":
                wanted = content["transient"]["display_id"]
                for output in outputs:
                    if output.get("display_id") == wanted:
                        output["data"] = content["data"]
            elif kind in ("display_data", "execute_result", "stream", "error"):
                if clear:
                    outputs, clear = [], False
                last = outputs[-1] if outputs else {}
                if kind == "stream" and last.get("name") == content["name"]:
                    last["text"] += content["text"]  # it may come in several messages
                    continue
                shown = {"kind": kind, **content}
                shown["display_id"] = content.get("transient", {}).get("display_id")
                outputs.append(shown)
        return outputs

    @property
    def markdown(self) -> str:
        """The Markdown outputs, one after the other."""
        shown = (output.get("data", {}) for output in self.outputs)
        return "\n".join(data["text/markdown"] for data in shown if "text/markdown" in data)

    @property
    def text(self) -> str:
        """The text that a user would read: text/plain, streams and tracebacks.

        An answer that is still coming has Markdown alone.
        """
        parts = []
        for output in self.outputs:
            data = output.get("data", {})
            markdown = re.sub(r"</?(?:span|div)[^>]*>", "", data.get("text/markdown", ""))
            parts += [output.get("text", ""), data.get("text/plain") or html.unescape(markdown)]
            parts += unfolded(output.get("traceback", []))
        return "\n".join(filter(None, parts))

    @property
    def traceback(self) -> list[str]:
        return unfolded(self.reply.get("traceback", []))

    def bytes(self) -> int:
        """The bytes of the iopub messages' contents."""
        import json

        return sum(len(json.dumps(message["content"])) for _, message in self.messages)


def unfolded(lines: list[str]) -> list[str]:
    """Return an error's message and hint, if it is one of ours, as lines that are not folded."""
    if len(lines) == 2 and lines[1].startswith("Hint: "):
        return [line.replace("\n  ", " ") for line in lines]
    return lines


class Kernel:
    """A kernel of this Python or of another one, independent of registered kernels."""

    def __init__(self, env: dict[str, str], cwd: str, python: str = sys.executable) -> None:
        _check_mark()
        try:
            self._start(env, cwd, python)
        except RuntimeError:  # another process has taken one of the ports that were free
            self.close()
            self._start(env, cwd, python)

    def _start(self, env: dict[str, str], cwd: str, python: str) -> None:
        self.manager = KernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        assert self.manager.kernel_spec is not None
        self.manager.kernel_spec.argv[0] = python
        self.manager.start_kernel(env=env, cwd=cwd)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()

    def send(self, code: str, *, live: bool = True) -> str:
        """Start a cell; `live` as in a front end with a person, else as under nbclient."""
        return self.client.execute(code, allow_stdin=live, store_history=True)

    def collect(self, sent: str, timeout: float = 60.0, until: Any = None) -> Ran:
        """Collect a cell's messages until it ends, or until `until(ran)` is true."""
        ran, deadline = Ran(), time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != sent:
                continue
            ran.messages.append((time.monotonic(), message))
            if until is not None and until(ran):
                return ran
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                ran.replied_at = time.monotonic()
                ran.reply = self._reply(sent, deadline)
                return ran
        raise TimeoutError(
            f"no end within {timeout} s: {len(ran.kinds)} messages, {ran.kinds[-5:]}"
        )

    def _reply(self, sent: str, deadline: float) -> dict[str, Any]:
        while True:
            reply = self.client.get_shell_msg(timeout=max(0.1, deadline - time.monotonic()))
            if reply["parent_header"].get("msg_id") == sent:
                return reply["content"]

    def run(self, code: str, *, live: bool = True, timeout: float = 60.0) -> Ran:
        """Run a cell and return its result."""
        return self.collect(self.send(code, live=live), timeout)

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()


def notebook_client(*sources: str, kind: type[NotebookClient] = NotebookClient) -> Any:
    """Make an nbclient with a notebook of these cells and a kernel of this Python."""
    _check_mark()
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    return kind(notebook, km=manager, timeout=60)


class Desk:
    """A kernel with mixmagic, and the scripted server in Together's place, for one module's tests.

    Args:
        folder: Its home and its working folder.
        env: More of the kernel's environment.
    """

    def __init__(self, folder: Path, **env: str) -> None:
        self.server = Server()
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "cache").symlink_to(Path(os.environ["MIXMAGIC_HOME"]) / "cache")
        own = {
            "MIXMAGIC_HOME": str(self.home),
            "TOGETHER_BASE_URL": self.server.url,
            "TOGETHER_API_KEY": "canary-key-4711",
            "MIXMAGIC_MAX_RETRIES": "0",  # tests of retries say so
        }
        self.kernel = Kernel({**os.environ, **own, **env}, str(folder))
        assert self.kernel.run("%load_ext mixmagic").status == "ok"

    def plan(self, *answers: Any) -> None:
        """Set the server's answers and clear its requests."""
        self.server.plan = list(answers)
        self.server.received.clear()

    def run(self, code: str, *answers: Any, **options: Any) -> Ran:
        """Run a cell, with the server's answers to it."""
        if answers:
            self.plan(*answers)
        return self.kernel.run(code, **options)

    def value(self, expression: str) -> Any:
        """Return the value of a Python expression in the kernel, by its repr."""
        ran = self.kernel.run(f"print(repr({expression}))")
        assert ran.status == "ok", ran.text
        return ast.literal_eval(ran.text)

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the last request."""
        return self.server.received[-1].body

    def close(self) -> None:
        self.kernel.close()
        self.server.close()
