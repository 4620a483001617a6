"""The frames of `VideoReader`, decoded by torchcodec, on the CPU or on a GPU.

PyAV lists the packets and says what is wrong with a file; torchcodec only decodes. It finds a frame by its time stamp,
and where that misleads it, as in avi, it yields a neighbour or a broken picture without a word. So a file is read only
where a search by time is exact, and every frame that comes is compared by its time with the one asked for.
"""

from __future__ import annotations

import io
import operator
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from .container import Container
from .orientation import orient, shown_size
from .packet_index import PacketIndex
from .sources import VideoError, VideoSource, open_source
from .workers import is_worker

if TYPE_CHECKING:
    from av import VideoFrame
    from torchcodec.decoders import VideoDecoder

# Formats with an index of key frames, which FFmpeg's search by time hits exactly.
_FORMATS = ("mov", "matroska")
_OTHERWISE = "use decoder='pyav'"


class TorchcodecReader:
    """A video file, open for reading single frames with torchcodec: the same face and frames as `VideoReader`.

    Rotation metadata is applied; pictures are not stretched where their pixels are not square. Colours are those of
    `VideoReader`, but for the edges of coloured areas in videos of more than 8 bits or of odd width, where the two
    interpolate chroma differently. A picture that FFmpeg has patched up after damage is passed on, which `VideoReader`
    refuses: torchcodec does not say. Use the reader as a context manager, and from one thread at a time.

    Args:
        source: path, http(s) address, bytes, or a file object in binary mode (read from its first byte, left open).
        timeout: seconds without data after which a download gives up.
        device: where frames are decoded and stay: "cpu", "cuda" or "cuda:1".

    Attributes:
        name: the source's name in messages.
        width: of a frame as shown, in pixels.
        height: of a frame as shown, in pixels.

    Raises:
        FileNotFoundError: no file at the path.
        TypeError: the source is of another kind.
        ValueError: the device is neither a CPU nor a CUDA device.
        RuntimeError: torchcodec, FFmpeg's shared libraries or the CUDA device is missing.
        VideoError: not a video, no video frames, truncated, damaged, an address that cannot be read, or a video of
            which torchcodec would not yield the frames of `VideoReader`.
    """

    def __init__(self, source: VideoSource, *, timeout: float = 30.0, device: str = "cpu") -> None:
        """Opens the video and lists its packets."""
        _require_device(device)
        self._device = device
        with ExitStack() as stack:
            self.name, self._file, is_ours = open_source(source, timeout=timeout)
            if is_ours:
                stack.callback(self._file.close)
            with closing(Container(self._file, name=self.name)) as container:
                index, first = container.read_index()
                stream = container.stream
                doubt, tick = _doubt(container, index, first), stream.time_base
                if doubt is not None or tick is None:
                    doubt = doubt or "its time stamps have no unit"
                    raise VideoError(f"{self.name}: torchcodec may take one frame for another ({doubt}); {_OTHERWISE}.")
                self._stream_index: int = stream.index
                self._header_rate = stream.average_rate or stream.guessed_rate
            start = index.frame_pts[0]
            self._seconds = [(time - start) * tick.numerator / tick.denominator for time in index.frame_pts]
            self._tolerance = min((later - earlier for earlier, later in pairwise(self._seconds)), default=1.0) / 2
            self.height, self.width = shown_size(first, name=self.name)
            decoder = self._new_decoder()
            if len(decoder) != len(self):
                raise VideoError(
                    f"{self.name}: torchcodec finds {len(decoder)} frames where PyAV finds {len(self)}; {_OTHERWISE}."
                )
            # It turns pictures, but takes a mirrored one for a turned one, and looks only into the file's header.
            corners = torch.arange(4).view(2, 2)
            turned = corners.rot90(round((decoder.metadata.rotation or 0) / 90))
            if not torch.equal(turned, orient(corners, first, name=self.name)):
                raise VideoError(f"{self.name}: torchcodec does not turn its pictures as players do; {_OTHERWISE}.")
            self._decoder: VideoDecoder | None = decoder
            self._is_open = True
            self._resources = stack.pop_all()

    def __enter__(self) -> TorchcodecReader:
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
        self._decoder = None
        self._resources.close()

    def __len__(self) -> int:
        """How many frames decoding the whole video yields."""
        return len(self._seconds)

    @property
    def fps(self) -> float | None:
        """Frames per second on average: as the file states, else from its time stamps; None where neither tells."""
        if self._header_rate:
            return float(self._header_rate)
        return None if len(self) < 2 else (len(self) - 1) / self._seconds[-1]

    @property
    def timestamps(self) -> list[float]:
        """Seconds from the first frame to each frame."""
        return list(self._seconds)

    def decode(self, indices: Iterable[int]) -> Tensor:
        """Decodes the frames asked for.

        Args:
            indices: K frame numbers in [0, len(self)), in any order, repeated or not.

        Returns:
            uint8 RGB in [0, 255], [K, 3, H, W], in the order asked for, on the reader's device.

        Raises:
            ValueError: a frame number is out of range, or the reader is closed.
            VideoError: a frame does not decode, has another size than the first frame, or is not the one asked for.
        """
        if not self._is_open:
            raise ValueError(f"The reader of {self.name} is closed; open a new one.")
        numbers = [operator.index(number) for number in indices]
        for number in numbers:
            if not 0 <= number < len(self):
                raise ValueError(f"Frame {number} is out of range: {self.name} has the frames 0 to {len(self) - 1}.")
        if not numbers:
            return torch.empty(0, 3, self.height, self.width, dtype=torch.uint8, device=self._device)
        # A decoder that fails is not asked again: it would go on from wherever it stopped.
        decoder, self._decoder = self._decoder or self._new_decoder(), None
        with self._errors_named():
            frames = decoder.get_frames_at(numbers)
        begin = decoder.metadata.begin_stream_seconds_from_content
        for number, seconds in zip(numbers, frames.pts_seconds.tolist(), strict=True):
            if not abs(seconds - begin - self._seconds[number]) < self._tolerance:
                raise VideoError(
                    f"{self.name}: torchcodec yields the frame at {seconds - begin:.3f} seconds for frame {number}, "
                    f"which is shown at {self._seconds[number]:.3f}; {_OTHERWISE}."
                )
        height, width = frames.data.shape[-2:]
        if (height, width) != (self.height, self.width):
            raise VideoError(
                f"{self.name}: torchcodec yields pictures of {width}x{height} pixels, not of {self.width}x"
                f"{self.height}; {_OTHERWISE}."
            )
        self._decoder = decoder
        return frames.data.contiguous()

    def _new_decoder(self) -> VideoDecoder:
        self._file.seek(0)
        try:
            with self._errors_named():
                from torchcodec.decoders import VideoDecoder

                return VideoDecoder(
                    cast(io.BufferedReader, self._file),
                    stream_index=self._stream_index,
                    dimension_order="NCHW",
                    # As PyAV's: processes that decode side by side share the cores already.
                    num_ffmpeg_threads=1 if is_worker() else 0,
                    device=self._device,
                    seek_mode="exact",
                )
        except ImportError as error:
            raise RuntimeError("decoder='torchcodec' takes torchcodec: pip install 'ila-models[torchcodec]'") from error

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        """Turns torchcodec's errors, which are all of one type, into errors of the machine and errors of the video."""
        try:
            yield
        except RuntimeError as error:
            if "Could not load libtorchcodec" in str(error):
                raise RuntimeError(
                    "torchcodec cannot load FFmpeg's shared libraries (FFmpeg 4 to 8), or is built for another torch "
                    f"than {torch.__version__}.\nInstall FFmpeg, for example with `apt install ffmpeg` or `conda "
                    f"install ffmpeg`, or {_OTHERWISE}."
                ) from error
            if "out of memory" in str(error):
                raise
            # "function, file.cpp:123, reason" and then, at times, a stack.
            reason = re.sub(r"^\S+, \S+:\d+, ", "", str(error).partition("\n")[0])
            raise VideoError(f"{self.name}: torchcodec cannot decode it ({reason}); {_OTHERWISE}.") from error


def _doubt(container: Container, index: PacketIndex, first: VideoFrame) -> str | None:
    """Why torchcodec might yield another picture under the right time stamp; None where there is no reason to fear it.

    In formats without an index of key frames a search may end between two. And where an encoder refreshes the picture
    bit by bit, a key frame is half a picture, which torchcodec passes on.
    """
    format_name = container.stream.container.format.name
    if not format_name.startswith(_FORMATS):
        return f"it finds them in mp4, mov, mkv and webm, not in {format_name}"
    if distrust := container.distrust(index, first):
        return distrust
    if len(index.key_positions) > 1 and not _stands_alone(index.key_positions[1], container, index):
        return "its key frames do not decode on their own"
    return None


def _stands_alone(position: int, container: Container, index: PacketIndex) -> bool:
    import av

    packets = container.packets_from(position, index)
    if packets is None:
        return False
    codec = container.stream.codec_context
    try:
        return bool(codec.decode(next(packets)) or codec.decode(None))
    except av.FFmpegError:
        return True  # It is damaged: an error only where it is needed, as with VideoReader.


def _require_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", device):
        raise ValueError(f"device={device!r}: torchcodec decodes on 'cpu', or on 'cuda', 'cuda:1', ...")
    if device == "cpu":
        return
    there = torch.cuda.device_count()
    if int(device.partition(":")[2] or 0) >= there:
        raise RuntimeError(
            f"device={device!r}: torch finds {there} CUDA devices on this machine; use device='cpu', which is "
            "decoder='torchcodec'."
        )
