"""The block of the released code: aligned and interactive features are added to the tokens, then comes CLIP's block.

Shapes: B clips, T frames, L = 1 + h*w tokens with the class token first, D channels, A channels of the pair features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..alignment import Aligned, Alignment, frame_weights
from ..configs import AlignmentTarget, InteractiveBlock
from ..layers import zero_
from ..pairing import to_frames
from .frame import BlockOutput, FrameBlock
from .fused import FusedResidualBlock


class AddsAligned(nn.Module):
    """What the released form puts before a block of attention and MLP: layers, and what they add to the tokens."""

    def make_alignment(
        self,
        width: int,
        *,
        alignment_width: int,
        interactive: InteractiveBlock = "separable",
        target: AlignmentTarget = "neighbours",
        prefix_tokens: int = 1,
    ) -> None:
        """Makes the layers.

        Args:
            width: Channels D of a token.
            alignment_width: Channels A of the pair features.
            interactive: First stage of the interactive block.
            target: Which frames are aligned.
            prefix_tokens: Tokens before the patches.
        """
        frame_width = alignment_width // 2
        self.alignment = Alignment(
            width,
            alignment_width=alignment_width,
            interactive=interactive,
            target=target,
            prefix_tokens=prefix_tokens,
        )
        self.aligned_skip = nn.Linear(width, width)
        self.temporal_conv = nn.Conv1d(frame_width, frame_width, 3, padding=1)
        self.temporal_proj = nn.Linear(frame_width, width)
        self.interactive_skip = nn.Linear(width, width)
        for layer in self.silent_layers():
            zero_(layer)

    def silent_layers(self) -> tuple[nn.Linear, ...]:
        """The two skip layers."""
        return (self.aligned_skip, self.interactive_skip)

    def added(self, aligned: Aligned) -> Tensor:
        """What alignment adds to the tokens, [B, T, L, D]."""
        added: Tensor = self.aligned_skip(self.aligned_frames(aligned))
        return added + self.interactive_skip(self.interactive_frames(aligned))

    def aligned_frames(self, aligned: Aligned) -> Tensor:
        """The aligned frames u [B, T, L, D]: the message, its patch tokens weighted by their masks."""
        weights = frame_weights(aligned.maps.masks, self.alignment.target)
        prefix = weights.new_ones(*weights.shape[:2], self.alignment.prefix_tokens)
        return aligned.message * torch.cat([prefix, weights], dim=2).unsqueeze(-1).to(aligned.message.dtype)

    def interactive_frames(self, aligned: Aligned) -> Tensor:
        """The interactive frames v [B, T, L, D]: pair features folded into frames, then mixed over time.

        The class token is the message's own: it passes neither the convolution nor the linear map.
        """
        assert aligned.pair_features is not None, "the released form has them"
        earlier, later = aligned.pair_features.chunk(2, dim=2)
        frames = to_frames(earlier, later, self.alignment.target)
        clips, _, _, rows, columns = frames.shape
        # Every place of the grid is a sequence of T frames for the convolution.
        sequences = frames.permute(0, 3, 4, 2, 1).flatten(0, 2)
        mixed = self.temporal_conv(sequences).unflatten(0, (clips, rows * columns))
        patches = self.temporal_proj(mixed.permute(0, 3, 1, 2))
        return torch.cat([aligned.message[:, :, : self.alignment.prefix_tokens], patches], dim=2)


class ResidualBlock(AddsAligned, FrameBlock):
    """The released code's block, as it is trained; :meth:`fuse` makes the same function for inference of it."""

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
        """Makes a block; see :meth:`AddsAligned.make_alignment` and :class:`FrameBlock`."""
        FrameBlock.__init__(self, width, drop_path=drop_path)
        self.make_alignment(width, alignment_width=alignment_width, interactive=interactive, target=target)

    def fuse(self) -> FusedResidualBlock:
        """The same function for inference; it takes this block's layers over.

        Raises:
            RuntimeError: The block is in training mode.
        """
        return FusedResidualBlock(self)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> BlockOutput:
        """Maps tokens to tokens, with points and masks, and in training the similarity loss; see :class:`FrameBlock`.

        The alignment is never recomputed: run twice, its batch norms would count every batch twice.
        """
        aligned = self.alignment(x, grid, window_offset)
        return BlockOutput(self.run_transform(x + self.added(aligned)), aligned.maps, aligned.similarity_loss)
