"""From raw frames to a model's input: resize, crop, normalise, as the model's weights were trained.

Symbols: V clips, T frames, H x W pixels of a frame, h x w pixels of a crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from timm.data.constants import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
)
from torch import Tensor

IMAGENET_MEAN: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN
IMAGENET_STD: tuple[float, float, float] = IMAGENET_DEFAULT_STD
CLIP_MEAN: tuple[float, float, float] = OPENAI_CLIP_MEAN
CLIP_STD: tuple[float, float, float] = OPENAI_CLIP_STD

Interpolation = Literal["bilinear", "bicubic"]
CropMode = Literal["center", "squash"]
_MOST_ELONGATED = 32
"""How many times as long as wide a frame may be: it is resized whole before it is cropped."""


class CropBox(NamedTuple):
    """Where a crop lies in its frame, in pixels of the frame before it is resized, from its left upper corner."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True)
class VideoTransform:
    """Resizes, crops and normalises uint8 frames.

    A frame is scaled, its shape kept, until it just covers a rectangle of the crop's shape whose short side is
    `resize_to`: for a square crop, its short side becomes `resize_to`. The long side is rounded half up. Squashed, it
    is scaled to that rectangle itself, whatever its own shape, as for EVA-02 of 448 pixels.

    Attributes:
        img_size: (height, width) of a crop, in pixels.
        mean: per RGB channel, of values in [0, 1].
        std: per RGB channel, of values in [0, 1].
        resize_to: in pixels, at least the short side of `img_size`.
        crops: 1 is the centre; 3 are the start, the centre and the end of the side with more to spare.
        interpolation: "bilinear" without antialiasing is OpenCV's INTER_LINEAR within 1 grey level.
        antialias: whether to smooth before shrinking.
        crop_mode: "center" keeps a frame's shape; "squash" does not, and has one crop only.

    Raises:
        ValueError: a field is out of its range.
    """

    img_size: tuple[int, int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize_to: int
    crops: Literal[1, 3] = 1
    interpolation: Interpolation = "bilinear"
    antialias: bool = False
    crop_mode: CropMode = "center"

    def __post_init__(self) -> None:
        """Checks the fields against each other."""
        if len(self.img_size) != 2 or min(self.img_size) < 1:
            raise ValueError(f"img_size is {self.img_size}; it must be (height, width) in pixels, each at least 1.")
        if self.resize_to < min(self.img_size):
            raise ValueError(
                f"resize_to is {self.resize_to}; a crop of {self.img_size} needs {min(self.img_size)} or more."
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean is {self.mean} and std is {self.std}; each has 3 values, those of std above 0.")
        if self.crops not in (1, 3):
            raise ValueError(f"crops is {self.crops}; it must be 1 (centre) or 3 (along the long side).")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation is {self.interpolation!r}; it must be one of {get_args(Interpolation)}.")
        if self.crop_mode not in get_args(CropMode):
            raise ValueError(f"crop_mode is {self.crop_mode!r}; it must be one of {get_args(CropMode)}.")
        if self.crop_mode == "squash" and self.crops != 1:
            raise ValueError(
                f"crops is {self.crops}; these weights take whole frames, squashed into the crop's shape: there is one"
                " crop only, crops=1 (--views Cx1)."
            )

    def __call__(self, video: Tensor) -> Tensor:
        """Transforms the frames of one clip or of several.

        Args:
            video: uint8 RGB in [0, 255], [T, 3, H, W] or [V, T, 3, H, W].

        Returns:
            float32, [T, 3, h, w] for one clip and one crop, else [views, T, 3, h, w] with V * crops views: all crops of
            the first clip, then all of the second.

        Raises:
            TypeError: not a uint8 tensor.
            ValueError: another shape.
        """
        return self.normalize(self.crop(video))

    def crop(self, video: Tensor) -> Tensor:
        """The first half of :meth:`__call__`: resized and cropped, still uint8, a quarter of the memory.

        Raises:
            TypeError: not a uint8 tensor.
            ValueError: another shape.
        """
        if not isinstance(video, Tensor) or video.dtype != torch.uint8:
            kind = video.dtype if isinstance(video, Tensor) else type(video).__name__
            raise TypeError(f"The frames are {kind}; they must be a uint8 tensor, RGB in [0, 255].")
        if video.ndim not in (4, 5) or video.shape[-3] != 3 or 0 in video.shape:
            raise ValueError(
                f"The frames have the shape {list(video.shape)}; it must be [T, 3, H, W] or [V, T, 3, H, W]. "
                "Channels at the end are moved with video.movedim(-1, -3)."
            )
        clips = video if video.ndim == 5 else video.unsqueeze(0)
        resized = self._resize(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        height, width = self.img_size
        crops = [
            resized[..., top : top + height, left : left + width]
            for top, left in self._corners(resized.shape[-2], resized.shape[-1])
        ]
        views = torch.stack(crops, dim=1).flatten(0, 1)
        return views[0] if video.ndim == 4 and self.crops == 1 else views

    def normalize(self, frames: Tensor) -> Tensor:
        """The second half of :meth:`__call__`: uint8 [..., 3, h, w] to float32, on the frames' device."""
        mean = torch.tensor(self.mean, device=frames.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=frames.device).view(3, 1, 1)
        return frames.to(torch.float32).div_(255).sub_(mean).div_(std)

    def crop_boxes(self, height: int, width: int) -> list[CropBox]:
        """Where the crops of frames of this size come from, in the order of :meth:`crop`.

        Args:
            height: of a frame, in pixels.
            width: of a frame, in pixels.
        """
        resized = self._resized_size(height, width)
        down, right = height / resized[0], width / resized[1]
        return [
            CropBox(left * right, top * down, (left + self.img_size[1]) * right, (top + self.img_size[0]) * down)
            for top, left in self._corners(*resized)
        ]

    def _resize(self, frames: Tensor) -> Tensor:
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional

        size = list(self._resized_size(*frames.shape[-2:]))
        mode = InterpolationMode(self.interpolation)
        return functional.resize(frames, size, interpolation=mode, antialias=self.antialias)

    def _resized_size(self, height: int, width: int) -> tuple[int, int]:
        short = min(self.img_size)
        down, right = (
            self.resize_to * crop / (short * length)
            for length, crop in zip((height, width), self.img_size, strict=True)
        )
        if self.crop_mode == "center":
            if max(height, width) > _MOST_ELONGATED * min(height, width):
                raise ValueError(
                    f"frames of {width}x{height} pixels (width x height) are too elongated: resized whole, they would"
                    f" fill the memory; crop them to a ratio of at most {_MOST_ELONGATED}"
                )
            down = right = max(down, right)
        return max(int(height * down + 0.5), self.img_size[0]), max(int(width * right + 0.5), self.img_size[1])

    def _corners(self, height: int, width: int) -> list[tuple[int, int]]:
        spare_height, spare_width = height - self.img_size[0], width - self.img_size[1]
        top, left = spare_height // 2, spare_width // 2
        if self.crops == 1:
            return [(top, left)]
        if spare_width >= spare_height:
            return [(top, 0), (top, left), (top, spare_width)]
        return [(0, left), (top, left), (spare_height, left)]


def create_transform(model_or_config: object, *, crops: Literal[1, 3] = 1) -> VideoTransform:
    """Makes the transform that a model's weights were trained with.

    Args:
        model_or_config: a model with a `pretrained_cfg`, or that mapping itself, with the keys `img_size` (pixels, one
            number or (height, width)), `mean`, `std`, `interpolation`, `antialias` and `resize_ratio` (short side after
            resizing over the crop's short side: 256/224 for the released models, 1.0 for CLIP); `crop_mode` may be
            missing, for "center".
        crops: 1 resizes by `resize_ratio` and crops the centre; 3 resizes to the crop's size and crops along the long
            side.

    Returns:
        The transform.

    Raises:
        TypeError: neither a model with a `pretrained_cfg` nor a mapping.
        ValueError: a key is missing, or a value is out of its range.
    """
    config = getattr(model_or_config, "pretrained_cfg", model_or_config)
    if not isinstance(config, Mapping):
        raise TypeError(
            f"{type(model_or_config).__name__} has no `pretrained_cfg` mapping; pass a model with one or the mapping."
        )
    required = ("img_size", "mean", "std", "interpolation", "antialias", "resize_ratio")
    if missing := [key for key in required if config.get(key) is None]:
        raise ValueError(f"The pretrained_cfg lacks {', '.join(missing)}; a transform needs {', '.join(required)}.")
    img_size = _pair(config["img_size"])
    short = min(img_size)
    return VideoTransform(
        img_size=img_size,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        resize_to=int(config["resize_ratio"] * short) if crops == 1 else short,
        crops=crops,
        interpolation=config["interpolation"],
        antialias=config["antialias"],
        crop_mode=config.get("crop_mode", "center"),
    )


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)
