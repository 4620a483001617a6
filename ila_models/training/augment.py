"""What is done to a training clip's frames: crop, colours, grey, erasing, each alike for all frames of the clip."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from .config import AugmentationSection

# The recipe tells how often colours are changed, not how much. Hue is left alone: changing it takes three times as long
# as all the others together.
_BRIGHTNESS, _CONTRAST, _SATURATION = 0.4, 0.4, 0.4


class ClipAugmentation:
    """uint8 frames [T, 3, H, W] of any size to uint8 frames [T, 3, S, S], and an erasing of normalised ones."""

    def __init__(self, section: AugmentationSection, *, img_size: tuple[int, int], contract: Mapping[str, Any]) -> None:
        """Makes the augmentation of a model.

        Args:
            section: What is done.
            img_size: Pixels of the model, (height, width).
            contract: The model's ``pretrained_cfg``: ``interpolation``, ``antialias``.
        """
        self._scales = section.crop_scales
        self._img_size = img_size
        self._interpolation = v2.InterpolationMode(contract["interpolation"])
        self._antialias = bool(contract["antialias"])
        # torchvision draws once a call, and a call has all frames of a clip.
        jitter = v2.ColorJitter(_BRIGHTNESS, _CONTRAST, _SATURATION)
        self._colors = v2.Compose([v2.RandomApply([jitter], p=section.color_jitter), v2.RandomGrayscale(section.grey)])
        self._erase = v2.RandomErasing(p=section.erasing)

    def __call__(self, frames: Tensor, *, seed: int) -> Tensor:
        """Crops and colours a clip; the same seed does the same."""
        draw = random.Random(seed)
        height, width = frames.shape[-2:]
        shape = self._crop_shape(height, width, draw.choice(self._scales))
        top, left = (draw.randint(0, whole - part) for whole, part in zip((height, width), shape, strict=True))
        frames = functional.resized_crop(
            frames, top, left, *shape, list(self._img_size), self._interpolation, self._antialias
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            colored: Tensor = self._colors(frames)
        return colored

    def erase(self, clip: Tensor, *, seed: int) -> Tensor:
        """Erases the same rectangle from all frames of a normalised clip [T, 3, S, S], at the chance that is set."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            erased: Tensor = self._erase(clip)
        return erased

    def _crop_shape(self, height: int, width: int, scale: float) -> tuple[int, int]:
        """The largest crop of the model's shape that fits into the frame, scaled."""
        fit = min(height / self._img_size[0], width / self._img_size[1]) * scale
        rows, columns = (max(1, int(side * fit)) for side in self._img_size)
        return min(rows, height), min(columns, width)
