"""Videos in tar files: where each begins, and how long it is."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator

from ..data.labels import AnnotationError
from ..data.video_files import SUFFIXES_IN_WORDS, VIDEO_SUFFIXES
from .item_names import path_name
from .items import VideoItem

_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def is_tar(path: str) -> bool:
    """Whether a file is called as tar files are, compressed ones included, which are refused when they are read."""
    return path.lower().endswith(_ENDINGS)


def videos_of_tar(tar: str) -> Iterator[VideoItem]:
    """The videos of a tar file, in the order of its members.

    Args:
        tar: A tar file that is not compressed, for example a shard of a WebDataset. Members without a video's suffix
            are left out, and so are links and sparse members, whose bytes do not stand there in one piece.

    Yields:
        Videos with their places. That the tar file is cut off may show only behind the last of them.

    Raises:
        AnnotationError: It is compressed, damaged or cut off, or has no video.
        OSError: It cannot be read.
    """
    found = False
    for member in _members(tar):
        suffix = os.path.splitext(member.name)[1].lower()
        if suffix in VIDEO_SUFFIXES and member.isfile() and not member.issparse():
            found = True
            yield VideoItem(
                file=f"{tar}:{member.name}",
                name=path_name(member.name),
                tar=tar,
                offset=member.offset_data,
                size=member.size,
            )
    if not found:
        raise AnnotationError(f"{tar}: no video in it (looked for {SUFFIXES_IN_WORDS})")


def _members(tar: str) -> Iterator[tarfile.TarInfo]:
    with open(tar, "rb") as file:
        try:
            # Not the encoding of this machine: names are to be the same everywhere.
            with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
                yield from archive
                # At a header that is cut off or damaged, tarfile ends without a word, as it does at the end.
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"at byte {archive.offset:,} there is neither a member nor the end")
        except (tarfile.TarError, ValueError) as error:  # ValueError: a damaged map of a sparse member
            raise AnnotationError(f"{tar}: no uncompressed tar file, or cut off ({error}): write it anew") from error
