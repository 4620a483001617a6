"""Every form's equations on one example worked by hand: a clip of two frames on a 4 x 4 grid.

In a frame, the class token is 7 and patch i is i; in the other one, everything is 100 more; all 64 channels are alike.
The blocks' layers are made so plain that a few sums tell what comes out: norms do nothing, every attention takes the
plain mean of its tokens, linear layers copy, the MLP is silent. So a block of CLIP adds to a frame's tokens their mean,
127 / 17 of the first frame's (7 and the 120 of its patches), and a token more in the attention changes that mean.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
from tiny import TINY, randomise
from torch import Tensor, nn

from ila_models.blocks import FrameBlock, make_block
from ila_models.configs import AlignmentForm, AlignmentTarget, InteractiveBlock
from ila_models.layers import zero_

GRID = (4, 4)
OFFSET = torch.tensor(0.2)
PATCHES = torch.arange(16.0)
FIRST, SECOND = torch.cat([torch.tensor([7.0]), PATCHES]), 100 + torch.cat([torch.tensor([7.0]), PATCHES])
CLIP = torch.stack([FIRST, SECOND])

# The first frame's point is at its top left, (-0.75, -0.75), the second one's at its centre. Tokens' centres are at
# -1, -1/3, 1/3 and 1. From -0.75 they are 0.25, 0.4167, 1.0833 and 1.75 away: weights 1, 1 - 1.5 * 0.1667 = 0.75, 0, 0.
# From 0 they are 1, 1/3, 1/3 and 1 away: 0 (1 - 1.5 * 0.75 is below it), 1 - 1.5 * 0.0833 = 0.875, 0.875, 0.
POINTS = torch.tensor([[-0.75, -0.75, 0.0, 0.0]])
CORNER, CENTRE = torch.zeros(4, 4), torch.zeros(4, 4)
CORNER[:2, :2] = torch.tensor([[1, 0.75], [0.75, 0.5625]])
CENTRE[1:3, 1:3] = 0.765625
MASKED_FIRST = 0.75 * 1 + 0.75 * 4 + 0.5625 * 5
MASKED_SECOND = 0.765625 * (105 + 106 + 109 + 110)


class Given(nn.Module):
    """Says what it was given, whatever it is asked."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: Tensor) -> Tensor:
        return self.answer


@torch.no_grad()
def copy_(layer: nn.Linear) -> None:
    """Has a linear layer give back what it gets; where it takes fewer channels than it gives, the others are zero."""
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)


def plain(form: AlignmentForm) -> FrameBlock:
    """A block whose layers are as the module's text says, and whose points are given."""
    block = make_block(replace(TINY, alignment=form)).eval()
    for parent in list(block.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.LayerNorm):
                setattr(parent, name, nn.Identity())
            elif isinstance(layer, nn.Linear):
                copy_(layer)
    zero_(block.mlp.fc2)
    for attention in block.modules():
        if type(attention) is type(block.attn):
            with torch.no_grad():
                attention.qkv.weight.copy_(torch.cat([torch.zeros(128, 64), torch.eye(64)]))
    if hasattr(block, "alignment"):
        block.alignment.points = Given(POINTS)
    return block


def run(block: FrameBlock, clip: Tensor = CLIP) -> tuple[Tensor, Tensor]:
    """The two frames' tokens that come out, [L, D] each, of a clip [2, L] or [2, L, D]."""
    x = clip if clip.dim() == 3 else clip[..., None].expand(-1, -1, 64)
    with torch.no_grad():
        first, second = block(x[None], GRID, OFFSET).tokens[0]
    return first, second


def assert_tokens(found: Tensor, expected: Tensor) -> None:
    """All channels of the tokens found, [L, D], are the one that is expected, [L]."""
    torch.testing.assert_close(found, expected[:, None].expand_as(found))


def test_without_other_frames() -> None:
    first, second = run(plain("none"))
    assert_tokens(first, FIRST + 127 / 17)
    assert_tokens(second, SECOND + 1827 / 17)


def test_the_released_form() -> None:
    block = plain("residual")
    # Interactive features: 3 of the earlier frame, 5 of the later one; over time, a half of a frame's own and a quarter
    # of its neighbour's. The layer behind it goes from 8 channels to 64, of which it fills the first 8.
    features = torch.cat([torch.full((1, 8, 4, 4), 3.0), torch.full((1, 8, 4, 4), 5.0)], dim=1)
    block.alignment.interactive = Given(features)
    with torch.no_grad():
        block.temporal_conv.weight.copy_(torch.eye(8)[..., None] * torch.tensor([0.25, 0.5, 0.25]))
        block.temporal_conv.bias.zero_()
    first, second = run(block)
    # A class token gets itself twice, as both kinds of features.
    for interactive, channels in (((3 / 2 + 5 / 4, 3 / 4 + 5 / 2), slice(8)), ((0.0, 0.0), slice(8, None))):
        earlier = torch.cat([torch.tensor([21.0]), PATCHES + CORNER.flatten() * PATCHES + interactive[0]])
        later = 100 + PATCHES + CENTRE.flatten() * (100 + PATCHES) + interactive[1]
        assert_tokens(first[:, channels], earlier + earlier.mean())
        later = torch.cat([torch.tensor([321.0]), later])
        assert_tokens(second[:, channels], later + later.mean())


def test_the_token() -> None:
    first, second = run(plain("token"))
    # The token is the mean over all sixteen places, and leaves with its own mean untold.
    assert_tokens(first, FIRST + (127 + MASKED_FIRST / 16) / 18)
    assert_tokens(second, SECOND + (1827 + MASKED_SECOND / 16) / 18)


def test_addition() -> None:
    first, second = run(plain("addition"))
    earlier = torch.cat([FIRST[:1], PATCHES + CORNER.flatten() * PATCHES])
    later = torch.cat([SECOND[:1], 100 + PATCHES + CENTRE.flatten() * (100 + PATCHES)])
    assert_tokens(first, earlier + (127 + MASKED_FIRST) / 17)
    assert_tokens(second, later + (1827 + MASKED_SECOND) / 17)


def test_the_neighbours_average() -> None:
    first, second = run(plain("neighbour_average"))
    assert_tokens(first, FIRST + (127 + 107.5) / 18)
    assert_tokens(second, SECOND + (1827 + 7.5) / 18)


def test_temporal_shift() -> None:
    first, second = run(plain("temporal_shift"))
    # Only what the attention sees is shifted: channels 0 to 7 come from the frame before, 8 to 15 from the one after.
    for channels, means in ((slice(8), (0, 127)), (slice(8, 16), (1827, 0)), (slice(16, None), (127, 1827))):
        assert_tokens(first[:, channels], FIRST + means[0] / 17)
        assert_tokens(second[:, channels], SECOND + means[1] / 17)


def test_divided_space_time() -> None:
    first, second = run(plain("divided_space_time"))
    # Patch i gets the mean of i and 100 + i; class tokens see their own frame only.
    earlier, later = torch.cat([FIRST[:1], 2 * PATCHES + 50]), torch.cat([SECOND[:1], 2 * PATCHES + 150])
    assert_tokens(first, earlier + earlier.mean())
    assert_tokens(second, later + later.mean())


def test_cross_frame() -> None:
    first, second = run(plain("cross_frame"))
    # The messages are 7 and 107 and get their mean of 57; then each is a token of its frame.
    assert_tokens(first, FIRST + (127 + 64) / 18)
    assert_tokens(second, SECOND + (1827 + 164) / 18)


def test_guided() -> None:
    # Patches are told apart by their channels here: patch i has a 1 in channel i, and has moved to place 15 - i in the
    # second frame, where it is a 3. Its track's mean is 2, which both get.
    patches = torch.eye(16, 64)
    clip = torch.cat([torch.zeros(2, 1, 64), torch.stack([patches, 3 * patches.flip(0)])], dim=1)
    first, second = run(plain("guided"), clip)
    mean = torch.cat([torch.ones(16), torch.zeros(48)]) / 17
    torch.testing.assert_close(first[1:], 3 * patches + 3 * mean)
    torch.testing.assert_close(second[1:], 5 * patches.flip(0) + 5 * mean)
    # Without tracks, what meets at a place are patches of different channels.
    still, _ = run(plain("divided_space_time"), clip)
    torch.testing.assert_close(still[1, [0, 15]], torch.tensor([1 + 1 / 2, 3 / 2]) + 3 * mean[0])


@pytest.mark.parametrize(
    ("target", "expected"),
    # Three frames whose patches are 1, 10 and 100: the token is what they are aligned with, or the mean of that.
    [("neighbours", [10, 50.5, 10]), ("first", [55, 1, 1]), ("middle", [10, 50.5, 10])],
)
def test_targets_of_the_neighbours_average(target: AlignmentTarget, expected: list[float]) -> None:
    block = make_block(replace(TINY, alignment="neighbour_average", alignment_target=target)).eval()
    seen = SimpleNamespace()
    block.run_with = lambda x, extra: vars(seen).setdefault("extra", extra)  # type: ignore[assignment, method-assign]
    block(torch.tensor([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1).expand(1, 3, 17, 64), GRID, OFFSET)
    assert seen.extra[0, :, 0].tolist() == expected


# Gradients


@pytest.mark.parametrize(
    ("form", "interactive"),
    [*((form, "separable") for form in get_args(AlignmentForm)), ("residual", "full"), ("token", "full")],
)
def test_gradients_are_those_of_differences(form: AlignmentForm, interactive: InteractiveBlock) -> None:
    torch.manual_seed(3)
    block = make_block(replace(TINY, alignment=form, interactive=interactive)).double().eval()
    randomise(block)

    def tokens(x: Tensor) -> Tensor:
        return block(x, GRID, OFFSET.double()).tokens

    x = torch.randn(1, 2, 17, 64, dtype=torch.float64, requires_grad=True)
    # Masks, max pooling and ReLU have kinks, and a matching of patches has jumps: none within the step here.
    assert torch.autograd.gradcheck(tokens, (x,), eps=1e-7, atol=1e-5, fast_mode=True)
