"""Parquet: a table of many videos, a row for every window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ...features.result import Features
from ...settings import as_text
from .extracted import PROVENANCE_KEY, Extracted, Write, arrays_of, as_json

if TYPE_CHECKING:
    import pyarrow

_BYTES_PER_GROUP = 64 << 20  # of features; a reader needs memory for a row group


def parquet_files(stem: str, videos: Sequence[Extracted], provenance: Mapping[str, Any]) -> Iterator[tuple[str, Write]]:
    """Yields ``STEM.parquet``.

    Columns are ``file``, ``name``, ``window`` (its number within the video), ``start`` and ``end`` (seconds),
    ``frames`` and the levels. A row of a level is flat; the field's metadata have its shape, as in ``"8,512"``.
    """
    yield f"{stem}.parquet", partial(_write, videos=videos, provenance=provenance)


def _write(stream: BinaryIO, videos: Sequence[Extracted], provenance: Mapping[str, Any]) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = _schema(videos[0].features, provenance)
    bytes_per_row = sum(_row_size(rows.shape) * rows.element_size() for rows in videos[0].features.values.values())
    pyarrow.parquet.write_table(
        pyarrow.concat_tables(_table(video, schema) for video in videos),
        stream,
        row_group_size=max(1, _BYTES_PER_GROUP // bytes_per_row),
        use_dictionary=["file", "name"],  # features hardly repeat
    )


def _schema(features: Features, provenance: Mapping[str, Any]) -> pyarrow.Schema:
    import pyarrow

    types = {
        "file": pyarrow.string(),
        "name": pyarrow.string(),
        "window": pyarrow.int32(),
        "start": pyarrow.float64(),
        "end": pyarrow.float64(),
        "frames": pyarrow.list_(pyarrow.int64()),
    }
    fields = [pyarrow.field(name, type, nullable=False) for name, type in types.items()]
    for level, rows in features.values.items():
        type = pyarrow.list_(pyarrow.float32(), _row_size(rows.shape))
        shape = ",".join(map(str, rows.shape[1:]))
        fields.append(pyarrow.field(level, type, nullable=False, metadata={"shape": shape}))
    return pyarrow.schema(fields, metadata={PROVENANCE_KEY: as_json(provenance)})


def _table(video: Extracted, schema: pyarrow.Schema) -> pyarrow.Table:
    """The rows of a video; the levels are not copied."""
    import pyarrow

    arrays = arrays_of(video.features)
    spans, frames = arrays.pop("spans"), arrays.pop("frames")
    count, width = frames.shape
    columns = [
        pyarrow.repeat(as_text(video.item.file), count),
        pyarrow.repeat(video.item.name, count),
        pyarrow.array(np.arange(count, dtype=np.int32)),
        pyarrow.array(spans[:, 0]),
        pyarrow.array(spans[:, 1]),
        pyarrow.ListArray.from_arrays(
            pyarrow.array(np.arange(count + 1, dtype=np.int32) * width), pyarrow.array(frames.reshape(-1))
        ),
    ]
    for rows in arrays.values():
        flat = pyarrow.array(rows.reshape(-1))
        columns.append(pyarrow.FixedSizeListArray.from_arrays(flat, _row_size(rows.shape)))
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _row_size(shape: Sequence[int]) -> int:
    """How many numbers a row has."""
    return math.prod(shape[1:])
