"""Which videos the arguments of a command name: files, addresses, folders, patterns, lists, tables and tar files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..data.video_files import SUFFIXES_IN_WORDS, VIDEO_SUFFIXES, videos_below
from .item_names import address_name, path_name
from .items import VideoItem
from .tables import videos_of_list, videos_of_table
from .tars import is_tar, videos_of_tar


def find_videos(inputs: Sequence[str | os.PathLike[str]]) -> Iterator[VideoItem]:
    """Finds the videos that the arguments of a command name.

    An input is one of:

    - a video file, or an http(s) address; any file that is none of the kinds below is taken as a video;
    - a folder: all files below it that end as videos do, see :func:`~ila_models.data.video_files.videos_below`;
    - a pattern of files, folders and tar files with ``*``, ``?`` or ``[]``, and ``**`` for folders at any depth. Files
      that end neither as videos nor as tar files do are left out, and what lies in a folder that matches is not taken
      once more if it matches itself;
    - ``LIST.txt``, see :func:`~ila_models.extraction.tables.videos_of_list`;
    - ``TABLE.csv``, which may name segments, see :func:`~ila_models.extraction.tables.videos_of_table`;
    - ``SHARD.tar``, see :func:`~ila_models.extraction.tars.videos_of_tar`.

    Args:
        inputs: Paths, patterns and addresses.

    Yields:
        Videos as they are found, in the order of the inputs, and within one always in the same order. A file or an
        address is named by its last part, a file below a folder by its path from there, without the suffix. Several
        may be of one name, or be the same video.

    Raises:
        AnnotationError: A list, table or tar file cannot be used.
        FileNotFoundError: There is no such input, nothing matches a pattern, or a folder has no video. That a file
            which a list or table names is not there is not looked at.
        OSError: A file or folder cannot be read.
        TypeError: ``inputs`` is one path, not several.
    """
    if isinstance(inputs, str | os.PathLike):
        raise TypeError(f"inputs={os.fspath(inputs)!r} is one input: give a list of them")
    for given in inputs:
        yield from _videos_of(os.fspath(given))


def _videos_of(given: str) -> Iterator[VideoItem]:
    if given.lower().startswith(("http://", "https://")):
        yield VideoItem(file=given, name=address_name(given))
    elif os.path.isdir(given):
        yield from _not_none(_videos_below(given), f"in the folder {given}")
    elif os.path.exists(given):
        suffix = os.path.splitext(given)[1].lower()
        if suffix == ".txt":
            yield from videos_of_list(given)
        elif suffix == ".csv":
            yield from videos_of_table(given)
        else:
            yield from _videos_of_file(given)
    elif any(wildcard in given for wildcard in "*?["):
        yield from _not_none(_videos_matching(given), f"among what matches {given}")
    else:
        raise FileNotFoundError(
            f"no such input: {given!r} (looked in {Path.cwd()}): give a video file, a folder of videos, a pattern such"
            f" as '*.mp4', LIST.txt, TABLE.csv, SHARD.tar or an http(s) address{_brace_hint(given)}"
        )


def _videos_of_file(file: str) -> Iterator[VideoItem]:
    if is_tar(file):
        yield from videos_of_tar(file)
    else:
        yield VideoItem(file=file, name=path_name(os.path.basename(file)))


def _videos_matching(pattern: str) -> Iterator[VideoItem]:
    matches = sorted(set(glob.iglob(pattern, recursive=True)))
    if not matches:
        raise FileNotFoundError(f"no file or folder matches {pattern} (looked in {Path.cwd()}){_brace_hint(pattern)}")
    # With a slash at its end, a pattern matches folders only, which listing their parents tells without a stat each.
    folders = {Path(folder) for folder in glob.iglob(os.path.join(pattern, ""), recursive=True)}
    for match in matches:
        path = Path(match)
        if not folders.isdisjoint(path.parents):
            continue
        if path in folders:
            yield from _videos_below(match)
        elif is_tar(match) or path.suffix.lower() in VIDEO_SUFFIXES:
            yield from _videos_of_file(match)


def _videos_below(folder: str) -> Iterator[VideoItem]:
    for path in videos_below(folder):
        yield VideoItem(file=os.path.join(folder, path), name=path_name(path))


def _not_none(videos: Iterator[VideoItem], where: str) -> Iterator[VideoItem]:
    """The videos, of which there must be one."""
    first = next(videos, None)
    if first is None:
        raise FileNotFoundError(
            f"no video {where} (looked for {SUFFIXES_IN_WORDS}, and not into hidden files and folders)"
        )
    yield first
    yield from videos


def _brace_hint(given: str) -> str:
    return "; write {000..127} as a wildcard, *" if "{" in given else ""
