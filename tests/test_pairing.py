"""Which frames are pairs, and what a frame gets of its pairs."""

from __future__ import annotations

import pytest
import torch

from ila_models.configs import AlignmentTarget
from ila_models.pairing import combine_neighbours, pair_frames, to_frames


@pytest.mark.parametrize(
    ("frames", "target", "pairs"),
    [
        (4, "neighbours", [(0, 1), (1, 2), (2, 3)]),
        (4, "first", [(0, 1), (0, 2), (0, 3)]),
        (4, "middle", [(0, 2), (1, 2), (2, 3)]),
        (5, "middle", [(0, 2), (1, 2), (2, 3), (2, 4)]),
        (2, "neighbours", [(0, 1)]),
        (2, "first", [(0, 1)]),
        (2, "middle", [(0, 1)]),
    ],
)
def test_pairs_and_the_way_back(frames: int, target: AlignmentTarget, pairs: list[tuple[int, int]]) -> None:
    numbers = torch.arange(frames)[None, :, None]
    earlier, later = pair_frames(numbers, target)
    assert list(zip(earlier.flatten().tolist(), later.flatten().tolist(), strict=True)) == pairs
    of_earlier, of_later = torch.randn(1, len(pairs), 3), torch.randn(1, len(pairs), 3)
    found = to_frames(of_earlier, of_later, target)
    assert found.shape == (1, frames, 3)
    for frame in range(frames):
        own = [of_earlier[0, pair] for pair, (first, _) in enumerate(pairs) if first == frame]
        own += [of_later[0, pair] for pair, (_, second) in enumerate(pairs) if second == frame]
        torch.testing.assert_close(found[0, frame], torch.stack(own).mean(dim=0))


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ([1], [2], [1, 2]),
        ([1, 3], [5, 7], [1, (3 + 5) / 2, 7]),
        ([1, 3, 10], [5, 7, 20], [1, (3 + 5) / 2, (10 + 7) / 2, 20]),
    ],
)
def test_combine_neighbours(earlier: list[float], later: list[float], expected: list[float]) -> None:
    found = combine_neighbours(torch.tensor([earlier]).float(), torch.tensor([later]).float())
    assert found.tolist() == [expected]


def test_combine_neighbours_keeps_trailing_dimensions() -> None:
    earlier, later = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6)
    found = combine_neighbours(earlier, later)
    assert found.shape == (2, 4, 5, 6)
    torch.testing.assert_close(found[1, 2, 4, 0], (earlier[1, 2, 4, 0] + later[1, 1, 4, 0]) / 2)
