"""The processes of a run, and the lock that keeps those of another run out of its folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout

from .checkpoint import remove_unfinished_state
from .config import TrainingConfig
from .errors import TrainingError

LOCK_NAME = ".lock"


def join_processes(config: TrainingConfig) -> Accelerator:
    """Joins the processes that ``torchrun`` or ``accelerate launch`` started, on GPUs or on CPUs.

    Raises:
        TrainingError: They do not find each other, or the device has not the precision.
        ValueError: The batch cannot be split over them.
    """
    settings = config.run
    # accelerate keeps the precision of a process' first run for good, and this may be the second.
    AcceleratorState._reset_state()
    # It joins processes without a GPU only where it is told that there is none.
    is_cpu = not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=is_cpu, mixed_precision="no" if settings.precision == "fp32" else settings.precision)
    processes, started = accelerator.num_processes, int(os.environ.get("WORLD_SIZE", accelerator.num_processes))
    if started != processes:
        raise TrainingError(
            f"WORLD_SIZE={started} processes were started, but this one finds {processes} on {accelerator.device}: each"
            f" would train a run of its own. Start them by torchrun or accelerate launch, before anything else in this"
            f" process has used accelerate; or unset WORLD_SIZE to train in one process"
        )
    if settings.precision == "fp16" and accelerator.device.type == "cpu":
        raise TrainingError("run.precision=fp16 needs a GPU, and there is none: give bf16 or fp32")
    if settings.batch_size % (processes * settings.accumulate):
        raise ValueError(
            f"run.batch_size is {settings.batch_size}: it cannot be split over {processes} processes in"
            f" {settings.accumulate} parts each"
        )
    share, augmentation = settings.batch_size // processes, config.augmentation
    if share % 2 and (augmentation.mixup > 0 or augmentation.cutmix > 0):
        raise ValueError(
            f"run.batch_size is {settings.batch_size}: each of {processes} processes gets {share} clips of a step, in"
            f" run.accumulate={settings.accumulate} parts, and clips are mixed in pairs. Give a multiple of"
            f" {2 * processes * settings.accumulate}, or augmentation.mixup=0 augmentation.cutmix=0"
        )
    return accelerator


@contextmanager
def alone_in(folder: Path, accelerator: Accelerator) -> Iterator[None]:
    """Makes the folder of a run, and keeps it to the processes of this run; what a killed one left half done goes.

    Raises:
        TrainingError: Those of another run are at work there, or the folder cannot be written; in every process, so
            that none is left waiting.
    """
    # The lock is the system's, which frees it however the process ends; the file alone locks nothing.
    lock = FileLock(folder / LOCK_NAME, timeout=0)
    problem: str | None = None
    if accelerator.is_main_process:
        problem = _take(lock, folder)
    if accelerator.num_processes > 1:
        [problem] = broadcast_object_list([problem])
    if problem is not None:
        raise TrainingError(problem)
    try:
        yield
    finally:
        lock.release()


def _take(lock: FileLock, folder: Path) -> str | None:
    """Takes the lock, and says what is in the way, if anything."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        remove_unfinished_state(folder)
    except Timeout:
        return f"another process trains in {folder}: wait for its end, or choose another folder"
    except NotImplementedError:  # filelock's word for it, in its older versions
        return f"the folder of the run, {folder}, is on a file system without locks: choose a folder on another one"
    except OSError as error:
        return f"the folder of the run, {folder}, cannot be used: {error}. Mend that, or choose another folder"
    return None
