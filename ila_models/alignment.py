"""Implicit learnable alignment: points, masks, aligned features, similarity loss (the paper's section 3).

Shapes: B clips, T frames, N = h*w patch tokens on an h x w grid, L = N + 1 tokens with the class token first, D
channels of a token, A channels of the pair features (256 in the released models). Points are in [-1, 1], where -1 and 1
are the centres of the first and the last token of an axis; (x, y), x along the width.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .configs import InteractiveBlock
from .layers import LayerNorm, zero_

POINT_RANGE = 0.75
"""A point keeps within this distance of the frame's centre, per axis."""
MASK_FLAT = 0.25
"""The paper's delta: a mask is 1 up to this distance from its point."""
MASK_SLOPE = 1.5
"""The paper's beta: beyond ``MASK_FLAT`` a mask falls by this much per unit of distance."""
WINDOW_OFFSET = 0.2
"""Distance between the nine masks that are averaged in training, per axis."""
MIN_GRID = 4
"""Tokens that either side of the grid needs: the point predictor pools twice by two."""


class AlignmentMaps(NamedTuple):
    """What a block saw, pair by pair (pair t is frame t and frame t + 1).

    Attributes:
        points: [..., B, T-1, 4], (x, y) in the earlier frame, then (x, y) in the later frame, each in [-0.75, 0.75].
        masks: [..., B, T-1, 2, h, w], in [0, 1]: of the earlier frame, then of the later frame.
    """

    points: Tensor
    masks: Tensor


class Aligned(NamedTuple):
    """Output of :class:`Alignment`.

    Attributes:
        message: [B, T, L, D], the message m of every token.
        pair_features: [B, T-1, A, h, w]; the first half of the channels belongs to the earlier frame.
        maps: Points and masks of every pair.
        similarity_loss: A scalar in training, None in evaluation.
    """

    message: Tensor
    pair_features: Tensor
    maps: AlignmentMaps
    similarity_loss: Tensor | None


def conv_norm(conv: nn.Conv2d, *, relu: bool = True) -> nn.Sequential:
    """A convolution, its batch norm and, if wanted, a ReLU."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, norm=nn.BatchNorm2d(conv.out_channels))
    if relu:
        parts["act"] = nn.ReLU()
    return nn.Sequential(parts)


def interactive_block(width: int, alignment_width: int, kind: InteractiveBlock) -> nn.Sequential:
    """Pair maps [pairs, 2D, h, w] to pair features [pairs, A, h, w].

    Args:
        width: Channels D of one frame's map.
        alignment_width: Channels A that come out.
        kind: ``"separable"`` as in the Kinetics-400 models, ``"full"`` as in the Something-Something v2 models.
    """
    pair_width = 2 * width
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    if kind == "separable":
        stages["depthwise"] = conv_norm(nn.Conv2d(pair_width, pair_width, 3, padding=1, groups=pair_width))
        stages["pointwise"] = conv_norm(nn.Conv2d(pair_width, alignment_width, 1))
    else:
        stages["reduce"] = conv_norm(nn.Conv2d(pair_width, alignment_width, 3, padding=1))
    stages["mix"] = conv_norm(nn.Conv2d(alignment_width, alignment_width, 3, padding=1))
    return nn.Sequential(stages)


class PointPredictor(nn.Module):
    """The prediction block: pair features to one interactive point per frame of the pair."""

    def __init__(self, alignment_width: int) -> None:
        """Makes a predictor for pair features of ``alignment_width`` channels."""
        super().__init__()
        half, quarter = alignment_width // 2, alignment_width // 4
        self.stage1 = conv_norm(nn.Conv2d(alignment_width, half, 3, padding=1), relu=False)
        self.stage2 = conv_norm(nn.Conv2d(half, half, 3, padding=1), relu=False)
        # In two groups, so that the (x, y) of either frame come from a half of the channels of their own.
        self.fc1 = nn.Conv1d(half, quarter, 1, groups=2)
        self.fc2 = nn.Conv1d(quarter, 4, 1, groups=2)
        # Every point starts at the centre of its frame.
        zero_(self.fc2)

    def forward(self, pair_features: Tensor) -> Tensor:
        """Maps [pairs, A, h, w] to points [pairs, 4] in [-0.75, 0.75]."""
        x = F.relu(F.max_pool2d(self.stage1(pair_features), 2))
        x = F.relu(F.max_pool2d(self.stage2(x), 2))
        x = x.amax(dim=(2, 3)).unsqueeze(-1)
        x = self.fc2(F.relu(self.fc1(x)))
        return POINT_RANGE * torch.tanh(x.squeeze(-1))


def axis_weights(coordinates: Tensor, size: int) -> Tensor:
    """Weights of an axis' ``size`` tokens for a point at ``coordinates`` [...]: [..., size], in [0, 1].

    1 within ``MASK_FLAT`` of the point, from there on falling by ``MASK_SLOPE`` per unit, never below 0.
    """
    centres = torch.linspace(-1, 1, size, device=coordinates.device, dtype=coordinates.dtype)
    distance = (centres - coordinates.unsqueeze(-1)).abs()
    return (1 - MASK_SLOPE * (distance - MASK_FLAT).clamp(min=0)).clamp(min=0)


def soft_masks(points: Tensor, grid: tuple[int, int], *, window_offset: Tensor | None = None) -> Tensor:
    """Soft masks round interactive points.

    Args:
        points: [..., 2], (x, y).
        grid: Tokens along the height and the width.
        window_offset: A scalar o: the mean of the nine masks of p + o * (i, j), i, j in {-1, 0, 1}, is taken, as in
            training. None: the mask of p alone, as in evaluation.

    Returns:
        [..., h, w], in [0, 1].
    """
    # At least float32: 16 bits would put the flanks of a mask a whole token off on a fine grid.
    x, y = points.to(torch.promote_types(points.dtype, torch.float32)).unbind(-1)
    if window_offset is None:
        columns, rows = axis_weights(x, grid[1]), axis_weights(y, grid[0])
    else:
        # A mask is a product of its axes, so the mean over the 3 x 3 window is the product of two means of three.
        steps = window_offset.to(x.dtype) * torch.arange(-1, 2, device=x.device, dtype=x.dtype)
        columns = axis_weights(x.unsqueeze(-1) + steps, grid[1]).mean(-2)
        rows = axis_weights(y.unsqueeze(-1) + steps, grid[0]).mean(-2)
    return rows.unsqueeze(-1) * columns.unsqueeze(-2)


def similarity_loss(patches: Tensor, masks: Tensor) -> Tensor:
    """1 - cosine between the two aligned frames of a pair, each summed over space; mean over clips and pairs.

    Args:
        patches: Patch tokens of the message, [B, T, N, D].
        masks: [B, T-1, 2, h, w].
    """
    weights = masks.flatten(-2).to(patches.dtype)
    earlier = torch.einsum("btn,btnd->btd", weights[:, :, 0], patches[:, :-1])
    later = torch.einsum("btn,btnd->btd", weights[:, :, 1], patches[:, 1:])
    return (1 - F.cosine_similarity(earlier, later, dim=-1)).mean()


def combine_neighbours(earlier: Tensor, later: Tensor) -> Tensor:
    """From what T-1 pairs say of their two frames to what T frames get.

    The first and the last frame stand in one pair only; every other frame takes the mean of its two pairs.

    Args:
        earlier: [B, T-1, ...], of each pair's earlier frame.
        later: [B, T-1, ...], of each pair's later frame.

    Returns:
        [B, T, ...].
    """
    # At an end, the only pair counts for both: the mean of a thing with itself is that thing, to the last bit.
    with_next = torch.cat([earlier, later[:, -1:]], dim=1)
    with_previous = torch.cat([earlier[:, :1], later], dim=1)
    return (with_next + with_previous) / 2


def frame_weights(masks: Tensor) -> Tensor:
    """The weight of every patch token in its frame's aligned features, from what both of its pairs say of it.

    The masked message of either pair is the same message, so the mean of two aligned frames is the message times the
    mean of two masks.

    Args:
        masks: [B, T-1, 2, h, w].

    Returns:
        [B, T, N], in [0, 1].
    """
    flat = masks.flatten(-2)
    return combine_neighbours(flat[:, :, 0], flat[:, :, 1])


class Alignment(nn.Module):
    """Messages, interactive points and masks of neighbouring frames, shared by both forms of the block."""

    def __init__(self, width: int, *, alignment_width: int, interactive: InteractiveBlock) -> None:
        """Makes the alignment of one block.

        Args:
            width: Channels D of a token.
            alignment_width: Channels A of the pair features; divisible by 8, for two groups of a quarter.
            interactive: First stage of the interactive block.
        """
        super().__init__()
        self.message = nn.Linear(width, width)
        self.message_norm = LayerNorm(width)
        self.interactive = interactive_block(width, alignment_width, interactive)
        self.points = PointPredictor(alignment_width)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> Aligned:
        """Aligns neighbouring frames.

        Args:
            x: The block's raw input, [B, T, L, D], T at least 2.
            grid: Tokens along the height and the width, each at least 4.
            window_offset: Distance of the nine masks that training averages; not looked at in evaluation.
        """
        clips, (rows, columns) = x.shape[0], grid
        message = self.message_norm(self.message(x))
        # Two frames side by side on a token's channels are a map in channels-last layout, which nothing transposes.
        pairs = torch.cat([message[:, :-1, 1:], message[:, 1:, 1:]], dim=-1)
        features = self.interactive(rearrange(pairs, "b t (h w) d -> (b t) d h w", h=rows, w=columns))
        points = rearrange(self.points(features), "(b t) (pair xy) -> b t pair xy", b=clips, xy=2)
        masks = soft_masks(points, grid, window_offset=window_offset if self.training else None)
        loss = similarity_loss(message[:, :, 1:], masks) if self.training else None
        return Aligned(
            message=message,
            pair_features=features.unflatten(0, (clips, -1)),
            maps=AlignmentMaps(points.flatten(2), masks),
            similarity_loss=loss,
        )
