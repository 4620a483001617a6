"""Frame sampling: tables worked by hand from the rules, and properties that hold for every length."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ila_models.data import clip_views, random_clip_views, random_in_segments, segment_midpoints

counts = st.tuples(st.integers(1, 400), st.integers(1, 40))


@pytest.mark.parametrize(
    ("num_decoded", "num_frames", "expected"),
    [
        # seg = 2: edges 0 2 4 6 8 10 12 14 16
        (17, 8, [1, 3, 5, 7, 9, 11, 13, 15]),
        # seg = 2.5: edges 0, round(2.5) = 2 (half to even), 5, round(7.5) = 8, 10
        (11, 4, [1, 3, 6, 9]),
        # seg = 0.25: edges 0 0 round(0.5) = 0 1 1
        (2, 4, [0, 0, 0, 1]),
        (1, 8, [0] * 8),
        # seg = 149.5: edges 0, round(149.5) = 150, 299; the second middle is 449 // 2
        (300, 2, [75, 224]),
    ],
)
def test_segment_midpoints(num_decoded: int, num_frames: int, expected: list[int]) -> None:
    assert segment_midpoints(num_decoded, num_frames) == expected


@pytest.mark.parametrize(
    ("num_decoded", "num_frames", "num_clips", "expected"),
    [
        # F / T = 4, offsets floor((v + 0.5) / 4 * 4) = 0 1 2 3
        (16, 4, 4, [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]),
        # F // T = 3 but F / T = 3.75: offsets floor(0.9375) = 0, floor(2.8125) = 2
        (15, 4, 2, [[0, 3, 6, 9], [2, 5, 8, 11]]),
        # one clip takes the middle of the segments
        (20, 2, 1, [[5, 15]]),
        # F < T: round(i * 3 / 8) = 0 0 1 1 2 2 2 3 (1.5 rounds to 2), the last clamped to 2
        (3, 8, 2, [[0, 0, 1, 1, 2, 2, 2, 2]] * 2),
    ],
)
def test_clip_views(num_decoded: int, num_frames: int, num_clips: int, expected: list[list[int]]) -> None:
    assert clip_views(num_decoded, num_frames, num_clips) == expected


@given(counts)
def test_midpoints_stay_inside_and_never_fall(count: tuple[int, int]) -> None:
    num_decoded, num_frames = count
    indices = segment_midpoints(num_decoded, num_frames)
    assert len(indices) == num_frames
    assert indices == sorted(indices)
    assert all(0 <= index < num_decoded for index in indices)


@given(counts, st.integers(0, 2**31))
def test_random_frames_lie_between_their_segment_edges(count: tuple[int, int], seed: int) -> None:
    num_decoded, num_frames = count
    indices = random_in_segments(num_decoded, num_frames, generator=torch.Generator().manual_seed(seed))
    edges = [round((num_decoded - 1) / num_frames * index) for index in range(num_frames + 1)]
    assert all(low <= index <= high for low, index, high in zip(edges[:-1], indices, edges[1:], strict=True))
    assert max(indices) < num_decoded


@given(counts, st.integers(1, 6), st.integers(0, 2**31))
def test_views_stay_inside(count: tuple[int, int], num_clips: int, seed: int) -> None:
    num_decoded, num_frames = count
    generator = torch.Generator().manual_seed(seed)
    for views in (
        clip_views(num_decoded, num_frames, num_clips),
        random_clip_views(num_decoded, num_frames, num_clips, generator=generator),
    ):
        assert [len(view) for view in views] == [num_frames] * num_clips
        assert all(view == sorted(view) for view in views)
        assert all(0 <= index < num_decoded for view in views for index in view)


def test_random_views_fill_their_segments_and_nothing_else() -> None:
    views = random_clip_views(43, 4, 400, generator=torch.Generator().manual_seed(0))
    for segment, drawn in enumerate(zip(*views, strict=True)):
        assert set(drawn) == set(range(10 * segment, 10 * segment + 10))


def test_random_frames_reach_both_edges() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = {random_in_segments(9, 2, generator=generator)[0] for _ in range(200)}
    assert draws == {0, 1, 2, 3, 4}


def test_random_rules_repeat_with_the_generator() -> None:
    first, second = (
        (
            random_in_segments(100, 8, generator=torch.Generator().manual_seed(3)),
            random_clip_views(100, 8, 4, generator=torch.Generator().manual_seed(3)),
        )
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(("num_decoded", "num_frames"), [(0, 8), (-1, 8), (8, 0)])
def test_counts_below_one_are_refused(num_decoded: int, num_frames: int) -> None:
    for rule in (
        segment_midpoints,
        lambda decoded, frames: random_in_segments(decoded, frames, generator=None),
        lambda decoded, frames: clip_views(decoded, frames, 4),
        lambda decoded, frames: random_clip_views(decoded, frames, 4, generator=None),
    ):
        with pytest.raises(ValueError, match="must be at least 1"):
            rule(num_decoded, num_frames)
    with pytest.raises(ValueError, match="num_clips is 0"):
        clip_views(8, 8, 0)
