"""The one error of training."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """A run cannot go on. The message says why, what is kept, and how to go on."""
