"""Which parameters learn, and how fast."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from ..video_model import VideoModel
from .config import OptimizerSection
from .errors import TrainingError

# Parts that learn in the released recipe: in the blocks, whatever is not CLIP's or the image model's. The rest of the
# model is theirs too, or keeps its starting values (the prompts of the text head, unless they are asked for).
_FROZEN = ("norm1", "attn", "norm2", "mlp", "block")
_SKIPS = ("aligned_skip", "interactive_skip")
_HEADS = ("temporal.", "head.norm.", "head.fc.", "head.weight", "head.bias")
_PROMPTS = ("head.prompts.", "head.context_")


def make_optimizer(model: VideoModel, section: OptimizerSection) -> torch.optim.AdamW:
    """AdamW over what learns, every part at its rate; everything else is frozen.

    Raises:
        TrainingError: Nothing would learn.
    """
    groups = _released_groups(model, section) if section.parameters == "released" else _all_groups(model, section)
    if not any(group["params"] for group in groups):
        raise TrainingError("no parameter of this model learns under this configuration")
    return torch.optim.AdamW(groups, lr=section.lr, betas=section.betas, eps=section.eps)


def _released_groups(model: VideoModel, section: OptimizerSection) -> list[dict[str, Any]]:
    """The released recipe's groups; biases, vectors and position embeddings are not decayed."""
    rates = {
        "alignment": (section.alignment_lr, section.alignment_weight_decay),
        "skips": (section.skip_lr, section.skip_weight_decay),
        "heads": (section.head_lr, section.head_weight_decay),
    }
    whole = model.no_weight_decay()
    found: defaultdict[tuple[str, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        part = "heads" if section.prompts and name.startswith(_PROMPTS) else _part(name)
        parameter.requires_grad_(part is not None)
        if part is not None:
            decays = parameter.ndim > 1 and name not in whole
            found[part, decays].append(parameter)
    return [
        {"params": parameters, "lr": rates[part][0], "weight_decay": rates[part][1] if decays else 0.0, "part": part}
        for (part, decays), parameters in sorted(found.items())
    ]


def _part(name: str) -> str | None:
    name = name.removeprefix("vit.")
    if name == "time_embed":
        return "alignment"
    if name.startswith("blocks."):
        part = name.split(".")[2]
        return None if part in _FROZEN else "skips" if part in _SKIPS else "alignment"
    return "heads" if name.startswith(_HEADS) else None


def _all_groups(model: VideoModel, section: OptimizerSection) -> list[dict[str, Any]]:
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if section.layer_decay is None:
        groups = param_groups_weight_decay(model, section.weight_decay, no_weight_decay_list=model.no_weight_decay())
        return [{**group, "lr": section.lr, "part": "all"} for group in groups]
    groups = param_groups_layer_decay(
        model, section.weight_decay, no_weight_decay_list=model.no_weight_decay(), layer_decay=section.layer_decay
    )
    return [
        {
            "params": group["params"],
            "weight_decay": group["weight_decay"],
            "lr": section.lr * group["lr_scale"],
            "part": "all",
        }
        for group in groups
    ]
