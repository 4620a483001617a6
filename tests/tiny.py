"""Models small enough for a test: two blocks of width 64 on a 4 x 4 grid, the smallest that there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ila_models.configs import HeadKind, ILAConfig
from ila_models.ila_vit import ILAVisionTransformer

TINY = ILAConfig(
    width=64, depth=2, patch_size=16, embed_dim=64, img_size=(64, 64), num_frames=4, alignment_width=16, prompt_depth=1
)


def make_model(*, head: HeadKind = "text", num_classes: int = 5, **changes: Any) -> ILAVisionTransformer:
    """A model in evaluation mode whose layers that start at zero have been given values.

    Args:
        head: Kind of head.
        num_classes: Classes; not looked at without a head.
        changes: Fields of the configuration that differ from :data:`TINY`.
    """
    model = ILAVisionTransformer(replace(TINY, **changes), head=head, num_classes=num_classes if head != "none" else 0)
    randomise(model)
    if head == "text":
        model.set_text_features(torch.randn(num_classes, model.config.embed_dim))
    return model.eval()


@torch.no_grad()
def randomise(module: nn.Module) -> None:
    """Adds noise to every parameter, so that none is zero and no layer norm is the identity."""
    for parameter in module.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))


def make_clips(model: ILAVisionTransformer, *, clips: int = 2, frames: int | None = None) -> Tensor:
    """Random clips that fit a model, [clips, T, 3, H, W]."""
    return torch.randn(clips, frames or model.num_frames, 3, *model.config.img_size)
