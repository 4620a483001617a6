"""The temporal head: a small transformer over the frames of a clip.

Shapes: B clips, T frames, E channels of CLIP's joint embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import TransformerLayer, init_linear_, trunc_normal_


def resample_frames(embedding: Tensor, num_frames: int) -> Tensor:
    """Interpolates temporal positions [1, T', E] linearly to [1, num_frames, E]; the ends keep their values."""
    # A compiled or exported graph is for any number of frames, so it must not ask whether this is the embedding's own.
    if not torch.compiler.is_compiling() and embedding.shape[1] == num_frames:
        return embedding
    channels_first = embedding.float().transpose(1, 2)
    resampled = F.interpolate(channels_first, size=num_frames, mode="linear", align_corners=True)
    return resampled.transpose(1, 2).to(embedding.dtype)


class TemporalHead(nn.Module):
    """Frame vectors [B, T, E] to a video vector [B, E]: ``mean over T of (c + transformer(c + positions))``."""

    def __init__(self, embed_dim: int, *, num_frames: int, depth: int = 1) -> None:
        """Makes a head.

        Args:
            embed_dim: Channels E, a multiple of 64.
            num_frames: Frames that the position embedding is made for; a clip may have another number.
            depth: Transformer layers.
        """
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, num_frames, embed_dim))
        self.blocks = nn.Sequential(*(TransformerLayer(embed_dim) for _ in range(depth)))
        self.init_for_training()

    def forward(self, frames: Tensor) -> Tensor:
        """Maps frame vectors [B, T, E] to video vectors [B, E], not normalised."""
        x = self.blocks(frames + resample_frames(self.pos_embed, frames.shape[1]))
        return (x + frames).mean(dim=1)

    def init_for_training(self) -> None:
        """The released recipe's starting values: truncated normal 0.02, biases zero."""
        trunc_normal_(self.pos_embed, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                init_linear_(module)

    def init_identity(self) -> None:
        """Makes the head point where the mean of the frame vectors points (twice that mean, to be exact).

        For zero-shot use of frozen CLIP: position embedding and residual branches are zero.
        """
        nn.init.zeros_(self.pos_embed)
        for block in self.blocks.children():
            if isinstance(block, TransformerLayer):
                block.init_identity()
