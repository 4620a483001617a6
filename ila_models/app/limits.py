"""How large a video the app takes, found out from the file's size and its header before a frame is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..data.container import Container
from ..data.video import VideoError
from .refusal import RefusedError, gone, unreadable

_MEGABYTE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest video that is taken.

    Attributes:
        megabytes: Of the file, a megabyte being 2^20 bytes, as browsers count.
        seconds: Of the video.
        frames: Of the video, each of which is decoded; the default is more than a minute and a half at 120 a second.
        pixels: Of a frame, width times height; the default is that of 4K cameras.

    Raises:
        ValueError: A limit is not above 0.
    """

    megabytes: float = 100.0
    seconds: float = 180.0
    frames: int = 12_000
    pixels: int = 4096 * 2304

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("megabytes", "seconds", "frames", "pixels"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"the limit {name}={value} is out of range: give a number above 0")

    @property
    def bytes(self) -> int:
        """The same as ``megabytes``."""
        return int(self.megabytes * _MEGABYTE)

    def __str__(self) -> str:
        """The limits in a line, for the page."""
        return (
            f"up to {self.megabytes:g} MB, {told_seconds(self.seconds)}, {self.frames} frames, and"
            f" {self.pixels / 1e6:.2g} megapixels a frame"
        )


def check_video(path: Path, limits: Limits) -> None:
    """Refuses a file that is gone, too large, or no video, by what stands in front of its pictures.

    What is wrong further inside, decoding finds.

    Raises:
        RefusedError: Says what is wrong with it, and what to do.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise gone(path) from error
    if size == 0:
        raise RefusedError(f"“{path.name}” is empty. Please choose another file.")
    if size > limits.bytes:
        raise RefusedError(
            f"“{path.name}” has {size / _MEGABYTE:.4g} MB, and {limits.megabytes:g} MB is the most that is taken here."
            " Please choose a shorter or smaller video."
        )
    with path.open("rb") as file:
        try:
            container = Container(file, name=path.name)
        except VideoError as error:
            raise unreadable(path, error) from error
        try:
            _check_header(path.name, container, limits)
        finally:
            container.close()


def told_seconds(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 120:
        return f"{seconds:.3g} seconds"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} minutes" + (f" {rest} seconds" if rest else "")


def _check_header(name: str, container: Container, limits: Limits) -> None:
    width, height = container.stream.width, container.stream.height
    if width * height > limits.pixels:
        raise RefusedError(
            f"“{name}” has frames of {width} x {height} pixels, {width * height / 1e6:.2g} megapixels;"
            f" {limits.pixels / 1e6:.2g} megapixels is the most that is taken here. Please choose a smaller video."
        )
    length = _length(container, limits)
    if length.seconds > limits.seconds:
        raise RefusedError(
            f"“{name}” is longer than {told_seconds(limits.seconds)}, which is the most that is taken here. Please"
            " choose a shorter video, or cut a part out of it."
        )
    if length.frames > limits.frames:
        raise RefusedError(
            f"“{name}” has more than {limits.frames} frames, which is the most that is taken here. Please choose a"
            " shorter video, or one with fewer frames a second."
        )


class _Length(NamedTuple):
    """How long a video is, as far as it was looked at."""

    seconds: float
    frames: int


def _length(container: Container, limits: Limits) -> _Length:
    """How long the video is by its packets, or past a limit: what a header says of it can be wrong."""
    import av

    first: float | None = None
    seconds, frames = 0.0, 0
    try:
        for packet in container.packets():
            if not packet.size:
                continue
            frames += 1
            if packet.pts is not None and packet.time_base is not None:
                time = float(packet.pts * packet.time_base)
                first = time if first is None else min(first, time)
                seconds = max(seconds, time - first)
            if seconds > limits.seconds or frames > limits.frames:
                break
    except av.FFmpegError:
        pass  # damaged further on: decoding will say how
    return _Length(seconds, frames)
