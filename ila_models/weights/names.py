"""Names of tensors: OpenAI CLIP's image tower, and the released ILA layout on top of it, beside ours.

A table maps names in the file to names in :class:`~ila_models.ila_vit.ILAVisionTransformer`. Tables are made for given
numbers of layers, so that a table is also the full list of what a file must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

Names = dict[str, str]
"""Name in the file -> name in our model."""

WEIGHT_AND_BIAS = ("weight", "bias")
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

CLIP_LAYER: Mapping[str, str] = {
    "ln_1.weight": "norm1.weight",
    "ln_1.bias": "norm1.bias",
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj.weight": "attn.proj.weight",
    "attn.out_proj.bias": "attn.proj.bias",
    "ln_2.weight": "norm2.weight",
    "ln_2.bias": "norm2.bias",
    "mlp.c_fc.weight": "mlp.fc1.weight",
    "mlp.c_fc.bias": "mlp.fc1.bias",
    "mlp.c_proj.weight": "mlp.fc2.weight",
    "mlp.c_proj.bias": "mlp.fc2.bias",
}
"""One transformer layer of CLIP's, which the released temporal head uses as well."""

CLIP_STEM: Mapping[str, str] = {
    "visual.conv1.weight": "patch_embed.proj.weight",
    "visual.class_embedding": "cls_token",
    "visual.positional_embedding": "pos_embed",
    "visual.ln_pre.weight": "norm_pre.weight",
    "visual.ln_pre.bias": "norm_pre.bias",
    "visual.ln_post.weight": "norm.weight",
    "visual.ln_post.bias": "norm.bias",
    "visual.proj": "proj.weight",
}

# Modules of a released block, and their place in ours. Conv and batch norm stand side by side as list entries there.
RELEASED_LINEAR: Mapping[str, str] = {
    "message_fc": "alignment.message",
    "message_ln": "alignment.message_norm",
    "message_attn.conv": "temporal_conv",
    "message_attn.fc": "temporal_proj",
    "message_attn.prediction_block.0": "alignment.points.stage1.conv",
    "message_attn.prediction_block.4": "alignment.points.stage2.conv",
    "message_attn.prediction_block.10": "alignment.points.fc1",
    "message_attn.prediction_block.12": "alignment.points.fc2",
    "temporal_skip_align_fc": "aligned_skip",
    "temporal_skip_fc": "interactive_skip",
}
RELEASED_BATCH_NORM: Mapping[str, str] = {
    "message_attn.prediction_block.1": "alignment.points.stage1.norm",
    "message_attn.prediction_block.5": "alignment.points.stage2.norm",
}
RELEASED_INTERACTIVE: Mapping[str, Mapping[str, str]] = {
    "separable": {
        "0.depthwise_conv.0": "depthwise.conv",
        "0.depthwise_conv.1": "depthwise.norm",
        "0.pointwise_conv.0": "pointwise.conv",
        "0.pointwise_conv.1": "pointwise.norm",
        "1": "mix.conv",
        "2": "mix.norm",
    },
    "full": {"0": "reduce.conv", "1": "reduce.norm", "3": "mix.conv", "4": "mix.norm"},
}
RELEASED_TEXT_HEAD: Mapping[str, str] = {
    "prompts_visual_ln.weight": "head.context_norm.weight",
    "prompts_visual_ln.bias": "head.context_norm.bias",
    "prompts_visual_proj": "head.context_proj.weight",
    "prompts_generator.norm.weight": "head.prompts.norm.weight",
    "prompts_generator.norm.bias": "head.prompts.norm.bias",
    "prompts_generator.alpha": "head.prompts.alpha",
    "logit_scale": "head.logit_scale",
}
RELEASED_PROMPT_LAYER: Mapping[str, str] = {
    "cross_attn.q_proj.weight": "cross_attn.q.weight",
    "cross_attn.k_proj.weight": "cross_attn.k.weight",
    "cross_attn.v_proj.weight": "cross_attn.v.weight",
    "cross_attn.proj.weight": "cross_attn.proj.weight",
    "cross_attn.proj.bias": "cross_attn.proj.bias",
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "norm3.weight": "norm2.weight",
    "norm3.bias": "norm2.bias",
    "mlp.0.weight": "mlp.fc1.weight",
    "mlp.0.bias": "mlp.fc1.bias",
    "mlp.3.weight": "mlp.fc2.weight",
    "mlp.3.bias": "mlp.fc2.bias",
}
RELEASED_LINEAR_HEAD: Mapping[str, str] = {
    "mit.classify_head.0.weight": "head.norm.weight",
    "mit.classify_head.0.bias": "head.norm.bias",
    "mit.classify_head.2.weight": "head.fc.weight",
    "mit.classify_head.2.bias": "head.fc.bias",
}

RESHAPES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "proj.weight": lambda matrix: matrix.T,  # [in, out], applied as x @ P, to a linear layer's [out, in]
    "head.context_proj.weight": lambda matrix: matrix.T,
    "cls_token": lambda vector: vector.reshape(1, 1, -1),
    "pos_embed": lambda matrix: matrix.unsqueeze(0),
}
"""What must be done to a tensor, by our name of it, beyond renaming."""


def expand(modules: Mapping[str, str], suffixes: tuple[str, ...]) -> Names:
    """Names of modules to names of their tensors."""
    return {f"{old}.{suffix}": f"{new}.{suffix}" for old, new in modules.items() for suffix in suffixes}


def prefix(names: Mapping[str, str], old: str, new: str) -> Names:
    """Puts ``old`` before the file's names and ``new`` before ours."""
    return {old + file_name: new + our_name for file_name, our_name in names.items()}


def clip_image_names(depth: int) -> Names:
    """Names of CLIP's image tower with ``depth`` layers."""
    names = dict(CLIP_STEM)
    for index in range(depth):
        names |= prefix(CLIP_LAYER, f"visual.transformer.resblocks.{index}.", f"blocks.{index}.")
    return names


def released_names(
    *,
    depth: int,
    interactive: Literal["separable", "full"],
    temporal_depth: int,
    head: Literal["text", "linear"],
    prompt_depth: int,
) -> Names:
    """Names of a released ILA state dict, the text tower excepted."""
    names = clip_image_names(depth)
    stages = RELEASED_INTERACTIVE[interactive]
    convolutions = {old: new for old, new in stages.items() if new.endswith(".conv")}
    norms = {old: new for old, new in stages.items() if new.endswith(".norm")}
    place = ("message_attn.interactive_block.", "alignment.interactive.")
    block = (
        expand(RELEASED_LINEAR, WEIGHT_AND_BIAS)
        | expand(RELEASED_BATCH_NORM, BATCH_NORM)
        | prefix(expand(convolutions, WEIGHT_AND_BIAS), *place)
        | prefix(expand(norms, BATCH_NORM), *place)
    )
    for index in range(depth):
        names |= prefix(block, f"visual.transformer.resblocks.{index}.", f"blocks.{index}.")
    names["mit.positional_embedding"] = "temporal.pos_embed"
    for index in range(temporal_depth):
        names |= prefix(CLIP_LAYER, f"mit.resblocks.{index}.", f"temporal.blocks.{index}.")
    if head == "linear":
        return names | dict(RELEASED_LINEAR_HEAD)
    names |= RELEASED_TEXT_HEAD
    for index in range(prompt_depth):
        names |= prefix(RELEASED_PROMPT_LAYER, f"prompts_generator.decoder.{index}.", f"head.prompts.layers.{index}.")
    return names


def rename(tensors: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """The tensors that ``names`` knows, under our names and in our shapes.

    A tensor whose shape does not allow the reshaping keeps its own, so that it is reported as misshapen later on.
    """
    renamed = {}
    for file_name, our_name in names.items():
        if file_name not in tensors:
            continue
        tensor = tensors[file_name]
        if our_name.endswith("temporal_conv.weight") and tensor.ndim == 5 and tensor.shape[3:] == (1, 1):
            tensor = tensor[..., 0, 0]  # released as a 3-d convolution, [out, in, frames, 1, 1]
        elif our_name in RESHAPES and tensor.ndim <= 2:
            tensor = RESHAPES[our_name](tensor)
        renamed[our_name] = tensor
    return renamed
