"""Decoding ahead of the model: in a thread for one video after another, in processes for many."""

from __future__ import annotations

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..data.decoders import Decoder
from ..data.pool import PATIENCE, TRIES, Item, Lost, Note, WorkerPool, loss_reason
from ..data.transforms import VideoTransform
from .decoding import Chunk, Restarted, decode_video, or_failure
from .windows import WindowSettings

_Result = TypeVar("_Result")
CHUNKS_AHEAD = 4
"""Chunks that wait for the model at most, for a decoder in a thread."""
_VIDEOS_AT_ONCE = 8


@dataclass(frozen=True)
class WindowedVideos:
    """Videos that are to be cut and decoded.

    Attributes:
        sources: What :func:`~ila_models.data.load_video` takes.
        settings: How to cut.
        transform: Resizes and crops.
        fps: Frames a second, where the sources are frames.
        decoder: What decodes videos.
    """

    sources: Sequence[Any]
    settings: WindowSettings
    transform: VideoTransform
    fps: float | None = None
    decoder: Decoder = "pyav"

    def chunks(self, number: int) -> Iterator[Chunk]:
        """Decodes a video by number; one that cannot be used is a chunk that says why."""
        source, fps, decoder = self.sources[number], self.fps, self.decoder
        chunks = decode_video(
            source, number=number, settings=self.settings, transform=self.transform, fps=fps, decoder=decoder
        )
        return or_failure(number, chunks)

    def sent_chunks(self, numbers: tuple[int, ...]) -> Iterator[Chunk | Note]:
        """Decodes videos for another process; a note says whose turn it is."""
        for number in numbers:
            yield Note(number)
            for chunk in self.chunks(number):
                yield replace(chunk, error=None)  # not every error can be sent, and its reason is there


def decode_ahead(videos: WindowedVideos, *, num_workers: int) -> Iterator[Chunk | Restarted]:
    """Chunks of all videos, those of one video in order, decoded while the caller is busy.

    Args:
        videos: What to decode.
        num_workers: Processes; 0 decodes in a thread of this one.

    Yields:
        Chunks. A video that ends its process is begun once more, and fails if it does so again.

    Raises:
        RuntimeError: No process can be started.
    """
    count = len(videos.sources)
    if num_workers == 0:
        in_order = (chunk for number in range(count) for chunk in videos.chunks(number))
        yield from in_a_thread(lambda: in_order, ahead=CHUNKS_AHEAD)
        return
    # Several at a time, so that a process goes on while this one is busy, but few, so that all processes end together.
    at_once = max(1, min(_VIDEOS_AT_ONCE, count // (2 * num_workers)))
    waiting = deque(tuple(range(start, min(start + at_once, count))) for start in range(0, count, at_once))
    losses = Counter[int]()
    done: set[int] = set()
    turns: dict[tuple[int, ...], int] = {}
    pool: WorkerPool[tuple[int, ...], Any]
    with WorkerPool(
        videos.sent_chunks, num_workers=num_workers, patience=PATIENCE, preload=__name__, weigh=clips_in
    ) as pool:
        for event in pool.run(lambda: waiting.popleft() if waiting else None):
            if isinstance(event, Item) and isinstance(event.value, Chunk):
                if event.value.is_last:
                    done.add(event.value.source)
                yield event.value
            elif isinstance(event, Item):
                turns[event.task] = event.value
            elif isinstance(event, Lost):
                left = [number for number in event.task if number not in done]
                culprit = turns.pop(event.task, None)
                if not left:  # it died after its last word
                    continue
                if culprit not in left:  # between two videos
                    culprit = left[0]
                losses[culprit] += 1
                for number in left:
                    yield Restarted(number)
                if losses[culprit] >= TRIES:
                    done.add(culprit)
                    left.remove(culprit)
                    yield Chunk.failed(culprit, loss_reason(event.reason))
                if left:
                    waiting.appendleft(tuple(left))


def clips_in(chunk: Chunk) -> int:
    """What a chunk counts among those that wait: its clips, and 1 for none."""
    return max(1, len(chunk.windows))


def in_a_thread(make: Callable[[], Iterator[_Result]], *, ahead: int) -> Iterator[_Result]:
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
