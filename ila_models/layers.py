"""The one place where this package takes its building blocks from timm and fixes what CLIP needs of them.

CLIP's towers use layer norms with eps 1e-5 and QuickGELU, ``x * sigmoid(1.702 x)``. A plain GELU would change the
output by 1.5e-2, timm's default eps of 1e-6 by 4e-4, both without any error; so they are fixed here and nowhere else.
"""

from __future__ import annotations

from functools import partial

from timm.layers import Attention as TimmAttention
from timm.layers import DropPath, Mlp, PatchEmbed, QuickGELU, resample_abs_pos_embed, trunc_normal_
from torch import Tensor, nn

from .configs import HEAD_WIDTH

__all__ = [
    "Attention",
    "DropPath",
    "LayerNorm",
    "PatchEmbed",
    "QuickGELUMlp",
    "TransformerLayer",
    "init_linear_",
    "resample_abs_pos_embed",
    "trunc_normal_",
    "zero_",
]

LayerNorm = partial(nn.LayerNorm, eps=1e-5)


def Attention(width: int) -> TimmAttention:  # noqa: N802 - reads as the module that it builds
    """Multi-head self-attention over [batch, tokens, width] as CLIP has it: 64 channels a head, biases everywhere."""
    return TimmAttention(width, num_heads=width // HEAD_WIDTH, qkv_bias=True)


def QuickGELUMlp(width: int) -> Mlp:  # noqa: N802 - reads as the module that it builds
    """Two linear layers, ``width -> 4 width -> width``, with QuickGELU between."""
    return Mlp(width, hidden_features=4 * width, act_layer=QuickGELU)


def init_linear_(layer: nn.Linear) -> None:
    """Truncated normal 0.02, bias zero."""
    trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def zero_(layer: nn.Linear | nn.Conv1d) -> None:
    """Sets weight and bias to zero, so that the branch that ends in this layer starts silent."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class TransformerLayer(nn.Module):
    """CLIP's pre-norm layer: ``x + MSA(LN1 x)``, then ``x + MLP(LN2 x)``, over tokens [batch, tokens, width]."""

    def __init__(self, width: int) -> None:
        """Makes a layer for tokens of ``width`` channels."""
        super().__init__()
        self.norm1 = LayerNorm(width)
        self.attn = Attention(width)
        self.norm2 = LayerNorm(width)
        self.mlp = QuickGELUMlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens [batch, tokens, width] to tokens of the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def init_identity(self) -> None:
        """Zeroes the ends of both branches, so that tokens pass unchanged."""
        zero_(self.attn.proj)
        zero_(self.mlp.fc2)
