"""What a model accepts: the numbers that it is built from, and the clips that it is given."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from .alignment import MIN_GRID
from .blocks import BLOCKS
from .configs import HEAD_WIDTH, AlignedConfig, AlignmentTarget, ILAConfig, InteractiveBlock

# Name, least value, and what it must be a multiple of: heads are 64 wide, the point predictor halves its channels three
# times, and alignment takes two frames.
_WHOLE_NUMBERS = (
    ("width", HEAD_WIDTH, HEAD_WIDTH),
    ("embed_dim", HEAD_WIDTH, HEAD_WIDTH),
    ("depth", 1, 1),
    ("patch_size", 1, 1),
    ("num_frames", 2, 1),
    ("alignment_width", 8, 8),
    ("temporal_depth", 0, 1),
    ("prompt_depth", 0, 1),
)


def check_config(config: ILAConfig) -> None:
    """Refuses numbers of which no model can be built.

    Raises:
        ValueError: A number is out of its range.
    """
    for name, least, multiple in _WHOLE_NUMBERS:
        value = getattr(config, name)
        if not isinstance(value, int) or value < least or value % multiple:
            unit = f", a multiple of {multiple}" if multiple > 1 else ""
            raise ValueError(f"{name}={value!r} is out of range: give a whole number of at least {least}{unit}")
    if len(config.img_size) != 2 or not all(isinstance(side, int) for side in config.img_size):
        raise ValueError(f"img_size={config.img_size!r} is not a size: give (height, width) in whole pixels")
    height, width = config.img_size
    patch = config.patch_size
    if height % patch or width % patch:
        raise ValueError(
            f"img_size={height}x{width} is not a multiple of the patch size {patch}: the nearest that fits is"
            f" {max(round(height / patch), MIN_GRID) * patch}x{max(round(width / patch), MIN_GRID) * patch}"
        )
    if min(height, width) // patch < MIN_GRID:
        raise ValueError(
            f"img_size={height}x{width} makes a grid of {height // patch}x{width // patch} tokens: the point predictor"
            f" pools twice by two, so give at least {MIN_GRID * patch} pixels on either side"
        )
    if config.interactive not in get_args(InteractiveBlock):
        raise ValueError(f"interactive={config.interactive!r} is not known: use one of {get_args(InteractiveBlock)}")
    if config.alignment_target not in get_args(AlignmentTarget):
        raise ValueError(
            f"alignment_target={config.alignment_target!r} is not known: use one of {get_args(AlignmentTarget)}"
        )
    if config.alignment not in BLOCKS:
        raise ValueError(f"alignment={config.alignment!r} is not known: use one of {', '.join(map(repr, BLOCKS))}")


def check_video(video: Tensor, img_size: tuple[int, int], dtype: torch.dtype) -> None:
    """Refuses what is not a batch of clips [B, T, 3, H, W] of the model's pixels.

    Args:
        video: What the caller gave.
        img_size: Pixels that the model was built for, (height, width).
        dtype: Of the model's weights; a clip may have another one under autocast only.

    Raises:
        TypeError: It is not a tensor of that kind.
        ValueError: It has another shape.
    """
    height, width = img_size
    wanted = f"[B, T, 3, {height}, {width}]"
    if not isinstance(video, Tensor):
        raise TypeError(f"video is a {type(video).__name__}: expected a float tensor {wanted}")
    if not video.is_floating_point():
        raise TypeError(
            f"video has dtype {video.dtype}: expected normalised floats; ila_models.create_transform(model) makes"
            f" them from uint8 frames"
        )
    if video.dtype != dtype and not torch.is_autocast_enabled(video.device.type):
        raise TypeError(
            f"video has dtype {video.dtype} and the model {dtype}: use video.to({dtype}), or move the model with"
            f" model.to({video.dtype}), or run it under torch.autocast"
        )
    if video.ndim != 5:
        hint = "; add the batch dimension with video[None]" if video.ndim == 4 else ""
        raise ValueError(f"video has shape {list(video.shape)}: expected {wanted}{hint}")
    if video.shape[2] != 3:
        hint = "; its channels come before its frames: use video.permute(0, 2, 1, 3, 4)" if video.shape[1] == 3 else ""
        raise ValueError(f"video has shape {list(video.shape)}: expected {wanted}{hint}")
    if video.shape[0] == 0:
        raise ValueError(f"video has shape {list(video.shape)}: the batch is empty, give at least one clip")
    if video.shape[1] < 2:
        raise ValueError(f"video has T = {video.shape[1]} frame: ILA aligns neighbouring frames, give at least 2")
    if tuple(video.shape[3:]) != (height, width):
        raise ValueError(
            f"video has {video.shape[3]}x{video.shape[4]} pixels: this model was built for {height}x{width}; resize"
            f" with ila_models.create_transform(model), or create the model with"
            f" img_size=({video.shape[3]}, {video.shape[4]})"
        )


def check_alignment_numbers(config: AlignedConfig) -> None:
    """Refuses numbers of which no alignment can be made for another model.

    Raises:
        ValueError: One is out of its range, or no such choice.
    """
    for name, least, multiple in (("num_frames", 2, 1), ("alignment_width", 8, 8), ("temporal_depth", 0, 1)):
        value = getattr(config, name)
        if not isinstance(value, int) or value < least or value % multiple:
            unit = f", a multiple of {multiple}" if multiple > 1 else ""
            raise ValueError(f"{name}={value!r} is out of range: a whole number of at least {least}{unit} is needed")
    for name, choices in (("interactive", get_args(InteractiveBlock)), ("alignment_target", get_args(AlignmentTarget))):
        if (choice := getattr(config, name)) not in choices:
            raise ValueError(f"{name}={choice!r} is not known: use one of {', '.join(map(repr, choices))}")
