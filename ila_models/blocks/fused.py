"""The released form's block rearranged for inference: the same function, fewer operations and passes over memory.

What changes nothing but the rounding: batch norms are part of their convolutions; the linear map after the temporal
convolution and the skip layer after it are one map; that map and the aligned frames' skip layer are one product.
Nothing here has a training form, so nothing that only the loss needs is computed.

Shapes: B clips, T frames, N = h*w patch tokens, L = 1 + N tokens with the class token first, D channels, A channels of
the pair features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from ..alignment import Aligned, frame_weights
from ..pairing import to_frames
from .frame import BlockOutput
from .inference import InferenceBlock, device_with_64_bits, fold_batch_norms

if TYPE_CHECKING:
    from .residual import AddsAligned, ResidualBlock


class AddsFused(nn.Module):
    """The same as :class:`~ila_models.blocks.residual.AddsAligned` in fewer operations."""

    def take_alignment(self, block: AddsAligned) -> None:
        """Takes over the layers of ``block``, which is not to be used any more."""
        self.alignment = block.alignment
        fold_batch_norms(self.alignment)
        self.temporal_conv = over_frames(block.temporal_conv)
        self.patch_skip = joined_skip(block)
        self.class_skip = summed(block.aligned_skip, block.interactive_skip)

    def added(self, aligned: Aligned) -> Tensor:
        """What alignment adds to the tokens, [B, T, L, D]."""
        weights = frame_weights(aligned.maps.masks, self.alignment.target).unsqueeze(-1).to(aligned.message.dtype)
        assert aligned.pair_features is not None, "the released form has them"
        prefix = self.alignment.prefix_tokens
        class_tokens, patches = aligned.message[:, :, :prefix], aligned.message[:, :, prefix:]
        joined = torch.cat([patches * weights, self.interactive_frames(aligned.pair_features)], dim=-1)
        return torch.cat([self.class_skip(class_tokens), self.patch_skip(joined)], dim=2)

    def interactive_frames(self, pair_features: Tensor) -> Tensor:
        """Pair features [B, T-1, A, h, w] folded into frames and mixed over time, [B, T, N, A/2]."""
        earlier, later = pair_features.flatten(3).transpose(2, 3).chunk(2, dim=-1)
        frames = to_frames(earlier, later, self.alignment.target)
        # Frames by tokens is a map too, in channels-last layout.
        mixed: Tensor = self.temporal_conv(frames.permute(0, 3, 1, 2))
        return mixed.permute(0, 2, 3, 1)


class FusedResidualBlock(AddsFused, InferenceBlock):
    """A :class:`~ila_models.blocks.residual.ResidualBlock` for inference."""

    has_points = True

    def __init__(self, block: ResidualBlock) -> None:
        """Takes over the layers of ``block``; see :class:`InferenceBlock`."""
        InferenceBlock.__init__(self, block)
        self.take_alignment(block)
        self.eval()

    def forward(
        self, x: Tensor, grid: tuple[int, int], window_offset: Tensor, *, class_only: bool = False
    ) -> BlockOutput:
        """Maps tokens to tokens, with points and masks; see :class:`FrameBlock`.

        Args:
            x: [B, T, L, D], T at least 2.
            grid: Tokens along the height and the width.
            window_offset: Not looked at.
            class_only: Return class tokens alone, [B, T, 1, D]: all that a last block is asked for by a video vector.
        """
        aligned = self.alignment(x, grid, window_offset)
        x = x + self.added(aligned)
        return BlockOutput(self.transform_class_tokens(x) if class_only else self.transform(x), aligned.maps)


@torch.no_grad()
def over_frames(conv: nn.Conv1d) -> nn.Conv2d:
    """A convolution over sequences of frames as one over maps of frames by tokens."""
    made = nn.Conv2d(conv.in_channels, conv.out_channels, (3, 1), padding=(1, 0), device="meta")
    made.weight, made.bias = nn.Parameter(conv.weight.unsqueeze(-1)), conv.bias
    return made.to(memory_format=torch.channels_last)


@torch.no_grad()
def joined_skip(block: AddsAligned) -> nn.Linear:
    """One map [masked message, interactive frame] -> D of the three that patch tokens go through."""
    aligned, interactive, proj = map(exact, (block.aligned_skip, block.interactive_skip, block.temporal_proj))
    weight = torch.cat([aligned.weight, interactive.weight @ proj.weight], dim=1)
    bias = aligned.bias + interactive.bias + interactive.weight @ proj.bias
    return linear(weight, bias, like=block.aligned_skip)


@torch.no_grad()
def summed(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """One map for two that read the same and are added."""
    one, two = exact(first), exact(second)
    return linear(one.weight + two.weight, one.bias + two.bias, like=first)


class Exact(NamedTuple):
    """A linear layer's values in 64 bits."""

    weight: Tensor
    bias: Tensor


def exact(layer: nn.Linear) -> Exact:
    """The values of a layer."""
    where = device_with_64_bits(layer.weight.device)
    return Exact(layer.weight.to(where).double(), layer.bias.to(where).double())


def linear(weight: Tensor, bias: Tensor, *, like: nn.Linear) -> nn.Linear:
    """A layer with these values, of the device and the dtype of another."""
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight, made.bias = (nn.Parameter(values.to(like.weight)) for values in (weight, bias))
    return made
