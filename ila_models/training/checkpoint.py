"""The state of a run on disk: written whole or not at all, read back bit for bit.

What is random in a run follows from its seed and the step, and the rates follow from the step, so that a state is the
weights, the optimizer's moments, and how many steps were done.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..whole_files import remove_unfinished
from .errors import TrainingError

FILE_NAME = "checkpoint.pt"
_SCRATCH = "checkpoint"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run after some steps.

    Attributes:
        step: Steps done.
        model: State dict.
        optimizer: State dict.
        scaler: State dict of fp16's gradient scaler; empty without one.
        ema: State dict of the averaged weights; None without an average.
        best: The best top-1 on the validation data so far, None before the first measurement.
        seconds: Time spent in steps.
        config: The configuration, as plain values.
        data: The training data, as :func:`~ila_models.training.described.describe_data` has them; None in states of
            before they were noted.
    """

    step: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    ema: dict[str, torch.Tensor] | None
    best: float | None
    seconds: float
    config: dict[str, Any]
    data: dict[str, Any] | None = None


def save_state(state: RunState, folder: Path) -> None:
    """Writes a state in place of the one before.

    Raises:
        TrainingError: It cannot be written; the one before is untouched.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{_SCRATCH}.", dir=folder) as scratch:
            unfinished = Path(scratch) / FILE_NAME
            with unfinished.open("wb") as stream:
                torch.save(vars(state), stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(unfinished, folder / FILE_NAME)
    except (OSError, RuntimeError) as error:
        # torch tells of a full disk by a RuntimeError.
        raise TrainingError(
            f"the checkpoint of step {state.step} cannot be written into {folder}: {error}. The one before is"
            f" untouched: make room, and run the same command again to go on from there"
        ) from error


def remove_unfinished_state(folder: Path) -> None:
    """Removes what a process that was killed left of writing a state; no other may be writing one."""
    remove_unfinished(folder / _SCRATCH)


def load_state(folder: Path) -> RunState | None:
    """Reads the state of a folder, None if it has none.

    Raises:
        TrainingError: There is one, and it cannot be read.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        return RunState(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, TypeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        # Without torch's text, which tells people to switch its restrictions off.
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged, or no checkpoint of ours. Move it away to"
            f" begin anew"
        ) from None
