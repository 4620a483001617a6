"""CLIP's tensor names in four layouts, as tables from the name in the file to OpenAI's name.

`{i}` stands for a block's number. A rule also says what becomes of the values.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

ClipLayout = Literal["openai", "transformers", "open_clip", "timm"]

How = Literal["keep", "transpose", "flatten", "unbatch", "q", "k", "v", "zero"]


class Rule(NamedTuple):
    """What one tensor of a file becomes.

    Attributes:
        target: OpenAI's name.
        how: "keep" the values; "transpose" a linear layer's weight to a matrix that is applied as x @ P; "flatten" to
            one axis; "unbatch" drops a leading axis of 1; "q", "k", "v" are thirds to be joined in this order; "zero"
            has to be all zeros and is dropped.
    """

    target: str
    how: How = "keep"


IMAGE_BLOCK = "visual.transformer.resblocks.{i}."
TEXT_BLOCK = "transformer.resblocks.{i}."

_BLOCK = (
    "ln_1.weight",
    "ln_1.bias",
    "attn.in_proj_weight",
    "attn.in_proj_bias",
    "attn.out_proj.weight",
    "attn.out_proj.bias",
    "ln_2.weight",
    "ln_2.bias",
    "mlp.c_fc.weight",
    "mlp.c_fc.bias",
    "mlp.c_proj.weight",
    "mlp.c_proj.bias",
)
_IMAGE = (
    "visual.conv1.weight",
    "visual.class_embedding",
    "visual.positional_embedding",
    "visual.ln_pre.weight",
    "visual.ln_pre.bias",
    *(IMAGE_BLOCK + tail for tail in _BLOCK),
    "visual.ln_post.weight",
    "visual.ln_post.bias",
    "visual.proj",
)
_TEXT = (
    "token_embedding.weight",
    "positional_embedding",
    *(TEXT_BLOCK + tail for tail in _BLOCK),
    "ln_final.weight",
    "ln_final.bias",
    "text_projection",
)


def _both(source: str, target: str) -> dict[str, Rule]:
    """A layer's weight and bias."""
    return {f"{source}.{tail}": Rule(f"{target}.{tail}") for tail in ("weight", "bias")}


def _transformers_block(source: str, target: str) -> dict[str, Rule]:
    thirds: tuple[How, ...] = ("q", "k", "v")
    return {
        **_both(f"{source}layer_norm1", f"{target}ln_1"),
        **{
            f"{source}self_attn.{third}_proj.{tail}": Rule(f"{target}attn.in_proj_{tail}", third)
            for tail in ("weight", "bias")
            for third in thirds
        },
        **_both(f"{source}self_attn.out_proj", f"{target}attn.out_proj"),
        **_both(f"{source}layer_norm2", f"{target}ln_2"),
        **_both(f"{source}mlp.fc1", f"{target}mlp.c_fc"),
        **_both(f"{source}mlp.fc2", f"{target}mlp.c_proj"),
    }


_TIMM_BLOCK = {
    **_both("blocks.{i}.norm1", IMAGE_BLOCK + "ln_1"),
    "blocks.{i}.attn.qkv.weight": Rule(IMAGE_BLOCK + "attn.in_proj_weight"),
    "blocks.{i}.attn.qkv.bias": Rule(IMAGE_BLOCK + "attn.in_proj_bias"),
    **_both("blocks.{i}.attn.proj", IMAGE_BLOCK + "attn.out_proj"),
    **_both("blocks.{i}.norm2", IMAGE_BLOCK + "ln_2"),
    **_both("blocks.{i}.mlp.fc1", IMAGE_BLOCK + "mlp.c_fc"),
    **_both("blocks.{i}.mlp.fc2", IMAGE_BLOCK + "mlp.c_proj"),
}

TABLES: dict[ClipLayout, dict[str, Rule]] = {
    "openai": {name: Rule(name) for name in (*_IMAGE, *_TEXT, "logit_scale")},
    # open_clip's standard models have OpenAI's names; a CustomTextCLIP keeps its text tower under "text.".
    "open_clip": {
        **{name: Rule(name) for name in (*_IMAGE, "logit_scale")},
        **{f"text.{name}": Rule(name) for name in _TEXT},
    },
    "transformers": {
        "vision_model.embeddings.patch_embedding.weight": Rule("visual.conv1.weight"),
        "vision_model.embeddings.class_embedding": Rule("visual.class_embedding"),
        "vision_model.embeddings.position_embedding.weight": Rule("visual.positional_embedding"),
        **_both("vision_model.pre_layrnorm", "visual.ln_pre"),  # spelt so in transformers
        **_transformers_block("vision_model.encoder.layers.{i}.", IMAGE_BLOCK),
        **_both("vision_model.post_layernorm", "visual.ln_post"),
        "visual_projection.weight": Rule("visual.proj", "transpose"),
        "text_model.embeddings.token_embedding.weight": Rule("token_embedding.weight"),
        "text_model.embeddings.position_embedding.weight": Rule("positional_embedding"),
        **_transformers_block("text_model.encoder.layers.{i}.", TEXT_BLOCK),
        **_both("text_model.final_layer_norm", "ln_final"),
        "text_projection.weight": Rule("text_projection", "transpose"),
        "logit_scale": Rule("logit_scale"),
    },
    "timm": {
        "patch_embed.proj.weight": Rule("visual.conv1.weight"),
        "cls_token": Rule("visual.class_embedding", "flatten"),
        "pos_embed": Rule("visual.positional_embedding", "unbatch"),
        **_both("norm_pre", "visual.ln_pre"),
        **_TIMM_BLOCK,
        **_both("norm", "visual.ln_post"),
        "head.weight": Rule("visual.proj", "transpose"),
        "head.bias": Rule("", "zero"),  # timm's head has a bias, CLIP's projection has none
    },
}

# Not weights: what OpenAI's archives and older open_clip and transformers files carry besides.
IGNORED = frozenset(
    {
        "input_resolution",
        "context_length",
        "vocab_size",
        "attn_mask",
        "text.attn_mask",
        "transformer.resblocks.{i}.attn_mask",
        "visual.transformer.resblocks.{i}.attn_mask",
        "vision_model.embeddings.position_ids",
        "text_model.embeddings.position_ids",
    }
)
