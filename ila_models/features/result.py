"""What comes out: rows of features with their spans, or the reason why there are none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .levels import Level


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of a video, a row for every window.

    Attributes:
        source: The video's path or address as it was given, or what it is where it has none.
        spans: Seconds from the first frame to the start and the end of every window, float64 [W, 2]. Frames whose rate
            nobody told are taken as a second each.
        frames: Numbers of the frames that the model saw, int64 [W, T].
        values: By level, float32 on the CPU, [W, ...]; see :data:`~ila_models.features.levels.LEVELS`.
    """

    source: str
    spans: Tensor
    frames: Tensor
    values: dict[Level, Tensor]

    def __getitem__(self, level: Level) -> Tensor:
        """The rows of a level.

        Raises:
            KeyError: The level was not extracted.
        """
        if level not in self.values:
            raise KeyError(f"{level!r} was not extracted; there are {', '.join(self.values)}")
        return self.values[level]

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.spans)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A video that cannot be used.

    Attributes:
        source: The video's path or address as it was given.
        reason: Why, for people.
        error: The error itself, where it was met in this process; None where another process met it.
    """

    source: str
    reason: str
    error: Exception | None = None


def joined(parts: Sequence[Features]) -> Features:
    """Parts of one video, in order, as one."""
    return Features(
        source=parts[0].source,
        spans=torch.cat([part.spans for part in parts]),
        frames=torch.cat([part.frames for part in parts]),
        values={level: torch.cat([part.values[level] for part in parts]) for level in parts[0].values},
    )


def name_of(source: Any) -> str:
    """A source as results name it."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return f"<{type(source).__name__}>"
