"""What goes wrong with requests to the Hub of the tests."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal


@dataclass
class Fault:
    """Something that goes wrong with requests of one kind.

    Attributes:
        method: Of the requests, as a regular expression for the whole of it.
        path: Of the requests, as a regular expression for a part of it. It sees the query too, unquoted; what is
            fetched from the CDN ends in the file's path (``/cdn/models/owner/name/SHA256?filename=config.json``).
        action: What goes wrong. "status": the answer is `status`. "cut": the connection breaks off, half-way through
            the upload if the request has a body, else half-way through the answer. "lose": the request is carried out
            and the answer is lost. "alter": the last byte of the answer is another one. "truncate": half of the answer
            is sent as if it were the whole. "delay": the answer comes after `seconds`.
        times: How many requests it happens to; None for all.
        skip: How many requests of the kind are left in peace before.
        status: HTTP status of the action "status".
        retry_after: Value of the header ``Retry-After``, in seconds, for the action "status".
        seconds: Of the action "delay".
        happened: How many times it has happened.
    """

    method: str
    path: str
    action: Literal["status", "cut", "lose", "alter", "truncate", "delay"]
    times: int | None = 1
    skip: int = 0
    status: int = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after: int | None = None
    seconds: float = 0.0
    happened: int = 0


class Faults:
    """The faults that a server has; the first that matches a request happens to it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def append(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Counts the request, and returns what is to happen to it."""
        with self._lock:
            for fault in self._faults:
                if not re.fullmatch(fault.method, method) or not re.search(fault.path, path):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                elif fault.times is None or fault.happened < fault.times:
                    fault.happened += 1
                    return fault
        return None
