"""How many clips a device takes at once."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

logger = logging.getLogger(__name__)

ON_A_CPU = 8
"""Clips at once where memory is no bound: more are no faster on a CPU."""
MOST = 64
"""Clips at once that are tried; a GPU is busy with fewer."""


def largest_that_fits(run: Callable[[int], object], device: torch.device) -> int:
    """The largest power of two, up to :data:`MOST`, of which a device's memory holds a batch.

    Args:
        run: Runs a batch of a size.
        device: Where it runs. On a CPU nothing is tried.

    Raises:
        RuntimeError: Not even one clip fits, or a batch fails for another reason.
    """
    if device.type == "cpu":
        return ON_A_CPU
    size = 1
    run(size)
    while size < MOST:
        try:
            run(2 * size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            free_unused(device)
            break
        size *= 2
    logger.info("%s takes %d clips at once", device, size)
    return size


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a batch failed because it was too large."""
    # torch.OutOfMemoryError is an accelerator's; the CPU's allocator has none of its own.
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def free_unused(device: torch.device) -> None:
    """Gives the memory back that a failed batch left to torch's allocator."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
