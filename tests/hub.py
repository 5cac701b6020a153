"""A loopback Hugging Face: repositories of files, in the dialect of the installed huggingface_hub.

A HEAD or GET of `/OWNER/REPO/resolve/REVISION/FILE` has the commit and the file's hash in its
headers, and redirects to another host's URL, as for large files; `/api/models/OWNER/REPO` lists
the files.
"""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_BLOCK = 1 << 16


@dataclass
class Repo:
    """A repository.

    Attributes:
        files: The files, by their paths.
        revisions: The commits of branches and tags.
        token: The token that reads it; empty if all may.
        gated: True if the token's account has no access yet.
    """

    files: dict[str, Path]
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    token: str = ""
    gated: bool = False


class Hub:
    """The server.

    Attributes:
        url: For `HF_ENDPOINT`.
        repos: The repositories.
        seen: The requests: method, path and authorization.
        stall_after: Bytes of a file after which nothing more is sent until `go` is set.
        cut_after: Bytes of a file after which its connection is closed.
        status: If it is not 0, the status of each answer.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.seen: list[tuple[str, str, str]] = []
        self.stall_after = self.cut_after = -1
        self.status = 0
        self.go, self.stalled = threading.Event(), threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub._answer(self)

            def do_GET(self) -> None:
                hub._answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # The host of the contents: another name, so that no token must be sent there.
        self.contents = f"http://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, http: BaseHTTPRequestHandler) -> None:
        path = urllib.parse.urlsplit(http.path).path
        authorization = http.headers.get("authorization", "")
        self.seen.append((http.command, http.path, authorization))
        steps = [urllib.parse.unquote(step) for step in path.strip("/").split("/")]
        if self.status:
            _send(http, self.status, {}, b"")
        elif steps[0] == "contents":
            self._send_file(http, Path(urllib.parse.unquote(path.removeprefix("/contents"))))
        elif steps[:2] == ["api", "models"]:
            self._list(http, "/".join(steps[2:4]), authorization)
        elif len(steps) > 4 and steps[2] == "resolve":
            self._resolve(http, steps, authorization)
        else:
            _send(http, 404, {}, b"")

    def _repo(self, http: BaseHTTPRequestHandler, name: str, authorization: str) -> Repo | None:
        """The repository, unless it is not there or may not be read; then the answer is sent."""
        repo = self.repos.get(name)
        if repo is None:
            return _refuse(http, 401 if not authorization else 404, "RepoNotFound")
        if repo.token and authorization != f"Bearer {repo.token}":
            return _refuse(http, 401, "GatedRepo" if repo.gated else "RepoNotFound")
        if repo.gated:
            return _refuse(http, 403, "GatedRepo")
        return repo

    def _list(self, http: BaseHTTPRequestHandler, name: str, authorization: str) -> None:
        if (repo := self._repo(http, name, authorization)) is not None:
            siblings = [{"rfilename": file} for file in repo.files]
            entries = [{"type": "file", "path": file, "size": 1, "oid": "1"} for file in repo.files]
            listing = entries if "/tree/" in http.path else {"id": name, "siblings": siblings}
            _send(http, 200, {"Content-Type": "application/json"}, json.dumps(listing).encode())

    def _resolve(self, http: BaseHTTPRequestHandler, steps: list[str], authorization: str) -> None:
        owner, name, _, revision, *file = steps
        repo = self._repo(http, f"{owner}/{name}", authorization)
        if repo is None:
            return
        commits = {**repo.revisions, **{commit: commit for commit in repo.revisions.values()}}
        if revision not in commits:
            _refuse(http, 404, "RevisionNotFound")
            return
        headers = {"X-Repo-Commit": commits[revision]}
        path = repo.files.get("/".join(file))
        if path is None:
            _refuse(http, 404, "EntryNotFound", headers)
            return
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        headers |= {
            "X-Linked-Size": str(path.stat().st_size),
            "X-Linked-Etag": f'"{digest}"',
            "ETag": f'"{digest}"',
            "Location": f"{self.contents}/contents{urllib.parse.quote(str(path))}?Signature=canary",
        }
        _send(http, 302, headers, b"")

    def _send_file(self, http: BaseHTTPRequestHandler, path: Path) -> None:
        size = path.stat().st_size
        start = int(http.headers.get("range", "bytes=0-").split("=")[1].split("-")[0])
        http.send_response(206 if start else 200)
        http.send_header("Content-Length", str(size - start))
        if start:
            http.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        http.end_headers()
        sent = 0
        with path.open("rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK):
                if 0 <= self.cut_after <= sent:
                    http.connection.close()
                    return
                if 0 <= self.stall_after <= sent:
                    self.stalled.set()
                    self.go.wait(60)
                try:
                    http.wfile.write(block)
                except OSError:  # the client has gone
                    return
                sent += len(block)


def _send(http: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    http.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        http.send_header(name, value)
    http.end_headers()
    if http.command == "GET":
        http.wfile.write(body)


def _refuse(
    http: BaseHTTPRequestHandler, status: int, code: str, headers: dict[str, str] | None = None
) -> None:
    _send(http, status, {"X-Error-Code": code, **(headers or {})}, b"")
