"""A Hugging Face Hub on the loopback interface, which the real ``huggingface_hub`` can download from and publish to.

It answers by the Hub's own routes, status codes and headers, as far as creating, reading and releasing repositories
needs them. What a file holds lies on disk; names, commits, tags and collections are kept in memory and end with the
server.

Some things differ from the real Hub on purpose. There is no xet storage: from 2.x on, the client uploads by LFS only
where ``HF_HUB_DISABLE_XET`` is set when it is imported, or where it is given open files. History is linear, and commits
go to ``main`` only. Commits and folders have ids that git would not compute.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from .collections import Collection, CollectionRoutes
from .faults import Fault, Faults
from .reading import ReadingRoutes
from .repositories import ATTRIBUTES, Repository, StoredFile
from .uploads import UploadRoutes

__all__ = ["Fault", "HubServer", "Repository", "serve"]


class HubServer:
    """Serves the repositories under a folder, and remembers what was asked of it.

    A folder ``root/owner/name`` is a model with one commit and the tag v1 (``root/datasets/owner/name`` a dataset,
    ``root/spaces/owner/name`` a Space); what is uploaded lies in ``root/.uploaded``. LFS files are fetched from, and
    uploaded to, a second address, as if it were that of a content delivery network.

    Attributes:
        root: Holds a folder for every repository.
        requests: "METHOD path?query" of every request, in order.
        unknown: Those of them that no route answers.
        ranges: The values of their headers ``Range``.
        faults: What goes wrong.
        user: The name of whoever has a token.
        token: May read and write.
        read_token: May read only.
        forbidden: Namespaces in which the user may not write, nor read what is private.
        collections: By slug.
    """

    def __init__(self, root: Path, *, port: int = 0) -> None:
        self.root = root
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.ranges: list[str] = []
        self.faults = Faults()
        self.user = "owner"
        self.token = "hf_test"
        self.read_token = "hf_read"
        self.forbidden: set[str] = set()
        self.collections: dict[str, Collection] = {}
        self.lock = threading.RLock()
        self._repositories: dict[tuple[str, str], Repository | None] = {}  # None: deleted
        self._digests: dict[tuple[int, ...], str] = {}
        self.listeners = [Listener(self, port), Listener(self)]

    @property
    def url(self) -> str:
        """What goes into ``HF_ENDPOINT``."""
        return self.listeners[0].url

    @property
    def cdn_url(self) -> str:
        """Where LFS files are."""
        return self.listeners[1].url

    def count(self, method: str, path: str) -> int:
        """Returns how many requests there were with a method and a path; both are regular expressions as in `Fault`."""
        asked = (request.partition(" ") for request in self.requests)
        return sum(bool(re.fullmatch(method, verb) and re.search(path, unquote(where))) for verb, _, where in asked)

    def repository(self, name: str, kind: str = "model") -> Repository:
        """Returns a repository, for tests that look behind the scenes.

        Raises:
            KeyError: There is none of that name.
        """
        found = self.find(kind, name)
        if found is None:
            raise KeyError(f"no {kind} {name}")
        return found

    def find(self, kind: str, name: str) -> Repository | None:
        with self.lock:
            if (kind, name) not in self._repositories:
                folder = self.root / ("" if kind == "model" else f"{kind}s") / name
                if name.startswith(".") or not folder.is_dir():
                    return None
                self._repositories[kind, name] = self._adopt(kind, name, folder)
            return self._repositories[kind, name]

    def create(self, kind: str, name: str, *, private: bool) -> Repository:
        repository = Repository(kind, name, self._uploads(kind, name), private=private)
        repository.commit({".gitattributes": repository.regular(ATTRIBUTES.encode())}, "initial commit")
        self._repositories[kind, name] = repository
        return repository

    def delete(self, repository: Repository) -> None:
        self._repositories[repository.kind, repository.name] = None
        shutil.rmtree(repository.folder, ignore_errors=True)

    def _uploads(self, kind: str, name: str) -> Path:
        return self.root / ".uploaded" / f"{kind}s" / name

    def _adopt(self, kind: str, name: str, folder: Path) -> Repository:
        repository = Repository(kind, name, self._uploads(kind, name))
        files = {}
        for location in sorted(path for path in folder.rglob("*") if path.is_file()):
            path = location.relative_to(folder).as_posix()
            size = location.stat().st_size
            with location.open("rb") as stream:
                sample = stream.read(512)
            if size and repository.wants_lfs(path, size, sample):
                sha256 = self._sha256(location)
                repository.objects[sha256] = location
                files[path] = repository.large(sha256)
            else:
                oid = hashlib.sha1(b"blob %d\0" % size + location.read_bytes()).hexdigest()
                files[path] = StoredFile(location, size, oid, None)
        repository.tags["v1"] = repository.commit(files, "initial commit").oid
        return repository

    def _sha256(self, location: Path) -> str:
        state = location.stat()
        key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)  # a file may have several names
        if key not in self._digests:
            digest = hashlib.sha256()
            with location.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
            self._digests[key] = digest.hexdigest()
        return self._digests[key]


class _Handler(ReadingRoutes, UploadRoutes, CollectionRoutes):
    pass


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: HubServer, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.hub = hub

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def serve(root: Path, *, port: int = 0) -> Iterator[HubServer]:
    """Runs a server in threads of its own as long as the context lasts; a port of 0 is whichever is free."""
    hub = HubServer(root, port=port)
    threads = [threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True) for listener in hub.listeners]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for listener, thread in zip(hub.listeners, threads, strict=True):
            listener.shutdown()
            thread.join()
            listener.server_close()
