"""CLIP's weights in any of the layouts that people have, turned into OpenAI's own names.

Legend: D image width, W text width, E joint embedding width, N patch tokens, p patch size in pixels.

Two things cannot be seen in the tensors and are taken to be OpenAI's: heads that are 64 wide, and QuickGELU. Models
that others trained with plain GELU (most of LAION's) look the same and would be read without complaint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from .clip_names import IGNORED, TABLES, ClipLayout, Rule
from .errors import CheckpointError

_BLOCK_NUMBER = re.compile(r"\.(0|[1-9]\d{0,2})\.")
_OPTIONAL = ("logit_scale", "")


@dataclass(frozen=True)
class OpenAIClip:
    """CLIP under OpenAI's names, each value in the dtype of the file.

    Attributes:
        visual: The image tower, names with "visual."; `visual.proj` is [D, E].
        text: The text tower, `text_projection` is [W, E]; empty where the file has none.
        logit_scale: The logarithm of the scale of logits, a scalar; None where the file has none.
        source_names: For each of OpenAI's names the name in the file, or "a, b, c" where it was joined from three.
    """

    visual: dict[str, torch.Tensor]
    text: dict[str, torch.Tensor]
    logit_scale: torch.Tensor | None
    source_names: dict[str, str]


@dataclass(frozen=True)
class ClipShape:
    """Sizes of a CLIP model.

    Attributes:
        width: D.
        depth: Blocks of the image tower.
        patch_size: p, in pixels.
        img_size: Side of the image, in pixels.
        embed_dim: E.
        text_width: W; None without a text tower.
        text_depth: Blocks of the text tower; None without one.
    """

    width: int
    depth: int
    patch_size: int
    img_size: int
    embed_dim: int
    text_width: int | None
    text_depth: int | None


def recognise_clip(tensors: Mapping[str, torch.Tensor]) -> ClipLayout | None:
    """Tell from the names alone whose layout a file follows.

    Near relatives of CLIP are given their layout too; `to_openai` says then what they are. OpenAI's and open_clip's
    standard models share their names and are called "openai".

    Returns:
        The layout; None if it is none of the four, or a video model built on CLIP, such as a released ILA checkpoint.
    """
    if any(name.startswith("mit.") for name in tensors):
        return None
    if any(name.startswith("vision_model.") for name in tensors):
        return "transformers"
    if any(name.startswith("visual.") for name in tensors):
        return "open_clip" if any(name.startswith("text.") for name in tensors) else "openai"
    if "patch_embed.proj.weight" in tensors and any(name.startswith("blocks.") for name in tensors):
        return "timm"
    return None


def to_openai(tensors: Mapping[str, torch.Tensor], layout: ClipLayout) -> OpenAIClip:
    """Rename a CLIP file's tensors to OpenAI's names, completely or not at all.

    Values are not copied, but for the three parts of attention's input projection, which transformers keeps apart.

    Args:
        tensors: The file's tensors.
        layout: As `recognise_clip` tells.

    Returns:
        The image tower, and the text tower if there is one.

    Raises:
        CheckpointError: It is another kind of model, or tensors are unexpected, missing or misshapen; all are listed.
    """
    relative = _relative_of_clip(tensors)
    if relative is not None:
        raise CheckpointError(
            f"these tensors seem to be {relative}. Wanted is a CLIP with a ViT image tower, as OpenAI's."
        )

    table = TABLES[layout]
    parts: dict[str, dict[str, str]] = {}
    unexpected = []
    for name in tensors:
        pattern, block = _split(name)
        rule = table.get(pattern)
        if rule is not None:
            parts.setdefault(_place(rule.target, block), {})[rule.how] = name
        elif pattern not in IGNORED:
            unexpected.append(name)
    missing = _missing(table, tensors)
    if unexpected or missing:
        raise CheckpointError(
            f"not a complete CLIP in the layout of {layout}. "
            f"Missing: {', '.join(missing) or 'none'}. Unexpected: {', '.join(unexpected) or 'none'}."
        )

    dropped = parts.pop("", {}).get("zero")
    if dropped is not None and bool(tensors[dropped].any()):
        raise CheckpointError(
            f"{dropped} is not zero, so this is an image classifier fine-tuned from CLIP: its head holds classes, not "
            "CLIP's projection. Take the CLIP weights that it started from."
        )
    values = {target: _join(tensors, names) for target, names in parts.items()}
    logit_scale = values.pop("logit_scale", None)
    clip = OpenAIClip(
        visual={name: value for name, value in values.items() if name.startswith("visual.")},
        text={name: value for name, value in values.items() if not name.startswith("visual.")},
        logit_scale=None if logit_scale is None else logit_scale.squeeze(),
        source_names={target: ", ".join(_in_order(names)) for target, names in parts.items()},
    )
    _require_shapes(clip)
    return clip


def clip_shape(clip: OpenAIClip) -> ClipShape:
    """Read a CLIP model's sizes off its tensors.

    Raises:
        CheckpointError: The patch embedding, position embedding or projection has no shape that CLIP could have.
    """
    conv = _shape(clip, "visual.conv1.weight", "[D, 3, p, p]")
    tokens, _ = _shape(clip, "visual.positional_embedding", "[1 + N, D]")
    _, embed_dim = _shape(clip, "visual.proj", "[D, E]")
    if conv[1] != 3 or conv[2] != conv[3]:
        raise CheckpointError(
            f"{clip.source_names['visual.conv1.weight']} has the shape {conv}; CLIP's is [D, 3, p, p], for square RGB "
            "patches."
        )
    grid = math.isqrt(max(tokens - 1, 0))
    if grid == 0 or grid * grid != tokens - 1:
        raise CheckpointError(
            f"{clip.source_names['visual.positional_embedding']} has {tokens} positions; needed are 1 for the "
            "class token and a square number of patches."
        )
    text_width = _shape(clip, "token_embedding.weight", "[words, W]")[1] if clip.text else None
    return ClipShape(
        width=conv[0],
        depth=_depth(clip.visual),
        patch_size=conv[2],
        img_size=grid * conv[2],
        embed_dim=embed_dim,
        text_width=text_width,
        text_depth=_depth(clip.text) if clip.text else None,
    )


def text_tower_problems(tensors: Mapping[str, torch.Tensor], embed_dim: int) -> tuple[list[str], list[str]]:
    """Look a text tower under OpenAI's names over, in a file that holds more than CLIP.

    Args:
        tensors: The file's tensors.
        embed_dim: E, which the text tower shares with the rest of the file.

    Returns:
        Names that are missing, and lines that say which tensors are misshapen and how they should be; both empty for a
        complete tower and for none at all.
    """
    missing = [name for name in _missing(TABLES["openai"], tensors) if not name.startswith("visual.")]
    text = {name: tensor for name, tensor in tensors.items() if is_text_tower(name)}
    embedding = text.get("token_embedding.weight")
    if embedding is None or embedding.ndim != 2:
        return missing, []
    width = embedding.shape[1]
    positions = text["positional_embedding"].shape[:1] if "positional_embedding" in text else ()
    wanted = {
        "token_embedding.weight": list(embedding.shape),
        "positional_embedding": [*positions, width],
        "text_projection": [width, embed_dim],
    }
    return missing, [
        f"{name} is {list(tensor.shape)}, expected {expected}"
        for name, tensor in text.items()
        if list(tensor.shape) != (expected := wanted.get(name) or _layer_shape(name, width))
    ]


def is_text_tower(name: str) -> bool:
    """Whether OpenAI's text tower has a tensor of this name."""
    rule = TABLES["openai"].get(_split(name)[0])
    return rule is not None and not rule.target.startswith("visual.") and rule.target not in _OPTIONAL


def _relative_of_clip(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Name the kind of model that is often taken for a CLIP ViT, if it is one."""

    def has(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in tensors)

    if has("logit_bias", "vision_model.head.", "attn_pool."):
        return "a SigLIP model"
    if has("visual.layer1."):
        return "a CLIP whose image tower is a ResNet"
    if has("visual.trunk."):
        return "an open_clip model whose image tower is one of timm's"
    if has("visual.attn_pool", "text_decoder."):
        return "a CoCa model"
    if has("patch_embed.") and not has("norm_pre."):
        return "an image ViT that is not CLIP's, for instance one trained on ImageNet (there is no norm_pre)"
    return None


def _split(name: str) -> tuple[str, str]:
    """Split a name into its pattern and its block's number: "a.3.b" gives "a.{i}.b" and "3"."""
    found = _BLOCK_NUMBER.search(name)
    if found is None:
        return name, ""
    return f"{name[: found.start(1)]}{{i}}{name[found.end(1) :]}", found[1]


def _place(pattern: str, block: object) -> str:
    return pattern.replace("{i}", str(block))


def _depth(names: Iterable[str]) -> int:
    """Count blocks: one more than the highest number."""
    return 1 + max((int(block) for _, block in map(_split, names) if block), default=-1)


def _missing(table: Mapping[str, Rule], tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """List what a complete file would have besides, by the file's own names; a whole block as "blocks.3.*"."""
    missing = []
    required = {pattern: rule for pattern, rule in table.items() if rule.target not in _OPTIONAL}
    for is_image in (True, False):
        tower = [p for p, rule in required.items() if rule.target.startswith("visual.") == is_image]
        present = [name for name in tensors if _split(name)[0] in tower]
        if not (is_image or present):
            continue
        missing += [pattern for pattern in tower if "{i}" not in pattern and pattern not in tensors]
        in_block = [pattern for pattern in tower if "{i}" in pattern]
        for block in range(max(_depth(present), 1)):
            absent = [name for pattern in in_block if (name := _place(pattern, block)) not in tensors]
            whole = len(absent) == len(in_block)
            missing += [f"{_place(in_block[0].partition('{i}')[0], '')}{block}.*"] if whole else absent
    return missing


def _in_order(names: Mapping[str, str]) -> list[str]:
    """The file's names of one tensor: one, or those of q, k and v."""
    return [names[how] for how in ("q", "k", "v")] if "q" in names else list(names.values())


def _join(tensors: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> torch.Tensor:
    values = [tensors[name] for name in _in_order(names)]
    if len(values) == 3:
        if any(value.shape != values[0].shape or value.dtype != values[0].dtype or not value.ndim for value in values):
            listed = ", ".join(f"{tensors[name].dtype} {list(tensors[name].shape)} {name}" for name in _in_order(names))
            raise CheckpointError(f"q, k and v of one layer have to be alike: {listed}.")
        return torch.cat(values)
    (how,) = names
    (value,) = values
    if how == "transpose" and value.ndim == 2:
        return value.t()
    if how == "flatten":
        return value.flatten()
    if how == "unbatch":
        return value.squeeze(0)
    return value


def _shape(clip: OpenAIClip, name: str, rule: str) -> list[int]:
    shape = list((clip.visual if name in clip.visual else clip.text)[name].shape)
    if len(shape) != rule.count(",") + 1 or 0 in shape:
        raise CheckpointError(f"{clip.source_names[name]} has the shape {shape}; CLIP's is {rule}.")
    return shape


def _require_shapes(clip: OpenAIClip) -> None:
    shape = clip_shape(clip)
    wanted = {
        "visual.conv1.weight": [shape.width, 3, shape.patch_size, shape.patch_size],
        "visual.class_embedding": [shape.width],
        "visual.positional_embedding": [1 + (shape.img_size // shape.patch_size) ** 2, shape.width],
        "visual.proj": [shape.width, shape.embed_dim],
    }
    if shape.text_width is not None:
        words, _ = clip.text["token_embedding.weight"].shape
        positions, _ = _shape(clip, "positional_embedding", "[positions, W]")
        wanted["token_embedding.weight"] = [words, shape.text_width]
        wanted["positional_embedding"] = [positions, shape.text_width]
        wanted["text_projection"] = [shape.text_width, shape.embed_dim]
    wrong = []
    for tower, width in ((clip.visual, shape.width), (clip.text, shape.text_width or 0)):
        for name, value in tower.items():
            expected = wanted[name] if name in wanted else _layer_shape(name, width)
            if list(value.shape) != expected:
                wrong.append(f"{clip.source_names[name]}, {list(value.shape)} for {expected} as {name}")
            elif not value.is_floating_point():
                wrong.append(f"{clip.source_names[name]}, {value.dtype} for a floating-point type")
    if clip.logit_scale is not None and clip.logit_scale.ndim:
        wrong.append(f"logit_scale, {list(clip.logit_scale.shape)} for a scalar")
    if wrong:
        raise CheckpointError(f"not CLIP's shapes: {'; '.join(wrong)}.")


def _layer_shape(name: str, width: int) -> list[int]:
    """Give the shape of a layer that every block (or tower) has, from the width alone."""
    if name.endswith(("attn.in_proj_weight", "attn.in_proj_bias")):
        rows, columns = 3 * width, width
    elif ".mlp.c_fc." in name:
        rows, columns = 4 * width, width
    elif ".mlp.c_proj." in name:
        rows, columns = width, 4 * width
    else:
        rows, columns = width, width
    is_matrix = name.endswith("weight") and ".ln_" not in name and not name.startswith("ln_")
    return [rows, columns] if is_matrix else [rows]
