"""The released form's block rearranged for inference: the same function, fewer operations and passes over memory.

What changes nothing but the rounding: batch norms are part of their convolutions; the linear map after the temporal
convolution and the skip layer after it are one map; that map and the aligned frames' skip layer are one product.
Nothing here has a training form, so nothing that only the loss needs is computed.

Shapes: B clips, T frames, N = h*w patch tokens, L = 1 + N tokens with the class token first, D channels, A channels of
the pair features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..alignment import Aligned, combine_neighbours, frame_weights
from ..configs import HEAD_WIDTH
from .frame import BlockOutput, FrameBlock

if TYPE_CHECKING:
    from .residual import ResidualBlock


class FusedResidualBlock(FrameBlock):
    """A :class:`~ila_models.blocks.residual.ResidualBlock` for inference."""

    has_points = True

    def __init__(self, block: ResidualBlock) -> None:
        """Takes over the layers of ``block``, which is not to be used any more."""
        nn.Module.__init__(self)
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp
        self.drop_path = nn.Identity()
        self.grad_checkpointing = False
        self.alignment = block.alignment
        for stage in [*block.alignment.interactive.children(), *block.alignment.points.children()]:
            if isinstance(stage, nn.Sequential):
                fold_batch_norm(stage)
        self.temporal_conv = over_frames(block.temporal_conv)
        self.patch_skip = joined_skip(block)
        self.class_skip = summed(block.aligned_skip, block.interactive_skip)
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
        x = x + self.skip(aligned)
        return BlockOutput(self.transform_class_tokens(x) if class_only else self.transform(x), aligned.maps)

    def skip(self, aligned: Aligned) -> Tensor:
        """What alignment adds to the tokens, [B, T, L, D]."""
        weights = frame_weights(aligned.maps.masks).unsqueeze(-1).to(aligned.message.dtype)
        class_tokens, patches = aligned.message[:, :, :1], aligned.message[:, :, 1:]
        joined = torch.cat([patches * weights, self.interactive_frames(aligned.pair_features)], dim=-1)
        return torch.cat([self.class_skip(class_tokens), self.patch_skip(joined)], dim=2)

    def interactive_frames(self, pair_features: Tensor) -> Tensor:
        """Pair features [B, T-1, A, h, w] folded into frames and mixed over time, [B, T, N, A/2]."""
        earlier, later = pair_features.flatten(3).transpose(2, 3).chunk(2, dim=-1)
        frames = combine_neighbours(earlier, later)
        # Frames by tokens is a map too, in channels-last layout.
        mixed: Tensor = self.temporal_conv(frames.permute(0, 3, 1, 2))
        return mixed.permute(0, 2, 3, 1)

    def transform_class_tokens(self, x: Tensor) -> Tensor:
        """What :meth:`transform` makes of the class tokens, [B, T, L, D] to [B, T, 1, D]."""
        class_tokens = x[:, :, :1] + self.attend_from_class_tokens(self.norm1(x))
        return class_tokens + self.mlp(self.norm2(class_tokens))

    def attend_from_class_tokens(self, x: Tensor) -> Tensor:
        """Spatial attention of each frame's class token to all of its tokens, [B, T, L, D] to [B, T, 1, D]."""
        width = x.shape[-1]
        qkv = self.attn.qkv
        query = F.linear(x[:, :, :1], qkv.weight[:width], qkv.bias[:width])
        keys_and_values = F.linear(x, qkv.weight[width:], qkv.bias[width:])

        def heads(tokens: Tensor) -> Tensor:
            return tokens.flatten(0, 1).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)

        key, value = keys_and_values.chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(heads(query), heads(key), heads(value))
        projected: Tensor = self.attn.proj(attended.transpose(1, 2).flatten(2)).unflatten(0, x.shape[:2])
        return projected


def device_with_64_bits(device: torch.device) -> torch.device:
    """Where values of a device are folded in 64 bits: there, or on the CPU where it has none."""
    return torch.device("cpu") if device.type == "mps" else device


@torch.no_grad()
def fold_batch_norm(stage: nn.Sequential) -> None:
    """Makes the batch norm of a stage (``conv``, ``norm``) part of its convolution."""
    conv, norm = cast("nn.Conv2d", stage.conv), cast("nn.BatchNorm2d", stage.norm)
    device, dtype = conv.weight.device, conv.weight.dtype
    where = device_with_64_bits(device)
    folded = fuse_conv_bn_eval(conv.to(where).double().eval(), norm.to(where).double().eval())
    stage.conv = folded.to(device, dtype).to(memory_format=torch.channels_last)
    stage.norm = nn.Identity()


@torch.no_grad()
def over_frames(conv: nn.Conv1d) -> nn.Conv2d:
    """A convolution over sequences of frames as one over maps of frames by tokens."""
    made = nn.Conv2d(conv.in_channels, conv.out_channels, (3, 1), padding=(1, 0), device="meta")
    made.weight, made.bias = nn.Parameter(conv.weight.unsqueeze(-1)), conv.bias
    return made.to(memory_format=torch.channels_last)


@torch.no_grad()
def joined_skip(block: ResidualBlock) -> nn.Linear:
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
