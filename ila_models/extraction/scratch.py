"""Folders for what processes have not finished: one each, which goes with its process, however that ends."""

from __future__ import annotations

import shutil
import uuid
import weakref
from pathlib import Path

from filelock import FileLock, Timeout


class Scratch:
    """A process's folder for what it has not finished.

    A lock file beside it says that its process lives: the system frees the lock of one that dies. Whoever begins
    another removes those of the dead, of which long videos leave much. Open and sweep one at a time, under a lock of
    the caller's: a lock file that is not locked yet would look like a dead process's.

    Attributes:
        path: The folder; it may have to be made.
    """

    def __init__(self, folder: Path) -> None:
        """Begins one, and removes those of processes that are gone.

        Args:
            folder: Holds those of all processes; it is made if it is not there.

        Raises:
            OSError: It cannot be written.
        """
        sweep(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / uuid.uuid4().hex
        lock = FileLock(_lock_of(self.path), timeout=0, thread_local=False)  # Python may end it in another thread
        lock.acquire()
        # Also when Python ends, or nobody refers to it: after Ctrl-C, or where nobody closes it.
        self._finalizer = weakref.finalize(self, _remove, self.path, lock)

    def close(self) -> None:
        """Removes it, and all that is in it."""
        self._finalizer()


def sweep(folder: Path, *, and_unlocked: bool = False) -> None:
    """Removes the scratch folders of processes that are gone.

    Args:
        folder: That they stand in; it may not be there.
        and_unlocked: Remove those without a lock file too, of a version that had none: it cannot be told whether their
            processes live.
    """
    for lock_file in sorted(folder.glob("*.lock")):
        lock = FileLock(lock_file, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        _remove(lock_file.with_suffix(""), lock)
    if and_unlocked:
        for path in sorted(folder.glob("*")):
            if path.is_dir() and not _lock_of(path).exists():
                shutil.rmtree(path, ignore_errors=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _remove(path: Path, lock: FileLock) -> None:
    shutil.rmtree(path, ignore_errors=True)
    _lock_of(path).unlink(missing_ok=True)  # while it is held: nobody else takes it for a dead process's
    lock.release()
