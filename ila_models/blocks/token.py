"""The paper's block: a token of mutual information between aligned frames joins the spatial attention.

Shapes: B clips, T frames, N = h*w patch tokens, L = 1 + N tokens with the class token first, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..alignment import Aligned, TokenAlignment, frame_weights
from ..configs import AlignmentTarget, InteractiveBlock
from .extra_token import ExtraTokenBlock
from .frame import BlockOutput
from .inference import InferenceBlock, fold_batch_norms


class TokenBlock(ExtraTokenBlock):
    """The paper's form, as it is trained; :meth:`fuse` makes the same function for inference of it."""

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
        """Makes a block.

        Args:
            width: Channels D of a token, a multiple of 64.
            alignment_width: Channels after the convolution module's first stage.
            interactive: That stage.
            target: Which frames are aligned.
            drop_path: See :class:`~ila_models.blocks.frame.FrameBlock`.
        """
        super().__init__(width, drop_path=drop_path)
        self.alignment = TokenAlignment(width, alignment_width=alignment_width, interactive=interactive, target=target)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> BlockOutput:
        """Maps tokens to tokens, with points and masks, and in training the similarity loss.

        The alignment is never recomputed: run twice, its batch norms would count every batch twice.
        """
        aligned = self.alignment(x, grid, window_offset)
        tokens = self.run_with(x, mutual_token(aligned, self.alignment.target))
        return BlockOutput(tokens, aligned.maps, aligned.similarity_loss)

    def fuse(self) -> FusedTokenBlock:
        """The same function for inference; it takes this block's layers over.

        Raises:
            RuntimeError: The block is in training mode.
        """
        return FusedTokenBlock(self)


class FusedTokenBlock(InferenceBlock):
    """A :class:`TokenBlock` for inference: batch norms are part of their convolutions."""

    has_points = True

    def __init__(self, block: TokenBlock) -> None:
        """Takes over the layers of ``block``; see :class:`InferenceBlock`."""
        super().__init__(block)
        self.alignment = block.alignment
        fold_batch_norms(self.alignment)
        self.eval()

    def forward(
        self, x: Tensor, grid: tuple[int, int], window_offset: Tensor, *, class_only: bool = False
    ) -> BlockOutput:
        """Maps tokens to tokens, with points and masks; see :class:`~ila_models.blocks.fused.FusedResidualBlock`."""
        aligned = self.alignment(x, grid, window_offset)
        extra = mutual_token(aligned, self.alignment.target).unsqueeze(2)
        x = torch.cat([x, extra], dim=2)
        if class_only:
            return BlockOutput(self.transform_class_tokens(x), aligned.maps)
        x = (x + self.attend(self.norm1(x)))[:, :, :-1]
        return BlockOutput(x + self.mlp(self.norm2(x)), aligned.maps)


def mutual_token(aligned: Aligned, target: AlignmentTarget) -> Tensor:
    """The mean over space of each frame's aligned features, [B, T, D]."""
    weights = frame_weights(aligned.maps.masks, target).to(aligned.message.dtype)
    patches = aligned.message[:, :, 1:]
    summed: Tensor = torch.einsum("btn,btnd->btd", weights, patches)
    return summed / patches.shape[2]
