"""HDF5: a file of many videos, each a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

from ...settings import as_text
from .extracted import PROVENANCE_KEY, Extracted, Write, arrays_of, as_json


def hdf5_files(stem: str, videos: Sequence[Extracted], provenance: Mapping[str, Any]) -> Iterator[tuple[str, Write]]:
    """Yields ``STEM.h5``.

    A group has a dataset for every level, ``spans`` and ``frames``, and the attributes ``file``, ``name``, and, where
    the video is a segment, ``start`` and ``end`` (seconds). It is called as the video, with ``%25`` for a percent sign
    and ``%2F`` for a slash, so that the groups of the file are its videos.
    """
    yield f"{stem}.h5", partial(_write, videos=videos, provenance=provenance)


def _write(stream: BinaryIO, videos: Sequence[Extracted], provenance: Mapping[str, Any]) -> None:
    import h5py

    # Of one version of the format, and without the time, so that the same features are the same bytes.
    with h5py.File(stream, "w", libver=("v108", "v108"), track_times=False) as file:
        file.attrs[PROVENANCE_KEY] = as_json(provenance)
        for video in videos:
            group = file.create_group(_key(video.item.name), track_times=False)
            group.attrs["file"] = as_text(video.item.file)
            group.attrs["name"] = video.item.name
            if video.item.start is not None:
                group.attrs["start"] = video.item.start
            if video.item.end is not None:
                group.attrs["end"] = video.item.end
            for name, array in arrays_of(video.features).items():
                group.create_dataset(name, data=array, track_times=False)


def _key(name: str) -> str:
    # A group called "." would be the file itself.
    return "%2E" if name == "." else name.replace("%", "%25").replace("/", "%2F")
