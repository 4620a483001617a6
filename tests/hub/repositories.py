"""Repositories of the Hub of the tests: files, commits and tags."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

KINDS = ("model", "dataset", "space")
LARGEST_REGULAR_FILE = 10_000_000  # bytes; a larger one must be an LFS file

# What the Hub puts into a new repository: names that become LFS files, whatever their size.
_LFS_NAMES = (
    "*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.mlmodel *.model *.msgpack *.npy *.npz *.onnx *.ot "
    "*.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors *.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip "
    "*.zst *tfevents*"
)
ATTRIBUTES = "".join(f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in _LFS_NAMES.split())


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit.

    Attributes:
        location: Where its bytes lie.
        size: In bytes.
        oid: Git's hash of it; for an LFS file that of the pointer which stands in for it.
        sha256: Of an LFS file's bytes.
    """

    location: Path
    size: int
    oid: str
    sha256: str | None

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    message: str
    date: str
    files: dict[str, StoredFile]


@dataclass
class Repository:
    """What the server knows of a repository.

    Attributes:
        kind: "model", "dataset" or "space".
        name: ``owner/name``.
        folder: For what is uploaded.
        commits: The first one first.
        tags: The commit of each.
        objects: Where each LFS object lies, by sha256.
        expected: Sizes of the LFS objects that may be uploaded, by sha256.
    """

    kind: str
    name: str
    folder: Path
    private: bool = False
    gated: str | bool = False
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    objects: dict[str, Path] = field(default_factory=dict)
    expected: dict[str, int] = field(default_factory=dict)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    @property
    def address(self) -> str:
        """The path of its page."""
        return self.name if self.kind == "model" else f"{self.kind}s/{self.name}"

    def find(self, revision: str) -> Commit | None:
        if revision in ("main", "refs/heads/main"):
            return self.head
        oid = self.tags.get(revision.removeprefix("refs/tags/"), revision)
        return next((commit for commit in self.commits if commit.oid == oid), None)

    def commit(self, files: dict[str, StoredFile], title: str, message: str = "") -> Commit:
        """Adds a commit to main; none where nothing has changed."""
        if self.commits and files == self.head.files:
            return self.head
        parent = self.head.oid if self.commits else None
        content = sorted((path, file.oid) for path, file in files.items())
        oid = hashlib.sha1(json.dumps([parent, title, message, content]).encode()).hexdigest()
        minutes, seconds = divmod(len(self.commits), 60)
        date = f"2026-01-01T00:{minutes:02}:{seconds:02}.000Z"
        self.commits.append(Commit(oid, title, message, date, dict(files)))
        return self.head

    def last_change(self, commit: Commit, path: str) -> Commit:
        """Returns the commit that made a file or folder what it is at `commit`."""
        history = self.commits[: self.commits.index(commit) + 1]
        while len(history) > 1 and _below(history[-1].files, path) == _below(history[-2].files, path):
            history.pop()
        return history[-1]

    def regular(self, content: bytes) -> StoredFile:
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        location = self.folder / oid
        if not location.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            location.write_bytes(content)
        return StoredFile(location, len(content), oid, None)

    def large(self, sha256: str) -> StoredFile:
        """Returns the file of an LFS object that is here."""
        location = self.objects[sha256]
        size = location.stat().st_size
        pointer = _pointer(sha256, size)
        return StoredFile(location, size, hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest(), sha256)

    def wants_lfs(self, path: str, size: int, sample: bytes) -> bool:
        """Says how a file is to be uploaded: by its name, its size, or as it is not a text."""
        attributes = self.head.files.get(".gitattributes") if self.commits else None
        lines = (attributes.location.read_text() if attributes else ATTRIBUTES).splitlines()
        patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
        named = any(fnmatchcase(path if "/" in pattern else Path(path).name, pattern) for pattern in patterns)
        return named or size > LARGEST_REGULAR_FILE or b"\0" in sample


def _pointer(sha256: str, size: int) -> bytes:
    """Returns what git holds in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def _below(files: dict[str, StoredFile], path: str) -> dict[str, StoredFile]:
    return {name: file for name, file in files.items() if name == path or name.startswith(f"{path}/")}


def folders(files: dict[str, StoredFile]) -> set[str]:
    return {str(folder) for path in files for folder in Path(path).parents if folder != Path()}


def describe(path: str, file: StoredFile) -> dict[str, Any]:
    described: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    if file.sha256:
        pointer_size = len(_pointer(file.sha256, file.size))
        described["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": pointer_size}
    return described


def describe_entry(repository: Repository, commit: Commit, path: str, *, expand: bool) -> dict[str, Any]:
    """Describes a file or folder of a commit."""
    if path in commit.files:
        entry = describe(path, commit.files[path])
    else:
        content = [(name, file.oid) for name, file in sorted(_below(commit.files, path).items())]
        oid = hashlib.sha1(json.dumps(content).encode()).hexdigest()
        entry = {"type": "directory", "path": path, "size": 0, "oid": oid}
    if expand:
        changed = repository.last_change(commit, path)
        entry["lastCommit"] = {"id": changed.oid, "title": changed.title, "date": changed.date}
    return entry


def object_id(text: str) -> str:
    """Returns an id as the Hub's data base gives them."""
    return hashlib.sha1(text.encode()).hexdigest()[:24]
