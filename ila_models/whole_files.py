"""Files that are there whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def remove_unfinished(path: Path) -> None:
    """Removes what processes that were killed left beside ``path`` of writing it; the lock of ``path`` must be held."""
    for scratch in path.parent.glob(f".{path.name}.*"):
        if scratch.is_dir():
            shutil.rmtree(scratch)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a small file whole or not at all.

    Raises:
        OSError: It cannot be written; what stood there is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        unfinished = Path(scratch) / path.name
        with unfinished.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
