"""The block of the released code: aligned and interactive features are added to the tokens, then comes CLIP's block.

Shapes: B clips, T frames, L = 1 + h*w tokens with the class token first, D channels, A channels of the pair features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..alignment import Aligned, Alignment, combine_neighbours, frame_weights
from ..configs import InteractiveBlock
from ..layers import zero_
from .frame import BlockOutput, FrameBlock
from .fused import FusedResidualBlock


class ResidualBlock(FrameBlock):
    """The released code's block, as it is trained; :meth:`fuse` makes the same function for inference of it."""

    has_points = True

    def __init__(
        self,
        width: int,
        *,
        alignment_width: int = 256,
        interactive: InteractiveBlock = "separable",
        drop_path: float = 0.0,
    ) -> None:
        """Makes a block; see :class:`FrameBlock`."""
        super().__init__(width, drop_path=drop_path)
        frame_width = alignment_width // 2
        self.alignment = Alignment(width, alignment_width=alignment_width, interactive=interactive)
        self.aligned_skip = nn.Linear(width, width)
        self.temporal_conv = nn.Conv1d(frame_width, frame_width, 3, padding=1)
        self.temporal_proj = nn.Linear(frame_width, width)
        self.interactive_skip = nn.Linear(width, width)
        for layer in self.silent_layers():
            zero_(layer)

    def silent_layers(self) -> tuple[nn.Linear, ...]:
        """The two skip layers."""
        return (self.aligned_skip, self.interactive_skip)

    def fuse(self) -> FusedResidualBlock:
        """The same function for inference; it takes this block's layers over.

        Raises:
            RuntimeError: The block is in training mode.
        """
        if self.training:
            raise RuntimeError("a block in training mode cannot be fused for inference: call model.eval() first")
        return FusedResidualBlock(self)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> BlockOutput:
        """Maps tokens to tokens, with points and masks, and in training the similarity loss; see :class:`FrameBlock`.

        The alignment is never recomputed: run twice, its batch norms would count every batch twice.
        """
        aligned = self.alignment(x, grid, window_offset)
        x = (
            x
            + self.aligned_skip(self.aligned_frames(aligned))
            + self.interactive_skip(self.interactive_frames(aligned))
        )
        return BlockOutput(self.run_transform(x), aligned.maps, aligned.similarity_loss)

    def aligned_frames(self, aligned: Aligned) -> Tensor:
        """The aligned frames u [B, T, L, D]: the message, its patch tokens weighted by their masks."""
        weights = frame_weights(aligned.maps.masks)
        class_token = weights.new_ones(*weights.shape[:2], 1)
        return aligned.message * torch.cat([class_token, weights], dim=2).unsqueeze(-1).to(aligned.message.dtype)

    def interactive_frames(self, aligned: Aligned) -> Tensor:
        """The interactive frames v [B, T, L, D]: pair features folded into frames, then mixed over time.

        The class token is the message's own: it passes neither the convolution nor the linear map.
        """
        frames = combine_neighbours(*aligned.pair_features.chunk(2, dim=2))
        clips, _, _, rows, columns = frames.shape
        # Every place of the grid is a sequence of T frames for the convolution.
        sequences = frames.permute(0, 3, 4, 2, 1).flatten(0, 2)
        mixed = self.temporal_conv(sequences).unflatten(0, (clips, rows * columns))
        patches = self.temporal_proj(mixed.permute(0, 3, 1, 2))
        return torch.cat([aligned.message[:, :, :1], patches], dim=2)
