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

from .configs import AlignmentTarget, InteractiveBlock
from .layers import LayerNorm, zero_
from .pairing import pair_frames, to_frames

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
    """What a block saw, pair by pair (pair t is frame t and frame t + 1, see :mod:`~ila_models.pairing`).

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
        pair_features: [B, T-1, A, h, w]; the first half of the channels belongs to the earlier frame. None in a form
            that keeps none.
        maps: Points and masks of every pair.
        similarity_loss: A scalar in training, None in evaluation.
    """

    message: Tensor
    pair_features: Tensor | None
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
    """Maps of pairs to one interactive point per frame of the pair."""

    def __init__(self, stage1: nn.Sequential, stage2: nn.Sequential, *, width: int, hidden: int) -> None:
        """Makes a predictor.

        Args:
            stage1: Its first convolutions, which end in a norm.
            stage2: Its second ones, after a pooling by two.
            width: Channels that come out of the second ones, divisible by 2.
            hidden: Channels between the two last layers, divisible by 2.
        """
        super().__init__()
        self.stage1 = stage1
        self.stage2 = stage2
        # In two groups, so that the (x, y) of either frame come from a half of the channels of their own.
        self.fc1 = nn.Conv1d(width, hidden, 1, groups=2)
        self.fc2 = nn.Conv1d(hidden, 4, 1, groups=2)
        # Every point starts at the centre of its frame.
        zero_(self.fc2)

    def forward(self, pair_maps: Tensor) -> Tensor:
        """Maps [pairs, channels, h, w] to points [pairs, 4] in [-0.75, 0.75]."""
        x = F.relu(F.max_pool2d(self.stage1(pair_maps), 2))
        x = F.relu(F.max_pool2d(self.stage2(x), 2))
        x = x.amax(dim=(2, 3)).unsqueeze(-1)
        x = self.fc2(F.relu(self.fc1(x)))
        return POINT_RANGE * torch.tanh(x.squeeze(-1))


def prediction_block(alignment_width: int) -> PointPredictor:
    """The released form's: from pair features [pairs, A, h, w]."""
    half = alignment_width // 2
    return PointPredictor(
        conv_norm(nn.Conv2d(alignment_width, half, 3, padding=1), relu=False),
        conv_norm(nn.Conv2d(half, half, 3, padding=1), relu=False),
        width=half,
        hidden=alignment_width // 4,
    )


def convolution_module(width: int, alignment_width: int, kind: InteractiveBlock) -> PointPredictor:
    """The token form's: from pair maps [pairs, 2D, h, w], which it pools as it goes.

    Args:
        width: Channels D of one frame's map.
        alignment_width: Channels A after the first stage.
        kind: ``"separable"``, whose multiply-adds are the paper's on Kinetics-400, or ``"full"``, as on
            Something-Something v2: within 3 % at 224 pixels, 12 % above at 336.
    """
    pair_width, half = 2 * width, alignment_width // 2
    stage1: OrderedDict[str, nn.Module] = OrderedDict()
    if kind == "separable":
        stage1["depthwise"] = conv_norm(nn.Conv2d(pair_width, pair_width, 3, padding=1, groups=pair_width))
        stage1["pointwise"] = conv_norm(nn.Conv2d(pair_width, alignment_width, 1), relu=False)
    else:
        stage1["reduce"] = conv_norm(nn.Conv2d(pair_width, alignment_width, 3, padding=1))
        stage1["mix"] = conv_norm(nn.Conv2d(alignment_width, alignment_width, 3, padding=1), relu=False)
    stage2 = conv_norm(nn.Conv2d(alignment_width, half, 3, padding=1), relu=False)
    return PointPredictor(nn.Sequential(stage1), stage2, width=half, hidden=alignment_width // 4)


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


def pair_similarity(patches: Tensor, masks: Tensor, target: AlignmentTarget = "neighbours") -> Tensor:
    """Cosine between the two aligned frames of every pair, each summed over space.

    Args:
        patches: Patch tokens of the message, [B, T, N, D].
        masks: [B, T-1, 2, h, w].
        target: Which frames are pairs.

    Returns:
        [B, T-1], in [-1, 1].
    """
    weights = masks.flatten(-2).to(patches.dtype)
    of_earlier, of_later = pair_frames(patches, target)
    earlier = torch.einsum("btn,btnd->btd", weights[:, :, 0], of_earlier)
    later = torch.einsum("btn,btnd->btd", weights[:, :, 1], of_later)
    return F.cosine_similarity(earlier, later, dim=-1)


def similarity_loss(patches: Tensor, masks: Tensor, target: AlignmentTarget = "neighbours") -> Tensor:
    """1 - :func:`pair_similarity`; mean over clips and pairs."""
    return (1 - pair_similarity(patches, masks, target)).mean()


def frame_weights(masks: Tensor, target: AlignmentTarget = "neighbours") -> Tensor:
    """The weight of every patch token in its frame's aligned features, from what all of its pairs say of it.

    The masked message of every pair is the same message, so the mean of aligned frames is the message times the mean
    of their masks.

    Args:
        masks: [B, T-1, 2, h, w].
        target: Which frames are pairs.

    Returns:
        [B, T, N], in [0, 1].
    """
    flat = masks.flatten(-2)
    return to_frames(flat[:, :, 0], flat[:, :, 1], target)


def pair_maps(patches: Tensor, grid: tuple[int, int], target: AlignmentTarget) -> Tensor:
    """Patch tokens [B, T, N, D] as maps of pairs, [B * (T-1), 2D, h, w], the earlier frame's channels first."""
    # Two frames side by side on a token's channels are a map in channels-last layout, which nothing transposes.
    pairs = torch.cat(pair_frames(patches, target), dim=-1)
    return rearrange(pairs, "b t (h w) d -> (b t) d h w", h=grid[0], w=grid[1])


class Alignment(nn.Module):
    """Messages, interactive points and masks of pairs of frames, as in the released form."""

    def __init__(
        self,
        width: int,
        *,
        alignment_width: int,
        interactive: InteractiveBlock,
        target: AlignmentTarget = "neighbours",
        prefix_tokens: int = 1,
    ) -> None:
        """Makes the alignment of one block.

        Args:
            width: Channels D of a token.
            alignment_width: Channels A of the pair features; divisible by 8, for two groups of a quarter.
            interactive: First stage of the interactive block.
            target: Which frames are pairs.
            prefix_tokens: Tokens before the patches: the class token, or what other backbones have there.
        """
        super().__init__()
        self.target = target
        self.prefix_tokens = prefix_tokens
        self.message = nn.Linear(width, width)
        self.message_norm = LayerNorm(width)
        self.interactive = interactive_block(width, alignment_width, interactive)
        self.points = prediction_block(alignment_width)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> Aligned:
        """Aligns the frames of pairs.

        Args:
            x: The block's raw input, [B, T, L, D], T at least 2.
            grid: Tokens along the height and the width, each at least 4.
            window_offset: Distance of the nine masks that training averages; not looked at in evaluation.
        """
        message = self.message_norm(self.message(x))
        patches = message[:, :, self.prefix_tokens :]
        features = self.interactive(pair_maps(patches, grid, self.target))
        maps = maps_of(self.points(features), grid, window_offset if self.training else None, clips=x.shape[0])
        return Aligned(
            message=message,
            pair_features=features.unflatten(0, (x.shape[0], -1)),
            maps=maps,
            similarity_loss=similarity_loss(patches, maps.masks, self.target) if self.training else None,
        )


class TokenAlignment(nn.Module):
    """Messages, interactive points and masks of pairs of frames, as in the paper's form.

    The message has no linear layer: the multiply-adds that the paper states leave no room for one (11 G of 149 G for
    B/16 at 8 frames), so it is the layer norm of the tokens.
    """

    def __init__(
        self,
        width: int,
        *,
        alignment_width: int,
        interactive: InteractiveBlock,
        target: AlignmentTarget = "neighbours",
    ) -> None:
        """Makes the alignment of one block; see :class:`Alignment`."""
        super().__init__()
        self.target = target
        self.message_norm = LayerNorm(width)
        self.points = convolution_module(width, alignment_width, interactive)

    def forward(self, x: Tensor, grid: tuple[int, int], window_offset: Tensor) -> Aligned:
        """Aligns the frames of pairs; see :class:`Alignment`. There are no pair features that anyone wants."""
        message = self.message_norm(x)
        patches = message[:, :, 1:]
        points = self.points(pair_maps(patches, grid, self.target))
        maps = maps_of(points, grid, window_offset if self.training else None, clips=x.shape[0])
        loss = similarity_loss(patches, maps.masks, self.target) if self.training else None
        return Aligned(message=message, pair_features=None, maps=maps, similarity_loss=loss)


def maps_of(points: Tensor, grid: tuple[int, int], window_offset: Tensor | None, *, clips: int) -> AlignmentMaps:
    """Points [pairs of all clips, 4] with the masks round them; see :func:`soft_masks`."""
    by_frame = rearrange(points, "(b t) (pair xy) -> b t pair xy", b=clips, xy=2)
    return AlignmentMaps(by_frame.flatten(2), soft_masks(by_frame, grid, window_offset=window_offset))
