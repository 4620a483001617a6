"""What can be taken of a clip in one pass of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from ..ila_vit import ILAVisionTransformer
from ..video_model import VideoModel

Level = Literal["clip", "frame", "token", "pre_head", "logits", "points"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""By name, with the shape of a row (T frames, N patch tokens, D channels of a token, E of CLIP's embedding, C classes):

- ``clip`` [E]: the video vector, not normalised.
- ``frame`` [T, E]: a vector for every frame, in CLIP's image space.
- ``token`` [T, 1+N, D]: every token of the last block, class token first, before the final norm.
- ``pre_head`` [E]: what the head's last product sees of the video vector.
- ``logits`` [C].
- ``points`` [depth, T-1, 4]: every block's interactive points, (x, y) in the earlier and in the later frame of a pair.

Of an image model with alignment, E is the width of the image model's vector, frame vectors lie in its space, and tokens
are as its ``forward_features`` gives them: all that it has before the patches, then the patches, after its final norm.
"""

VECTOR_LEVELS: tuple[Level, ...] = ("clip", "pre_head", "logits")
"""Those whose rows are vectors."""


def check_levels(levels: str | Sequence[str]) -> tuple[Level, ...]:
    """Returns the levels, each once, in the order of :data:`LEVELS`.

    Raises:
        ValueError: A level is not known, or there is none.
    """
    wanted = {levels} if isinstance(levels, str) else set(levels)
    if unknown := sorted(wanted - set(LEVELS)):
        raise ValueError(f"levels {', '.join(map(repr, unknown))} are not known: use some of {', '.join(LEVELS)}")
    if not wanted:
        raise ValueError(f"there are no levels: give at least one of {', '.join(LEVELS)}")
    return tuple(level for level in LEVELS if level in wanted)


def check_model(levels: Sequence[Level], model: VideoModel) -> None:
    """Refuses levels that a model does not have.

    Raises:
        ValueError: It has no classes, or predicts no points.
    """
    if "logits" in levels and model.num_classes == 0:
        raise ValueError(
            "level 'logits': the model has no classes: create it with class_names=[...] or num_classes=N, or leave the"
            " level out"
        )
    if "points" in levels and isinstance(model, ILAVisionTransformer) and not model.has_points:
        raise ValueError(f"level 'points': blocks of alignment={model.config.alignment!r} predict no points")


def row_shape(level: Level, model: VideoModel, num_frames: int) -> tuple[int, ...]:
    """The shape of one window's row."""
    shapes: dict[Level, tuple[int, ...]] = {
        "clip": (model.head_hidden_size,),
        "frame": (num_frames, model.head_hidden_size),
        "token": (num_frames, model.num_tokens, model.num_features),
        "pre_head": (model.head_hidden_size,),
        "logits": (model.num_classes,),
        "points": (len(model.blocks), num_frames - 1, 4),
    }
    return shapes[level]


def compute(model: VideoModel, clips: Tensor, levels: Sequence[Level]) -> dict[Level, Tensor]:
    """Takes levels of clips [B, T, 3, H, W], in one pass: tensors [B, ...]."""
    if isinstance(model, ILAVisionTransformer):
        needs_patches = "token" in levels or ("logits" in levels and model.has_text_head)
        tokens, maps = model.forward_blocks(clips, class_only=not needs_patches)
    else:
        tokens, maps = model.forward_blocks(clips)
    found: dict[Level, Tensor] = {"token": tokens}
    found["frame"] = model.forward_frames(tokens)
    found["clip"] = model.forward_video(found["frame"])
    found["pre_head"] = model.forward_pre_head(found["clip"])
    if maps is not None:
        found["points"] = maps.points.transpose(0, 1)
    if "logits" in levels:
        found["logits"] = model.forward_logits(found["clip"], tokens)
    return {level: found[level] for level in levels}
