"""What a process on a machine with others takes of it: which GPU, and how many processes that decode."""

from __future__ import annotations

import os

import torch

from .model_options import choose_device

MOST_WORKERS = 8


def process_device(argument: str) -> str:
    """The device of ``--device`` for this process: one of several on a machine takes the GPU of its own number.

    torchrun says that number by LOCAL_RANK, SLURM by SLURM_LOCALID. Each of SLURM's tasks may be shown GPUs of its own
    alone, by ``--gpus-per-task``: it takes the first of them.

    Raises:
        ValueError: torch does not see it.
    """
    device = choose_device(argument)
    number = os.environ.get("LOCAL_RANK")
    if number is None and "SLURM_GPUS_PER_TASK" not in os.environ and torch.accelerator.device_count() > 1:
        number = os.environ.get("SLURM_LOCALID")
    if number is None or ":" in argument or device.partition(":")[0] in ("cpu", "mps"):
        return device
    if int(number) >= (count := torch.accelerator.device_count()):
        raise ValueError(f"process {number} of this machine has no GPU, torch sees {count}: start {count} processes")
    return f"{device.partition(':')[0]}:{number}"


def default_workers() -> int:
    """Decoding processes for one of the processes on this machine."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cpus // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
