"""Released and CLIP checkpoints to files of ours."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import torch

from .alignment import WINDOW_OFFSET
from .categories import kinetics_400_names
from .contracts import check_config
from .ila_vit import ILAVisionTransformer
from .text import TextEncoder
from .weights.checkpoint import Checkpoint
from .weights.download import resolve_checkpoint
from .weights.errors import CheckpointError
from .weights.files import file_sha256
from .weights.loading import fit
from .weights.manifest import preprocessing
from .weights.native import write_native
from .weights.recognise import read_checkpoint

_logger = logging.getLogger(__name__)


def convert_checkpoint(source: str | os.PathLike[str], destination: str | os.PathLike[str]) -> Checkpoint:
    """Writes a released ILA or a CLIP checkpoint as safetensors with its configuration inside.

    ``create_model(name, checkpoint_path=destination)`` then needs no other argument. For a released Kinetics-400 file
    the features of its 400 classes are computed and stored, so that they need not be at every start. A text tower that
    comes with the source is kept, so that other class names can be set. Weights are written as float32. The same source
    gives the same bytes.

    Args:
        source: The file, or a Hub repository ``hf-hub:owner/name``.
        destination: The file to write, usually ``*.safetensors``. It appears complete or not at all.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: ``source`` is neither a file nor a Hub id.
        CheckpointError: ``source`` cannot be read, does not fit, or is a file of ours already.
        OSError: ``destination`` cannot be written.
    """
    path = resolve_checkpoint(source)
    if Path(destination).exists() and Path(destination).samefile(path):
        raise CheckpointError(f"{destination} is the source itself: choose another file to write")
    checkpoint = read_checkpoint(path)
    _logger.info("%s: recognised as %s", path, checkpoint.layout)
    if checkpoint.is_ours:
        origin = f" (of {checkpoint.source['file']})" if checkpoint.source else ""
        raise CheckpointError(f"{path} is a converted file already{origin}: copy it as it is")
    if checkpoint.head == "text" and not checkpoint.text_tensors:
        raise CheckpointError(
            f"{path} holds no text tower, from which its classes' features would be computed: give the"
            f" released file with its text tower"
        )
    check_sizes(checkpoint)
    with torch.device("meta"):
        model = ILAVisionTransformer(
            checkpoint.config,
            head="text" if checkpoint.kind == "clip" else checkpoint.head,
            num_classes=checkpoint.num_classes,
        )
    tensors = fit(model.state_dict(), checkpoint, checkpoint.config)
    converted = replace(
        checkpoint,
        path=Path(destination),
        is_ours=True,
        tensors=tensors,
        preprocessing=preprocessing("clip" if checkpoint.kind == "clip" else "ila"),
        source={"file": path.name, "layout": checkpoint.layout, "sha256": file_sha256(path)},
    )
    if checkpoint.kind == "ila":
        tensors["window_offset"] = torch.tensor(WINDOW_OFFSET)
    if checkpoint.head == "text":
        names = kinetics_400_names()
        _logger.info("computing the features of the %d Kinetics classes", len(names))
        tensors["head.text_features"] = TextEncoder.from_tensors(checkpoint.text_tensors)(names)
        converted = replace(converted, num_classes=len(names), class_names=names)
    write_native(converted, destination)
    _logger.info("wrote %s", destination)
    return converted


def check_sizes(checkpoint: Checkpoint) -> None:
    """Refuses a checkpoint of whose sizes no model can be built.

    Raises:
        CheckpointError: A size is out of its range.
    """
    try:
        check_config(checkpoint.config)
    except ValueError as error:
        raise CheckpointError(
            f"{checkpoint.path}: {checkpoint.layout}, of which no model can be built: {error}"
        ) from error
