"""Which share of the work is this process's, by what started it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """One of several equal shares.

    Attributes:
        number: From 0.
        count: Of all shares.

    Raises:
        ValueError: There is no such share.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Checks the fields."""
        if not 0 <= self.number < self.count:
            raise ValueError(f"share {self.number} of {self.count}: shares are numbered from 0 to their count less 1")

    def of(self, parts: int) -> Iterator[int]:
        """Numbers of parts: the share's own, every count-th, and then the others', should they be left."""
        for turn in range(self.count):
            yield from range((self.number + turn) % self.count, parts, self.count)


def share_of_environment(environment: Mapping[str, str]) -> Share:
    """The share of this process: one of ``torchrun``'s (RANK, WORLD_SIZE), or a task of a SLURM array.

    Raises:
        ValueError: The variables make no sense.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return Share(_number(environment, "RANK"), _number(environment, "WORLD_SIZE"))
    if "SLURM_ARRAY_TASK_ID" in environment and "SLURM_ARRAY_TASK_COUNT" in environment:
        task, first, last = (_number(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "MAX"))
        count = _number(environment, "SLURM_ARRAY_TASK_COUNT")
        # --array=10-90:10 numbers its tasks so.
        return Share((task - first) // max((last - first) // max(count - 1, 1), 1), count)
    if "SLURM_PROCID" in environment and "SLURM_NTASKS" in environment:
        return Share(_number(environment, "SLURM_PROCID"), _number(environment, "SLURM_NTASKS"))
    return Share()


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment[name])
    except (KeyError, ValueError):
        raise ValueError(f"{name}={environment.get(name)!r} is not a whole number: unset it, or give --share") from None
