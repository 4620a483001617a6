"""The index of a folder of features: a row for every video, whether it gave features or not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from ..settings import Settings, as_text
from .items import VideoItem

if TYPE_CHECKING:
    import pyarrow

Status = Literal["done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Tells whether a file is the one that features were taken of.

    Attributes:
        size: Bytes.
        mtime_ns: When it was last written, in nanoseconds since 1970; None of a video in a tar file.
        sha256: Of a video in a tar file, whose bytes are read anyway; else None.
    """

    size: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class VideoRecord:
    """What became of a video.

    Attributes:
        item: The video.
        fingerprint: Of its file; all None where there is none to look at.
        spans: Seconds of every row, (start, end).
        reason: Why there are no features; None where there are.
        output: The file that holds them among others, or what the names of their own files begin with; None where there
            are none.
    """

    item: VideoItem
    fingerprint: Fingerprint
    spans: Sequence[tuple[float, float]] = ()
    reason: str | None = None
    output: str | None = None

    @property
    def status(self) -> Status:
        """Whether there are features."""
        return "done" if self.reason is None else "failed"


def schema(settings: Settings) -> pyarrow.Schema:
    """The columns of an index."""
    import pyarrow

    text, seconds = pyarrow.string(), pyarrow.float64()
    constant = pyarrow.dictionary(pyarrow.int32(), text)
    return pyarrow.schema(
        [
            ("file", text),
            ("name", text),
            ("start", seconds),
            ("end", seconds),
            ("status", constant),
            ("reason", text),
            ("rows", pyarrow.int64()),
            ("spans", pyarrow.list_(pyarrow.list_(seconds, 2))),
            ("output", text),
            ("size", pyarrow.int64()),
            ("mtime_ns", pyarrow.int64()),
            ("sha256", text),
            ("model", constant),
            ("weights_sha256", constant),
            ("settings", constant),
        ],
        metadata={b"ila_models.extraction": json.dumps(settings, ensure_ascii=False, sort_keys=True).encode()},
    )


def as_table(records: Sequence[VideoRecord], settings: Settings) -> pyarrow.Table:
    """Rows of an index."""
    import pyarrow

    columns = schema(settings)
    said = json.dumps(settings, ensure_ascii=False, sort_keys=True)
    rows: list[Mapping[str, Any]] = [
        {
            "file": as_text(each.item.file),
            "name": each.item.name,
            "start": each.item.start,
            "end": each.item.end,
            "status": each.status,
            "reason": None if each.reason is None else as_text(each.reason),
            "rows": len(each.spans),
            "spans": [list(span) for span in each.spans],
            "output": each.output,
            "size": each.fingerprint.size,
            "mtime_ns": each.fingerprint.mtime_ns,
            "sha256": each.fingerprint.sha256,
            "model": settings["model"],
            "weights_sha256": settings["weights_sha256"],
            "settings": said,
        }
        for each in records
    ]
    return pyarrow.Table.from_pylist(rows, schema=columns)


def write_records(stream: BinaryIO, records: Sequence[VideoRecord], settings: Settings) -> None:
    """Writes rows of an index to a file."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(as_table(records, settings), stream)


def write_index(path: Path, tables: Iterable[pyarrow.Table], settings: Settings, *, scratch: Path) -> None:
    """Writes an index, whole or not at all, with no more of it in memory than a table.

    Args:
        path: Where to.
        tables: Its rows.
        settings: Of the features.
        scratch: A folder on the same disk for what is not finished.

    Raises:
        OSError: It cannot be written; what stood there is untouched.
    """
    import pyarrow.parquet

    scratch.mkdir(parents=True, exist_ok=True)
    unfinished = scratch / path.name
    with unfinished.open("wb") as stream:
        with pyarrow.parquet.ParquetWriter(stream, schema(settings)) as writer:
            for table in _in_groups(tables):
                writer.write_table(table)
        stream.flush()
        os.fsync(stream.fileno())
    unfinished.replace(path)


def _in_groups(tables: Iterable[pyarrow.Table], rows: int = 8192) -> Iterator[pyarrow.Table]:
    """The same rows in fewer tables."""
    import pyarrow

    waiting: list[pyarrow.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= rows:
            yield pyarrow.concat_tables(waiting).unify_dictionaries()
            waiting = []
    if waiting:
        yield pyarrow.concat_tables(waiting).unify_dictionaries()
