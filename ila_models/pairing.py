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
    middle = middle_frame(frames.shape[1]) if target == "middle" else 0
    before, common, after = frames[:, :middle], frames[:, middle : middle + 1], frames[:, middle + 1 :]
    earlier = torch.cat([before, common.expand_as(after)], dim=1)
    later = torch.cat([common.expand_as(before), after], dim=1)
    return earlier, later


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
    middle = middle_frame(earlier.shape[1] + 1) if target == "middle" else 0
    # The common frame is the later one of the pairs with those before it, the earlier one of the others.
    common = torch.cat([later[:, :middle], earlier[:, middle:]], dim=1).mean(dim=1, keepdim=True)
    return torch.cat([earlier[:, :middle], common, later[:, middle:]], dim=1)


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


def middle_frame(num_frames: int) -> int:
    """The number of the middle frame; of an even number of frames, the later one of two."""
    return num_frames // 2
