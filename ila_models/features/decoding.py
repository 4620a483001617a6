"""From a video to the clips of its windows: every frame is decoded once, and kept only while a window needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..data.loading import FrameList, is_frames
from ..data.transforms import VideoTransform
from ..data.video import VideoReader
from .windows import Window, WindowSettings, plan_windows

DECODED_BYTES = 64 << 20
"""Of the frames that are decoded at once, before they are resized."""
_RATE_OF_ONE_FRAME = 25.0
"""Frames a second of a video of one frame, which need not tell."""
CLIPS_PER_CHUNK = 4
"""Clips that a decoder hands on at once."""


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
    def failed(cls, source: int, reason: str, error: Exception | None) -> Chunk:
        """The last chunk of a video that cannot be used."""
        nothing = torch.empty(0, dtype=torch.uint8)
        return cls(source=source, windows=(), clips=nothing, is_last=True, failure=reason, error=error)


def decode_video(
    source: Any, *, number: int, settings: WindowSettings, transform: VideoTransform, fps: float | None = None
) -> Iterator[Chunk]:
    """Cuts a video into windows and decodes them.

    Args:
        source: What :func:`~ila_models.data.load_video` takes.
        number: The video's number, for the chunks.
        settings: How to cut.
        transform: Resizes and crops.
        fps: Frames a second, of frames; a video has time stamps of its own. Frames without it are one second each.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Frames without ``fps`` are to be cut by seconds, or a window makes no sense.
        VideoError: The video cannot be used; a subclass of ValueError.
    """
    if is_frames(source):
        frames = FrameList(source)
        yield from _chunks(frames, *_even_times(len(frames), fps, settings), number, settings, transform)
        return
    if fps is not None:
        raise ValueError(f"fps={fps} is for frames; a video has time stamps of its own")
    with VideoReader(source) as reader:
        times = reader.timestamps
        frame_seconds = 1 / (reader.fps or _RATE_OF_ONE_FRAME)
        yield from _chunks(reader, times, frame_seconds, number, settings, transform)


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
    times: Sequence[float],
    frame_seconds: float,
    number: int,
    settings: WindowSettings,
    transform: VideoTransform,
) -> Iterator[Chunk]:
    windows = plan_windows(times, frame_seconds, settings)
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
            kept.update(zip(numbers, transform.crop(decoded), strict=True))
            position += len(numbers)
            at_once = max(1, min(32, DECODED_BYTES // decoded[0].numel()))
        yield torch.stack([kept[frame] for frame in window.frames])
        for frame in set(window.frames):
            uses[frame] -= 1
            if not uses[frame]:
                del kept[frame]
