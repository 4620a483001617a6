"""The rows of a video until it is done: in memory, and on disk where they are many, as hours of tokens are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..features.levels import Level
from ..features.result import Features, joined

BYTES_IN_MEMORY = 256 << 20


class RowStore:
    """Rows of one video, in order."""

    def __init__(self, scratch: Path, *, bytes_in_memory: int = BYTES_IN_MEMORY) -> None:
        """Begins with none.

        Args:
            scratch: A folder of its own for what memory does not hold; it is made when it is needed.
            bytes_in_memory: What memory holds.
        """
        self._scratch = scratch
        self._most = bytes_in_memory
        self._in_memory: list[Features] = []
        self._on_disk: list[Features] = []  # without their values
        self._row_shapes: dict[Level, tuple[int, ...]] = {}

    def add(self, part: Features) -> None:
        """Takes the next rows.

        Raises:
            OSError: The disk is full.
        """
        self._in_memory.append(part)
        self._row_shapes = {level: tuple(values.shape[1:]) for level, values in part.values.items()}
        if sum(values.nbytes for each in self._in_memory for values in each.values.values()) > self._most:
            self._to_disk()

    def all(self) -> Features:
        """All rows; those on disk are mapped, and read when they are used.

        Raises:
            OSError: The disk is full.
        """
        if not self._on_disk:
            return joined(self._in_memory)
        self._to_disk()
        features = joined(self._on_disk)
        return replace(
            features,
            values={
                # Copied where it is written to, which nobody does: torch has no tensors that are only read.
                level: torch.from_numpy(
                    np.memmap(self._scratch / level, np.float32, mode="c", shape=(len(features), *shape))
                )
                for level, shape in self._row_shapes.items()
            },
        )

    def _to_disk(self) -> None:
        self._scratch.mkdir(parents=True, exist_ok=True)
        for level in self._row_shapes:
            with (self._scratch / level).open("ab") as stream:
                for part in self._in_memory:
                    part.values[level].contiguous().numpy().tofile(stream)
        self._on_disk += [replace(part, values={}) for part in self._in_memory]
        self._in_memory = []
