"""Run a notebook, and print its cells and outputs as they arrive.

Imported by commands when they need it: nbclient is an extra.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import signal
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode

from mixmagic.text.escape import plain


class ThisPython(AsyncKernelManager):
    """Starts kernels of the running Python, not of the kernels that are registered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **options)


class Client(NotebookClient):
    """A notebook client for this Python; Ctrl-C ends its run and its kernel.

    nbclient's own handler of the signal ends the kernel alone: its run then fails with an error
    that means nothing to a user.
    """

    def __init__(self, notebook: NotebookNode, **options: Any) -> None:
        self._stopped = False
        super().__init__(
            notebook,
            kernel_manager_class=ThisPython,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # of a kernel that ends, too
            on_notebook_start=self._listen,
            **options,
        )

    def execute(self, **options: Any) -> NotebookNode:
        """Run the notebook.

        Raises:
            KeyboardInterrupt: Ctrl-C, or SIGTERM.
        """
        try:
            return super().execute(**options)
        except (asyncio.CancelledError, DeadKernelError):
            if self._stopped:
                raise KeyboardInterrupt from None
            raise

    def _listen(self, notebook: NotebookNode) -> None:
        """Let signals end the run, once its kernel has started."""
        loop, run = asyncio.get_running_loop(), asyncio.current_task()

        def stop() -> None:
            self._stopped = True
            if run is not None:
                run.cancel()

        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, another thread
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop)


class NotebookRunner(Client):
    """A notebook client that prints cells as it runs them, and outputs as they arrive."""

    def __init__(self, notebook: NotebookNode, **options: Any) -> None:
        super().__init__(notebook, **options)
        self._shown: dict[str, str] = {}
        self._last = ""

    async def async_execute_cell(
        self, cell: NotebookNode, *args: Any, **options: Any
    ) -> NotebookNode:
        """Print the cell, run it, print its outputs."""
        if cell.cell_type == "markdown":
            print(f"\n{cell.source}", flush=True)
        elif cell.source.strip():
            source = cell.source.replace("\n", "\n│ ")
            print(f"\n│ {source}\n", flush=True)
        self._shown.clear()
        self._last = ""
        ran = await super().async_execute_cell(cell, *args, **options)
        if self._last and not self._last.endswith("\n"):
            print(flush=True)
        return ran

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        """Print what a message adds to the output so far."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream":
            self._print(content["text"])
        elif kind == "error":
            self._print("\n".join(content["traceback"]) + "\n")
        elif kind in ("display_data", "update_display_data", "execute_result"):
            display = content.get("transient", {}).get("display_id", "")
            self._grow(display, _output_text(content["data"]).rstrip())
        return super().process_message(msg, cell, cell_index)

    def _grow(self, display: str, text: str) -> None:
        """Print what a display has gained; all of it if its earlier text has changed."""
        before = self._shown.get(display, "") if display else ""
        self._shown[display] = text
        if not before and self._last and not self._last.endswith("\n"):
            self._print("\n\n")
        same = re.match(r"\s+".join(map(re.escape, before.split())), text)
        self._print(text[same.end() :] if same else f"\n{text}")

    def _print(self, text: str) -> None:
        if text:
            print(text, end="", flush=True)
            self._last = text


def _output_text(data: dict[str, str]) -> str:
    """Return the text of an output; an answer that is still arriving has only Markdown."""
    markdown = re.sub(r"<[^>]*>", "", data.get("text/markdown", ""))
    return data.get("text/plain") or plain(html.unescape(markdown))
