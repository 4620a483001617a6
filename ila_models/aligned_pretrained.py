"""Saved image models with alignment, read back."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import timm

from .aligned_vit import AlignedViT, build_aligned_vit
from .data.transforms import create_transform
from .image_model import ImageModelRecipe, structure_digest
from .text import check_names_of_classes
from .weights.aligned import AlignedCheckpoint, read_aligned
from .weights.download import resolve_checkpoint
from .weights.errors import CheckpointError

_logger = logging.getLogger(__name__)

_MAX_COMPUTED = 1 << 26
"""Numbers of tables that a model computes when it is made, and no file holds."""


def load_aligned_vit(
    source: str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    fused: bool = False,
) -> AlignedViT:
    """Loads a model that :func:`~ila_models.add_alignment` made and :func:`~ila_models.save_pretrained` wrote.

    timm builds the image model again, without fetching its weights: all are in the file.

    Args:
        source: A folder (``"local-dir:PATH"`` or the path), its ``model.safetensors``, or a repository of the Hub
            (``"hf-hub:owner/name"``, with ``@revision`` if need be).
        num_classes: Another number than the file's makes a fresh classifier of so many classes; 0 makes none, for
            video vectors. None, or the file's own number, keeps the file's.
        class_names: Names of the classes, in order; None takes the file's.
        fused: Rearrange the model for inference.

    Returns:
        The model, in evaluation mode.

    Raises:
        FileNotFoundError: There is no such file or folder.
        CheckpointError: It cannot be had, is damaged or of another kind, or the installed timm does not build such a
            model; a subclass of ValueError.
        ValueError: ``class_names`` do not fit the classes.
    """
    checkpoint = read_aligned(resolve_checkpoint(source))
    model = _built(checkpoint)
    if num_classes not in (None, model.num_classes):
        model.reset_classifier(num_classes, class_names=class_names)
    elif class_names is not None:
        model.class_names = check_names_of_classes(class_names, model.num_classes)
    return model.fuse() if fused else model


def _built(checkpoint: AlignedCheckpoint) -> AlignedViT:
    """The model of a file."""
    try:
        recipe = ImageModelRecipe(checkpoint.image_model, checkpoint.image_model_args)
        _check_fit(checkpoint, build_aligned_vit(recipe, checkpoint.config, device="meta"))
        model = build_aligned_vit(recipe, checkpoint.config)
        model.pretrained_cfg |= {**checkpoint.preprocessing, "source": str(checkpoint.path)}
        create_transform(model)  # which checks what frames must be
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error
    if structure_digest(model.vit) != checkpoint.structure:
        _logger.warning(
            "%s: timm %s builds %s otherwise than the timm it was saved with: its answers may differ (ila-models verify"
            " replays recorded ones, where the repository has them)",
            checkpoint.path,
            timm.__version__,
            checkpoint.image_model,
        )
    model.load_state_dict(dict(checkpoint.tensors))
    if checkpoint.class_names is not None and len(checkpoint.class_names) != model.num_classes:
        raise CheckpointError(
            f"{checkpoint.path}: {len(checkpoint.class_names)} class names for {model.num_classes} classes: its header"
            " is damaged"
        )
    model.class_names = checkpoint.class_names
    return model


def _check_fit(checkpoint: AlignedCheckpoint, model: AlignedViT) -> None:
    """Refuses tensors that are not all of the model's, before a model of that size is made."""
    expected, held = model.state_dict(), checkpoint.tensors
    computed = sum(buffer.numel() for name, buffer in model.named_buffers() if name not in expected)
    if computed > _MAX_COMPUTED:
        raise ValueError(
            f"its img_size makes tables of {computed} numbers, more than the {_MAX_COMPUTED} that are built"
        )
    problems = [
        *(f"missing {name}" for name in sorted(expected.keys() - held.keys())),
        *(f"unexpected {name}" for name in sorted(held.keys() - expected.keys())),
        *(
            f"{name} is {list(held[name].shape)}, expected {list(tensor.shape)}"
            for name, tensor in sorted(expected.items())
            if name in held and held[name].shape != tensor.shape
        ),
    ]
    if problems:
        raise ValueError(
            f"its tensors are not those of {checkpoint.image_model} as the installed timm builds it: "
            + "; ".join(problems)
        )
