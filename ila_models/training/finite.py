"""Loss and gradient that are not finite: found before they reach the weights, and kept for whoever looks into it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from .errors import TrainingError

INPUTS_NAME = "not_finite.pt"


def clipped_gradient_norm(model: nn.Module, accelerator: Accelerator, *, clip_norm: float | None) -> float | None:
    """The norm of the whole gradient, alike in all processes; the gradient is clipped to ``clip_norm``, if any.

    None where fp16's gradients stay scaled.
    """
    if clip_norm is not None:
        return float(accelerator.clip_grad_norm_(model.parameters(), clip_norm))
    if accelerator.scaler is not None:
        return None
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def is_to_be_stepped(norm: float | None, accelerator: Accelerator) -> bool:
    """Whether a gradient may go to the optimizer: fp16's scaler leaves out by itself what is not finite."""
    return norm is None or accelerator.scaler is not None or math.isfinite(norm)


def stop_at(what: str, step: int, folder: Path, *, process: int, **inputs: Any) -> None:
    """Keeps the inputs of a step of which something, the loss or the gradient, is not finite.

    Raises:
        TrainingError: Always.
    """
    path = folder / f"{process}.{INPUTS_NAME}"
    torch.save({"step": step, **inputs}, path)
    raise TrainingError(
        f"the {what} of step {step} is not finite. Its inputs are in {path}. With a lower rate, optimizer.clip_norm=1"
        f" or run.precision=fp32, the same command goes on from the last checkpoint in {folder}"
    )
