"""The model that a run begins with."""

from __future__ import annotations

from collections.abc import Sequence

from ..factory import create_model
from ..heads import LinearHead
from ..ila_vit import ILAVisionTransformer
from .config import ModelSection
from .errors import TrainingError


def make_model(section: ModelSection, class_names: Sequence[str]) -> ILAVisionTransformer:
    """Builds the model of a run for the data's classes, with starting values from which it learns.

    Raises:
        TrainingError: A text head is wanted and the weights bring no text tower.
        ValueError: A number is out of its range, or contradicts the weights.
        FileNotFoundError: The weights are not there.
    """
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
    elif not from_weights:
        model.init_from_scratch()
    if isinstance(model.head, LinearHead):
        model.head.dropout.p = section.dropout
    return model
