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

_MOST_WINDOWS_OF_A_FRAME = 1000
"""More windows than so many a frame are no video's, but those of a damaged time stamp."""
TIME_ROUNDING = 1.1e-3
"""Seconds by which a container may have rounded a time stamp: mkv and webm count milliseconds."""


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


def plan_windows(
    timestamps: Sequence[float], frame_seconds: float, settings: WindowSettings, *, end: float | None = None
) -> list[Window]:
    """Cuts a video into windows.

    Args:
        timestamps: Seconds from the start to each frame, rising.
        frame_seconds: How long a frame is shown, above 0.
        settings: How to cut.
        end: Seconds from the start to the end of the last frame; None is ``frame_seconds`` after it comes.

    Returns:
        Windows by their start. A video that is shorter than a window makes one, unless the padding is "drop". Half a
        frame more or less is not counted, nor the milliseconds to which containers round. Where the stride is longer
        than the window, what lies between two windows is in none, the end of a video included.

    Raises:
        ValueError: There are no frames, or so few for their time that a time stamp must be damaged.
    """
    if not timestamps:
        raise ValueError("there are no frames to cut into windows")
    count = len(timestamps)
    if end is None:
        end = timestamps[-1] + frame_seconds
    if settings.window is None:
        return [Window(0.0, end, tuple(segment_midpoints(count, settings.num_frames)))]
    by_frames = settings.unit == "frames"
    rounding = min(TIME_ROUNDING, frame_seconds / 2)
    length = count if by_frames else end
    stride = settings.stride or settings.window
    if length / stride > _MOST_WINDOWS_OF_A_FRAME * count:
        raise ValueError(
            f"{count} frames over {end:,.0f} seconds would make {length / stride:,.0f} windows: a time stamp must be"
            f" damaged; cut by unit='frames', or give a longer stride"
        )
    # A long frame must not swallow windows that are shorter than it.
    little = min(0.5 if by_frames else frame_seconds / 2, settings.window / 2, stride / 2)
    windows = []
    for start, stop in _spans(length, settings, little):
        if by_frames:
            first, last = int(start), min(int(stop), count)
            begins, ends = timestamps[first], timestamps[last] if last < count else end
            missing = max(int(stop) - count, 0)
        else:
            first, last = bisect_left(timestamps, start - rounding), bisect_left(timestamps, stop - rounding)
            begins, ends = start, min(stop, end)
            if last == first:  # no picture comes within the window: the one that stands there
                first, last = max(first - 1, 0), max(first, 1)
            missing = max(round((stop - end) / frame_seconds), 0)
        windows.append(Window(begins, ends, _frames(first, last, missing, count, settings.num_frames)))
    return windows


def _spans(length: float, settings: WindowSettings, little: float) -> list[tuple[float, float]]:
    """Starts and ends along an axis of some length; only with padding "repeat" does an end lie beyond it.

    A window that lacks no more than ``little`` is whole, and so much at the end is no reason for one more.
    """
    window = settings.window
    assert window is not None
    stride = settings.stride or window
    whole = max(math.floor((length - window + little) / stride) + 1, 0)
    spans = [(number * stride, number * stride + window) for number in range(whole)]
    start = whole * stride
    is_reached = bool(spans) and (length - spans[-1][1] <= little or start >= length - little)
    if settings.padding == "drop" or is_reached:
        return spans
    if settings.padding == "shorten" or (settings.padding == "shift" and length < window):
        return [*spans, (start, length)]
    return [*spans, (length - window, length) if settings.padding == "shift" else (start, start + window)]


def _frames(first: int, last: int, missing: int, count: int, num_frames: int) -> tuple[int, ...]:
    """The frames that the model sees of a window.

    Args:
        first: Number of the window's first frame.
        last: Number of the frame after its last one.
        missing: How often the video's last frame is repeated, to fill the window.
        count: Frames of the video.
        num_frames: Frames that the model sees.
    """
    return tuple(min(first + offset, count - 1) for offset in segment_midpoints(last - first + missing, num_frames))
