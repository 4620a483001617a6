"""Decoding ahead of the model: in a thread for one video after another, in processes for many."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..data.transforms import VideoTransform
from ..data.workers import worker_context
from .decoding import Chunk, decode_video
from .windows import WindowSettings

_Item = TypeVar("_Item")
CHUNKS_AHEAD = 4
"""Chunks that wait for the model at most, for every decoder."""


class DecodedVideos(IterableDataset[Chunk]):
    """The chunks of all videos, each video by one worker; a video that cannot be used is a chunk that says why."""

    def __init__(
        self, sources: Sequence[Any], settings: WindowSettings, transform: VideoTransform, *, fps: float | None = None
    ) -> None:
        """Keeps what the workers need; nothing is opened."""
        self._sources = sources
        self._settings = settings
        self._transform = transform
        self._fps = fps

    def __iter__(self) -> Iterator[Chunk]:
        """Decodes this worker's videos."""
        worker = get_worker_info()
        mine = range(len(self._sources)) if worker is None else range(worker.id, len(self._sources), worker.num_workers)
        for number in mine:
            yield from self._video(number)

    def _video(self, number: int) -> Iterator[Chunk]:
        try:
            yield from decode_video(
                self._sources[number],
                number=number,
                settings=self._settings,
                transform=self._transform,
                fps=self._fps,
            )
        except (OSError, ValueError, TypeError, RuntimeError, MemoryError) as error:
            # One bad file of many must not end a run.
            yield Chunk.failed(number, str(error) or type(error).__name__, error if get_worker_info() is None else None)


def decode_ahead(videos: DecodedVideos, *, num_workers: int, pin_memory: bool) -> Iterator[Chunk]:
    """Chunks of all videos, those of one video in order, decoded while the caller is busy.

    Args:
        videos: What to decode.
        num_workers: Processes; 0 decodes in a thread of this one.
        pin_memory: Hand on memory from which a GPU copies without waiting.

    Raises:
        RuntimeError: A process died, which a file can do to a decoder.
    """
    if num_workers == 0:
        yield from in_a_thread(lambda: iter(videos), ahead=CHUNKS_AHEAD)
        return
    loader = DataLoader(
        videos,
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=CHUNKS_AHEAD,
        pin_memory=pin_memory,
        multiprocessing_context=worker_context(num_workers, preload=__name__),
    )
    yield from loader


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
