"""Members of uncompressed tar files, which are read by position: where each begins, and how long it is."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from .labels import AnnotationError

_LONGEST_HEADERS = 1 << 16  # bytes of all headers of a member: its name, and what else is noted of it


def members_of(tar: str | os.PathLike[str]) -> Iterator[tarfile.TarInfo]:
    """Looks up the files of a tar file whose bytes stand there in one piece, in their order.

    Left out are folders, links and sparse files, and those whose names begin with a dot: macOS puts a ``._clip.mp4``
    beside every ``clip.mp4``, which is no video.

    Args:
        tar: A tar file that is not compressed.

    Yields:
        Members: ``offset_data`` and ``size`` are their places. Names are read as UTF-8 on all machines; bytes that are
        none are kept as Python keeps them in names of files. That the tar file is cut off may show only behind the last
        member.

    Raises:
        AnnotationError: It is compressed, damaged or cut off.
        OSError: It cannot be read.
    """
    with open(tar, "rb") as file:
        try:
            with _opened(file) as archive:
                for member in archive:
                    is_hidden = member.name.rpartition("/")[2].startswith(".")
                    if member.isfile() and not member.issparse() and not is_hidden:
                        yield member
                # At a header that is cut off or damaged, tarfile ends without a word, as it does at the end.
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"at byte {archive.offset:,} there is neither a member nor the end")
        except (tarfile.TarError, ValueError) as error:  # ValueError: a damaged map of a sparse member
            raise AnnotationError(
                f"{os.fspath(tar)}: no uncompressed tar file, or cut off ({error}): write it anew"
            ) from error


def stands_there(file: BinaryIO, *, name: str, offset: int, size: int) -> bool:
    """Whether a member's bytes still begin where they did when the tar file was listed.

    The header right before them has their size, but not always their name: of one that is long or not ASCII it may hold
    a part, question marks or something else, as the program liked that wrote it. The whole name then stands in headers
    before that one, from the first of which the member has to be read.

    Args:
        file: The tar file, which may have been written anew.
        name: The member's, as :func:`members_of` has it.
        offset: Where its bytes began.
        size: How many there were.

    Raises:
        OSError: The tar file cannot be read.
    """
    for start in range(offset - tarfile.BLOCKSIZE, max(0, offset - _LONGEST_HEADERS) - 1, -tarfile.BLOCKSIZE):
        file.seek(start)
        try:
            with _opened(file) as archive:
                member = archive.next()
        except (tarfile.TarError, ValueError):
            continue  # no header, but what one of those before says, or another member's bytes
        if member is not None and (member.name, member.offset_data, member.size) == (name, offset, size):
            return True
    return False


def _opened(file: BinaryIO) -> tarfile.TarFile:
    # Not the encoding of this machine: names are to be the same everywhere.
    return tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape")
