"""What blocks for inference have in common: no batch norms, and class tokens alone where nobody wants others.

Shapes: B clips, T frames, L tokens of a frame with the class token first, D channels.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..configs import HEAD_WIDTH
from .frame import FrameBlock


class InferenceBlock(FrameBlock):
    """A block that was rearranged for inference. Nothing here has a training form."""

    is_fused = True

    def __init__(self, block: FrameBlock) -> None:
        """Takes over CLIP's layers of ``block``, which is not to be used any more.

        Raises:
            RuntimeError: The block is in training mode.
        """
        if block.training:
            raise RuntimeError("a block in training mode cannot be fused for inference: call model.eval() first")
        nn.Module.__init__(self)
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp
        self.drop_path = nn.Identity()
        self.grad_checkpointing = False

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
def fold_batch_norms(module: nn.Module) -> None:
    """Makes the batch norms of all stages (``conv``, ``norm``) part of their convolutions."""
    for stage in module.modules():
        if isinstance(stage, nn.Sequential) and isinstance(getattr(stage, "norm", None), nn.BatchNorm2d):
            conv, norm = cast("nn.Conv2d", stage.conv), cast("nn.BatchNorm2d", stage.norm)
            device, dtype = conv.weight.device, conv.weight.dtype
            where = device_with_64_bits(device)
            folded = fuse_conv_bn_eval(conv.to(where).double().eval(), norm.to(where).double().eval())
            stage.conv = folded.to(device, dtype).to(memory_format=torch.channels_last)
            stage.norm = nn.Identity()
