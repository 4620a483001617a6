"""The batches of a run, read ahead by processes; a video that crashes its decoder does not end the run."""

from __future__ import annotations

import logging
import signal
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ..data import VideoError
from ..data.pool import PATIENCE, TRIES, Item, Lost, Note, WorkerPool, loss_reason
from ..data.workers import end_with_parent, worker_context
from .batches import ClipKey, StepBatches
from .clips import Batch, Clip, VideoClips, collate
from .errors import TrainingError

_logger = logging.getLogger(__name__)

_BATCHES_AHEAD = 2
"""Of every process, as torch has it."""


class BatchLoader:
    """Iterates over batches. Where a process dies, the videos that it may have died of are tried one by one.

    Those that end their process again are replaced by others from then on, as broken ones are; and the batches go on
    where they were.
    """

    def __init__(self, clips: Dataset[Clip], batches: StepBatches, *, num_workers: int, pin_memory: bool) -> None:
        """Takes clips and which of them make up a step.

        Args:
            clips: The clips.
            batches: Of this process.
            num_workers: Processes that make clips; 0 makes them in this one.
            pin_memory: Whether batches are on their way to a GPU.
        """
        self._clips, self._batches = clips, batches
        self._num_workers, self._pin_memory = num_workers, pin_memory

    def __iter__(self) -> Iterator[Batch]:
        """Goes through the batches.

        Raises:
            TrainingError: Processes go on dying, and no video can be blamed.
        """
        done, died_at = 0, -1
        while done < len(self._batches):
            lost = None
            try:
                for batch in self._loader(self._batches.after(done)):
                    done += 1
                    yield batch
            except (RuntimeError, EOFError, OSError) as error:
                if not _is_of_a_lost_process(error):
                    raise
                lost = str(error) or type(error).__name__
            if lost is None:
                return
            # By now the loader is gone, and its other processes with it.
            _logger.warning("a process that makes clips is gone (%s): trying the videos that it was at", lost)
            if not self._give_up_deadly_videos(done) and died_at == done:
                raise TrainingError(
                    f"processes that make clips go on dying ({lost}), and no video does it alone: is there memory for"
                    f" data.num_workers={self._num_workers}? The same command goes on from the last checkpoint"
                )
            died_at = done

    def _loader(self, batches: StepBatches) -> DataLoader[Clip]:
        return DataLoader(
            _Watched(self._clips) if self._num_workers else self._clips,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
            multiprocessing_context=worker_context(self._num_workers),
            worker_init_fn=end_with_parent,
            prefetch_factor=_BATCHES_AHEAD if self._num_workers else None,
        )

    def _give_up_deadly_videos(self, done: int) -> bool:
        """Whether there were any among the videos that were under way."""
        if not isinstance(self._clips, VideoClips):
            return False
        under_way = islice(self._batches.after(done), _BATCHES_AHEAD * self._num_workers)
        found = deadly_videos(self._clips, [key for batch in under_way for key in batch], num_workers=self._num_workers)
        for number, how in found.items():
            self._clips.give_up(number, loss_reason(how, times=TRIES + 1))
        return bool(found)


def deadly_videos(clips: VideoClips, keys: list[ClipKey], *, num_workers: int) -> dict[int, str]:
    """Videos that end the process that decodes them, and how it went, by number; of those that some clips need."""
    found: dict[int, str] = {}
    losses = Counter[int]()
    turns: dict[ClipKey, int] = {}
    waiting = deque(keys)
    pool: WorkerPool[ClipKey, Any] = WorkerPool(
        _Tries(clips), num_workers=num_workers, patience=PATIENCE, preload=__name__
    )
    with pool:
        for event in pool.run(lambda: waiting.popleft() if waiting else None):
            if isinstance(event, Item):
                turns[event.task] = event.value
            elif isinstance(event, Lost) and event.task in turns:
                video = turns[event.task]
                losses[video] += 1
                if losses[video] < TRIES:
                    waiting.appendleft(event.task)
                else:
                    found[video] = event.reason
    return found


class _Watched(Dataset[Clip]):
    """Clips made in a process that ends itself over one that takes for ever, which torch would wait for."""

    def __init__(self, clips: Dataset[Clip]) -> None:
        self._clips = clips

    def __getitems__(self, keys: list[ClipKey]) -> list[Clip]:
        if hasattr(self._clips, "__getitems__"):
            together: list[Clip] = self._clips.__getitems__(keys)
            return together
        return [self._one(key) for key in keys]

    def _one(self, key: ClipKey) -> Clip:
        can_watch = hasattr(signal, "alarm")  # which Windows has not
        if can_watch:
            signal.alarm(int(PATIENCE))  # nobody handles it, so it ends the process, even within native code
        try:
            return self._clips[key]
        finally:
            if can_watch:
                signal.alarm(0)


@dataclass(frozen=True)
class _Tries:
    """Makes a clip of which nobody wants more than the numbers of the videos that are tried for it."""

    clips: VideoClips

    def __call__(self, key: ClipKey) -> Iterator[Note]:
        with suppress(VideoError):  # which belongs to whoever wants the clip
            for each in self.clips.tries(key):
                if isinstance(each, int):
                    yield Note(each)


def _is_of_a_lost_process(error: Exception) -> bool:
    """Whether torch says by it that a process is gone; it has no type for that.

    A process may take a batch with it that was about to be fetched: by this process, or by the thread that pins memory.
    """
    text = str(error)
    if isinstance(error, EOFError | ConnectionError | FileNotFoundError):
        return not text.startswith("Caught ")  # by which torch says that it was raised in a process, and sent
    return text.startswith(("DataLoader worker (pid", "Pin memory thread exited"))
