"""This package's cache: its place, its locks, and the hashes of what was downloaded.

Layout of the folder::

    google_drive/<file id>              a released file, until it is converted
    converted/<name>.safetensors        a released file as a file of ours
    hashes/                             hashes of first downloads, and of files that were read or written
    locks/                              locks of files in folders of the user's
    releases/<owner>/<name>/            what the publishing command prepared
    releases/<owner>/<name>.json        what it published

Files of the Hugging Face Hub stand in the Hub's own cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..whole_files import write_atomically
from .errors import CheckpointError
from .files import file_sha256

_logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where files that are not the Hub's are kept: ``$ILA_MODELS_HOME``, or ``~/.cache/ila_models``."""
    return Path(os.environ.get("ILA_MODELS_HOME", "~/.cache/ila_models")).expanduser()


def locked(path: Path) -> contextlib.AbstractContextManager[None]:
    """Lets one process at a time work on what becomes ``path``. The system frees the lock of a process that dies."""
    return _locked(path, path.parent / f".{path.name}.lock")


def locked_from_cache(path: Path) -> contextlib.AbstractContextManager[None]:
    """The same for a folder of the user's, where no lock should be left: it is kept in this package's cache."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    return _locked(path, cache_folder() / "locks" / f"{digest[:32]}.lock")


@contextlib.contextmanager
def _locked(path: Path, lock_file: Path) -> Iterator[None]:
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _logger.info("another process is at work on %s: waiting for it", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def check_file(path: Path, *, sha256: str | None = None, size: int | None = None) -> str:
    """Checks a file's bytes, where something is known of them.

    A file that has not changed since it was last read (its size and time of change say so) is not read again.

    Args:
        path: The file.
        sha256: Its hash as somebody states it, 64 hexadecimal digits.
        size: Its bytes as somebody states them.

    Returns:
        The file's sha256.

    Raises:
        CheckpointError: It is another file than expected. Both hashes, or sizes, are named.
    """
    state = path.stat()
    if size is not None and state.st_size != size:
        raise CheckpointError(f"{path}: has {state.st_size} bytes, expected {size}: cut off, or another file")
    stamp = {"path": str(path), "size": str(state.st_size), "mtime_ns": str(state.st_mtime_ns)}
    note = _note("read", str(path))
    known = _read_note(note)
    found = known.pop("sha256", "")
    if known != stamp or not found:
        found = file_sha256(path)
        try:
            write_atomically(note, _as_json(stamp | {"sha256": found}))
        except OSError as error:
            # A full disk, or one that is only read: the next process will compute it again.
            _logger.debug("the hash of %s is not remembered: %s", path, error)
    if sha256 is not None and found != sha256:
        raise CheckpointError(f"{path}: sha256 is {found}, expected {sha256}: damaged, or another file")
    return found


def forget_read_files() -> None:
    """Has every file read again before it counts as checked: disks change what nobody has written."""
    for note in (cache_folder() / "hashes").glob("read-*.json"):
        note.unlink(missing_ok=True)


def check_first_download(source: str, sha256: str) -> None:
    """Checks that a source gives what it gave the first time, where nobody has stated what it should give.

    Args:
        source: Names the source; the hash of its first download is kept under this name.
        sha256: Of what it gave now.

    Raises:
        CheckpointError: It is another file than the first time.
    """
    if check_first_content(source, sha256):
        _logger.info("%s: nobody has stated its sha256; from now on it must be %s", source, sha256)


def check_first_content(source: str, sha256: str) -> bool:
    """The same without a word, for files that this package writes; returns whether this was the first time."""
    note = _note("first", source)
    first = _read_note(note).get("sha256")
    if first is None:
        write_atomically(note, _as_json({"source": source, "sha256": sha256}))
        return True
    if first != sha256:
        raise CheckpointError(
            f"{source}: sha256 is {sha256}, but it was {first} when it was first downloaded: damaged, or changed at its"
            f" source. If you trust the new file, delete {note} and try again"
        )
    return False


def forget_first_download(source: str) -> None:
    """Takes whatever a source gives next for its first download."""
    _note("first", source).unlink(missing_ok=True)


def _note(kind: str, about: str) -> Path:
    return cache_folder() / "hashes" / f"{kind}-{hashlib.sha256(about.encode()).hexdigest()[:32]}.json"


def _read_note(note: Path) -> dict[str, str]:
    """A note, empty where there is none.

    Raises:
        CheckpointError: It cannot be read. Taken as empty, it would let a changed file pass as the first one.
    """
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CheckpointError(f"{note} cannot be read ({error}): delete it, and files are checked anew") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise CheckpointError(f"{note} is no note of ours: delete it, and files are checked anew")
    return content


def _as_json(content: dict[str, str]) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"
