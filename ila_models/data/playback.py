"""One run of a decoder over a stream of packets: numbered frames, in presentation order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .packet_index import PacketIndex

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame
    from av.video.stream import VideoStream


# Codecs whose decoder passes over a picture only where its packet says that no other picture leans on it.
_SKIPS_EXACTLY = frozenset({"h264"})


class Playback:
    """Decodes packets in order, and knows which frame comes next.

    Of frames that nobody wants, those that no other one leans on are passed over: a third and more.

    Args:
        packets: the stream's packets from a key frame on.
        codec: the stream's decoder, freshly flushed.
        start: position of the first of the packets in the whole stream.
        index: tells a frame's number from its presentation time; None numbers the frames as they come, which holds for
            a run from the start only.
        may_skip: allows to pass over frames that nobody wants.

    Attributes:
        packets_read: position of the next packet.
        next_frame: the run has no frame below this number any more.
        frames_decoded: how many frames the decoder has produced.
        failure: why the run ended; None while it goes on and where it reached the end.
        skips: whether frames are passed over.
    """

    def __init__(
        self,
        packets: Iterator[Packet[VideoStream]],
        codec: VideoCodecContext,
        *,
        start: int,
        index: PacketIndex | None,
        may_skip: bool,
    ) -> None:
        """Starts a run; the first frame is decoded when it is asked for."""
        self.is_from_start = start == 0
        self.packets_read = start
        self.next_frame = 0
        self.frames_decoded = 0
        self.failure: str | None = None
        self.skips = may_skip and index is not None and codec.name in _SKIPS_EXACTLY
        self._codec = codec
        self._index = index
        self._wanted_times: frozenset[int] = frozenset()
        self._last_wanted_time: int | None = None
        self._frames = self._decode(packets)

    def want(self, numbers: Iterable[int]) -> None:
        """Says which frames `advance_to` will be asked for next; after the last of them, none is passed over."""
        if self._index is not None and self.skips:
            self._wanted_times = frozenset(self._index.frame_pts[number] for number in numbers)
            self._last_wanted_time = max(self._wanted_times, default=None)

    def advance_to(self, number: int) -> VideoFrame | None:
        """Decodes up to a frame; None where it does not come whole, with the reason in `failure`."""
        for frame in self._frames:
            found = self.frames_decoded - 1 if self._index is None else self._index.frame_at(frame.pts)
            if found is None or found < number:
                continue
            self.next_frame = found + 1
            if found > number:
                self.failure = "the decoder leaves it out"
                return None
            if frame.is_corrupt:
                self.failure = "the decoder marks it as corrupt"
                return None
            return frame
        self.failure = self.failure or "the decoder never yields it"
        return None

    def remaining_times(self) -> list[int | None]:
        """Presentation times of all frames still to come; the run is over then, by an error if `failure` says so."""
        return [frame.pts for frame in self._frames]

    def _decode(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[VideoFrame]:
        import av

        try:
            for packet in packets:
                self.packets_read += 1
                self._codec.skip_frame = "NONREF" if self._nobody_wants(packet) else "DEFAULT"
                yield from self._counted(self._codec.decode(packet))
            yield from self._counted(self._codec.decode(None))
        except av.FFmpegError as error:
            self.failure = str(error.strerror)

    def _nobody_wants(self, packet: Packet[VideoStream]) -> bool:
        time, last = packet.pts, self._last_wanted_time
        return last is not None and time is not None and time < last and time not in self._wanted_times

    def _counted(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            self.frames_decoded += 1
            yield frame
