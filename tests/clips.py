"""Small videos made on the spot: every frame carries its own number as a picture of sixteen blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

_ONE = (250, 200, 40)
_ZERO = (20, 30, 60)
_QUIET = {"libx265": {"x265-params": "log-level=none"}}
_SAMPLE_RATE = 44_100


def numbered_frame(number: int, *, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Draws one frame: `number` in binary as 4 x 4 blocks, the lowest bit at the top left, row by row.

    Args:
        number: 0 to 65535.
        size: (width, height) in pixels, at least 16 x 16.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    width, height = size
    bits = np.array([(number >> bit) & 1 for bit in range(16)]).reshape(4, 4)
    rows = np.arange(height) * 4 // height
    columns = np.arange(width) * 4 // width
    return np.where(bits[rows][:, columns, None] == 1, _ONE, _ZERO).astype(np.uint8)


def frame_numbers(video: Tensor) -> list[int]:
    """Reads the numbers back from decoded frames, uint8 [..., 3, H, W]."""
    frames = video.reshape(-1, *video.shape[-3:]).float()
    height, width = frames.shape[-2:]
    numbers = []
    for frame in frames:
        number = 0
        for bit in range(16):
            row, column = divmod(bit, 4)
            top, left = (2 * row + 1) * height // 8, (2 * column + 1) * width // 8
            red = frame[0, top - 1 : top + 2, left - 1 : left + 2].mean()
            number |= int(red > (_ONE[0] + _ZERO[0]) / 2) << bit
        numbers.append(number)
    return numbers


def write_clip(
    path: str | Path,
    *,
    codec: str = "libx264",
    frames: int | Iterable[np.ndarray] = 30,
    fps: int = 30,
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    container_format: str | None = None,
    container_options: Mapping[str, str] | None = None,
    timestamps: Sequence[int] | None = None,
    rotation: int = 0,
    audio_seconds: float = 0.0,
) -> Path:
    """Writes one video file.

    Args:
        path: where to; the ending chooses the container unless `container_format` does.
        codec: FFmpeg's name of the encoder.
        frames: how many numbered frames, or the frames themselves, uint8 [H, W, 3].
        fps: frames per second.
        size: (width, height) in pixels of the numbered frames.
        pix_fmt: FFmpeg's name of the encoded pixel format.
        options: options of the encoder, such as {"g": "10", "bf": "2"}.
        container_format: FFmpeg's name of the container.
        container_options: options of the muxer, such as {"movflags": "faststart"}.
        timestamps: one presentation time per frame, in milliseconds (variable frame rate, or a late start).
        rotation: degrees counter-clockwise by which players turn the picture.
        audio_seconds: length of a silent audio track; 0 means none.

    Returns:
        `path`, as a Path.
    """
    pictures = [numbered_frame(number, size=size) for number in range(frames)] if isinstance(frames, int) else frames
    with av.open(str(path), "w", format=container_format, container_options=dict(container_options or {})) as container:
        video = None
        audio = None
        time_base = Fraction(1, 1000) if timestamps is not None else Fraction(1, fps)
        for number, picture in enumerate(pictures):
            if video is None:
                video = container.add_stream(codec, rate=fps, options={**_QUIET.get(codec, {}), **(options or {})})
                video.height, video.width = picture.shape[:2]
                video.pix_fmt = pix_fmt
                video.codec_context.time_base = time_base
                if rotation:
                    video.set_display_rotation(rotation)
                if audio_seconds:
                    audio = _audio_stream(container, Path(path).suffix)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.time_base = time_base
            frame.pts = timestamps[number] if timestamps is not None else number
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode(None))
        if audio is not None:
            _write_silence(container, audio, audio_seconds)
    return Path(path)


def write_audio(path: str | Path, *, seconds: float = 1.0) -> Path:
    """Writes a file with a silent audio track and no video."""
    with av.open(str(path), "w") as container:
        _write_silence(container, _audio_stream(container, Path(path).suffix), seconds)
    return Path(path)


def decode_plainly(path: str | Path) -> Tensor:
    """All frames as PyAV yields them from first to last, uint8 [F, 3, H, W]: what a reader must agree with."""
    with av.open(str(path)) as container:
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return torch.stack(frames).permute(0, 3, 1, 2)


def _audio_stream(container: av.container.OutputContainer, suffix: str) -> av.AudioStream:
    codec = {".webm": "libopus", ".avi": "mp2"}.get(suffix, "aac")
    return container.add_stream(codec, rate=48_000 if codec == "libopus" else _SAMPLE_RATE, layout="mono")


def _write_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    chunk = 1024
    rate = stream.codec_context.sample_rate
    for start in range(0, int(seconds * rate), chunk):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, chunk), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
