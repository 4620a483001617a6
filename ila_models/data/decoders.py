"""The decoders that a video can be read with, chosen by name."""

from __future__ import annotations

import functools
from typing import Literal, get_args

import torch

from .motion import encode_clip
from .sources import VideoError, VideoSource
from .torchcodec_reader import TorchcodecReader
from .video import VideoReader

Decoder = Literal["pyav", "torchcodec", "torchcodec:cuda"]
"""PyAV; torchcodec on the CPU; torchcodec on the first CUDA device, where the frames stay."""


def open_video(
    source: VideoSource, *, decoder: Decoder = "pyav", timeout: float = 30.0
) -> VideoReader | TorchcodecReader:
    """Opens a video with the decoder of a name. All decoders number the frames alike.

    Args:
        source: path, http(s) address, bytes, or a file object in binary mode (read from its first byte, left open).
        decoder: the decoder's name.
        timeout: seconds without data after which a download gives up.

    Returns:
        A reader to be used as a context manager.

    Raises:
        FileNotFoundError: no file at the path.
        TypeError: the source is of another kind.
        ValueError: no decoder has the name.
        RuntimeError: what the decoder takes is missing on this machine.
        VideoError: the video cannot be used, or not with this decoder.
    """
    if _known(decoder) == "pyav":
        return VideoReader(source, timeout=timeout)
    return TorchcodecReader(source, timeout=timeout, device="cuda" if decoder == "torchcodec:cuda" else "cpu")


@functools.cache
def check_decoder(decoder: str) -> Decoder:
    """Makes sure that a decoder decodes on this machine, before the first of many videos is handed to it.

    That torchcodec can be imported says little: it loads FFmpeg only when it decodes, and that FFmpeg may lack h264. So
    it decodes a small video first. PyAV brings its own FFmpeg, and is not tried.

    Args:
        decoder: the decoder's name, as a user types it.

    Returns:
        The name.

    Raises:
        ValueError: no decoder has the name.
        RuntimeError: it does not decode on this machine.
    """
    known = _known(decoder)
    if known == "pyav":
        return known
    greys = torch.tensor([50, 110, 170], dtype=torch.uint8)
    video = encode_clip(greys.view(-1, 1, 1, 1).repeat(1, 3, 128, 128), frame_rate=5)
    try:
        with open_video(video, decoder=known) as reader:
            decoded = reader.decode(range(0, len(reader), 2)).float().mean(dim=(1, 2, 3)).cpu()
    except VideoError as error:
        raise RuntimeError(f"decoder={decoder!r} does not decode h264 on this machine: {error}") from error
    if not torch.allclose(decoded, greys.float(), atol=10):
        raise RuntimeError(
            f"decoder={decoder!r} decodes pictures of grey {greys.tolist()} as {decoded.tolist()} on this machine; use "
            "decoder='pyav'."
        )
    return known


def _known(decoder: str) -> Decoder:
    for name in get_args(Decoder):
        if decoder == name:
            return name
    raise ValueError(f"decoder={decoder!r} is unknown: choose one of {', '.join(get_args(Decoder))}.")
