"""Other ways to pass features of other frames on, as the paper compares them with its token.

Shapes: B clips, T frames, N = h*w patch tokens, L = 1 + N tokens with the class token first, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..alignment import TokenAlignment, frame_weights
from ..configs import AlignmentTarget, InteractiveBlock
from ..pairing import pair_frames, to_frames
from .extra_token import ExtraTokenBlock
from .frame import BlockOutput, FrameBlock


class NeighbourAverageBlock(ExtraTokenBlock):
    """No alignment: the token is the mean over space of the frames that a frame would be aligned with."""

    def __init__(self, width: int, *, target: AlignmentTarget = "neighbours", drop_path: float = 0.0) -> None:
        """Makes a block.

        Args:
            width: Channels D of a token, a multiple of 64.
            target: Which frames are pairs.
            drop_path: See :class:`~ila_models.blocks.frame.FrameBlock`.
        """
        super().__init__(width, drop_path=drop_path)
        self.target = target

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> BlockOutput:
        """Maps tokens to tokens."""
        earlier, later = pair_frames(x[:, :, 1:].mean(dim=2), self.target)
        # A pair's earlier frame gets of it the later one, and the other way round.
        return BlockOutput(self.run_with(x, to_frames(later, earlier, self.target)))


class AdditionBlock(FrameBlock):
    """Aligned features are added to the patch tokens, each to the one in its place; there is no token."""

    has_points = True

    def __init__(
        self,
        width: int,
        *,
        alignment_width: int,
        interactive: InteractiveBlock = "separable",
        target: AlignmentTarget = "neighbours",
        drop_path: float = 0.0,
    ) -> None:
        """Makes a block; see :class:`~ila_models.blocks.token.TokenBlock`."""
        super().__init__(width, drop_path=drop_path)
        self.alignment = TokenAlignment(width, alignment_width=alignment_width, interactive=interactive, target=target)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> BlockOutput:
        """Maps tokens to tokens, with points and masks, and in training the similarity loss."""
        aligned = self.alignment(x, grid, window_offset)
        weights = frame_weights(aligned.maps.masks, self.alignment.target).unsqueeze(-1).to(x.dtype)
        patches = x[:, :, 1:] + weights * aligned.message[:, :, 1:]
        tokens = self.run_transform(torch.cat([x[:, :, :1], patches], dim=2))
        return BlockOutput(tokens, aligned.maps, aligned.similarity_loss)
