"""NumPy's own files: one a level, and two that say which windows the rows are of."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

import numpy as np

from .extracted import Extracted, Write, arrays_of


def npy_files(stem: str, videos: Sequence[Extracted], provenance: Mapping[str, Any]) -> Iterator[tuple[str, Write]]:
    """Yields ``NAME.LEVEL.npy`` for every level, and ``NAME.spans.npy`` and ``NAME.frames.npy``."""
    for video in videos:
        for name, array in arrays_of(video.features).items():
            yield f"{video.item.name}.{name}.npy", partial(write_npy, array=array)


def write_npy(stream: BinaryIO, array: np.ndarray) -> None:
    """Writes an array, without a copy of all of it."""
    np.save(stream, array, allow_pickle=False)


def npy_size(array: np.ndarray) -> int:
    """How many bytes :func:`write_npy` writes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return header.tell() + array.nbytes
