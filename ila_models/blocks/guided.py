"""Alignment-guided temporal attention in the place of alignment: a baseline.

Shapes: B clips, T frames, N = h*w patch tokens, L = 1 + N tokens with the class token first, D channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .divided_space_time import DividedSpaceTimeBlock


class GuidedTemporalBlock(DividedSpaceTimeBlock):
    """Alignment-guided temporal attention (ATA, https://arxiv.org/abs/2207.00132).

    Before the attention over time, the patches of each frame are put into the order in which they match those of the
    frame before, one to one and as alike as possible, and afterwards put back. Nothing is learned for it.
    """

    def attend_over_time(self, patches: Tensor) -> Tensor:
        """Attention among the patches of each track, [B, T, N, D] to [B, T, N, D]."""
        order = matching_order(patches)
        index = order.unsqueeze(-1).expand_as(patches)
        attended = super().attend_over_time(patches.gather(2, index))
        return torch.empty_like(attended).scatter(2, index, attended)


@torch.no_grad()
def matching_order(patches: Tensor) -> Tensor:
    """The order of each frame's patches along tracks that begin at the first frame's.

    Args:
        patches: [B, T, N, D].

    Returns:
        int64 [B, T, N]: the number of the patch that each track has in each frame. The first frame's are in order.

    Raises:
        RuntimeError: scipy is not installed.
    """
    clips, frames, count, _ = patches.shape
    order = torch.arange(count).repeat(clips, frames, 1)
    if patches.is_meta:  # where only shapes are looked at, any order does
        return order.to(patches.device)
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise RuntimeError("alignment='guided' takes scipy: pip install 'ila-models[ablation]'") from error
    with torch.autocast(patches.device.type, enabled=False):
        normed = F.normalize(patches.float(), dim=-1)
        likeness = torch.einsum("btnd,btmd->btnm", normed[:, :-1], normed[:, 1:]).cpu().numpy()
    for clip in range(clips):
        for frame in range(1, frames):
            _, match = linear_sum_assignment(likeness[clip, frame - 1], maximize=True)
            order[clip, frame] = torch.from_numpy(match)[order[clip, frame - 1]]
    return order.to(patches.device)
