"""Image models of timm with alignment, small and with random weights."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

import ila_models
from ila_models.aligned_vit import AlignedViT

# CLIP, SigLIP (no class token, pooled by attention), DINOv2 with and without registers, DINOv3 and EVA-02 (rotary
# positions), DeiT III, relative positions with average pooling, average pooling without a class token, registers alone.
ARCHITECTURES = (
    "vit_base_patch16_clip_quickgelu_224",
    "vit_base_patch16_siglip_224",
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3",
    "eva02_tiny_patch14_224",
    "deit3_small_patch16_224",
    "vit_relpos_small_patch16_224",
    "vit_medium_patch16_gap_240",
    "vit_little_patch16_reg4_gap_256",
)


def image_model(name: str, **options: Any) -> nn.Module:
    """A model of a few blocks and patches, with random weights none of which is zero."""
    pixels = 70 if "patch14" in name else 80
    vit: nn.Module = timm.create_model(name, **{"img_size": pixels, "num_classes": 7, "depth": 2, **options})
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return vit.eval()


def aligned_model(name: str = "vit_small_patch14_reg4_dinov2", **options: Any) -> AlignedViT:
    """The same with alignment."""
    # Written out, since timm notes them from 1.0.31 on only.
    model_args = {"depth": 2, **options}
    return awake(ila_models.add_alignment(image_model(name, **options), alignment_width=16, model_args=model_args))


def clips_for(model: AlignedViT, *, clips: int = 2, frames: int = 3) -> Tensor:
    return torch.randn(clips, frames, 3, *model.img_size)


def awake(model: AlignedViT) -> AlignedViT:
    """The model with nothing left at zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model
