"""The paper's section 3 on examples small enough to work out by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from tiny import randomise
from torch import Tensor

from ila_models.alignment import (
    POINT_RANGE,
    Alignment,
    axis_weights,
    prediction_block,
    similarity_loss,
    soft_masks,
)
from ila_models.blocks import ResidualBlock


def mask_value(row: float, column: float, x: float, y: float) -> float:
    """The mask of a point (x, y) at one token's centre, written out from the paper."""

    def axis(distance: float) -> float:
        return 1.0 if abs(distance) <= 0.25 else max(0.0, 1 - 1.5 * (abs(distance) - 0.25))

    return axis(row - y) * axis(column - x)


def mask_by_loops(x: float, y: float, height: int, width: int) -> Tensor:
    rows = [-1 + 2 * i / (height - 1) for i in range(height)]
    columns = [-1 + 2 * i / (width - 1) for i in range(width)]
    return torch.tensor([[mask_value(row, column, x, y) for column in columns] for row in rows])


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (0.0, [0, 0.625, 1, 0.625, 0]),
        (0.25, [0, 0.25, 1, 1, 0.25]),
        (0.3, [0, 0.175, 0.925, 1, 0.325]),
        (0.75, [0, 0, 0.25, 1, 1]),
        (-0.75, [1, 1, 0.25, 0, 0]),
    ],
)
def test_axis_of_five_tokens(point: float, expected: list[float]) -> None:
    torch.testing.assert_close(axis_weights(torch.tensor(point), 5), torch.tensor(expected))


def test_axis_is_flat_then_falls_then_is_zero() -> None:
    weights = axis_weights(torch.tensor(0.0), 2001)  # a token every 0.001
    centre = 1000
    assert torch.equal(weights[centre - 249 : centre + 250], torch.ones(499))
    steps = weights[centre + 251 : centre + 916].diff()
    torch.testing.assert_close(steps, torch.full_like(steps, -1.5e-3), atol=1e-6, rtol=0)
    assert torch.equal(weights[centre + 917 :], torch.zeros(84))  # 0.25 + 1 / 1.5 = 0.91666...


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.6, -0.2), (-0.75, 0.75)])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 7), (14, 14)])
def test_mask_is_the_product_of_its_axes(x: float, y: float, height: int, width: int) -> None:
    mask = soft_masks(torch.tensor([x, y]), (height, width))
    torch.testing.assert_close(mask, mask_by_loops(x, y, height, width))


def test_x_runs_along_the_width_and_y_along_the_height() -> None:
    right_top = soft_masks(torch.tensor([0.75, -0.75]), (5, 9))
    assert right_top.shape == (5, 9)
    assert right_top[0, -1] == 1
    assert right_top[0, 0] == right_top[-1, -1] == right_top[-1, 0] == 0


@pytest.mark.parametrize("offset", [0.2, 0.1, 0.05])
def test_training_takes_the_mean_of_nine_masks(offset: float) -> None:
    x, y = 0.31, -0.62
    nine = [mask_by_loops(x + offset * i, y + offset * j, 5, 7) for i, j in itertools.product((-1, 0, 1), repeat=2)]
    found = soft_masks(torch.tensor([x, y]), (5, 7), window_offset=torch.tensor(offset))
    torch.testing.assert_close(found, torch.stack(nine).mean(dim=0))


def test_window_without_an_offset_is_the_mask_itself() -> None:
    points = 1.5 * torch.rand(3, 2) - 0.75
    torch.testing.assert_close(soft_masks(points, (4, 6), window_offset=torch.tensor(0.0)), soft_masks(points, (4, 6)))


def test_masks_keep_leading_dimensions() -> None:
    points = 1.5 * torch.rand(2, 3, 2, 2) - 0.75
    masks = soft_masks(points, (4, 5))
    assert masks.shape == (2, 3, 2, 4, 5)
    torch.testing.assert_close(masks[1, 2, 0], soft_masks(points[1, 2, 0], (4, 5)))


def test_points_start_at_the_centre() -> None:
    points = prediction_block(16).eval()(torch.randn(3, 16, 4, 4))
    assert torch.equal(points, torch.zeros(3, 4))


def test_points_stay_within_their_range() -> None:
    predictor = prediction_block(16).eval()
    randomise(predictor)
    torch.nn.init.normal_(predictor.fc2.weight, std=1e4)
    points = predictor(torch.randn(64, 16, 5, 6))
    assert points.shape == (64, 4)
    assert points.abs().max() == POINT_RANGE == 0.75
    assert points.min() < 0 < points.max()


def test_the_two_points_of_a_pair_depend_on_channels_of_their_own() -> None:
    predictor = prediction_block(64).eval()
    randomise(predictor)
    features = torch.randn(1, 64, 4, 4)
    before = predictor(features)
    with torch.no_grad():  # the second half of the channels that come before the groups
        predictor.stage2.norm.bias[16:] += 1.0
    after = predictor(features)
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2:], after[:, 2:])


ALL = torch.ones(1, 1, 2, 2, 2)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([[1.0, 0.0]] * 4, [[3.0, 0.0]] * 4, 0.0),
        ([[1.0, 0.0]] * 4, [[0.0, 2.0]] * 4, 1.0),
        ([[1.0, 0.0]] * 4, [[-2.0, 0.0]] * 4, 2.0),
        # Sums (2, 2) and (4, 0): an angle of 45 degrees, although no token of one resembles one of the other.
        ([[1.0, 1.0], [1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]], [[1.0, 0.0]] * 4, 1 - 0.5**0.5),
    ],
)
def test_similarity_loss(first: list[list[float]], second: list[list[float]], expected: float) -> None:
    loss = similarity_loss(torch.tensor([[first, second]]), ALL)
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_similarity_loss_looks_only_where_the_masks_are() -> None:
    patches = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [0, 0], [0, 0]], [[0.0, 1.0], [1.0, 0.0], [0, 0], [0, 0]]]])
    first, second = torch.tensor([[1.0, 0.0], [0, 0]]), torch.tensor([[0.0, 1.0], [0, 0]])
    assert similarity_loss(patches, torch.stack([first, second])[None, None]) == pytest.approx(0)
    assert similarity_loss(patches, torch.stack([first, first])[None, None]) == pytest.approx(1)


def test_similarity_loss_is_the_mean_over_clips_and_pairs() -> None:
    patches = torch.randn(2, 4, 20, 8)
    masks = soft_masks(1.5 * torch.rand(2, 3, 2, 2) - 0.75, (4, 5))
    alone = [
        similarity_loss(patches[b : b + 1, t : t + 2], masks[b : b + 1, t : t + 1]) for b in range(2) for t in range(3)
    ]
    torch.testing.assert_close(similarity_loss(patches, masks), torch.stack(alone).mean())


# Points from which no token of a 4 x 5 grid is near a kink (0.25, or 0.25 + 1 / 1.5, away).
GENERIC_POINTS = ((0.11, -0.37), (-0.52, 0.23), (0.43, 0.61))


@pytest.mark.parametrize("offset", [None, torch.tensor(0.2)])
def test_gradients_of_masks_and_loss(offset: Tensor | None) -> None:
    points = torch.tensor(GENERIC_POINTS, dtype=torch.float64)
    pairs = torch.stack([points, points.flip(0)], dim=1)[None].requires_grad_()
    patches = torch.randn(1, 4, 20, 3, dtype=torch.float64, requires_grad=True)

    def loss(pairs: Tensor, patches: Tensor) -> Tensor:
        return similarity_loss(patches, soft_masks(pairs, (4, 5), window_offset=offset))

    assert torch.autograd.gradcheck(loss, (pairs, patches))


@pytest.fixture
def block() -> ResidualBlock:
    block = ResidualBlock(64, alignment_width=16)
    randomise(block)
    return block


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("frames", [2, 3, 5])
def test_aligned_frames_the_long_way(block: ResidualBlock, frames: int, training: bool) -> None:
    """Aligned features of every pair by themselves, then the mean over the pairs that a frame stands in."""
    block.train(training)
    offset = torch.tensor(0.2)
    aligned = block.alignment(torch.randn(2, frames, 21, 64), (4, 5), offset)
    message, points = aligned.message, aligned.maps.points
    window = offset if training else None
    expected = torch.zeros_like(message)
    for t in range(frames):
        seen = []
        if t < frames - 1:
            seen.append(soft_masks(points[:, t, :2], (4, 5), window_offset=window).flatten(1))
        if t > 0:
            seen.append(soft_masks(points[:, t - 1, 2:], (4, 5), window_offset=window).flatten(1))
        expected[:, t, 0] = message[:, t, 0]
        expected[:, t, 1:] = torch.stack([mask[..., None] * message[:, t, 1:] for mask in seen]).mean(dim=0)
    torch.testing.assert_close(block.aligned_frames(aligned), expected)


def test_interactive_frames_the_long_way(block: ResidualBlock) -> None:
    """Pair channels to frames, a convolution over the frames of every place, a linear layer; the class token aside."""
    block.eval()
    aligned = block.alignment(torch.randn(1, 3, 21, 64), (4, 5), torch.tensor(0.2))
    pair = aligned.pair_features[0]  # [2, 16, 4, 5]
    frames = torch.stack([pair[0, :8], (pair[1, :8] + pair[0, 8:]) / 2, pair[1, 8:]])
    found = block.interactive_frames(aligned)
    torch.testing.assert_close(found[:, :, 0], aligned.message[:, :, 0])
    for row, column in itertools.product(range(4), range(5)):
        mixed = block.temporal_conv(frames[:, :, row, column].T[None])[0]
        torch.testing.assert_close(found[0, :, 1 + row * 5 + column], block.temporal_proj(mixed.T))


def test_pairs_see_the_earlier_frame_first() -> None:
    alignment = Alignment(64, alignment_width=16, interactive="full").eval()
    randomise(alignment)
    tokens = torch.randn(1, 2, 17, 64)
    seen: list[Tensor] = []
    alignment.interactive.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    message = alignment(tokens, (4, 4), torch.tensor(0.2)).message
    assert seen[0].shape == (1, 128, 4, 4)
    torch.testing.assert_close(seen[0][0, :64, 1, 2], message[0, 0, 1 + 1 * 4 + 2])
    torch.testing.assert_close(seen[0][0, 64:, 3, 0], message[0, 1, 1 + 3 * 4 + 0])


def test_loss_in_training_only() -> None:
    alignment = Alignment(64, alignment_width=16, interactive="separable")
    tokens = torch.randn(2, 3, 17, 64)
    training = alignment.train()(tokens, (4, 4), torch.tensor(0.2))
    assert training.similarity_loss is not None
    expected = similarity_loss(training.message[:, :, 1:], training.maps.masks)
    torch.testing.assert_close(training.similarity_loss, expected)
    assert alignment.eval()(tokens, (4, 4), torch.tensor(0.2)).similarity_loss is None
