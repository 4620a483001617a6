"""Importing this package makes ``timm.create_model("ila_vit_b16", ...)`` work.

timm passes arguments of its own to every constructor. A tag (``timm.create_model("ila_vit_b16.openai",
pretrained=True)``) and weights that are named (``"hf-hub:owner/name"``, ``"local-dir:PATH"``) are honoured, what means
nothing here is refused, and everything else goes to :func:`ila_models.create_model`.
"""

from __future__ import annotations

from typing import Any

from timm.models import register_model

from .aligned_pretrained import load_aligned_vit
from .aligned_vit import AlignedViT
from .factory import create_model
from .ila_vit import ILAVisionTransformer

__all__ = ["aligned_vit", "ila_vit_b16", "ila_vit_b32", "ila_vit_l14", "ila_vit_l14_336", "ila_vit_nano8"]


def _create(
    name: str,
    *,
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    cache_dir: Any = None,
    pretrained_model_args: Any = None,
    **arguments: Any,
) -> ILAVisionTransformer:
    # timm hands on as `pretrained_cfg` what it read in a name: a tag, or where named weights and their config.json are.
    # `pretrained_model_args`, of newer versions, repeats that file's; our weights say the same.
    if isinstance(pretrained_cfg, str):
        name, pretrained_cfg = f"{name}.{pretrained_cfg}", None
    elif (weights := _named_weights(pretrained_cfg)) is not None:
        name, pretrained_cfg = weights, None
    given = {"pretrained_cfg": pretrained_cfg, "pretrained_cfg_overlay": pretrained_cfg_overlay, "cache_dir": cache_dir}
    if used := [argument for argument, value in given.items() if value]:
        raise ValueError(
            f"timm.create_model({name!r}): {', '.join(used)} cannot be used with ILA models: choose weights by a tag"
            f" (ila_models.list_pretrained()), and the cache by HF_HOME"
        )
    return create_model(name, pretrained=pretrained, **arguments)


def _named_weights(pretrained_cfg: Any) -> str | None:
    """The name with which timm was asked for weights that say themselves what they are."""
    if isinstance(pretrained_cfg, dict) and (source := pretrained_cfg.get("source")) in ("hf-hub", "local-dir"):
        return f"{source}:{pretrained_cfg['hf_hub_id' if source == 'hf-hub' else 'file']}"
    return None


@register_model
def aligned_vit(
    pretrained: bool = False, pretrained_cfg: Any = None, num_classes: int | None = None, **arguments: Any
) -> AlignedViT:
    """An image model with alignment, out of its weights; see :func:`ila_models.load_aligned_vit`."""
    source = _named_weights(pretrained_cfg)
    if source is None:
        raise ValueError(
            "timm.create_model('aligned_vit'): no weights are named that say which image model: give"
            " 'hf-hub:owner/name' or 'local-dir:FOLDER', or make one by ila_models.add_alignment(timm_vit)"
        )
    foreign = ("pretrained_cfg_overlay", "cache_dir", "pretrained_model_args")
    if odd := [name for name, value in arguments.items() if name not in foreign or (value and name != foreign[2])]:
        raise ValueError(f"timm.create_model({source!r}): {', '.join(odd)} cannot be used with such a model")
    return load_aligned_vit(source, num_classes=num_classes)


@register_model
def ila_vit_b32(pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on CLIP ViT-B/32; see :func:`ila_models.create_model`."""
    return _create("ila_vit_b32", pretrained=pretrained, **arguments)


@register_model
def ila_vit_b16(pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on CLIP ViT-B/16; see :func:`ila_models.create_model`."""
    return _create("ila_vit_b16", pretrained=pretrained, **arguments)


@register_model
def ila_vit_l14(pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on CLIP ViT-L/14; see :func:`ila_models.create_model`."""
    return _create("ila_vit_l14", pretrained=pretrained, **arguments)


@register_model
def ila_vit_l14_336(pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on CLIP ViT-L/14 of 336 pixels; see :func:`ila_models.create_model`."""
    return _create("ila_vit_l14_336", pretrained=pretrained, **arguments)


@register_model
def ila_vit_nano8(pretrained: bool = False, **arguments: Any) -> ILAVisionTransformer:
    """ILA on a small transformer with patches of 8 pixels; see :func:`ila_models.create_model`."""
    return _create("ila_vit_nano8", pretrained=pretrained, **arguments)
