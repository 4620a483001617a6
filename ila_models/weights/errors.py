"""The one error of everything that reads weights."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A file that is not a checkpoint, or whose tensors are not the ones that are needed.

    The message names the file or the tensors, the rule that they break and the next step.
    """
