"""Attention roll-out of the class token: which patches of a frame reach its class token through all of its blocks.

Quantifying Attention Flow in Transformers, Abnar and Zuidema, ACL 2020, https://arxiv.org/abs/2005.00928: in every
block, half of a token is itself (the residual connection) and half is what it attends to; the product over the blocks
says how much of each input token there is in each output token.

Shapes: F frames of all clips, L = 1 + h*w tokens of a frame with the class token first, D channels of a token.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..blocks import FrameBlock
from ..ila_vit import ILAVisionTransformer


def mean_attention(attention: Any, x: Tensor) -> Tensor:
    """The weights of a self-attention, mean over its heads, as the model's own fused operation does not give them.

    Args:
        attention: A module of timm's: ``qkv``, ``num_heads``, ``scale``.
        x: What it is given, [F, L, D].

    Returns:
        float32 [F, L, L]; rows (who attends) sum to one.
    """
    query, key, _ = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1)).unbind(2)
    query, key = attention.q_norm(query).transpose(1, 2).float(), attention.k_norm(key).transpose(1, 2).float()
    # Frame by frame: of all frames and heads at once, the weights of a large model fill a gigabyte.
    return torch.stack(
        [
            (attention.scale * of_frame @ keys.transpose(-2, -1)).softmax(dim=-1).mean(dim=0)
            for of_frame, keys in zip(query, key, strict=True)
        ]
    )


def roll_out(attentions: Iterable[Tensor]) -> Tensor:
    """Multiplies the attention of blocks, each halved with the identity.

    Args:
        attentions: Weights [..., L, L] of the first block, of the second and so on; rows sum to one.

    Returns:
        [..., L, L]: how much of each input token (column) there is in each output token (row); rows sum to one.

    Raises:
        ValueError: There are no attentions.
    """
    rolled: Tensor | None = None
    for attention in attentions:
        mixed = (attention + torch.eye(attention.shape[-1], device=attention.device, dtype=attention.dtype)) / 2
        rolled = mixed if rolled is None else mixed @ rolled
    if rolled is None:
        raise ValueError("there is no attention to roll out: give that of at least one block")
    return rolled


@contextlib.contextmanager
def recorded_attention(model: ILAVisionTransformer) -> Iterator[list[Tensor]]:
    """Within it, every pass of the model adds the spatial attention of each block, [F, L, L], to the list.

    Only what goes on within a frame is seen: neither what alignment adds to the tokens, nor attention over time. In a
    form whose attention has one token more, that token's share is left out and the others' are scaled up to one.

    Raises:
        ValueError: The model is fused: its last block computes less than the whole attention.
    """
    check_is_unfused(model)
    tokens = 1 + model.grid_size[0] * model.grid_size[1]
    seen: list[Tensor] = []

    def see(attention: nn.Module, arguments: tuple[Any, ...]) -> None:
        weights = mean_attention(attention, arguments[0])[:, :tokens, :tokens]
        seen.append(weights / weights.sum(dim=-1, keepdim=True))

    blocks = [block for block in model.blocks if isinstance(block, FrameBlock)]
    with contextlib.ExitStack() as stack:
        for block in blocks:
            stack.callback(block.attn.register_forward_pre_hook(see).remove)
        yield seen


def check_is_unfused(model: ILAVisionTransformer) -> None:
    """Refuses a model whose attention cannot be looked at.

    Raises:
        ValueError: It is fused.
    """
    if model.fused:
        raise ValueError(
            "this model is fused for inference, and attention roll-out needs the whole attention of its blocks: create"
            " it unfused, without fused=True or fuse()"
        )
