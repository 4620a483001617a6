"""Classification heads: a linear layer, or the cosine to class-name features refined by video-specific prompts.

Shapes: B clips, T frames, N patch tokens, D channels of a token, E channels of CLIP's joint embedding, C classes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .configs import HEAD_WIDTH
from .layers import LayerNorm, QuickGELUMlp, init_linear_

CLIP_LOGIT_SCALE = math.log(1 / 0.07)
"""CLIP's starting value of the logarithm of the temperature's inverse."""


class LinearHead(nn.Module):
    """Unit-length video vector -> layer norm -> dropout -> linear, as in the Something-Something v2 models."""

    def __init__(self, embed_dim: int, num_classes: int, *, dropout: float = 0.5) -> None:
        """Makes a head.

        Args:
            embed_dim: Channels E of a video vector.
            num_classes: Classes C, at least 1.
            dropout: Rate before the linear layer in training.
        """
        super().__init__()
        self.norm = LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(embed_dim, num_classes)
        init_linear_(self.fc)

    def forward(self, video: Tensor, patches: Tensor) -> Tensor:
        """Maps video vectors [B, E] to logits [B, C]; the patch tokens are not looked at."""
        return self.fc(self.dropout(self.prepare(video)))

    def prepare(self, video: Tensor) -> Tensor:
        """What the linear layer sees of video vectors, [B, E] to [B, E]."""
        return self.norm(F.normalize(video, dim=-1))


class CrossAttention(nn.Module):
    """Class features ask, the visual context answers; q, k and v without bias, 64 channels a head."""

    def __init__(self, embed_dim: int) -> None:
        """Makes an attention over ``embed_dim`` channels, a multiple of 64."""
        super().__init__()
        self.q = nn.Linear(embed_dim, embed_dim, bias=False)
        self.k = nn.Linear(embed_dim, embed_dim, bias=False)
        self.v = nn.Linear(embed_dim, embed_dim, bias=False)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, text: Tensor, context: Tensor) -> Tensor:
        """Maps text [B, C, E] and context [B, N, E] to [B, C, E]."""

        def heads(x: Tensor) -> Tensor:
            return rearrange(x, "b l (heads d) -> b heads l d", d=HEAD_WIDTH)

        attended = F.scaled_dot_product_attention(heads(self.q(text)), heads(self.k(context)), heads(self.v(context)))
        return self.proj(rearrange(attended, "b heads l d -> b l (heads d)"))


class PromptLayer(nn.Module):
    """``text + CrossAttention(LN text, context)``, then ``text + MLP(LN text)``."""

    def __init__(self, embed_dim: int) -> None:
        """Makes a layer for ``embed_dim`` channels."""
        super().__init__()
        self.norm1 = LayerNorm(embed_dim)
        self.cross_attn = CrossAttention(embed_dim)
        self.norm2 = LayerNorm(embed_dim)
        self.mlp = QuickGELUMlp(embed_dim)

    def forward(self, text: Tensor, context: Tensor) -> Tensor:
        """Maps text [B, C, E] and context [B, N, E] to text of the same shape."""
        text = text + self.cross_attn(self.norm1(text), context)
        return text + self.mlp(self.norm2(text))


class VideoPrompts(nn.Module):
    """Video-specific prompts: class features shifted by what the video's patches say about each class."""

    def __init__(self, embed_dim: int, *, depth: int = 2) -> None:
        """Makes ``depth`` layers over ``embed_dim`` channels."""
        super().__init__()
        self.norm = LayerNorm(embed_dim)
        self.layers = nn.ModuleList(PromptLayer(embed_dim) for _ in range(depth))
        self.alpha = nn.Parameter(torch.empty(embed_dim))
        self.init_for_training()

    def forward(self, text: Tensor, context: Tensor) -> Tensor:
        """Maps class features [B, C, E] and a visual context [B, N, E] to refined class features [B, C, E]."""
        context = self.norm(context)
        refined = text
        for layer in self.layers:
            refined = layer(refined, context)
        # As released, `refined` still holds the class features that it started from.
        return text + self.alpha * refined

    def init_for_training(self) -> None:
        """The released recipe's starting values: truncated normal 0.02, alpha 0.1."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                init_linear_(module)
        nn.init.constant_(self.alpha, 0.1)

    def init_identity(self) -> None:
        """Makes the prompts leave class features as they are (alpha 0), for zero-shot use of frozen CLIP."""
        nn.init.zeros_(self.alpha)


class TextHead(nn.Module):
    """Cosine between the video vector and class-name features, times a learned scale, as in the Kinetics-400 models.

    The class features are a buffer: they come from CLIP's frozen text tower (:class:`ila_models.text.TextEncoder`).

    Attributes:
        has_prompts: Whether the video's patches refine the class features.
    """

    text_features: Tensor

    def __init__(self, width: int, embed_dim: int, *, num_classes: int, prompt_depth: int = 2) -> None:
        """Makes a head whose class features are random until :meth:`set_text_features` sets them.

        Args:
            width: Channels D of a patch token.
            embed_dim: Channels E of the joint embedding.
            num_classes: Classes C; 0 where they are not known yet.
            prompt_depth: Layers of the video-specific prompts.
        """
        super().__init__()
        self.context_norm = LayerNorm(width)
        self.context_proj = nn.Linear(width, embed_dim, bias=False)
        # As CLIP starts its own projections; the released recipe says nothing of this one.
        nn.init.normal_(self.context_proj.weight, std=width**-0.5)
        self.prompts = VideoPrompts(embed_dim, depth=prompt_depth)
        self.has_prompts = True
        self.logit_scale = nn.Parameter(torch.tensor(CLIP_LOGIT_SCALE))
        self.register_buffer("text_features", torch.randn(num_classes, embed_dim) * embed_dim**-0.5)

    def set_text_features(self, features: Tensor) -> None:
        """Replaces the class features by ``features`` [C, E]."""
        self.text_features = features.detach().to(self.text_features, copy=True)

    def forward(self, video: Tensor, patches: Tensor) -> Tensor:
        """Maps video vectors [B, E] and the last block's patch tokens [B, T, N, D] to logits [B, C].

        Raises:
            RuntimeError: No classes are set.
        """
        if len(self.text_features) == 0:
            raise RuntimeError(
                "this model's text head has no classes yet: call model.set_classes([...]) with class names or"
                " model.set_text_features(features), or create the model with class_names=[...], with num_classes=N"
                " (a new linear head) or with num_classes=0 (video embeddings)"
            )
        text = self.text_features.expand(video.shape[0], -1, -1)
        if self.has_prompts:
            text = self.prompts(text, self.context_proj(self.context_norm(patches)).mean(dim=1))
        cosine = torch.einsum("be,bce->bc", self.prepare(video), F.normalize(text, dim=-1))
        return self.logit_scale.exp() * cosine

    def prepare(self, video: Tensor) -> Tensor:
        """What the class features are compared with: video vectors [B, E] of unit length."""
        return F.normalize(video, dim=-1)
