"""Models of a name that are to give features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..video_model import VideoModel, create_video_model
from .levels import Level


def create_for_levels(name: str, levels: Sequence[Level], **arguments: Any) -> VideoModel:
    """A pretrained model, without a head unless a level needs it.

    Args:
        name: For :func:`~ila_models.create_model`.
        levels: What is to be taken of clips.
        arguments: Of :func:`~ila_models.create_model`.
    """
    if not {"logits", "pre_head"} & set(levels) and arguments.get("class_names") is None:
        # Without a head, class names and their features need not be had, nor the last block's patch tokens computed.
        arguments = {"num_classes": 0, **arguments}
    return create_video_model(name, **{"pretrained": arguments.get("checkpoint_path") is None, **arguments})


def default_device() -> torch.device:
    """A GPU if there is one."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """What models run in on a device: bfloat16 on an NVIDIA GPU, float32 elsewhere."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32
