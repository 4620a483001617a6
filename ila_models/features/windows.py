"""Which parts of a video become a row of features each, and which of their frames a model sees."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..data.sampling import segment_midpoints

Unit = Literal["seconds", "frames"]
"""Of the length of a window and the distance from one to the next."""
Padding = Literal["shorten", "shift", "repeat", "drop"]
"""What becomes of the end of a video that no whole window reaches: a shorter window; a whole one moved back to end with
the video; a whole one that repeats the last frame; nothing."""

_TINY = 1e-6
"""Seconds, or frames, that a rounding error may be."""


@dataclass(frozen=True)
class Window:
    """A part of a video.

    Attributes:
        start: Seconds from the first frame.
        end: Seconds from the first frame, not included; no later than the end of the video.
        frames: T frame numbers that the model sees, never falling.
    """

    start: float
    end: float
    frames: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How videos are cut.

    Attributes:
        num_frames: Frames T that the model sees of a window, the middles of T equal segments; at least 2.
        window: Length; None makes one window of the whole video.
        stride: From the start of a window to that of the next; None puts them end to end.
        unit: Of both.
        padding: At the end of a video, see :data:`Padding`.

    Raises:
        ValueError: A field is out of its range.
    """

    num_frames: int
    window: float | None = None
    stride: float | None = None
    unit: Unit = "seconds"
    padding: Padding = "shorten"

    def __post_init__(self) -> None:
        """Checks the fields."""
        if self.num_frames < 2:
            raise ValueError(
                f"num_frames={self.num_frames} is out of range: the model aligns neighbours, give 2 or more"
            )
        if self.unit not in get_args(Unit):
            raise ValueError(f"unit={self.unit!r} is not known: use one of {get_args(Unit)}")
        if self.padding not in get_args(Padding):
            raise ValueError(f"padding={self.padding!r} is not known: use one of {get_args(Padding)}")
        if self.window is None and self.stride is not None:
            raise ValueError(f"stride={self.stride} without a window: give window, or leave both out for whole videos")
        for name, value in (("window", self.window), ("stride", self.stride)):
            if value is None:
                continue
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value} is out of range: give a number of {self.unit} above 0")
            if self.unit == "frames" and value != int(value):
                raise ValueError(f"{name}={value} is not a whole number of frames: use unit='seconds', or round it")


def plan_windows(timestamps: Sequence[float], frame_seconds: float, settings: WindowSettings) -> list[Window]:
    """Cuts a video into windows.

    Args:
        timestamps: Seconds from the first frame to each frame, rising.
        frame_seconds: How long the last frame is shown.
        settings: How to cut.

    Returns:
        Windows by their start. A video that is shorter than a window makes one, unless the padding is "drop".

    Raises:
        ValueError: There are no frames.
    """
    if not timestamps:
        raise ValueError("there are no frames to cut into windows")
    count = len(timestamps)
    end = timestamps[-1] + frame_seconds
    if settings.window is None:
        return [Window(0.0, end, tuple(segment_midpoints(count, settings.num_frames)))]
    by_frames = settings.unit == "frames"
    length = count if by_frames else end
    windows = []
    for start, stop in _spans(length, settings):
        if by_frames:
            first, last = int(start), min(int(stop), count)
            begins, ends = timestamps[first], timestamps[last] if last < count else end
        else:
            first, last = bisect_left(timestamps, start - _TINY), bisect_left(timestamps, stop - _TINY)
            begins, ends = start, min(stop, end)
            if last == first:  # no picture comes within the window: the one that stands there
                first, last = max(first - 1, 0), max(first, 1)
        windows.append(Window(begins, ends, _frames(first, last, count, settings, stop / length)))
    return windows


def _spans(length: float, settings: WindowSettings) -> list[tuple[float, float]]:
    """Starts and ends along an axis of some length; only with padding "repeat" does an end lie beyond it."""
    window = settings.window
    assert window is not None
    stride = settings.stride or window
    whole = max(math.floor((length - window + _TINY) / stride) + 1, 0)
    spans = [(number * stride, number * stride + window) for number in range(whole)]
    reached = spans[-1][1] if spans else 0.0
    start = whole * stride
    if length - reached > _TINY and settings.padding != "drop" and start < length - _TINY:
        if settings.padding == "shorten" or (settings.padding == "shift" and length < window):
            spans.append((start, length))
        elif settings.padding == "shift":
            spans.append((length - window, length))
        else:
            spans.append((start, start + window))
    return spans


def _frames(first: int, last: int, count: int, settings: WindowSettings, end: float) -> tuple[int, ...]:
    """The frames that the model sees of a window from frame ``first`` to before ``last``.

    Args:
        first: Number of the first frame.
        last: Number of the frame after the last one.
        count: Frames of the video.
        settings: How to cut.
        end: Where the window ends, of the video's length.
    """
    covered = last - first
    if settings.padding == "repeat" and end > 1:
        # As many as if the last frame stood until the window's end.
        covered = max(round(end * count) - first, covered)
    return tuple(min(first + offset, count - 1) for offset in segment_midpoints(covered, settings.num_frames))
