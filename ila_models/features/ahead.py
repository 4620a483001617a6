"""Decoding ahead of the model: in a thread for one video after another, in processes for many."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..data.transforms import VideoTransform
from ..data.workers import worker_context
from .decoding import Chunk, decode_video
from .result import name_of
from .windows import WindowSettings

_Item = TypeVar("_Item")
CHUNKS_AHEAD = 4
"""Chunks that wait for the model at most, for every decoder."""


@dataclass(frozen=True)
class WindowedVideos:
    """Videos that are to be cut and decoded.

    Attributes:
        sources: What :func:`~ila_models.data.load_video` takes.
        settings: How to cut.
        transform: Resizes and crops.
        fps: Frames a second, where the sources are frames.
    """

    sources: Sequence[Any]
    settings: WindowSettings
    transform: VideoTransform
    fps: float | None = None

    def chunks(self, numbers: Iterable[int]) -> Iterator[Chunk]:
        """Decodes videos by number; one that cannot be used is a chunk that says why."""
        for number in numbers:
            try:
                yield from decode_video(
                    self.sources[number],
                    number=number,
                    settings=self.settings,
                    transform=self.transform,
                    fps=self.fps,
                )
            except (OSError, ValueError, TypeError, RuntimeError, MemoryError) as error:
                # One bad file of many must not end a run, nor keep the frames that were decoded before.
                traceback.clear_frames(error.__traceback__)
                yield Chunk.failed(number, str(error) or type(error).__name__, error)


class _Shares(IterableDataset[Chunk]):
    """Every video by one worker of a loader."""

    def __init__(self, videos: WindowedVideos) -> None:
        self._videos = videos

    def __iter__(self) -> Iterator[Chunk]:
        worker = get_worker_info()
        assert worker is not None, "only a loader's workers iterate"
        for chunk in self._videos.chunks(_share(len(self._videos.sources), worker.id, worker.num_workers)):
            yield replace(chunk, error=None)  # not every error can be sent, and its reason is there


def _share(count: int, worker: int, num_workers: int) -> range:
    return range(worker, count, num_workers)


def decode_ahead(videos: WindowedVideos, *, num_workers: int) -> Iterator[Chunk]:
    """Chunks of all videos, those of one video in order, decoded while the caller is busy.

    Args:
        videos: What to decode.
        num_workers: Processes; 0 decodes in a thread of this one.

    Raises:
        RuntimeError: A process died, which a file can do to a decoder; the message names the candidates.
    """
    count = len(videos.sources)
    if num_workers == 0:
        yield from in_a_thread(lambda: videos.chunks(range(count)), ahead=CHUNKS_AHEAD)
        return
    loader = DataLoader(
        _Shares(videos),
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=CHUNKS_AHEAD,
        multiprocessing_context=worker_context(num_workers, preload=__name__),
    )
    done: set[int] = set()
    chunks = iter(loader)
    while len(done) < count:
        try:
            chunk = next(chunks)
        except (RuntimeError, OSError, EOFError) as error:
            # What a video can be blamed for is a chunk; these say that a worker is gone, or its end of a pipe.
            waiting = [[n for n in _share(count, k, num_workers) if n not in done][:1] for k in range(num_workers)]
            names = ", ".join(name_of(videos.sources[number]) for numbers in waiting for number in numbers)
            raise RuntimeError(
                f"decoding stopped ({error}): a script that starts workers must do its work under `if __name__ =="
                f" '__main__':`; else try each of {names} alone, and leave out the one that crashes"
            ) from error
        if chunk.is_last:
            done.add(chunk.source)
        yield chunk


def in_a_thread(make: Callable[[], Iterator[_Item]], *, ahead: int) -> Iterator[_Item]:
    """What an iterator yields, made in a thread that is up to ``ahead`` items in front.

    The thread ends when the caller stops iterating, after the item that it is making.
    """
    items: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=ahead)
    is_wanted = threading.Event()
    is_wanted.set()

    def put(kind: str, item: Any) -> bool:
        while is_wanted.is_set():
            try:
                items.put((kind, item), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            for item in make():
                if not put("item", item):
                    return
        except BaseException as error:  # whatever it is belongs to the caller
            put("error", error)
        else:
            put("end", None)

    thread = threading.Thread(target=run, name="ila_models decoder", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = items.get()
            if kind == "end":
                return
            if kind == "error":
                raise item
            yield item
    finally:
        is_wanted.clear()
        thread.join()
