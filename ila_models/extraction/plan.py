"""Which videos a folder of features is of, in which order and under which names, cut into parts.

A part is what a process takes and a decoder works through. Batches never reach across parts. So the batches, and with
them the last bit of every feature, depend neither on the number of processes nor on where a run was stopped.

The plan is only ever added to: a later run with more videos appends those that are new, as parts of their own, and what
is there keeps its part and its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..parquet import read_table, write_table
from .items import VideoItem
from .unique_names import Names

if TYPE_CHECKING:
    import pyarrow

Key = tuple[str, float | None, float | None]
"""What tells one item from another: file, start and end."""

_AGAIN = b"ila_models.again"


class Plan:
    """The videos of a folder of features, as a run found them.

    Attributes:
        videos_per_part: Videos of a part; the last one of those that were added at once may have fewer.
    """

    def __init__(self, folder: Path, *, videos_per_part: int) -> None:
        """Reads the plan of a folder, which may be empty."""
        self.videos_per_part = videos_per_part
        self._folder = folder
        self._additions: list[pyarrow.Table] = []
        self.read_additions()

    def read_additions(self) -> None:
        """Reads what other processes have added since."""
        while (path := self._path(len(self._additions))).exists():
            self._additions.append(read_table(path))

    def __len__(self) -> int:
        """How many parts there are."""
        return sum(map(self._count_parts, self._additions))

    @property
    def num_videos(self) -> int:
        """How many videos all parts have."""
        return sum(len(addition) for addition in self._additions)

    def items(self, part: int) -> list[VideoItem]:
        """The videos of a part."""
        for addition in self._additions:
            count = self._count_parts(addition)
            if part < count:
                return _items(addition.slice(part * self.videos_per_part, self.videos_per_part))
            part -= count
        raise IndexError(part)

    def part_size(self, part: int) -> int:
        """How many videos a part has."""
        for addition in self._additions:
            count = self._count_parts(addition)
            if part < count:
                return min(self.videos_per_part, len(addition) - part * self.videos_per_part)
            part -= count
        raise IndexError(part)

    def new(self, items: Iterable[VideoItem]) -> list[VideoItem]:
        """Those of some videos that are not there, each once, with names that are not taken."""
        known: set[Key] = set()
        names = Names()
        for addition in self._additions:
            for item in _items(addition):
                known.add(key_of(item))
                names.take(item.name)
        found = []
        for item in items:
            if (key := key_of(item)) not in known:
                known.add(key)
                found.append(replace(item, name=names.give(item.name)))
        return found

    def added_again(self) -> dict[Key, int]:
        """Videos that were appended again, each with the part that counts."""
        found: dict[Key, int] = {}
        first_part = 0
        for addition in self._additions:
            if _AGAIN in (addition.schema.metadata or {}):
                for row, item in enumerate(_items(addition)):
                    found[key_of(item)] = first_part + row // self.videos_per_part
            first_part += self._count_parts(addition)
        return found

    def append(self, items: Sequence[VideoItem], *, again: bool = False) -> None:
        """Appends videos.

        Args:
            items: At least one, with names of their own.
            again: They are there, and what comes of them now is to count.

        Raises:
            OSError: The plan cannot be written.
        """
        import pyarrow

        columns: dict[str, Any] = {
            # Names of files are bytes: not all of them are text.
            "file": pyarrow.array([os.fsencode(item.file) for item in items], pyarrow.binary()),
            "name": pyarrow.array([item.name for item in items], pyarrow.string()),
            "start": pyarrow.array([item.start for item in items], pyarrow.float64()),
            "end": pyarrow.array([item.end for item in items], pyarrow.float64()),
            "tar": pyarrow.array(
                [None if item.tar is None else os.fsencode(item.tar) for item in items],
                pyarrow.dictionary(pyarrow.int32(), pyarrow.binary()),
            ),
            "offset": pyarrow.array([item.offset for item in items], pyarrow.int64()),
            "size": pyarrow.array([item.size for item in items], pyarrow.int64()),
        }
        table = pyarrow.table(columns, metadata={_AGAIN: b""} if again else None)
        write_table(self._path(len(self._additions)), table)
        self.read_additions()

    def _count_parts(self, addition: pyarrow.Table) -> int:
        return -(-len(addition) // self.videos_per_part)

    def _path(self, addition: int) -> Path:
        return self._folder / f"videos.{addition:05d}.parquet"


def key_of(item: VideoItem) -> Key:
    """What tells an item from others."""
    return item.file, item.start, item.end


def _items(table: pyarrow.Table) -> list[VideoItem]:
    return [
        VideoItem(
            file=os.fsdecode(row.pop("file")), tar=None if (tar := row.pop("tar")) is None else os.fsdecode(tar), **row
        )
        for batch in table.to_batches(max_chunksize=65536)
        for row in batch.to_pylist()
    ]
