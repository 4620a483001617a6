"""Folders that a command fills: its own from an earlier run, or empty ones, and never somebody else's."""

from __future__ import annotations

from pathlib import Path


def require_own_folder(folder: Path, *, sign: str, what: str) -> None:
    """Refuses a folder with files of others, among which ours would be lost, or would overwrite some.

    Args:
        folder: Where a command is to write; it need not be there.
        sign: A file within it by which an earlier run of the command is known.
        what: What the command writes, for the message.

    Raises:
        FileExistsError: There are files, and not that one.
        NotADirectoryError: It is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file: name a folder for {what}")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / sign).is_file():
        raise FileExistsError(f"{folder} holds files that are not of {what}: name an empty folder, or a new one")
