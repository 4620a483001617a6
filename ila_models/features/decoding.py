"""From a video to the clips of its windows: every frame is decoded once, and kept only while a window needs it."""

from __future__ import annotations

import traceback
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..data.decoders import Decoder, open_video
from ..data.loading import FrameList, is_frames
from ..data.transforms import VideoTransform
from ..data.video import VideoError
from .windows import TIME_ROUNDING, Window, WindowSettings, plan_windows

DECODED_BYTES = 64 << 20
"""Of the frames that are decoded at once, before they are resized."""
_RATE_OF_ONE_FRAME = 25.0
"""Frames a second of a video of one frame, which need not tell."""
CLIPS_PER_CHUNK = 4
"""Clips that a decoder hands on at once."""
ERRORS_OF_A_VIDEO = (OSError, ValueError, TypeError, RuntimeError, MemoryError)
"""What one video of many may raise without ending the others."""


class FrameReader(Protocol):
    """What a video and a list of frames have in common."""

    def __len__(self) -> int:
        """How many frames there are."""

    def decode(self, indices: Sequence[int]) -> Tensor:
        """Frames by number, uint8 [K, 3, H, W]."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some windows of a video, ready for the model, or the reason why there are no more.

    Attributes:
        source: Number of the video among those asked for.
        windows: In order.
        clips: uint8, resized and cropped, [K, T, 3, h, w].
        is_last: No more of this video come.
        failure: Why the video cannot be used, for people; None if it can.
        error: The error itself, where it was met in this process.
    """

    source: int
    windows: tuple[Window, ...]
    clips: Tensor
    is_last: bool
    failure: str | None = None
    error: Exception | None = None

    @classmethod
    def failed(cls, source: int, reason: str, error: Exception | None = None) -> Chunk:
        """The last chunk of a video that cannot be used."""
        nothing = torch.empty(0, dtype=torch.uint8)
        return cls(source=source, windows=(), clips=nothing, is_last=True, failure=reason, error=error)


@dataclass(frozen=True)
class Restarted:
    """A video is begun anew, and what came of it is void.

    Attributes:
        source: Number of the video among those asked for.
    """

    source: int


def decode_video(
    source: Any,
    *,
    number: int,
    settings: WindowSettings,
    transform: VideoTransform,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    decoder: Decoder = "pyav",
) -> Iterator[Chunk]:
    """Cuts a video into windows and decodes them.

    Args:
        source: What :func:`~ila_models.data.load_video` takes.
        number: The video's number, for the chunks.
        settings: How to cut.
        transform: Resizes and crops.
        fps: Frames a second, of frames; a video has time stamps of its own. Frames without it are one second each.
        start: Seconds from the first frame to the start of the part that is wanted; None is the first frame.
        end: Seconds from the first frame to its end; None, or one that lies beyond the video, is the video's.
        decoder: What decodes a video.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Frames without ``fps`` are to be cut by seconds, or a window makes no sense.
        VideoError: The video cannot be used, or ends before ``start``; a subclass of ValueError.
    """
    if is_frames(source):
        frames = FrameList(source)
        segment = _Segment("the frames", *_even_times(len(frames), fps, settings), start, end)
        yield from _chunks(frames, segment.windows(settings), number, settings, transform)
        return
    if fps is not None:
        raise ValueError(f"fps={fps} is for frames; a video has time stamps of its own")
    with open_video(source, decoder=decoder) as reader:
        segment = _Segment(reader.name, reader.timestamps, 1 / (reader.fps or _RATE_OF_ONE_FRAME), start, end)
        yield from _chunks(reader, segment.windows(settings), number, settings, transform)


def or_failure(number: int, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """A video's chunks; where it cannot be used, the last one says why."""
    try:
        yield from chunks
    except ERRORS_OF_A_VIDEO as error:
        # One bad file of many must not end a run, nor keep the frames that were decoded before.
        traceback.clear_frames(error.__traceback__)
        yield Chunk.failed(number, reason_of(error), error)


def reason_of(error: Exception) -> str:
    """What an error says; its kind, where it says nothing, as MemoryError does."""
    return str(error) or type(error).__name__


@dataclass(frozen=True)
class _Segment:
    """Some seconds of a video."""

    name: str
    times: Sequence[float]
    frame_seconds: float
    start: float | None
    end: float | None

    def windows(self, settings: WindowSettings) -> list[Window]:
        """Cuts it, by seconds and frame numbers of the whole video."""
        length = self.times[-1] + self.frame_seconds
        if self.start is None and self.end is None:
            return plan_windows(self.times, self.frame_seconds, settings)
        start, end = self.start or 0.0, length if self.end is None else min(self.end, length)
        if not 0 <= start < end:
            raise VideoError(
                f"{self.name}: seconds {start:g} to {self.end if self.end is not None else length:g} are none of it: it"
                f" lasts {length:g} seconds"
            )
        first, last = (bisect_left(self.times, second - TIME_ROUNDING) for second in (start, end))
        if first == last:  # no picture comes within it: the one that stands there
            first, last = max(first - 1, 0), max(first, 1)
        # A picture that stands when the part begins, or when the video does, counts from there.
        times = [max(time - start, 0.0) for time in self.times[first:last]]
        return [
            Window(window.start + start, window.end + start, tuple(first + frame for frame in window.frames))
            for window in plan_windows(times, self.frame_seconds, settings, end=end - start)
        ]


def _even_times(count: int, fps: float | None, settings: WindowSettings) -> tuple[list[float], float]:
    if fps is None:
        if settings.window is not None and settings.unit == "seconds":
            raise ValueError("frames do not know their time: give fps, or unit='frames'")
        fps = 1.0
    if not fps > 0:
        raise ValueError(f"fps={fps} is out of range: give a number above 0")
    return [number / fps for number in range(count)], 1 / fps


def _chunks(
    reader: FrameReader,
    windows: Sequence[Window],
    number: int,
    settings: WindowSettings,
    transform: VideoTransform,
) -> Iterator[Chunk]:
    clips = clips_of(reader, windows, transform)
    for start in range(0, len(windows), CLIPS_PER_CHUNK):
        part = windows[start : start + CLIPS_PER_CHUNK]
        yield Chunk(
            source=number,
            windows=tuple(part),
            clips=torch.stack([next(clips) for _ in part]),
            is_last=start + CLIPS_PER_CHUNK >= len(windows),
        )
    if not windows:
        height, width = transform.img_size
        empty = torch.empty(0, settings.num_frames, 3, height, width, dtype=torch.uint8)
        yield Chunk(source=number, windows=(), clips=empty, is_last=True)


def clips_of(reader: FrameReader, windows: Sequence[Window], transform: VideoTransform) -> Iterator[Tensor]:
    """The clips of windows, uint8 [T, 3, h, w] each, in order.

    Frames are asked for once and in rising order, whatever the windows share, so that a decoder only ever goes on.
    """
    uses = Counter(frame for window in windows for frame in set(window.frames))
    waiting = sorted(uses)
    position, at_once = 0, 1
    kept: dict[int, Tensor] = {}
    for window in windows:
        while position < len(waiting) and waiting[position] <= window.frames[-1]:
            numbers = waiting[position : position + at_once]
            decoded = reader.decode(numbers)
            kept.update(zip(numbers, transform.crop(decoded).cpu(), strict=True))
            position += len(numbers)
            at_once = max(1, min(32, DECODED_BYTES // decoded[0].numel()))
        yield torch.stack([kept[frame] for frame in window.frames])
        for frame in set(window.frames):
            uses[frame] -= 1
            if not uses[frame]:
                del kept[frame]
