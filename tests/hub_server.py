"""A Hugging Face Hub on the loopback interface: as much of its HTTP as downloading files needs.

A repository is a folder ``root/owner/name``; it has one commit, which every known revision points to.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)

_FILE = re.compile(r"^/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>[^?]+)")
_RANGE = re.compile(r"^bytes=(\d+)-(\d*)$")
_CHUNK = 1 << 20


class HubServer(ThreadingHTTPServer):
    """Serves the repositories under a folder, and remembers what was asked of it.

    Attributes:
        root: Holds a folder for every repository.
        requests: "METHOD path" of every request, in order.
        cut: Names of files whose next download breaks off in the middle.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.requests: list[str] = []
        self.cut: set[str] = set()

    @property
    def url(self) -> str:
        """What goes into ``HF_ENDPOINT``."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: `HubServer.requests` has it."""

    def _answer(self, *, with_body: bool) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        match = _FILE.match(unquote(self.path))
        if match is None or not (self.server.root / match["repository"]).is_dir():
            # The Hub answers 401 where the client is not known, so as not to tell which repositories are private.
            return self._refuse(HTTPStatus.UNAUTHORIZED, "RepoNotFound", "Repository not found")
        if match["revision"] not in REVISIONS:
            return self._refuse(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {match['revision']}")
        file = self.server.root / match["repository"] / match["name"]
        if not file.is_file():
            return self._refuse(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found")
        return self._send(file, with_body=with_body)

    def _refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        if code == "EntryNotFound":
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, file: Path, *, with_body: bool) -> None:
        size = file.stat().st_size
        asked = _RANGE.match(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        stop = min(int(asked[2]) + 1, size) if asked and asked[2] else size
        if start >= size:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("ETag", f'"{_etag(file)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if not with_body:
            return
        if file.name in self.server.cut:
            self.server.cut.remove(file.name)
            stop = (start + stop) // 2
            self.close_connection = True
        with file.open("rb") as stream, contextlib.suppress(ConnectionError):
            stream.seek(start)
            while start < stop:
                chunk = stream.read(min(_CHUNK, stop - start))
                self.wfile.write(chunk)
                start += len(chunk)


def _etag(file: Path) -> str:
    state = file.stat()
    return hashlib.sha256(f"{file} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()


@contextlib.contextmanager
def serve(root: Path) -> Iterator[HubServer]:
    """Runs a server in a thread of its own as long as the context lasts."""
    with HubServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
