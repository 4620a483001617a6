"""Which frames of a video a model sees: pure functions from a frame count to frame indices.

Symbols: F decoded frames (`num_decoded`), T frames wanted (`num_frames`), V clips (`num_clips`). Every index lies in
[0, F). A video shorter than T frames repeats frames.
"""

from __future__ import annotations

from itertools import pairwise

import torch


def segment_midpoints(num_decoded: int, num_frames: int) -> list[int]:
    """The evaluation rule: the middle of each of T equal segments.

    Args:
        num_decoded: F, frames of the video, at least 1.
        num_frames: T, frames wanted, at least 1.

    Returns:
        T frame indices in [0, F), never falling.

    Raises:
        ValueError: a count is below 1.
    """
    bounds = _segment_bounds(num_decoded, num_frames)
    return [(start + stop) // 2 for start, stop in bounds]


def random_in_segments(num_decoded: int, num_frames: int, *, generator: torch.Generator | None) -> list[int]:
    """The training rule: one frame at random from each of T equal segments, both ends of a segment included.

    Args:
        num_decoded: F, frames of the video, at least 1.
        num_frames: T, frames wanted, at least 1.
        generator: source of the randomness, on the CPU; None is torch's global one.

    Returns:
        T frame indices in [0, F), never falling.

    Raises:
        ValueError: a count is below 1.
    """
    bounds = _segment_bounds(num_decoded, num_frames)
    return [start + _random_below(stop - start + 1, generator) for start, stop in bounds]


def clip_views(num_decoded: int, num_frames: int, num_clips: int) -> list[list[int]]:
    """The deterministic multi-view rule: clip v takes the frame (v + 0.5) / V of the way through each of T segments.

    Args:
        num_decoded: F, frames of the video, at least 1.
        num_frames: T, frames per clip, at least 1.
        num_clips: V, clips, at least 1.

    Returns:
        V lists of T frame indices in [0, F), each never falling. With F < T all clips are equal.

    Raises:
        ValueError: a count is below 1.
    """
    starts = _view_starts(num_decoded, num_frames)
    _require_positive(num_clips=num_clips)
    # floor((v + 0.5) / V * F / T) in integers. F / T may exceed the segment's length F // T, so an offset may reach the
    # next segment's first frame; it stays below F, because floor(F / T) * (T - 1) + F / T does not exceed F.
    offsets = [(2 * clip + 1) * num_decoded // (2 * num_clips * num_frames) for clip in range(num_clips)]
    return [[start + offset for start in starts] for offset in offsets]


def random_clip_views(
    num_decoded: int, num_frames: int, num_clips: int, *, generator: torch.Generator | None
) -> list[list[int]]:
    """The released multi-view rule: every frame of every clip drawn at random inside its segment.

    Args:
        num_decoded: F, frames of the video, at least 1.
        num_frames: T, frames per clip, at least 1.
        num_clips: V, clips, at least 1.
        generator: source of the randomness, on the CPU; None is torch's global one.

    Returns:
        V lists of T frame indices in [0, F), each never falling. With F < T all clips are equal.

    Raises:
        ValueError: a count is below 1.
    """
    starts = _view_starts(num_decoded, num_frames)
    _require_positive(num_clips=num_clips)
    length = max(num_decoded // num_frames, 1)
    return [[start + _random_below(length, generator) for start in starts] for _ in range(num_clips)]


def _segment_bounds(num_decoded: int, num_frames: int) -> list[tuple[int, int]]:
    _require_positive(num_decoded=num_decoded, num_frames=num_frames)
    segment = (num_decoded - 1) / num_frames
    edges = [round(segment * index) for index in range(num_frames + 1)]  # Python rounds half to even, as the rule wants
    return list(pairwise(edges))


def _view_starts(num_decoded: int, num_frames: int) -> list[int]:
    _require_positive(num_decoded=num_decoded, num_frames=num_frames)
    if num_decoded >= num_frames:
        return [num_decoded // num_frames * index for index in range(num_frames)]
    # The rule's round(i * F / T) reaches F itself for the last i (F = 3, T = 8: round(2.625) = 3): clamped to F - 1.
    return [min(round(index * num_decoded / num_frames), num_decoded - 1) for index in range(num_frames)]


def _random_below(bound: int, generator: torch.Generator | None) -> int:
    return int(torch.randint(bound, (), generator=generator))


def _require_positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}; it must be at least 1.")
