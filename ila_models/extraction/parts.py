"""The heart of an extraction: a process's share of the parts, from their videos to files and records."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ..data.pool import TRIES, Finished, Item, WorkerPool, loss_reason
from ..features.ahead import clips_in
from ..features.batches import Batches, Part
from ..features.extractor import FeatureExtractor
from ..features.result import Failure
from .decoding import Begun, PartDecoder, PartTask
from .folder import FeatureFolder
from .formats import SHARDED, Extracted, Writer, writer
from .index import Fingerprint, VideoRecord
from .items import VideoItem
from .progress import Done
from .row_store import BYTES_IN_MEMORY, RowStore

_WINDOWS_PER_PIECE = 256
_BATCHES_PER_PIECE = 16
_BYTES_PER_PIECE = BYTES_IN_MEMORY
_SECONDS_TO_LOOK_AGAIN = 1.0

Report = Callable[[Done], None]
"""Is told of videos that are done."""


class PartExtractor:
    """Does parts, each as soon as it can be claimed. A context manager, which holds the decoding processes."""

    def __init__(
        self,
        folder: FeatureFolder,
        extractor: FeatureExtractor,
        *,
        num_workers: int,
        patience: float,
        report: Report,
    ) -> None:
        """Starts the decoding processes.

        Args:
            folder: Where features go.
            extractor: Takes them.
            num_workers: Processes that decode, each a part of its own; at least 1.
            patience: Seconds in which no window of a video comes after which it is given up.
            report: Is told of videos that are done.
        """
        self._folder = folder
        self._extractor = extractor
        self._writer = writer(folder.settings["format"])
        self._report = report
        decoder = PartDecoder(settings=extractor.settings, transform=extractor.transform, decoder=extractor.decoder)
        self._pool: WorkerPool[PartTask, Any] = WorkerPool(
            decoder, num_workers=num_workers, patience=patience, preload=PartDecoder.__module__, weigh=clips_in
        )

    def __enter__(self) -> PartExtractor:
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the decoding processes."""
        self._pool.close()

    def run(self, parts: Iterable[int]) -> None:
        """Does parts, but for those that are done; waits for those that other processes are at.

        Raises:
            OSError: A file cannot be written.
            RuntimeError: The model fails, or no process can be started.
        """
        finished = self._folder.finished_parts()
        waiting = [part for part in parts if part not in finished]
        while waiting:
            busy: list[int] = []
            self._run_claimable(iter(waiting), busy)
            waiting = [part for part in busy if not self._folder.is_finished(part)]
            if waiting:
                # Whoever is at them may die, and then they are left to this one.
                time.sleep(_SECONDS_TO_LOOK_AGAIN)

    def _run_claimable(self, parts: Iterator[int], busy: list[int]) -> None:
        """Does what no other process is at, and notes the rest."""
        under_way: dict[int, _PartUnderWay] = {}
        again: list[PartTask] = []

        def next_task() -> PartTask | None:
            if again:
                return again.pop()
            for part in parts:
                if self._folder.is_finished(part):
                    continue
                claim = ExitStack()
                if not claim.enter_context(self._folder.claimed(part)):
                    busy.append(part)
                    continue
                begun = _PartUnderWay(part, self._folder, self._extractor, self._writer, claim)
                under_way[part] = begun
                return begun.task()  # of no videos, if another process has finished it just now
            return None

        try:
            for event in self._pool.run(next_task):
                state = under_way[event.task.part]
                if isinstance(event, Item):
                    self._report(state.take(event.value))
                elif isinstance(event, Finished):
                    under_way.pop(event.task.part).claim.close()
                else:
                    state.restart(event.reason)
                    again.append(state.task())
        finally:
            for state in under_way.values():
                state.claim.close()


@dataclass(eq=False)
class _PartUnderWay:
    """A part that this process has claimed.

    A piece is written once it has windows enough, or is the last. All that waits for the model is run before: so what
    comes after a piece does not depend on what came before it, nor on whether the run was stopped in between.
    """

    part: int
    folder: FeatureFolder
    extractor: FeatureExtractor
    writer: Writer
    claim: ExitStack
    losses: Counter[int] = field(default_factory=Counter)
    given_up: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begins after what is done of it."""
        self.items: tuple[VideoItem, ...] = tuple(self.folder.plan.items(self.part))
        self._begin_piece(self.folder.finished_videos(self.part))

    def task(self) -> PartTask:
        """What is to be decoded of it from here on."""
        return PartTask(part=self.part, items=self.items, first=self._first, given_up=dict(self.given_up))

    def restart(self, how: str) -> None:
        """Goes back to where the last piece ended, since a decoding process is gone.

        Args:
            how: The way in which it went.
        """
        self.losses[self._under_way] += 1
        if self.losses[self._under_way] >= TRIES:
            self.given_up[self._under_way] = loss_reason(how)
        self._begin_piece(self._first)

    def take(self, value: Any) -> Done:
        """Takes something that a decoding process made of it; returns what is done by it."""
        if isinstance(value, Begun):
            self._under_way = value.source
            self._fingerprints[value.source] = value.fingerprint
            return Done()
        self._windows += len(value.windows)
        self._keep(self._batches.add(value))
        if not value.is_last:
            return Done()
        self._under_way = value.source + 1
        is_end = value.source == len(self.items) - 1
        if self._windows < self._windows_per_piece and not is_end:
            return Done()
        self._keep(self._batches.flush())
        return self._write(value.source + 1)

    @property
    def _windows_per_piece(self) -> int:
        """So many that the last batch, which may not be full, hardly counts, and that memory holds them."""
        model = self.extractor.clip_model
        most = max(_WINDOWS_PER_PIECE, _BATCHES_PER_PIECE * model.batch_size)
        return min(most, max(model.batch_size, _BYTES_PER_PIECE // model.row_bytes))

    def _begin_piece(self, first: int) -> None:
        self._first = first
        self._windows = 0
        self._under_way = first
        self._batches = Batches(self.extractor.clip_model, lambda number: self.items[number].file)
        self._fingerprints: dict[int, Fingerprint] = {}
        self._found: dict[int, RowStore] = {}
        shutil.rmtree(self.folder.scratch(self.part), ignore_errors=True)
        self._failed: dict[int, str] = {}

    def _keep(self, found: Iterable[Part]) -> None:
        for each in found:
            if isinstance(each.result, Failure):
                self._failed[each.source] = each.result.reason
            else:
                if each.source not in self._found:
                    self._found[each.source] = RowStore(self.folder.scratch(self.part) / str(each.source))
                self._found[each.source].add(each.result)

    def _write(self, stop: int) -> Done:
        """Writes the piece that ends before a video, and begins the next one."""
        extracted = {
            number: Extracted(item=self.items[number], features=self._found[number].all())
            for number in range(self._first, stop)
            if number not in self._failed
        }
        stem = f"part-{self.part:06d}-{self._first:04d}"
        shard = None
        if extracted:
            for path, write in self.writer(stem, list(extracted.values()), self.folder.settings):
                self.folder.write(self.part, path, write)
                shard = path if self.folder.settings["format"] in SHARDED else None
        records = [
            VideoRecord(
                item=self.items[number],
                fingerprint=self._fingerprints[number],
                spans=extracted[number].features.spans.tolist() if number in extracted else (),
                reason=self._failed.get(number),
                output=(shard or self.items[number].name) if number in extracted else None,
            )
            for number in range(self._first, stop)
        ]
        self.folder.record(self.part, self._first, records)
        done = Done(videos=len(records), rows=sum(len(each.spans) for each in records), failed=len(self._failed))
        self._begin_piece(stop)
        return done
