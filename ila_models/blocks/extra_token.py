"""A token more in every frame's spatial attention: what the frame learns of others, for the other tokens to read.

Shapes: B clips, T frames, L = 1 + h*w tokens with the class token first, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .frame import FrameBlock


class ExtraTokenBlock(FrameBlock):
    """CLIP's block with one token more in its attention, which is dropped before the MLP."""

    def run_with(self, x: Tensor, extra: Tensor) -> Tensor:
        """Maps tokens [B, T, L, D] and an extra one of each frame [B, T, D] to tokens [B, T, L, D]."""
        return self.run_transform(torch.cat([x, extra.unsqueeze(2)], dim=2))

    def transform(self, x: Tensor) -> Tensor:
        """CLIP's own block on every frame, [B, T, L+1, D] to [B, T, L, D]: the last token is the extra one."""
        x = (x + self.drop_path(self.attend(self.norm1(x))))[:, :, :-1]
        return x + self.drop_path(self.mlp(self.norm2(x)))
