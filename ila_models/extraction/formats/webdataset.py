"""WebDataset: an uncompressed tar file of many videos, in which members of one name, but for the ending, are one."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

from .extracted import Extracted, Write, arrays_of, description
from .npy import npy_size, write_npy

_BLOCK = 512  # bytes; a member begins where a block does, and two empty ones end the file


def webdataset_files(
    stem: str, videos: Sequence[Extracted], provenance: Mapping[str, Any]
) -> Iterator[tuple[str, Write]]:
    """Yields ``STEM.tar``.

    A sample has ``KEY.LEVEL.npy`` for every level, ``KEY.spans.npy``, ``KEY.frames.npy`` and ``KEY.json``. The key is
    the video's name, in whose last part a dot, at which WebDataset would split, is ``%2E`` and a percent sign ``%25``.
    """
    yield f"{stem}.tar", partial(_write, videos=videos, provenance=provenance)


def _write(stream: BinaryIO, videos: Sequence[Extracted], provenance: Mapping[str, Any]) -> None:
    for video in videos:
        key = _key(video.item.name)
        for name, array in arrays_of(video.features).items():
            _begin_member(stream, f"{key}.{name}.npy", npy_size(array))
            write_npy(stream, array)
        text = description(video.item, provenance).encode()
        _begin_member(stream, f"{key}.json", len(text))
        stream.write(text)
    _fill_block(stream)
    stream.write(bytes(2 * _BLOCK))


def _begin_member(stream: BinaryIO, name: str, size: int) -> None:
    # TarFile.addfile() copies from a file, which would first have to be made in memory.
    member = tarfile.TarInfo(name)  # nobody's, and of no time
    member.size = size
    _fill_block(stream)
    stream.write(member.tobuf(tarfile.PAX_FORMAT, "utf-8"))


def _fill_block(stream: BinaryIO) -> None:
    stream.write(bytes(-stream.tell() % _BLOCK))


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.replace("%", "%25").replace(".", "%2E")
