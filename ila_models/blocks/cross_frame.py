"""Cross-frame attention in the place of alignment: a baseline.

Shapes: B clips, T frames, L = 1 + h*w tokens with the class token first, D channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..layers import Attention, LayerNorm
from .extra_token import ExtraTokenBlock
from .frame import BlockOutput


class CrossFrameBlock(ExtraTokenBlock):
    """Cross-frame attention (X-CLIP, https://arxiv.org/abs/2208.02816).

    Every frame makes a message of its class token; the messages attend to each other, and each joins the spatial
    attention of its frame as a token more.
    """

    def __init__(self, width: int, *, drop_path: float = 0.0) -> None:
        """Makes a block; see :class:`~ila_models.blocks.frame.FrameBlock`."""
        super().__init__(width, drop_path=drop_path)
        self.message_fc = nn.Linear(width, width)
        self.message_norm = LayerNorm(width)
        self.message_attn = Attention(width)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> BlockOutput:
        """Maps tokens to tokens."""
        messages = self.message_fc(x[:, :, 0])
        messages = messages + self.drop_path(self.message_attn(self.message_norm(messages)))
        return BlockOutput(self.run_with(x, messages))
