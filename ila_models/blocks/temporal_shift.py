"""Temporal shift in the place of alignment: a baseline.

Shapes: B clips, T frames, L = 1 + h*w tokens with the class token first, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .frame import FrameBlock


class TemporalShiftBlock(FrameBlock):
    """Temporal shift (TSM, https://arxiv.org/abs/1811.08383) within the attention's residual branch.

    An eighth of the channels comes from the frame before, another one from the frame after; beyond the ends are zeros.
    """

    _PARTS = 8

    def attend(self, x: Tensor) -> Tensor:
        """Spatial attention among the tokens of each frame, some of whose channels are its neighbours'."""
        return super().attend(self.shift(x))

    def shift(self, x: Tensor) -> Tensor:
        """Exchanges channels between neighbouring frames, [B, T, L, D] to [B, T, L, D]."""
        part = x.shape[-1] // self._PARTS
        from_before, from_after, own = x.split([part, part, x.shape[-1] - 2 * part], dim=-1)
        from_before = torch.cat([torch.zeros_like(from_before[:, :1]), from_before[:, :-1]], dim=1)
        from_after = torch.cat([from_after[:, 1:], torch.zeros_like(from_after[:, :1])], dim=1)
        return torch.cat([from_before, from_after, own], dim=-1)
