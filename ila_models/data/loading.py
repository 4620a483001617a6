"""From a video, or from frames already decoded, to the frames of one clip or of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor

from .sampling import clip_views, random_clip_views, random_in_segments, segment_midpoints
from .sources import VideoSource
from .video import VideoReader

Sampling: TypeAlias = Literal["segment_midpoints", "random_in_segments", "all"]
SamplingRule: TypeAlias = Callable[[int, int], Sequence[int]]
# numpy and PIL are named in the text only: neither is needed to import this module.
Frames: TypeAlias = "Tensor | Any"


def load_video(
    source: VideoSource | Frames,
    *,
    num_frames: int = 8,
    sampling: Sampling | SamplingRule = "segment_midpoints",
    generator: torch.Generator | None = None,
    timeout: float = 30.0,
) -> Tensor:
    """Reads the frames of one clip; a video is decoded only where they are.

    Args:
        source: a path, http(s) address, bytes or binary file object with a video; or its frames: a uint8 tensor or
            numpy array [F, 3, H, W] or [F, H, W, 3], RGB, or a list of PIL images or of uint8 arrays [H, W, 3].
        num_frames: T, at least 1; not used by the sampling "all".
        sampling: "segment_midpoints" (evaluation), "random_in_segments" (training), "all" (every frame: mind the
            memory), or a function of the frame count F and T that gives frame indices in [0, F).
        generator: for "random_in_segments" alone; None is torch's global one.
        timeout: seconds without data after which a download gives up.

    Returns:
        uint8 RGB in [0, 255], [T, 3, H, W]. A video with fewer than T frames repeats some, as the rule does.

    Raises:
        FileNotFoundError: no file at the path.
        TypeError: the source, its dtype or the sampling is of a wrong kind.
        ValueError: a shape, a count, a sampling or an index that the sampling gave is not valid.
        VideoError: the video cannot be used.
    """
    rule = _sampling_rule(sampling, generator)
    if is_frames(source):
        frames = FrameList(source)
        return frames.decode(_checked(rule(len(frames), num_frames), len(frames)))
    with VideoReader(cast("VideoSource", source), timeout=timeout) as reader:
        return reader.decode(_checked(rule(len(reader), num_frames), len(reader)))


def load_clips(
    source: VideoSource | Frames,
    *,
    num_frames: int = 8,
    num_clips: int = 4,
    generator: torch.Generator | None = None,
    timeout: float = 30.0,
) -> Tensor:
    """Reads several clips of one video in one pass, for multi-view evaluation.

    Args:
        source: as for `load_video`.
        num_frames: T, frames per clip, at least 1.
        num_clips: V, at least 1.
        generator: given, the frames are drawn at random as the released code does; None gives the deterministic rule.
        timeout: seconds without data after which a download gives up.

    Returns:
        uint8 RGB in [0, 255], [V, T, 3, H, W].

    Raises:
        FileNotFoundError: no file at the path.
        TypeError: the source or its dtype is of a wrong kind.
        ValueError: a shape or a count is not valid.
        VideoError: the video cannot be used.
    """

    def rule(num_decoded: int, frames_per_clip: int) -> list[int]:
        if generator is None:
            views = clip_views(num_decoded, frames_per_clip, num_clips)
        else:
            views = random_clip_views(num_decoded, frames_per_clip, num_clips, generator=generator)
        return [index for view in views for index in view]

    video = load_video(source, num_frames=num_frames, sampling=rule, timeout=timeout)
    return video.unflatten(0, (num_clips, num_frames))


def _sampling_rule(sampling: Sampling | SamplingRule, generator: torch.Generator | None) -> SamplingRule:
    if generator is not None and sampling != "random_in_segments":
        raise ValueError('A generator is for sampling="random_in_segments"; the other rules draw nothing at random.')
    if callable(sampling):
        return sampling
    if sampling == "segment_midpoints":
        return segment_midpoints
    if sampling == "random_in_segments":
        return partial(random_in_segments, generator=generator)
    if sampling == "all":
        return lambda num_decoded, _: range(num_decoded)
    raise ValueError(
        f'sampling is {sampling!r}; it must be "segment_midpoints", "random_in_segments", "all" or a function of the '
        "number of decoded frames and the number of frames wanted."
    )


def _checked(indices: Sequence[int], num_decoded: int) -> Sequence[int]:
    if not len(indices):
        raise ValueError(f"The sampling chose no frame of {num_decoded}; it must choose at least one.")
    for index in indices:
        if not 0 <= index < num_decoded:
            raise ValueError(f"The sampling chose frame {index} of a video with the frames 0 to {num_decoded - 1}.")
    return indices


def is_frames(source: VideoSource | Frames) -> bool:
    """Whether a source is frames already decoded, not a video."""
    return isinstance(source, (Tensor, list, tuple)) or _is_array(source)


def _is_array(value: object) -> bool:
    return hasattr(value, "__array_interface__") and hasattr(value, "dtype")


class FrameList:
    """Frames already decoded, behind the face of a reader; only those asked for are converted."""

    def __init__(self, frames: Frames) -> None:
        """Checks the frames as far as that takes no conversion.

        Args:
            frames: as for `load_video`.

        Raises:
            TypeError: they are not uint8.
            ValueError: there are none, or their shape is not one of frames.
        """
        self._frames = frames
        self._is_channels_last = False
        self._sizes: set[tuple[int, ...]] = set()  # of the pictures seen so far
        if not len(frames):
            raise ValueError("There are no frames: give at least one.")
        if not isinstance(frames, (list, tuple)):
            self._is_channels_last = _channels_are_last(tuple(frames.shape))
            _require_uint8(frames)

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self._frames)

    def decode(self, indices: Sequence[int]) -> Tensor:
        """Frames by number, uint8 [K, 3, H, W].

        Raises:
            TypeError: a frame is of a wrong kind.
            ValueError: a frame has a wrong shape, or another one than the others.
        """
        if isinstance(self._frames, (list, tuple)):
            pictures = [_picture(self._frames[index], index) for index in indices]
            sizes = sorted({*self._sizes, *(tuple(picture.shape[:2]) for picture in pictures)})
            if len(sizes) > 1:
                raise ValueError(f"The frames have different sizes (height, width): {sizes}; bring them to one size.")
            self._sizes = set(sizes)
            return torch.stack(pictures).permute(0, 3, 1, 2).contiguous()
        chosen = torch.as_tensor(self._frames[list(indices)])
        return (chosen.permute(0, 3, 1, 2) if self._is_channels_last else chosen).contiguous()


def _channels_are_last(shape: tuple[int, ...]) -> bool:
    wanted = "frames are [F, 3, H, W] or [F, H, W, 3]"
    if len(shape) != 4:
        raise ValueError(f"Frames of shape {list(shape)}: {wanted}; give one video at a time.")
    first, last = shape[1] == 3, shape[3] == 3
    if first and last:
        raise ValueError(
            f"Frames of shape {list(shape)} can be read both ways: {wanted}; give a list of [H, W, 3] arrays."
        )
    if not first and not last:
        raise ValueError(f"Frames of shape {list(shape)} have no axis of 3 channels where one belongs: {wanted}.")
    return last


def _picture(frame: Any, index: int) -> Tensor:
    from PIL import Image

    if isinstance(frame, Image.Image):
        import numpy

        return torch.from_numpy(numpy.array(frame.convert("RGB")))
    if not isinstance(frame, Tensor) and not _is_array(frame):
        raise TypeError(
            f"Frame {index} of the list is a {type(frame).__name__}; it must be a PIL image or a uint8 array "
            "[H, W, 3]. Several videos are loaded one at a time."
        )
    _require_uint8(frame)
    if len(frame.shape) != 3 or frame.shape[2] != 3:
        raise ValueError(f"Frame {index} of the list has the shape {list(frame.shape)}; it must be [H, W, 3], RGB.")
    if not isinstance(frame, Tensor) and (not frame.flags.writeable or min(frame.strides) < 0):
        frame = frame.copy()  # as torch takes neither, of BGR turned to RGB by [..., ::-1] for example
    return torch.as_tensor(frame)


def _require_uint8(frames: Any) -> None:
    if str(frames.dtype).removeprefix("torch.") != "uint8":
        raise TypeError(f"Frames of dtype {frames.dtype}: they must be uint8, RGB in [0, 255].")
