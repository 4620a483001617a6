"""Random numbers that depend on a seed and an index alone, not on what was drawn before.

They are made from the raw output of Philox, a counter-based generator. NumPy promises that this output never changes,
which it does not of the distributions that it builds on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

_SCENE, _NOISE, _ORDER, _HARDNESS = range(4)
_BYTES_PER_VALUE = 4
_BYTE_VARIANCE = (256**2 - 1) / 12

Choice = TypeVar("Choice")


class Draws:
    """The numbers of which one clip's scene is made, in the order in which they are asked for.

    Args:
        seed: of the dataset, in [0, 2^64).
        index: of the clip, in [0, 2^64).
        of_hardness: other numbers, of how hard the clip is.
    """

    def __init__(self, seed: int, index: int, *, of_hardness: bool = False) -> None:
        """Starts at the clip's first number."""
        self._source = _philox(seed, index, _HARDNESS if of_hardness else _SCENE)

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * ((self._source.random_raw() >> 11) * 2.0**-53)

    def uniforms(self, *shape: int) -> np.ndarray:
        """Numbers in [0, 1), float64, of the given shape."""
        raw = self._source.random_raw(int(np.prod(shape)))
        return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)

    def chance(self, probability: float) -> bool:
        """Whether something with this probability happens."""
        return self.uniform(0, 1) < probability

    def choice(self, options: Sequence[Choice]) -> Choice:
        """One of the options, all equally likely."""
        return options[int(self.uniform(0, len(options)))]


def noise(seed: int, index: int, shape: tuple[int, ...]) -> Tensor:
    """Independent noise for every value of one clip, of mean 0 and standard deviation 1.

    Each value is the sum of four random bytes: close to a normal distribution (never beyond 3.5), a few times faster
    than one, and the same bits everywhere.

    Args:
        seed: of the dataset, in [0, 2^64).
        index: of the clip, in [0, 2^64).
        shape: of the result.

    Returns:
        float32, of the given shape.
    """
    count = int(np.prod(shape))
    raw = _philox(seed, index, _NOISE).random_raw(-(-count * _BYTES_PER_VALUE // 8)).astype("<u8", copy=False)
    parts = torch.from_numpy(raw.view(np.uint8))[: count * _BYTES_PER_VALUE].view(_BYTES_PER_VALUE, *shape)
    total = parts[0].to(torch.int16)
    for part in parts[1:]:
        total += part
    return (total - 255 * _BYTES_PER_VALUE / 2) * (_BYTES_PER_VALUE * _BYTE_VARIANCE) ** -0.5


def order(seed: int, block: int, count: int) -> list[int]:
    """The numbers 0 to count - 1 in an order of their own for every seed and block."""
    return np.argsort(_philox(seed, block, _ORDER).random_raw(count), kind="stable").tolist()


def _philox(seed: int, index: int, purpose: int) -> np.random.Philox:
    # The counter's highest word keeps the purposes apart: none ever draws the 2^192 numbers up to the next.
    key, counter = np.array([seed, index], dtype=np.uint64), np.array([0, 0, 0, purpose], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter)
