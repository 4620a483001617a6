"""Which clips make up a step: the same whatever the number of processes, and from any step on."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class ClipKey(NamedTuple):
    """A clip of an epoch: the number of its sample, and the seed of all that is random about it."""

    epoch: int
    sample: int
    seed: int


class StepBatches(Sampler[list[ClipKey]]):
    """The keys of one process, step by step, from a given step to the end of the run.

    Every epoch goes through the samples in an order of its own, which follows from the seed, or as they stand. What
    does not fill a last batch is left out of that epoch. Process r of n takes the r-th of n equal parts of every batch.
    """

    def __init__(
        self,
        *,
        samples: int,
        batch_size: int,
        epochs: int,
        seed: int,
        in_order: bool = False,
        first_step: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """Makes a sampler.

        Args:
            samples: Samples of an epoch.
            batch_size: Clips of a step over all processes, a multiple of ``processes``.
            epochs: Epochs of the run.
            seed: Of the orders and of the keys' seeds.
            in_order: Take the samples as they stand in every epoch.
            first_step: Step to begin with, counted from the start of the run.
            process: Which part.
            processes: How many parts.

        Raises:
            ValueError: The batch cannot be split, or is larger than an epoch.
        """
        if batch_size % processes:
            raise ValueError(f"a batch of {batch_size} clips cannot be split over {processes} processes")
        if samples < batch_size:
            raise ValueError(
                f"an epoch of {samples} clips does not fill one batch of {batch_size}: give more clips, or a smaller"
                f" run.batch_size"
            )
        self.steps_per_epoch = samples // batch_size
        self._samples, self._batch_size, self._epochs, self._seed = samples, batch_size, epochs, seed
        self._in_order = in_order
        self._first_step, self._process, self._share = first_step, process, batch_size // processes

    def after(self, steps: int) -> StepBatches:
        """The same without the first ``steps`` of those that are left."""
        later = copy.copy(self)
        later._first_step += steps
        return later

    def __len__(self) -> int:
        """Steps that are left."""
        return self._epochs * self.steps_per_epoch - self._first_step

    def __iter__(self) -> Iterator[list[ClipKey]]:
        """Goes on to the end of the run."""
        first_epoch, first = divmod(self._first_step, self.steps_per_epoch)
        for epoch in range(first_epoch, self._epochs):
            order = self._order(epoch)
            for step in range(first if epoch == first_epoch else 0, self.steps_per_epoch):
                start = step * self._batch_size + self._process * self._share
                indices = order[start : start + self._share].tolist()
                yield [ClipKey(epoch, index, seed_of(self._seed, epoch, index)) for index in indices]

    def _order(self, epoch: int) -> torch.Tensor:
        if self._in_order:
            return torch.arange(self._samples)
        return torch.randperm(self._samples, generator=torch.Generator().manual_seed(seed_of(self._seed, epoch)))


def seed_of(*numbers: int) -> int:
    """A seed of 63 bits that follows from some numbers, and from nothing else."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
