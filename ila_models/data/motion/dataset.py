"""The clips as a dataset, made on the fly from a seed.

Symbols: B clips, T frames, H = W = S pixels.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex

import torch
from torch import Tensor
from torch.utils.data import Dataset

from .drawing import draw_clip
from .easing_in import ease, hardness
from .randomness import Draws, noise
from .scenes import scene_of

TRAIN_SEED = 0
VALIDATION_SEED = 1_000_000
TEST_SEED = 2_000_000

_SMALLEST, _LARGEST = 32, 256


class MotionDataset(Dataset[tuple[Tensor, int]]):
    """Clips of one textured shape in motion, with the label of its motion.

    Item i is the clip that `motion_clips([i], seed=seed)` makes, whatever the size of the dataset.

    A shape (one of seven outlines, four patterns, any two colours that stand out) measures 0.26 to 0.52 of the picture
    and stays in view. From the first frame to the last it travels 0.20 to 0.44 of the picture, or turns by 50 to 110
    degrees, or grows by a factor of 1.5 to 2.2, or comes out of the background altogether: amounts that a person sees
    at once. Half of the motions are of constant speed, the others faster in the middle. Half of the backgrounds drift,
    by up to 0.10 of the picture, in any direction. Up to two smaller shapes stand still. Each value has noise of a
    standard deviation of up to 0.05 of the range.

    Args:
        size: how many clips there are, at least 1; a multiple of ten holds every class equally often.
        seed: one dataset per seed, in [0, 2^64). Below 1,000,000 they are for training, from there to 1,999,999 for
            validation; test with later ones, and what was learned has seen none of it.
        num_frames: T, at least 2; from 5 on, every motion is clear (a star turned by 110 degrees at once may as well
            have turned by 34 the other way).
        img_size: S, 32 to 256 pixels.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, size: int, *, seed: int = TRAIN_SEED, num_frames: int = 8, img_size: int = 64) -> None:
        """Keeps the arguments; nothing is drawn yet."""
        self.size = _at_least("size", size, 1)
        self.seed, self.num_frames, self.img_size = check_clip_arguments(seed, num_frames, img_size)

    def __len__(self) -> int:
        """How many clips there are."""
        return self.size

    def __getitem__(self, index: SupportsIndex) -> tuple[Tensor, int]:
        """Draws one clip.

        Args:
            index: in [0, len(self)).

        Returns:
            uint8 RGB in [0, 255], [T, 3, S, S], and its label.

        Raises:
            IndexError: there is no such clip.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[tuple[Tensor, int]]:
        """Draws the clips of one batch, as a `DataLoader` asks for them; as `__getitem__` for each.

        Raises:
            IndexError: there is no such clip.
        """
        numbers = [operator.index(index) for index in indices]
        for number in numbers:
            if not 0 <= number < self.size:
                raise IndexError(f"index {number} is out of range: the dataset has the clips 0 to {self.size - 1}.")
        clips, labels = motion_clips(numbers, seed=self.seed, num_frames=self.num_frames, img_size=self.img_size)
        return list(zip(clips, labels.tolist(), strict=True))


def motion_clips(
    indices: Iterable[SupportsIndex],
    *,
    seed: int,
    num_frames: int = 8,
    img_size: int = 64,
    difficulty: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Draws clips. A clip depends on the arguments below and its own index only, not on the others of its batch.

    On one machine its bits are always the same, whatever the number of threads and processes. On another one, a value
    may differ by one grey level where the last bit of a sine, in double precision, decides how it is rounded: expect
    none. With another number of frames or another size, an index shows the same scene.

    Args:
        indices: of the clips, each in [0, 2^64); B of them. Every ten from a multiple of ten on hold each class once.
        seed: of the dataset, in [0, 2^64).
        num_frames: T, at least 2.
        img_size: S, 32 to 256 pixels.
        difficulty: less than 1 for easier clips of the same labels, to begin learning with; at 0, large white triangles
            move in the middle of a dark picture.

    Returns:
        The clips, uint8 RGB in [0, 255], [B, T, 3, S, S], and their labels, int64 [B]: places in `MOTION_CLASSES`.

    Raises:
        ValueError: an argument is out of its range.
    """
    seed, num_frames, img_size = check_clip_arguments(seed, num_frames, img_size)
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty is {difficulty}; it must be in 0 to 1.")
    numbers = [_below_two_to_64("index", index) for index in indices]
    shape = (num_frames, 3, img_size, img_size)
    clips = torch.empty(len(numbers), *shape, dtype=torch.uint8)
    labels = torch.empty(len(numbers), dtype=torch.int64)
    for row, index in enumerate(numbers):
        scene = scene_of(seed, index)
        if difficulty < 1:
            scene = ease(scene, hardness(Draws(seed, index, of_hardness=True), difficulty))
        clips[row] = draw_clip(scene, noise(seed, index, shape))
        labels[row] = scene.label
    return clips, labels


def check_clip_arguments(seed: int, num_frames: int, img_size: int) -> tuple[int, int, int]:
    """Returns the three as plain integers.

    Raises:
        ValueError: one is out of its range.
    """
    img_size = operator.index(img_size)
    if not _SMALLEST <= img_size <= _LARGEST:
        raise ValueError(f"img_size is {img_size}; it must be {_SMALLEST} to {_LARGEST} pixels.")
    return _below_two_to_64("seed", seed), _at_least("num_frames", num_frames, 2), img_size


def _below_two_to_64(name: str, value: SupportsIndex) -> int:
    number = operator.index(value)
    if not 0 <= number < 2**64:
        raise ValueError(f"{name} is {number}; it must be at least 0 and below 2**64.")
    return number


def _at_least(name: str, value: SupportsIndex, least: int) -> int:
    number = operator.index(value)
    if number < least:
        raise ValueError(f"{name} is {number}; it must be at least {least}.")
    return number
