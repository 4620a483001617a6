"""One open video container: its video stream, its packets, and the checks that it is all there."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from .packet_index import PacketIndex
from .sources import VideoError
from .truncation import missing_tail
from .workers import is_worker

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

# Only formats that hold pictures of their own: no playlists, which would make FFmpeg open further files and addresses,
# no still images, no text that FFmpeg draws as a picture.
_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,gif,nut,mxf,ivf,obu,h264,hevc,m4v,mpegvideo,yuv4mpegpipe"
# Codecs of which every packet holds exactly one shown frame, so that packets can be counted for frames.
_ONE_FRAME_PER_PACKET = frozenset({"h264", "hevc", "vp9", "av1", "mjpeg", "ffv1", "prores", "rawvideo", "gif"})
# Formats whose header states a duration, where FFmpeg would otherwise estimate one from what is there.
_STATED_DURATION = ("matroska", "flv", "asf")
REPAIR = "fetch it again, or save what is left with `ffmpeg -i INPUT OUTPUT.mp4`"


class Container:
    """An open container, read for its first video stream that is no cover picture.

    FFmpeg's own messages stay silent: PyAV's log level is off unless the program turns it on.

    Args:
        file: the video, seekable; read from its first byte, never closed here.
        name: of the video, for messages.

    Raises:
        VideoError: no video that FFmpeg can read, or no video stream.
    """

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        """Opens the container."""
        import av

        self.file = file
        self.name = name
        file.seek(0)
        try:
            # Bytes that are not UTF-8 in a title must not make a video unreadable. PyAV 19 takes them as they are.
            lenient = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
            self._container: InputContainer = av.open(file, container_options={"format_whitelist": _FORMATS}, **lenient)
        except av.FFmpegError as error:
            if tail := missing_tail(file):
                raise VideoError(f"{name} is truncated: the file {tail}; fetch it again.") from error
            raise VideoError(
                f"{name} is not a video that can be read ({error.strerror}); check what it is with `ffprobe`."
            ) from error
        try:
            self.stream: VideoStream = self._video_stream()
        except VideoError:
            self.close()
            raise

    def close(self) -> None:
        """Frees the decoder; the file stays open."""
        self._container.close()

    @property
    def stated_seconds(self) -> float | None:
        """How long the header says that the longest track is; None where it does not say."""
        duration = self._container.duration
        return duration / 1_000_000 if duration is not None and duration > 0 else None

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """The stream's packets from here on. Empty ones are left out: to a decoder they mean the end of the stream."""
        return (packet for packet in self._container.demux(self.stream) if packet.size)

    def packets_from(self, position: int, index: PacketIndex) -> Iterator[Packet[VideoStream]] | None:
        """Seeks to a packet and checks that it is the one.

        Args:
            position: of a key frame's packet, in decoding order.
            index: the stream's packets.

        Returns:
            The packets from that position on; None where the container does not lead there.
        """
        import av

        # Some formats look key frames up by presentation time, others by decoding time.
        for time in (index.pts[position], index.dts[position]):
            if time is None:
                continue
            try:
                self._container.seek(time, stream=self.stream)
                packets = self.packets()
                packet = next(packets, None)
                landed = None if packet is None else index.position_at(packet.pts)
                if landed is None or landed > position:
                    continue
                if landed < position:
                    packet = next(itertools.islice(packets, position - landed - 1, None), None)
            except av.FFmpegError as error:
                logger.debug("%s: seeking to %d failed: %s", self.name, time, error)
                continue
            if packet is not None and packet.pts == index.pts[position]:
                return itertools.chain([packet], packets)
        return None

    def read_index(self) -> tuple[PacketIndex, VideoFrame]:
        """Lists all packets, and decodes the first frame on the way.

        Returns:
            The packets, not yet sealed, and the first frame.

        Raises:
            VideoError: no frames, truncated or damaged.
        """
        import av

        format_name = self._container.format.name
        index = PacketIndex()
        first: VideoFrame | None = None
        is_partial = False
        last_second = 0.0
        # The tracks of sound count where the stated duration is that of the longest track; mov reads faster without.
        streams = list(self._container.streams) if format_name.startswith(_STATED_DURATION) else [self.stream]
        try:
            for packet in self._container.demux(streams):
                if not packet.size:
                    continue
                if packet.pts is not None and packet.time_base is not None:
                    last_second = max(last_second, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index != self.stream.index:
                    continue
                is_partial = packet.is_corrupt
                index.add(pts=packet.pts, dts=packet.dts, is_keyframe=packet.is_keyframe, is_discard=packet.is_discard)
                if first is None and not is_partial:
                    first = next(iter(self.stream.codec_context.decode(packet)), None)
            if first is None and len(index):
                first = next(iter(self.stream.codec_context.decode(None)), None)
        except av.FFmpegError as error:
            tail = missing_tail(self.file)
            reason = f"truncated: the file {tail}" if tail else f"damaged: {error.strerror}"
            raise VideoError(f"{self.name} is {reason} (after {len(index)} packets); {REPAIR}.") from error
        self._require_complete(index, is_partial=is_partial, last_second=last_second)
        if not len(index):
            raise VideoError(f"{self.name} holds a video track without a single frame; check how it was made.")
        if first is None:
            raise VideoError(f"{self.name}: none of its {len(index)} packets decodes to a frame; {REPAIR}.")
        return index, first

    def distrust(self, index: PacketIndex, first: VideoFrame) -> str | None:
        """Seals the index, and tells why it cannot be used to seek, None where it can."""
        codec = self.stream.codec_context.codec.canonical_name
        if codec not in _ONE_FRAME_PER_PACKET:
            return f"a packet of {codec} need not hold exactly one frame"
        if self._container.format.name == "avi":
            return "avi carries no presentation times"
        if why := index.seal():
            return why
        if index.frame_at(first.pts) != 0:
            return "the first frame decoded is not the first frame listed"
        return None

    def _video_stream(self) -> VideoStream:
        import av

        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            kinds = ", ".join(stream.type for stream in self._container.streams) or "nothing"
            raise VideoError(f"{self.name} has no video track (it holds: {kinds}); give a file with pictures.")
        if streams[0].codec_context is None:
            raise VideoError(f"{self.name}: FFmpeg has no decoder for its video track; convert it to h264 first.")
        # mov reads each track on its own: without this, the sound would be read and thrown away.
        for stream in self._container.streams:
            if stream.index != streams[0].index and self._container.format.name.startswith("mov"):
                stream.discard = av.stream.Discard.all
        if not is_worker():
            streams[0].thread_type = "AUTO"
        else:
            # The processes of a DataLoader share the cores already, and threads decode frames that nobody wants.
            streams[0].codec_context.thread_count = 1
        return streams[0]

    def _require_complete(self, index: PacketIndex, *, is_partial: bool, last_second: float) -> None:
        """Raises VideoError if packets are missing at the end, by the most exact evidence that the format offers."""
        present = len(index)
        truncated = f"{self.name} is truncated"
        tail = missing_tail(self.file)
        if self._container.format.name.startswith("mov"):
            # FFmpeg's table of samples. The header's count would also include what an edit list cuts away.
            listed = len(self.stream.index_entries)
            if present < listed or is_partial:
                where = f", the file {tail}" if tail else ""
                raise VideoError(f"{truncated}: {present} of {listed} frames are there{where}; {REPAIR}.")
            is_all_listed = self.stream.frames > 0
        else:
            is_all_listed = 0 < self.stream.frames <= present
        # A file that ends early may still hold all its pictures: then only sound or an index is missing.
        if (tail and not is_all_listed) or is_partial:
            raise VideoError(
                f"{truncated}: the file {tail or 'ends inside a packet'} ({present} frames are there); {REPAIR}."
            )
        duration = self._container.duration
        if tail is None and duration is not None and self._container.format.name.startswith(_STATED_DURATION):
            stated = duration / 1_000_000
            if last_second < stated - max(1.0, 0.05 * stated):
                raise VideoError(f"{truncated}: it ends after {last_second:.2f} of its {stated:.2f} seconds; {REPAIR}.")
