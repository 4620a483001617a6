"""Divided space-time attention in the place of alignment: a baseline.

Shapes: B clips, T frames, N = h*w patch tokens, L = 1 + N tokens with the class token first, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers import Attention, LayerNorm, zero_
from .frame import FrameBlock


class DividedSpaceTimeBlock(FrameBlock):
    """Divided space-time attention (TimeSformer, https://arxiv.org/abs/2102.05095).

    First every patch attends to the patches of its place in all frames, then the tokens of a frame to each other. Here,
    every frame keeps a class token of its own, as the other forms do.
    """

    needs_frame_positions = True

    def __init__(self, width: int, *, drop_path: float = 0.0) -> None:
        """Makes a block; see :class:`FrameBlock`."""
        super().__init__(width, drop_path=drop_path)
        self.temporal_norm = LayerNorm(width)
        self.temporal_attn = Attention(width)
        self.temporal_fc = nn.Linear(width, width)
        for layer in self.silent_layers():
            zero_(layer)

    def silent_layers(self) -> tuple[nn.Linear, ...]:
        """The layer that ends the attention over time."""
        return (self.temporal_fc,)

    def transform(self, x: Tensor) -> Tensor:
        """Attention over time, then CLIP's own block, [B, T, L, D] to [B, T, L, D]."""
        patches = x[:, :, 1:] + self.drop_path(self.attend_over_time(self.temporal_norm(x[:, :, 1:])))
        return super().transform(torch.cat([x[:, :, :1], patches], dim=2))

    def attend_over_time(self, patches: Tensor) -> Tensor:
        """Attention among the patches of each place, [B, T, N, D] to [B, T, N, D]."""
        places = patches.transpose(1, 2)
        attended: Tensor = self.temporal_fc(self.temporal_attn(places.flatten(0, 1))).unflatten(0, places.shape[:2])
        return attended.transpose(1, 2)
