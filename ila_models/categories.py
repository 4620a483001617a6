"""Class names that torchvision publishes."""

from __future__ import annotations


def kinetics_400_names() -> tuple[str, ...]:
    """The 400 class names of Kinetics-400 in the order of the released checkpoints' labels (alphabetical)."""
    from torchvision.models.video import MViT_V2_S_Weights

    return tuple(MViT_V2_S_Weights.KINETICS400_V1.meta["categories"])
