"""What a process on a machine with others takes of it: which GPU, and how many processes that decode."""

from __future__ import annotations

import os

import torch

from .model_options import choose_device

MOST_WORKERS = 8


def process_device(argument: str) -> str:
    """The device of ``--device`` for this process: one of several on a machine takes the GPU of its own number.

    Raises:
        ValueError: torch does not see it.
    """
    device = choose_device(argument)
    local_rank = os.environ.get("LOCAL_RANK")
    if local_rank is None or ":" in argument or device.partition(":")[0] in ("cpu", "mps"):
        return device
    if int(local_rank) >= (count := torch.accelerator.device_count()):
        raise ValueError(
            f"process {local_rank} of this machine has no GPU, torch sees {count}: start {count} processes"
        )
    return f"{device.partition(':')[0]}:{local_rank}"


def default_workers() -> int:
    """Decoding processes for one of the processes on this machine."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cpus // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
