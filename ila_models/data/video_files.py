"""Which files are taken for videos where nobody names them one by one: by their suffix, in folders and tar files."""

from __future__ import annotations

import os
from collections.abc import Iterator

_ENDINGS = "3gp asf avi f4v flv gif m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv"

VIDEO_SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""What a video's name ends in, in small letters; a file that somebody names himself is always taken."""

SUFFIXES_IN_WORDS = ", ".join(sorted(VIDEO_SUFFIXES))
"""The same for messages."""


def is_video_name(name: str) -> bool:
    """Whether a file in a folder is taken for a video: not a hidden one, as are the ``._clip.mp4`` of macOS."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def videos_below(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Finds the videos of a folder and of all folders below it.

    Hidden files and folders are left out. Links to folders are followed, but not round in circles. Files are told by
    their names alone, so that millions take no time: one that cannot be read, such as a link that leads nowhere, is
    found too, and fails where it is used.

    Args:
        folder: Where to look; it may be hidden itself.

    Yields:
        Paths from the folder, in order of names, folders among the files.

    Raises:
        OSError: A folder cannot be read.
    """
    return _walk(os.fspath(folder), "", frozenset())


def _walk(root: str, inside: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Paths of videos from the root. ``above`` are the folders on the way from there, by device and inode."""
    folder = os.path.join(root, inside)
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    with os.scandir(folder) as entries:
        found = sorted((entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith("."))
    for name, is_folder in found:
        path = os.path.join(inside, name)
        if is_folder:
            yield from _walk(root, path, above | {identity})
        elif is_video_name(name):
            yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # Only of links does this take a stat. A link that leads nowhere is none.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))
