"""Which frames are aligned with which, and what a frame gets of the pairs that it stands in.

A pair is an earlier and a later frame. Of T frames there are T - 1 pairs: each frame and the next one; or each frame
and one that all are aligned with, the first or the middle one (the paper's ablation of what to align).

Shapes: B clips, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .configs import AlignmentTarget


def pair_frames(frames: Tensor, target: AlignmentTarget) -> tuple[Tensor, Tensor]:
    """The earlier and the later frames of the pairs.

    Args:
        frames: [B, T, ...], T at least 2.
        target: What frames are aligned with.

    Returns:
        Two tensors [B, T-1, ...]. With a common target, pair t is that of the t-th of the other frames.
    """
    if target == "neighbours":
        return frames[:, :-1], frames[:, 1:]
    count = frames.shape[1]
    common = common_frame(count, target)
    # By index, not by slices, of which a graph for any number of frames would have to know which are empty.
    places = torch.arange(count, device=frames.device)
    return frames[:, places[:-1].clamp(max=common)], frames[:, places[1:].clamp(min=common)]


def to_frames(earlier: Tensor, later: Tensor, target: AlignmentTarget) -> Tensor:
    """From what T-1 pairs say of their two frames to what T frames get: the mean over a frame's pairs.

    Args:
        earlier: [B, T-1, ...], of each pair's earlier frame.
        later: [B, T-1, ...], of each pair's later frame.
        target: What frames are aligned with.

    Returns:
        [B, T, ...].
    """
    if target == "neighbours":
        return combine_neighbours(earlier, later)
    count = earlier.shape[1] + 1
    common = common_frame(count, target)
    places = torch.arange(count, device=earlier.device).view(-1, *[1] * (earlier.ndim - 2))
    # The common frame is the later one of the pairs with those before it, the earlier one of the others.
    of_common = torch.where(places[:-1] < common, later, earlier).mean(dim=1, keepdim=True)
    of_others = torch.where(
        places < common, torch.cat([earlier, earlier[:, -1:]], dim=1), torch.cat([later[:, :1], later], dim=1)
    )
    return torch.where(places == common, of_common, of_others)


def combine_neighbours(earlier: Tensor, later: Tensor) -> Tensor:
    """:func:`to_frames` for neighbours: ends stand in one pair only, every other frame in two.

    Args:
        earlier: [B, T-1, ...], of each pair's earlier frame.
        later: [B, T-1, ...], of each pair's later frame.

    Returns:
        [B, T, ...].
    """
    # At an end, the only pair counts for both: the mean of a thing with itself is that thing, to the last bit.
    with_next = torch.cat([earlier, later[:, -1:]], dim=1)
    with_previous = torch.cat([earlier[:, :1], later], dim=1)
    return (with_next + with_previous) / 2


def common_frame(num_frames: int, target: AlignmentTarget) -> int:
    """The number of the frame that all are aligned with: the first, or the middle one, of two the later."""
    return num_frames // 2 if target == "middle" else 0
