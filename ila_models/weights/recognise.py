"""One door for every kind of checkpoint: a file is recognised by its contents and put under our names.

What is known of a released file's or a CLIP file's sizes comes from its tensors; ours say it in their header.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from torch import Tensor

from ..configs import AlignmentForm
from . import clip, native, released
from .aligned import is_aligned
from .checkpoint import Checkpoint
from .errors import CheckpointError
from .files import read_tensor_file

_WITH_ALIGNMENT_WIDTH: frozenset[AlignmentForm] = frozenset(("residual", "token", "addition"))
"""Forms that have convolutions over pairs of frames."""


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads and recognises a checkpoint file. Nothing in the file is executed.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is broken, carries code, or holds none of the known layouts.
    """
    file = read_tensor_file(path)
    if is_aligned(file):
        raise CheckpointError(
            f"{file.path}: an image model of timm with alignment, as ila_models.add_alignment makes them: load it with"
            f" ila_models.load_aligned_vit(...)"
        )
    if native.METADATA_KEY in file.metadata:
        checkpoint = native.read_native(file)
    elif released.is_released(file.tensors):
        checkpoint = released.read_released(file)
    elif native.is_state_dict(file.tensors):
        raise CheckpointError(
            f"{file.path}: the state dict of an ila_models model, which does not say what model: make the same one and"
            f" use model.load_state_dict(...), then ila_models.save_pretrained(model, FOLDER), which create_model reads"
        )
    elif (layout := clip.recognise_clip(file.tensors)) is not None:
        checkpoint = released.read_clip(file, layout)
    else:
        raise CheckpointError(
            f"{file.path}: no known checkpoint: its {len(file.tensors)} tensors ({_some(file.tensors)}) are"
            f" neither an ILA model (ours or released) nor CLIP as OpenAI, transformers, open_clip or timm write it"
        )
    _require_weights(checkpoint)
    return checkpoint


def _require_weights(checkpoint: Checkpoint) -> None:
    """Refuses sizes whose weights the file cannot hold, before anybody builds a model that large.

    Only one matrix of each size is counted, so that a file that lacks some tensors is told which.
    """
    config = checkpoint.config
    tensors = (*checkpoint.tensors.values(), *checkpoint.text_tensors.values())
    # By storage: thousands of tensors can share one.
    held = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // t.itemsize for t in tensors}.values())
    needed: dict[str, tuple[int, ...]] = {
        "width": (config.width, config.width),
        "embed_dim": (config.embed_dim, config.width),
        "patch_size": (config.patch_size, config.patch_size, config.width),
        "depth": (config.depth, config.width, config.width),
    }
    if checkpoint.kind == "ila":
        needed |= {
            "num_frames": (config.num_frames, config.embed_dim),
            "temporal_depth": (config.temporal_depth, config.embed_dim, config.embed_dim),
            "num_classes": (checkpoint.num_classes, config.embed_dim),
        }
        if config.alignment in _WITH_ALIGNMENT_WIDTH:
            needed["alignment_width"] = (config.alignment_width, config.alignment_width, config.depth)
        if checkpoint.head == "text":
            needed["prompt_depth"] = (config.prompt_depth, config.embed_dim, config.embed_dim)
    if all(isinstance(number, int) for number in (*config.img_size, config.patch_size)) and config.patch_size > 0:
        needed["img_size"] = tuple(abs(side) // config.patch_size for side in config.img_size)
    for name, factors in needed.items():
        # Numbers of another kind are reported where a model is built.
        if all(isinstance(factor, int) for factor in factors) and math.prod(factors) > held:
            raise CheckpointError(
                f"{checkpoint.path}: {checkpoint.layout}, whose {name} of {getattr(config, name, factors[0])} needs"
                f" more weights than the {held} that the file holds. Download or convert it again."
            )


def _some(tensors: Mapping[str, Tensor], count: int = 4) -> str:
    names = list(tensors)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "") if names else "none"
