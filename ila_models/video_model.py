"""Both kinds of video models under one name: ILA's on CLIP, and timm's image models with alignment.

What they have in common is enough to predict, to take features and to be saved: ``num_frames``, ``num_classes``,
``class_names``, ``pretrained_cfg``, and the steps from clips to tokens, frame vectors, a video vector and logits.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from .aligned_pretrained import load_aligned_vit
from .aligned_vit import AlignedViT
from .class_features import BARE_NAMES
from .factory import create_model
from .ila_vit import ILAVisionTransformer
from .weights.aligned import is_aligned_file
from .weights.download import HUB, LOCAL, resolve_checkpoint

VideoModel: TypeAlias = ILAVisionTransformer | AlignedViT

_SILENT = {"pretrained": (True, False), "templates": (BARE_NAMES,), "drop_path_rate": (0.0,)}
"""Arguments that say nothing with these values."""


def create_video_model(name: str, **arguments: Any) -> VideoModel:
    """A model of either kind: as :func:`~ila_models.create_model`, and of weights that are the other kind.

    Args:
        name: For :func:`~ila_models.create_model`; ``"hf-hub:owner/name"`` and ``"local-dir:PATH"`` may be
            of both kinds.
        arguments: Of :func:`~ila_models.create_model`; with an image model with alignment, only those that
            :func:`~ila_models.load_aligned_vit` has.

    Raises:
        ValueError: As those two, or an argument does not go with an image model with alignment.
    """
    if not name.startswith((LOCAL, HUB)):
        return create_model(name, **arguments)
    path = resolve_checkpoint(name)
    if not is_aligned_file(path):
        return create_model(f"{LOCAL}{path}", **arguments)  # which is not asked of the Hub a second time
    said = {
        key: value
        for key, value in arguments.items()
        if value is not None and not any(value == each for each in _SILENT.get(key, ()))
    }
    own = {key: said.pop(key) for key in ("num_classes", "class_names", "fused") if key in said}
    if said:
        raise ValueError(f"{name} is an image model with alignment, with which {', '.join(said)} cannot be used")
    return load_aligned_vit(path, **own)


def leave_out_video_prompts(model: VideoModel) -> None:
    """Has a text head compare with class names alone.

    Raises:
        RuntimeError: The head is not a text head.
    """
    if not isinstance(model, ILAVisionTransformer):
        raise RuntimeError(
            "only a text head has video prompts to leave out, and an image model with alignment has none"
        )
    model.set_video_prompts(False)
