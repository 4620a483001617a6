"""From a checkpoint's tensors into a model, all or nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..configs import ILAConfig
from ..layers import resample_abs_pos_embed
from ..temporal import resample_frames
from .checkpoint import Checkpoint
from .errors import CheckpointError

_logger = logging.getLogger(__name__)


def load_into(model: nn.Module, checkpoint: Checkpoint, config: ILAConfig, *, keep_head: bool = True) -> None:
    """Copies a checkpoint's tensors into a model, position embeddings resampled where pixels or frames differ.

    Args:
        model: An :class:`~ila_models.ila_vit.ILAVisionTransformer` built from ``config``.
        checkpoint: What was read.
        config: The numbers that the model was built from.
        keep_head: Load the checkpoint's head; False leaves the model's own, which is new.

    Raises:
        CheckpointError: Tensors are missing, unexpected, misshapen or no floats. All are listed.
    """
    state = model.state_dict()
    fitted = fit(state, checkpoint, config, keep_head=keep_head)
    with torch.no_grad():
        for name, tensor in fitted.items():
            state[name].copy_(tensor)


def fit(
    state: Mapping[str, Tensor], checkpoint: Checkpoint, config: ILAConfig, *, keep_head: bool = True
) -> dict[str, Tensor]:
    """The checkpoint's tensors, resampled, once it is certain that they are those of a model's ``state``.

    Only names and shapes of ``state`` are looked at, so a model on the meta device will do. Arguments and errors are
    those of :func:`load_into`.
    """
    tensors = dict(checkpoint.tensors)
    wanted = set(checkpoint.names or state)
    if not keep_head:
        wanted = {name for name in wanted if not name.startswith("head.")}
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
    if "pos_embed" in tensors:
        tensors["pos_embed"] = _resample_pixels(tensors["pos_embed"], checkpoint.config, config)
    for name in ("temporal.pos_embed", "time_embed"):
        frames = tensors.get(name)
        if frames is not None and frames.ndim == 3 and frames.shape[1] == checkpoint.config.num_frames:
            tensors[name] = resample_frames(frames, config.num_frames)

    unexpected = sorted(set(tensors) - set(state))
    misshapen = [
        f"{_name(checkpoint, name)} is {list(tensor.shape)}, expected {list(state[name].shape)}"
        for name, tensor in sorted(tensors.items())
        if name in state and tensor.shape != state[name].shape
    ]
    mistyped = [
        f"{_name(checkpoint, name)} is {tensor.dtype}, expected {state[name].dtype}"
        for name, tensor in sorted(tensors.items())
        if name in state and tensor.is_floating_point() != state[name].is_floating_point()
    ]
    problems = [
        *_listed(
            "missing", [*(_name(checkpoint, name) for name in sorted(wanted - set(tensors))), *checkpoint.missing]
        ),
        *_listed("unexpected", [*checkpoint.unexpected, *(_name(checkpoint, name) for name in unexpected)]),
        *_listed("misshapen", [*misshapen, *checkpoint.misshapen]),
        *_listed("of another kind of number", mistyped),
    ]
    if problems:
        raise CheckpointError(f"{checkpoint.path}: {checkpoint.layout}, but it does not fit:\n" + "\n".join(problems))
    return tensors


def _resample_pixels(pos_embed: Tensor, old: ILAConfig, new: ILAConfig) -> Tensor:
    """Position embedding [1, 1+N, D] for other pixels; bicubic, as timm does it."""
    old_grid, new_grid = (
        [config.img_size[0] // config.patch_size, config.img_size[1] // config.patch_size] for config in (old, new)
    )
    if pos_embed.ndim != 3 or pos_embed.shape[1] != 1 + old_grid[0] * old_grid[1] or old_grid == new_grid:
        return pos_embed
    _logger.info("position embedding resampled from %s to %s patches", old_grid, new_grid)
    return resample_abs_pos_embed(pos_embed.float(), new_size=new_grid, old_size=old_grid, num_prefix_tokens=1)


def _name(checkpoint: Checkpoint, ours: str) -> str:
    theirs = checkpoint.names.get(ours, ours)
    return ours if theirs == ours else f"{theirs} (our {ours})"


def _listed(what: str, names: list[str]) -> list[str]:
    return [f"{len(names)} {what}:", *(f"  {name}" for name in names)] if names else []
