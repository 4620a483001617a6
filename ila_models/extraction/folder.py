"""A folder of features on disk.

::

    index.parquet            what became of every video; there when all are done
    settings.json            how they were made
    ...                      features, as their format has them
    .extraction/videos.*     which videos there are: the plan
    .extraction/records/     what became of the videos of pieces
    .extraction/claims/      locks of parts that a process is at work on
    .extraction/unfinished/  files that are being written, a folder and a lock for each process

Features are written piece by piece, and a piece is some videos of a part that follow each other. Its files are on the
disk before its record is, so what has a record is whole, however the run that wrote it ended. What has none is done
again, and gives the same bytes: two processes that were at the same part would only have wasted time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from ..parquet import read_table
from ..settings import Settings, differences, read_settings, settings_bytes
from ..weights.cache import locked
from ..whole_files import remove_unfinished, write_atomically
from .formats import Write
from .index import VideoRecord, write_index, write_records
from .items import VideoItem
from .plan import Plan, key_of
from .scratch import Scratch, sweep

if TYPE_CHECKING:
    import pyarrow

INDEX = "index.parquet"
SETTINGS = "settings.json"
_KIND = "ila_models.extraction"
_WORK = ".extraction"
_RECORDS = f"{_WORK}/records"
_RECORD_NAME = re.compile(r"(\d+)-(\d+)-(\d+)\.parquet")
_PARTS_PER_FOLDER = 1000

_Summary = TypeVar("_Summary")

Piece = tuple[int, int]
"""Numbers of the first video of a piece within its part, and of the one after its last."""


class FeatureFolder:
    """A folder that one run or several write features of the same settings into.

    A context manager, which takes with it what this process has not finished.

    Attributes:
        root: The folder.
        settings: How its features are made.
        plan: Which videos it is of.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        """Opens a folder, or makes one.

        Args:
            root: The folder.
            settings: How features are made; ``videos_per_part`` is one of them.

        Raises:
            ValueError: It holds features of other settings, or other things.
            OSError: It cannot be written.
        """
        self.root = root
        self.settings = settings = {"kind": _KIND, **settings}
        self._work = root / _WORK
        noted = root / SETTINGS
        if root.exists() and not root.is_dir():
            raise NotADirectoryError(f"{root} is a file: give a folder for the features (--out)")
        if noted.exists() and read_settings(noted).get("kind") != _KIND:
            raise ValueError(f"{root} holds other things: its {SETTINGS} is no extraction's; give another --out")
        self._work.mkdir(parents=True, exist_ok=True)
        with self.locked():
            for path in (noted, self._work / "videos"):
                remove_unfinished(path)
            if noted.exists():
                if different := differences(read_settings(noted), settings):
                    raise ValueError(
                        f"{root} holds features of other settings: {'; '.join(different)}. Give another --out, or take"
                        " those settings"
                    )
            else:
                write_atomically(noted, settings_bytes(settings))
            # What this process has not finished is kept apart from what others have not, should claims not work.
            self._scratch = Scratch(self._work / "unfinished")
        self.plan = Plan(self._work, videos_per_part=settings["videos_per_part"])

    def __enter__(self) -> FeatureFolder:
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Removes what this process has not finished; nothing is to be written from here on."""
        self._scratch.close()

    def locked(self) -> AbstractContextManager[None]:
        """Lets one process at a time change the plan or write the index."""
        return locked(self._work / "plan")

    def add(self, items: Iterable[VideoItem]) -> None:
        """Adds the videos that the plan does not have.

        Raises:
            OSError: It cannot be written.
        """
        with self.locked():
            self.plan.read_additions()
            self._append(self.plan.new(items))

    def add_failed_again(self, items: Iterable[VideoItem]) -> None:
        """Has the videos that failed done once more.

        Args:
            items: The videos as they were found now: a tar file may have been written anew.

        Raises:
            OSError: The plan cannot be written.
        """
        now = {key_of(item): item for item in items}
        with self.locked():
            self.plan.read_additions()
            failed = [
                replace(now.get(key_of(item), item), name=item.name)
                for done, table in self._records()
                for item, status in zip(done, table.column("status").to_pylist(), strict=True)
                if status == "failed"
            ]
            self._append(failed, again=True)

    def _append(self, items: Sequence[VideoItem], *, again: bool = False) -> None:
        if items:
            (self.root / INDEX).unlink(missing_ok=True)  # it is there only while it is whole
            self.plan.append(items, again=again)

    def finished_videos(self, part: int) -> int:
        """How many videos of a part, from its first one on, are done."""
        return _end(self._pieces(part // _PARTS_PER_FOLDER).get(part, []))

    def is_finished(self, part: int) -> bool:
        """Whether all videos of a part are done."""
        return self.finished_videos(part) == self.plan.part_size(part)

    def finished_parts(self) -> set[int]:
        """The parts whose videos are all done, looked up at once."""
        return {part for part, pieces in self._all_pieces() if _end(pieces) == self.plan.part_size(part)}

    def count_finished_videos(self) -> int:
        """How many videos of all parts are done."""
        return sum(_end(pieces) for _, pieces in self._all_pieces())

    @contextmanager
    def claimed(self, part: int) -> Iterator[bool]:
        """Tries to take a part for this process alone; the system frees those of a process that dies."""
        path = self._work / "claims" / str(part // _PARTS_PER_FOLDER) / f"{part}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            if self.is_finished(part):
                path.unlink(missing_ok=True)  # who takes it now, or has it open, will see that the part is finished
            lock.release()

    def scratch(self, part: int) -> Path:
        """A folder for what this process has not finished of a part; it may have to be made."""
        return self._scratch.path / str(part)

    def write(self, part: int, path: str, write: Write) -> None:
        """Writes a file of features, whole or not at all.

        Args:
            part: That the features belong to.
            path: Within the folder.
            write: Writes its content.

        Raises:
            OSError: It cannot be written; what stood there is untouched.
        """
        scratch, target = self.scratch(part), self.root / path
        unfinished = scratch / "file"
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            with unfinished.open("w+b") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished.replace(target)
        except OSError as error:
            why = f"{error.strerror or error}: what is finished is kept, and the same command goes on"
            raise OSError(error.errno, why, str(target)) from error

    def record(self, part: int, first: int, records: Sequence[VideoRecord]) -> None:
        """Writes down what became of some videos of a part, after their features.

        Args:
            part: Their part.
            first: Number of the first one within it.
            records: One for each.

        Raises:
            OSError: It cannot be written.
        """
        stop = first + len(records)
        self.write(part, _record_path(part, first, stop), lambda stream: write_records(stream, records, self.settings))

    def finish(self, summarise: Callable[[FeatureFolder], _Summary]) -> _Summary | None:
        """Writes the index where it is not there and all videos are done, and sums it up; None if not all are.

        Raises:
            OSError: It cannot be written.
        """
        with self.locked():
            self.plan.read_additions()
            if self.count_finished_videos() < self.plan.num_videos:
                return None
            if not (self.root / INDEX).exists():
                tables = (table for _, table in self._records())
                write_index(self.root / INDEX, tables, self.settings, scratch=self._scratch.path)
            sweep(self._work / "unfinished", and_unlocked=True)
            return summarise(self)

    def _records(self) -> Iterator[tuple[list[VideoItem], pyarrow.Table]]:
        """Videos that are done and their rows of the index, in the order of the plan; of those done again, the last."""
        again = self.plan.added_again()
        for part, pieces in self._all_pieces():
            for first, stop in _chain(pieces):
                table = read_table(self.root / _record_path(part, first, stop))
                items = self.plan.items(part)[first:stop]
                counts = [again.get(key_of(item), part) == part for item in items]
                yield list(compress(items, counts)), table.filter(counts)

    def _all_pieces(self) -> Iterator[tuple[int, list[Piece]]]:
        """The pieces that are done, by part, in the order of the plan."""
        for folder in range(-(-len(self.plan) // _PARTS_PER_FOLDER)):
            yield from sorted(self._pieces(folder).items())

    def _pieces(self, folder: int) -> dict[int, list[Piece]]:
        """The pieces that are done, by part, of the parts that share a folder."""
        found: dict[int, list[Piece]] = {}
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.root / _RECORDS / str(folder)):
                name = _RECORD_NAME.fullmatch(entry.name)  # file systems keep names of their own for what is deleted
                if name and int(name[1]) < len(self.plan):  # others may have added parts since the plan was read
                    found.setdefault(int(name[1]), []).append((int(name[2]), int(name[3])))
        return found


def _record_path(part: int, first: int, stop: int) -> str:
    return f"{_RECORDS}/{part // _PARTS_PER_FOLDER}/{part}-{first}-{stop}.parquet"


def _chain(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Pieces of a part that follow each other from its first video on."""
    reached = 0
    for first, stop in sorted(pieces):
        if first == reached:
            yield first, stop
            reached = stop


def _end(pieces: Iterable[Piece]) -> int:
    """How many videos pieces reach to."""
    return max((stop for _, stop in _chain(pieces)), default=0)
