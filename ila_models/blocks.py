"""Transformer blocks that align neighbouring frames before their spatial attention.

Shapes: B clips, T frames, L = 1 + h*w tokens with the class token first, D channels, A channels of the pair features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from .alignment import Aligned, Alignment, AlignmentMaps, combine_neighbours
from .configs import AlignmentForm, InteractiveBlock
from .layers import Attention, DropPath, LayerNorm, QuickGELUMlp, zero_


class BlockOutput(NamedTuple):
    """Output of a block: tokens [B, T, L, D], points and masks of every pair, a scalar loss in training (else None)."""

    tokens: Tensor
    maps: AlignmentMaps
    similarity_loss: Tensor | None


class ResidualBlock(nn.Module):
    """The released code's block: aligned and interactive features are added to the tokens, then CLIP's block follows.

    Both skip layers start at zero, so that a fresh block is CLIP's block, frame by frame.
    """

    def __init__(
        self,
        width: int,
        *,
        alignment_width: int = 256,
        interactive: InteractiveBlock = "separable",
        drop_path: float = 0.0,
    ) -> None:
        """Makes a block.

        Args:
            width: Channels D of a token, a multiple of 64.
            alignment_width: Channels A of the pair features.
            interactive: First stage of the interactive block.
            drop_path: Rate in [0, 1) at which a clip skips the attention or the MLP in training.
        """
        super().__init__()
        frame_width = alignment_width // 2
        self.alignment = Alignment(width, alignment_width=alignment_width, interactive=interactive)
        self.aligned_skip = nn.Linear(width, width)
        self.temporal_conv = nn.Conv1d(frame_width, frame_width, 3, padding=1)
        self.temporal_proj = nn.Linear(frame_width, width)
        self.interactive_skip = nn.Linear(width, width)
        self.norm1 = LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = LayerNorm(width)
        self.mlp = QuickGELUMlp(width)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.grad_checkpointing = False
        zero_(self.aligned_skip)
        zero_(self.interactive_skip)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> BlockOutput:
        """Maps tokens to tokens.

        Args:
            x: [B, T, L, D], T at least 2.
            grid: Tokens along the height and the width.
            window_offset: See :class:`~ila_models.alignment.Alignment`.

        Returns:
            Tokens [B, T, L, D], the points and masks, and in training the similarity loss.
        """
        aligned = self.alignment(x, grid, window_offset)
        x = (
            x
            + self.aligned_skip(self.aligned_frames(aligned))
            + self.interactive_skip(self.interactive_frames(aligned))
        )
        if self.grad_checkpointing and self.training:
            # The alignment stays outside: run twice, its batch norms would count every batch twice.
            x = torch.utils.checkpoint.checkpoint(self.transform, x, use_reentrant=False)
        else:
            x = self.transform(x)
        return BlockOutput(x, aligned.maps, aligned.similarity_loss)

    def aligned_frames(self, aligned: Aligned) -> Tensor:
        """The aligned frames u [B, T, L, D]: the message, its patch tokens weighted by their masks.

        The masked message of either neighbour is the same message, so the mean of two aligned frames is the message
        times the mean of two masks.
        """
        masks = aligned.maps.masks.flatten(-2)
        weights = combine_neighbours(masks[:, :, 0], masks[:, :, 1])
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

    def transform(self, x: Tensor) -> Tensor:
        """CLIP's own block on every frame by itself, [B, T, L, D] to [B, T, L, D]."""
        frames = x.shape[:2]
        x = x + self.drop_path(self.attn(self.norm1(x).flatten(0, 1)).unflatten(0, frames))
        return x + self.drop_path(self.mlp(self.norm2(x)))


BLOCKS: dict[AlignmentForm, type[ResidualBlock]] = {"residual": ResidualBlock}
"""The block of each form; a new form is one entry here and one name in :data:`ila_models.configs.AlignmentForm`."""
