"""Transformer blocks: CLIP's own, frame by frame, and before its spatial attention the form that aligns frames.

Besides ILA's form there are baselines that take its place, to compare with: no exchange between frames, temporal shift,
and divided space-time attention. With freshly made layers, every form but the shift is CLIP's block on each frame.

Shapes: B clips, T frames, L = 1 + h*w tokens with the class token first, D channels, A channels of the pair features.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from .alignment import Aligned, Alignment, AlignmentMaps, combine_neighbours
from .configs import AlignmentForm, InteractiveBlock
from .layers import Attention, DropPath, LayerNorm, QuickGELUMlp, zero_


class BlockOutput(NamedTuple):
    """Output of a block.

    Attributes:
        tokens: [B, T, L, D].
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
            alignment_width: Channels A of the pair features, in a form that has them.
            interactive: First stage of the interactive block, in a form that has one.
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


class ResidualBlock(FrameBlock):
    """The released code's block: aligned and interactive features are added to the tokens, then comes CLIP's block."""

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


class DividedSpaceTimeBlock(FrameBlock):
    """Divided space-time attention (TimeSformer, https://arxiv.org/abs/2102.05095).

    First every patch attends to the patches of its place in all frames, then the tokens of a frame to each other. Here,
    every frame keeps a class token of its own, as the other forms do.
    """

    needs_frame_positions = True

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


BLOCKS: dict[AlignmentForm, type[FrameBlock]] = {
    "residual": ResidualBlock,
    "none": FrameBlock,
    "temporal_shift": TemporalShiftBlock,
    "divided_space_time": DividedSpaceTimeBlock,
}
"""The block of each form; a new form is one entry here and one name in :data:`ila_models.configs.AlignmentForm`."""
