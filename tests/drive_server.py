"""Google Drive behind a proxy on the loopback interface: what gdown meets there, for the real gdown.

A program with `DriveServer.environment` in its environment reaches Drive's hosts here, and nothing else. Their
certificate is of an authority made for the occasion. The pages have of Drive's pages what gdown looks for.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import trustme

DRIVE, CONTENT, ACCOUNTS = "drive.google.com", "drive.usercontent.google.com", "accounts.google.com"
CHANGED = "Tue, 02 May 2023 10:00:00 GMT"

_RANGE = re.compile(r"^bytes=(\d+)-$")
_UUID = "5f0c1a52-6b1e-4f0e-9a53-2a2f6c1d7e11"


@dataclass
class DriveFile:
    """A file of Drive.

    Attributes:
        content: Its bytes.
        page: What Drive shows instead: "scan" asks for a confirmation first, the others never give the file. The last
            two are not Drive's: a page that claims to be the file, and one without a Content-Type.
        resumable: Whether a Range is heeded; else the whole file comes, as HTTP allows.
        cuts: The next body that begins at this byte of the file breaks off after so many bytes.
        stalled: Such a body stops there, and breaks off when this is set.
        range_status: How requests with a Range are refused.
    """

    content: bytes
    page: Literal["scan", "quota", "private", "error", "attachment", "untyped"] | None = None
    resumable: bool = True
    cuts: dict[int, int] = field(default_factory=dict)
    stalled: threading.Event | None = None
    range_status: HTTPStatus | None = None


@dataclass
class Asked:
    """One request: what for, from which byte on where it had a Range, and whether a file or the rest of one came."""

    host: str
    path: str
    start: int | None
    got_file: bool = False


class DriveServer(ThreadingHTTPServer):
    """Serves files by their ids, and remembers what was asked of it.

    Attributes:
        files: What there is.
        requests: Every request within a tunnel, in order.
        environment: What a program must have in its environment to come here.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, DriveFile] = {}
        self.requests: list[Asked] = []
        authority = trustme.CA()
        bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(DRIVE, CONTENT, ACCOUNTS).configure_cert(self.tls)
        self.environment = {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.server_address[1]}",
            "REQUESTS_CA_BUNDLE": str(bundle),
        }

    @property
    def downloads(self) -> list[Asked]:
        """The requests that were answered with a file or the rest of one."""
        return [asked for asked in self.requests if asked.got_file]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DriveServer
    host = ""

    def do_CONNECT(self) -> None:
        self.host = self.path.removesuffix(":443")
        if self.host not in (DRIVE, CONTENT, ACCOUNTS):
            return self.send_error(HTTPStatus.BAD_GATEWAY)
        self.send_response(HTTPStatus.OK)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False
        return None

    def do_GET(self) -> None:
        match = _RANGE.match(self.headers.get("Range", ""))
        asked = Asked(self.host, self.path, int(match[1]) if match else None)
        self.server.requests.append(asked)
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        file = self.server.files.get(query.get("id", ""))
        match self.host, address.path:
            case (_, "/ServiceLogin"):
                self._show("<title>Sign in - Google Accounts</title><form><input name=identifier></form>")
            case (_, "/uc" | "/open" | "/download") if file is None:
                self._show("<title>Error 404 (Not Found)!!1</title>", HTTPStatus.NOT_FOUND)
            case (_, "/uc" | "/open") if file.page == "error":
                self._show("<title>Error 500 (Server Error)!!1</title>", HTTPStatus.INTERNAL_SERVER_ERROR)
            case (_, "/uc" | "/open") if file.page == "private":
                self._send_on(f"https://{ACCOUNTS}/ServiceLogin?continue={query['id']}")
            case (_, "/uc"):
                self._send_on(f"https://{CONTENT}/download?id={query['id']}&export=download")
            case (_, "/download"):
                self._download(asked, query, file)
            case _:
                self._show("<title>Error 404 (Not Found)!!1</title>", HTTPStatus.NOT_FOUND)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: `DriveServer.requests` has it."""

    def _download(self, asked: Asked, query: dict[str, str], file: DriveFile) -> None:
        confirmed = query.get("confirm") == "t" and query.get("uuid") == _UUID
        if file.page == "scan" and not confirmed:
            hidden = {"id": query["id"], "export": "download", "confirm": "t", "uuid": _UUID}
            inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in hidden.items())
            self._show(
                "<title>Google Drive - Virus scan warning</title>"
                '<p class="uc-warning-caption">Google Drive can\'t scan this file for viruses.</p>'
                f'<form id="download-form" action="https://{CONTENT}/download" method="get">'
                f'<input type="submit" value="Download anyway">{inputs}</form>'
            )
        elif file.page == "quota":
            self._show(
                "<title>Google Drive - Quota exceeded</title>"
                '<p class="uc-error-caption">Sorry, you can\'t view or download this file at this time.</p>'
                '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try'
                " accessing the file again later.</p>"
            )
        elif file.page in ("attachment", "untyped"):
            as_file = {"Content-Disposition": "attachment; filename=a.pth", "Content-Type": "text/html"}
            self._send(b"<!DOCTYPE html><title>Welcome</title>", as_file if file.page == "attachment" else {})
        else:
            self._send_file(asked, file)

    def _send_file(self, asked: Asked, file: DriveFile) -> None:
        size = len(file.content)
        start = asked.start if file.resumable and self.headers.get("If-Range") in (None, CHANGED) else None
        if asked.start is not None and file.range_status is not None:
            return self._show("<title>Error</title>" * 100, file.range_status)
        if start is not None and start >= size:
            return self._show("<title>Error 416</title>", HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        asked.got_file = True
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": 'attachment; filename="k400_B_16_8.pth"',
            "Last-Modified": CHANGED,
            "Accept-Ranges": "bytes",
        }
        cut = file.cuts.pop(start or 0, None)
        if start is None:
            return self._send(file.content, headers, cut=cut, stalled=file.stalled)
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        return self._send(file.content[start:], headers, HTTPStatus.PARTIAL_CONTENT, cut=cut, stalled=file.stalled)

    def _send_on(self, url: str) -> None:
        self._send(b"", {"Location": url, "Content-Type": "text/html"}, HTTPStatus.SEE_OTHER)

    def _show(self, html: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        headers = {"Content-Type": "text/html; charset=utf-8"}
        self._send(f"<!DOCTYPE html><html>{html}</html>".encode(), headers, status)

    def _send(
        self,
        content: bytes,
        headers: dict[str, str],
        status: HTTPStatus = HTTPStatus.OK,
        *,
        cut: int | None = None,
        stalled: threading.Event | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):  # gdown hangs up on a body that it does not want
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True
            if stalled is not None:
                stalled.wait()


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[DriveServer]:
    """Runs a server in a thread of its own while the context lasts; the folder takes its authority's certificate."""
    with DriveServer(folder) as server:
        # The poll is what the end waits for.
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
