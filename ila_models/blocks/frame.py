"""CLIP's own block on every frame by itself, and what all forms of the block share.

Shapes: B clips, T frames, L = 1 + h*w tokens with the class token first, D channels.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from ..alignment import AlignmentMaps
from ..layers import Attention, DropPath, LayerNorm, QuickGELUMlp


class BlockOutput(NamedTuple):
    """Output of a block.

    Attributes:
        tokens: [B, T, L, D]; class tokens alone, [B, T, 1, D], where no others were wanted.
        maps: Points and masks of every pair; None in a form that has none.
        similarity_loss: A scalar in training; None in evaluation, and in a form that has none.
    """

    tokens: Tensor
    maps: AlignmentMaps | None = None
    similarity_loss: Tensor | None = None


class FrameBlock(nn.Module):
    """CLIP's block on every frame by itself (``alignment="none"``), and what all forms share."""

    has_points: ClassVar[bool] = False
    """Whether the form predicts interactive points."""
    needs_frame_positions: ClassVar[bool] = False
    """Whether the form cannot tell the order of frames unless positions are added to the tokens."""

    is_fused: ClassVar[bool] = False
    """Whether it was rearranged for inference."""

    def __init__(self, width: int, *, drop_path: float = 0.0) -> None:
        """Makes a block.

        Args:
            width: Channels D of a token, a multiple of 64.
            drop_path: Rate in [0, 1) at which a clip skips the attention or the MLP in training.
        """
        super().__init__()
        self.norm1 = LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = LayerNorm(width)
        self.mlp = QuickGELUMlp(width)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.grad_checkpointing = False

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> BlockOutput:
        """Maps tokens to tokens.

        Args:
            x: [B, T, L, D], T at least 2.
            grid: Tokens along the height and the width.
            window_offset: See :class:`~ila_models.alignment.Alignment`.
        """
        return BlockOutput(self.run_transform(x))

    def fuse(self) -> FrameBlock:
        """The same function rearranged for inference; a form that has nothing to rearrange stays as it is."""
        return self

    def run_transform(self, x: Tensor) -> Tensor:
        """:meth:`transform`, whose activations are computed again in the backward pass if that is wanted."""
        if self.grad_checkpointing and self.training:
            recomputed: Tensor = torch.utils.checkpoint.checkpoint(self.transform, x, use_reentrant=False)
            return recomputed
        return self.transform(x)

    def transform(self, x: Tensor) -> Tensor:
        """CLIP's own block on every frame by itself, [B, T, L, D] to [B, T, L, D]."""
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def silent_layers(self) -> tuple[nn.Linear, ...]:
        """Layers that start at zero, so that a fresh block is CLIP's block, frame by frame."""
        return ()

    def attend(self, x: Tensor) -> Tensor:
        """Spatial attention among the tokens of each frame, [B, T, L, D] to [B, T, L, D]."""
        attended: Tensor = self.attn(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return attended
