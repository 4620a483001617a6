"""The errors of everything that reads weights."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A file that is not a checkpoint, or whose tensors are not the ones that are needed.

    The message names the file or the tensors, the rule that they break and the next step.
    """


class UnavailableError(CheckpointError):
    """Weights that cannot be had now, although nothing is known to be wrong with them.

    No cache has them, and where they come from cannot be reached or refuses, or the cache cannot be written.
    """
