"""HTTP as the Hub of the tests speaks it: routes, bodies, errors, faults, and who may do what."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar
from urllib.parse import parse_qs, unquote

from .repositories import Commit, Repository

if TYPE_CHECKING:
    from hub.server import HubServer, Listener

_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
CHUNK = 1 << 20
_Function = TypeVar("_Function", bound=Callable[..., None])

_ROUTES: list[tuple[str, re.Pattern[str], str]] = []
REPOSITORY = r"(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
PAGE_OF_REPOSITORY = r"(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+?)"
REVISION = r"(?P<revision>[^/]+)"


class RefusalError(Exception):
    """An answer that says no."""

    def __init__(self, status: int, message: str, *, code: str | None = None, **body: Any) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.body = {"error": message, **body}


def route(method: str, pattern: str) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
        _ROUTES.append((method, re.compile(pattern), function.__name__))
        return function

    return register


class HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server.hub
        hub.requests.append(f"{self.command} {self.path}")
        if "Range" in self.headers:
            hub.ranges.append(self.headers["Range"])
        self._incoming = self._receive()
        self._fault = hub.faults.take(self.command, unquote(self.path))
        path, _, query = self.path.partition("?")
        self._query = parse_qs(query)
        with contextlib.suppress(ConnectionError):  # the client has gone
            try:
                if not self._fail_early():
                    self._dispatch(path)
            except RefusalError as refusal:
                self._send_json(refusal.body, refusal.status, refusal.headers)
            return
        self._hang_up()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: `HubServer.requests` has it."""

    @property
    def _hub(self) -> HubServer:
        return self.server.hub

    def _dispatch(self, path: str) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        for verb, pattern, function in _ROUTES:
            match = pattern.fullmatch(path)
            if verb == method and match:
                parts = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
                if "kind" in match.groupdict():
                    parts["kind"] = parts.get("kind", "models").removesuffix("s")
                return getattr(self, function)(**parts)
        self._hub.unknown.append(f"{self.command} {self.path}")
        raise RefusalError(HTTPStatus.NOT_FOUND, f"the test double has no route {self.command} {self.path}")

    # What comes in

    def _receive(self) -> Iterator[bytes]:
        """Yields the request's body, from either way in which a client may send it."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0] or b"-1", 16):
                if size < 0:
                    raise ConnectionError("the body breaks off")
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                raise ConnectionError("the body breaks off")
            left -= len(chunk)
            yield chunk

    def _json(self) -> dict[str, Any]:
        try:
            return json.loads(b"".join(self._incoming))
        except ValueError:
            raise RefusalError(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None

    def _asked(self, name: str) -> bool:
        return self._query.get(name, ["false"])[0].lower() in ("1", "true")

    # What goes out

    def _send_json(self, body: Any, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self._send(status, {"Content-Type": "application/json", **(headers or {})}, io.BytesIO(content), len(content))

    def _send(self, status: int, headers: dict[str, str], stream: BinaryIO, size: int) -> None:
        for _ in self._incoming:  # an answer before the end of the body would be taken for a broken connection
            pass
        action = self._fault.action if self._fault else None
        if action == "lose":
            return self._hang_up()
        sent = size // 2 if action in ("cut", "truncate") else size
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(sent if action == "truncate" else size))
        self.end_headers()
        if self.command != "HEAD":
            self._copy(stream, sent, altered=action == "alter")
        if action == "cut":
            self._hang_up()

    def _copy(self, stream: BinaryIO, left: int, *, altered: bool) -> None:
        while left > 0:
            chunk = stream.read(min(CHUNK, left))
            left -= len(chunk)
            if altered and left == 0:
                chunk = chunk[:-1] + bytes([chunk[-1] ^ 0xFF])
            self.wfile.write(chunk)

    def _send_file(self, location: Path, headers: dict[str, str]) -> None:
        size = location.stat().st_size
        start, stop = 0, size
        asked = _RANGE.match(self.headers.get("Range", ""))
        if asked and asked[1]:
            start, stop = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
        elif asked and asked[2]:  # that many from the end
            start = max(size - int(asked[2]), 0)
        if asked and start >= stop:
            headers = {"Content-Range": f"bytes */{size}"}
            return self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers, io.BytesIO(), 0)
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        with location.open("rb") as stream:
            stream.seek(start)
            self._send(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK, headers, stream, stop - start)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _fail_early(self) -> bool:
        """Does what goes wrong before the request is looked at; says whether that was all."""
        fault = self._fault
        if fault is None:
            return False
        if fault.action == "delay":
            threading.Event().wait(fault.seconds)  # not time.sleep: tests replace it, as the client waits with it
        if fault.action == "status":
            waiting = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            self._send_json({"error": HTTPStatus(fault.status).phrase}, fault.status, waiting)
            return True
        length = int(self.headers.get("Content-Length") or 0)
        if fault.action == "cut" and (length or "Transfer-Encoding" in self.headers):
            received = 0
            while received < length // 2:
                received += len(self.rfile.read(min(CHUNK, length // 2 - received)) or b" " * length)
            self._hang_up()
            return True
        return False

    # Who may do what

    def _role(self) -> Literal["read", "write"] | None:
        given = self.headers.get("Authorization")
        if given is None:
            return None
        token = given.removeprefix("Bearer ")
        if token == self._hub.token:
            return "write"
        if token == self._hub.read_token:
            return "read"
        raise RefusalError(HTTPStatus.UNAUTHORIZED, "Invalid credentials in Authorization header")

    def _require_writing(self, namespace: str) -> None:
        role = self._role()
        if role is None:
            raise RefusalError(HTTPStatus.UNAUTHORIZED, "Invalid username or password.")
        if role == "read":
            raise RefusalError(HTTPStatus.FORBIDDEN, "Forbidden: you must use a write token to upload to a repository.")
        if namespace in self._hub.forbidden:
            raise RefusalError(
                HTTPStatus.FORBIDDEN, f'You don\'t have the rights to write under the namespace "{namespace}"'
            )

    def _repository(self, kind: str, name: str, *, writing: bool = False) -> Repository:
        role = self._role()
        repository = self._hub.find(kind, name)
        namespace = name.partition("/")[0]
        hidden = repository is not None and repository.private and (role is None or namespace in self._hub.forbidden)
        if repository is None or hidden:
            # Without a token the Hub answers 401, so as not to tell which repositories are private.
            status = HTTPStatus.UNAUTHORIZED if role is None else HTTPStatus.NOT_FOUND
            raise RefusalError(status, "Repository not found", code="RepoNotFound")
        if writing:
            self._require_writing(namespace)
        return repository

    def _commit_of(self, repository: Repository, revision: str) -> Commit:
        commit = repository.find(revision)
        if commit is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, f"Invalid rev id: {revision}", code="RevisionNotFound")
        return commit

    def _require_signed_address(self) -> None:
        # Storage takes the signature in the address, and refuses a second way to say who one is.
        if "Authorization" in self.headers:
            raise RefusalError(HTTPStatus.BAD_REQUEST, "InvalidArgument: Only one auth mechanism allowed")
