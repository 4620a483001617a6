"""The authors' released layout, and CLIP's, as checkpoints of ours.

History: the authors wrote their files with ``torch.save`` of a training state; the weights stand under ``model``, some
with a ``module.`` prefix. Kinetics-400 files hold CLIP's text tower and the prompts; Something-Something v2 files hold
a linear classifier instead, and a full 3x3 convolution where Kinetics-400 has a separable one. Sizes are taken from the
tensors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor

from ..configs import ILAConfig, InteractiveBlock
from . import clip
from .checkpoint import Checkpoint
from .errors import CheckpointError
from .files import TensorFile
from .names import clip_image_names, released_names, rename

_LAYOUTS = {
    "openai": "OpenAI and open_clip",
    "open_clip": "open_clip",
    "transformers": "transformers",
    "timm": "timm",
}
_CONTAINERS = {"torchscript": "TorchScript archive", "torch": "PyTorch file", "safetensors": "safetensors file"}
_BLOCK = "visual.transformer.resblocks."
_MESSAGE = re.compile(r"^visual\.transformer\.resblocks\.\d+\.message_")


def is_released(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these names are the released layout's: CLIP's blocks with messages in them."""
    return any(_MESSAGE.match(name) for name in tensors)


def read_released(file: TensorFile) -> Checkpoint:
    """Puts a released checkpoint under our names.

    Raises:
        CheckpointError: The tensors that tell the sizes are missing or misshapen, or the text tower is incomplete.
    """
    tensors = file.tensors
    head: Literal["text", "linear"] = "linear" if "mit.classify_head.2.weight" in tensors else "text"
    interactive: InteractiveBlock = "separable" if any(".depthwise_conv." in name for name in tensors) else "full"
    sizes = _Sizes(file.path, tensors)
    width, _, patch_size, _ = sizes.of("visual.conv1.weight", 4)
    config = ILAConfig(
        width=width,
        depth=_count(tensors, _BLOCK),
        patch_size=patch_size,
        embed_dim=sizes.of("visual.proj", 2)[1],
        img_size=sizes.pixels("visual.positional_embedding", patch_size),
        num_frames=sizes.of("mit.positional_embedding", 3)[1],
        alignment_width=sizes.of(f"{_BLOCK}0.message_attn.prediction_block.0.weight", 4)[1],
        interactive=interactive,
        temporal_depth=_count(tensors, "mit.resblocks."),
        prompt_depth=_count(tensors, "prompts_generator.decoder.") if head == "text" else 2,
    )
    names = released_names(
        depth=config.depth,
        interactive=interactive,
        temporal_depth=config.temporal_depth,
        head=head,
        prompt_depth=config.prompt_depth,
    )
    text_names = {name for name in tensors if head == "text" and clip.is_text_tower(name)}
    missing, misshapen = clip.text_tower_problems(tensors, config.embed_dim) if text_names else ([], [])
    data = "Kinetics-400" if head == "text" else "Something-Something v2"
    return Checkpoint(
        path=file.path,
        layout=f"a released ILA checkpoint ({data} layout, {config.num_frames} frames of {config.img_size[0]} pixels)",
        kind="ila",
        config=config,
        head=head,
        num_classes=0 if head == "text" else sizes.of("mit.classify_head.2.weight", 2)[0],
        tensors=rename(tensors, names),
        names={ours: theirs for theirs, ours in names.items()},
        unexpected=tuple(name for name in tensors if name not in names and name not in text_names),
        missing=tuple(missing),
        misshapen=tuple(misshapen),
        text_tensors={name: tensors[name] for name in tensors if name in text_names},
    )


def read_clip(file: TensorFile, layout: clip.ClipLayout) -> Checkpoint:
    """Puts a CLIP checkpoint of any layout under our names.

    Raises:
        CheckpointError: Tensors are missing, unexpected or misshapen.
    """
    try:
        towers = clip.to_openai(file.tensors, layout)
        shape = clip.clip_shape(towers)
    except CheckpointError as error:
        raise CheckpointError(f"{file.path}: {error}") from error
    names = clip_image_names(shape.depth)
    tensors = rename(towers.visual, names)
    if towers.logit_scale is not None:
        tensors["head.logit_scale"] = towers.logit_scale
    config = ILAConfig(
        width=shape.width,
        depth=shape.depth,
        patch_size=shape.patch_size,
        embed_dim=shape.embed_dim,
        img_size=(shape.img_size, shape.img_size),
    )
    return Checkpoint(
        path=file.path,
        layout=(
            f"CLIP in the layout of {_LAYOUTS[layout]} ({_CONTAINERS[file.container]}, width {shape.width}, patches of"
            f" {shape.patch_size}, {shape.img_size} pixels, {'both towers' if towers.text else 'image tower only'})"
        ),
        kind="clip",
        config=config,
        head="none",
        num_classes=0,
        tensors=tensors,
        names={ours: towers.source_names.get(theirs, theirs) for theirs, ours in names.items()},
        text_tensors=towers.text,
    )


class _Sizes:
    """Reads sizes off tensors that must be there."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        self._path = path
        self._tensors = tensors

    def of(self, name: str, ndim: int) -> tuple[int, ...]:
        if name not in self._tensors:
            raise CheckpointError(f"{self._path}: incomplete ILA checkpoint: {name}, which tells a size, is missing")
        shape = tuple(self._tensors[name].shape)
        if len(shape) != ndim or not all(shape):
            raise CheckpointError(
                f"{self._path}: {name} has shape {list(shape)}: expected {ndim} dimensions, none empty"
            )
        return shape

    def pixels(self, name: str, patch_size: int) -> tuple[int, int]:
        tokens, _ = self.of(name, 2)
        side = math.isqrt(max(tokens - 1, 0))
        if side * side != tokens - 1:
            raise CheckpointError(
                f"{self._path}: {name} has {tokens} positions: expected 1 + a square number of patches"
            )
        return side * patch_size, side * patch_size


def _count(tensors: Mapping[str, Tensor], before_index: str) -> int:
    """Layers under a prefix. A gap in their numbers shows as missing and unexpected tensors later on."""
    indices = {name[len(before_index) :].split(".")[0] for name in tensors if name.startswith(before_index)}
    return len(indices)
