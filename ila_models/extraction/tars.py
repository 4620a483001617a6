"""Videos in tar files: where each begins, and how long it is."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..data.labels import AnnotationError
from ..data.tar_members import members_of
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
            are left out, and so is what :func:`~ila_models.data.tar_members.members_of` leaves out.

    Yields:
        Videos with their places. That the tar file is cut off may show only behind the last of them.

    Raises:
        AnnotationError: It is compressed, damaged or cut off, or has no video.
        OSError: It cannot be read.
    """
    found = False
    for member in members_of(tar):
        if os.path.splitext(member.name)[1].lower() in VIDEO_SUFFIXES:
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
