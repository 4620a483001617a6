"""Checkpoints with made-up weights in the layouts that exist outside: the authors' and CLIP's."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from parity.synth import synth_tensor
from torch import Tensor, nn

from ila_models.ila_vit import ILAVisionTransformer
from ila_models.weights.checkpoint import Checkpoint
from ila_models.weights.loading import load_into
from ila_models.weights.recognise import read_checkpoint

PARITY = Path(__file__).parent / "parity"
LAYOUTS = ("k400_tiny", "ssv2_tiny", "k400_tiny224", "ssv2_tiny224", "k400_b32_8", "ssv2_b16_8")
"""The checkpoints whose names and shapes, and the authors' answers, stand in ``parity``."""


def released_state(layout: str) -> dict[str, Tensor]:
    """A released state dict, made from the names and shapes in ``parity/<layout>.keys.json``."""
    keys = json.loads((PARITY / f"{layout}.keys.json").read_text())
    return {name: synth_tensor(name, shape, getattr(torch, dtype)) for name, (shape, dtype) in keys.items()}


def write_released(layout: str, folder: Path) -> Path:
    """Writes a released checkpoint as its authors did: ``torch.save`` with the weights under "model"."""
    path = folder / f"{layout}.pth"
    torch.save({"model": released_state(layout)}, path)
    return path


def read_model(path: Path) -> tuple[ILAVisionTransformer, Checkpoint]:
    """A model of whatever sizes the file has, with its weights; a text head has no classes yet."""
    checkpoint = read_checkpoint(path)
    model = ILAVisionTransformer(checkpoint.config, head=checkpoint.head, num_classes=checkpoint.num_classes)
    load_into(model, checkpoint, checkpoint.config)
    return model.eval(), checkpoint


def random_clip(name: str) -> nn.Module:
    """open_clip's model of that name, with random weights of which none is zero."""
    import open_clip

    model = open_clip.model.CLIP(**open_clip.get_model_config(name))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases start at zero, scales at one: mistakes with them would not show
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()
