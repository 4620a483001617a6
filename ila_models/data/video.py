"""Exact, random access to the frames of a video, with memory for the requested frames only.

The packets are listed once without decoding them; a request then starts its decoder at the key frames that it needs.
Where a file's time stamps cannot say which packet holds which frame, the video is decoded from its start instead: the
same frames, only later.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .container import REPAIR, Container
from .orientation import orient, shown_size
from .playback import Playback
from .sources import VideoError, VideoSource, open_source

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["VideoError", "VideoReader", "VideoSource"]

logger = logging.getLogger(__name__)


class VideoReader:
    """A video file, open for reading single frames. Use it as a context manager, and from one thread at a time.

    Rotation metadata is applied; pictures are not stretched where their pixels are not square.

    Args:
        source: path, http(s) address, bytes, or a file object in binary mode (read from its first byte, left open).
        timeout: seconds without data after which a download gives up.

    Attributes:
        name: the source's name in messages.
        width: of a frame as shown, in pixels.
        height: of a frame as shown, in pixels.

    Raises:
        FileNotFoundError: no file at the path.
        TypeError: the source is of another kind.
        VideoError: not a video, no video frames, truncated, damaged, or an address that cannot be read.
    """

    def __init__(self, source: VideoSource, *, timeout: float = 30.0) -> None:
        """Opens the video and lists its packets."""
        from av.video.reformatter import VideoReformatter

        with ExitStack() as stack:
            self.name, self._file, is_ours = open_source(source, timeout=timeout)
            if is_ours:
                stack.callback(self._file.close)
            self._container = Container(self._file, name=self.name)
            stack.callback(lambda: self._container.close())  # the one that is open then: it changes
            self._playback: Playback | None = None
            self._wanted: tuple[int, ...] = ()
            self._may_skip = True
            self._reformatter = VideoReformatter()
            self._is_open = True
            stream = self._container.stream
            self._time_base = stream.time_base
            self._header_rate = stream.average_rate or stream.guessed_rate
            self._index, first = self._container.read_index()
            self.height, self.width = shown_size(first, name=self.name)
            distrust = self._container.distrust(self._index, first)
            self._frames_have_pts = self._can_seek = distrust is None
            if distrust is None:
                self._times: list[int | None] = list(self._index.frame_pts)
            else:
                logger.debug("%s: %s; every request decodes from the start", self.name, distrust)
                self._times = self._times_by_decoding()
            self._resources = stack.pop_all()

    def __enter__(self) -> VideoReader:
        """Returns the reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the reader."""
        self.close()

    def close(self) -> None:
        """Frees the decoder and the file; a file object that was handed in stays open."""
        self._is_open = False
        self._playback = None
        self._resources.close()

    def __len__(self) -> int:
        """How many frames decoding the whole video yields."""
        return len(self._times)

    @property
    def fps(self) -> float | None:
        """Frames per second on average: as the file states, else from its time stamps; None where neither tells."""
        if self._header_rate:
            return float(self._header_rate)
        seconds = self._seconds()
        return None if seconds is None or len(seconds) < 2 else (len(seconds) - 1) / seconds[-1]

    @property
    def timestamps(self) -> list[float]:
        """Seconds from the first frame to each frame; evenly spaced by `fps` where the file's time stamps are unusable.

        Raises:
            VideoError: the file has neither usable time stamps nor a frame rate.
        """
        seconds = self._seconds()
        if seconds is not None:
            return seconds
        if self.fps is None:
            raise VideoError(f"{self.name} has neither time stamps nor a frame rate; convert it with `ffmpeg -r FPS`.")
        return [number / self.fps for number in range(len(self))]

    def decode(self, indices: Iterable[int]) -> Tensor:
        """Decodes the frames asked for.

        Args:
            indices: K frame numbers in [0, len(self)), in any order, repeated or not.

        Returns:
            uint8 RGB in [0, 255], [K, 3, H, W], in the order asked for.

        Raises:
            ValueError: a frame number is out of range, or the reader is closed.
            VideoError: a frame does not decode, or has another size than the first frame.
        """
        if not self._is_open:
            raise ValueError(f"The reader of {self.name} is closed; open a new one.")
        rows: dict[int, list[int]] = {}
        for row, index in enumerate(map(operator.index, indices)):
            if not 0 <= index < len(self):
                raise ValueError(f"Frame {index} is out of range: {self.name} has the frames 0 to {len(self) - 1}.")
            rows.setdefault(index, []).append(row)
        video = torch.empty(sum(map(len, rows.values())), 3, self.height, self.width, dtype=torch.uint8)
        self._wanted = tuple(sorted(rows))
        if self._playback is not None:
            self._playback.want(self._wanted)
        for index in self._wanted:
            picture = self._picture(index)
            for row in rows[index]:
                video[row] = picture
        return video

    def _picture(self, number: int) -> Tensor:
        frame = self._frame(number)
        height, width = shown_size(frame, name=self.name)
        if (height, width) != (self.height, self.width):
            # Scaling to the first size would hide that these pictures were seen differently from all the others.
            raise VideoError(
                f"{self.name}: the picture changes from {self.width}x{self.height} to {width}x{height} pixels at frame "
                f"{number}; scale it with `ffmpeg -i INPUT -vf scale={self.width}:{self.height} OUTPUT.mp4`."
            )
        # One converter for all: frame.to_ndarray(format=...) makes one each time, which takes longer than its work.
        picture = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        pixels = torch.from_numpy(picture).permute(2, 0, 1)
        return orient(pixels, frame, name=self.name)

    def _frame(self, number: int) -> VideoFrame:
        """Decodes one frame, going on from where the decoder stands when that leads there."""
        start = self._index.start_for(number) if self._can_seek else 0
        playback = self._playback
        if playback is None or number < playback.next_frame or start > playback.packets_read:
            playback = self._play_from(start)
        frame = playback.advance_to(number)
        if frame is None and (not playback.is_from_start or playback.skips):
            self._may_skip = False
            playback = self._play_from(0)
            frame = playback.advance_to(number)
            if frame is not None:
                logger.info("%s: frame %d comes only when all before it are decoded", self.name, number)
                self._can_seek = False
        self._playback = playback if frame is not None else None
        if frame is None:
            raise VideoError(
                f"{self.name}: frame {number} of {len(self)} does not decode ({playback.failure}); the video is "
                f"damaged: {REPAIR}."
            )
        return frame

    def _play_from(self, start: int) -> Playback:
        packets = self._container.packets_from(start, self._index) if start else None
        if packets is None:
            # A container opened afresh stands at its very first packet, whatever its format makes of seeking.
            start = 0
            self._container.close()
            self._container = Container(self._file, name=self.name)
            packets = self._container.packets()
        index = self._index if self._frames_have_pts else None
        codec = self._container.stream.codec_context
        playback = Playback(packets, codec, start=start, index=index, may_skip=self._may_skip)
        playback.want(self._wanted)
        return playback

    def _times_by_decoding(self) -> list[int | None]:
        playback = self._play_from(0)
        times = playback.remaining_times()
        if playback.failure:
            raise VideoError(f"{self.name} is damaged after frame {len(times)} ({playback.failure}); {REPAIR}.")
        return times

    def _seconds(self) -> list[float] | None:
        times = [time for time in self._times if time is not None]
        is_rising = all(earlier < later for earlier, later in pairwise(times))
        if len(times) < len(self._times) or not is_rising or self._time_base is None:
            return None
        return [float((time - times[0]) * self._time_base) for time in times]
