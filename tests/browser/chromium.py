"""Chromium as a person starts it: none of Playwright's flags, which hide some connections."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)
# Chromium asks these on its own.
_ITS_OWN = re.compile(r"(?:^|\.)(?:google\.com|googleapis\.com|gvt1\.com|gstatic\.com)$")
_HOST = re.compile(r'"host":"(?:[a-z]+://)?([^"/]*?)(?::\d+)?"')


class Chromium:
    """A Chromium that logs every host it asks the network for.

    Its log names whatever is looked up or connected to, for a link's `preconnect` or
    `dns-prefetch`, too, of which a page's requests say nothing.

    Args:
        path: The program.
        home: A folder of its own.
    """

    def __init__(self, path: str, home: Path) -> None:
        self._log = home / "network.json"
        command = [path, *_FLAGS, f"--user-data-dir={home}", f"--log-net-log={self._log}"]
        self._process = subprocess.Popen(
            [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        found = home / "DevToolsActivePort"
        deadline = time.monotonic() + 30
        while not (found.exists() and "\n" in found.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError("Chromium did not start")
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{found.read_text().split()[0]}"

    def hosts(self) -> set[str]:
        """The hosts in its log so far, but for its own and this machine."""
        log = self._log.read_text("utf-8", "replace") if self._log.exists() else ""
        hosts = set(_HOST.findall(log)) - {"127.0.0.1", "localhost", ""}
        return {host for host in hosts if not _ITS_OWN.search(host)}

    def close(self) -> set[str]:
        """End it; return the hosts it asked for, but for its own and this machine."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=60)
        return self.hosts()
