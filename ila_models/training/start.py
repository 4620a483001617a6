"""The model that a run begins with."""

from __future__ import annotations

from collections.abc import Sequence

import timm

from ..aligned_vit import AlignedViT, add_alignment
from ..configs import AlignedConfig
from ..factory import create_model
from ..heads import LinearHead
from ..image_model import TIMM, name_in_timm
from ..video_model import VideoModel
from ..weights.manifest import preprocessing
from .config import ModelSection
from .errors import TrainingError


def make_model(section: ModelSection, class_names: Sequence[str]) -> VideoModel:
    """Builds the model of a run for the data's classes, with starting values from which it learns.

    Raises:
        TrainingError: A text head is wanted and the weights bring no text tower.
        ValueError: A number is out of its range, or contradicts the weights.
        FileNotFoundError: The weights are not there.
    """
    if section.name.startswith(TIMM):
        return _make_aligned(section, class_names)
    from_weights = section.pretrained or section.checkpoint is not None
    if section.head == "text" and not from_weights:
        raise TrainingError(
            "model.head=text compares with CLIP's features of the class names: give model.pretrained=true with the tag"
            " openai, or model.checkpoint with a text tower, or model.head=linear"
        )
    model = create_model(
        section.name,
        pretrained=section.pretrained,
        checkpoint_path=section.checkpoint,
        num_classes=len(class_names) if section.head == "linear" else None,
        class_names=class_names,
        num_frames=section.num_frames,
        img_size=section.img_size,
        alignment=section.alignment,
        alignment_width=section.alignment_width,
        alignment_target=section.alignment_target,
        interactive=section.interactive,
        temporal_depth=section.temporal_depth,
        drop_path_rate=section.drop_path_rate,
    )
    if from_weights and not model.temporal.pos_embed.any():
        # Frozen CLIP's identity, from which nothing could be learned well. A trained model's positions are not zero.
        model.init_for_training()
        # The released models began with CLIP's weights, but see frames by other means and at another size.
        model.pretrained_cfg |= preprocessing("ila")
    elif not from_weights:
        model.init_from_scratch()
    if isinstance(model.head, LinearHead):
        model.head.dropout.p = section.dropout
    return model


def _make_aligned(section: ModelSection, class_names: Sequence[str]) -> AlignedViT:
    """An image model of timm with alignment."""
    ours = {"checkpoint": None, "head": "linear", "alignment": None}
    if odd := [name for name, silent in ours.items() if getattr(section, name) != silent]:
        said = ", ".join(f"model.{name}={getattr(section, name)}" for name in odd)
        raise TrainingError(f"{said} cannot be used with {section.name}, an image model of timm: leave it out")
    try:
        name = name_in_timm(section.name)
    except ValueError as error:
        raise TrainingError(f"model.name={section.name}: {error}") from error
    vit = timm.create_model(
        name,
        pretrained=section.pretrained,
        num_classes=len(class_names),
        img_size=section.img_size,
        drop_rate=section.dropout,
        drop_path_rate=section.drop_path_rate,
    )
    default = AlignedConfig()
    model = add_alignment(
        vit,
        num_frames=section.num_frames or default.num_frames,
        alignment_width=section.alignment_width or default.alignment_width,
        interactive=section.interactive or default.interactive,
        alignment_target=section.alignment_target or default.alignment_target,
        temporal_depth=default.temporal_depth if section.temporal_depth is None else section.temporal_depth,
        model_args={},
    )
    model.class_names = tuple(class_names)
    model.temporal.init_for_training()
    if not section.pretrained:
        model.init_from_scratch()
    return model
