"""Videos to try the app with, drawn on the spot: the motions that the shipped checkpoint knows."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from ..data.motion import MOTION_CLASSES, TEST_SEED, encode_clip, motion_clips

EXAMPLE_MOTIONS = ("moving left", "turning clockwise", "growing", "vanishing")
_SEED = TEST_SEED + 1  # no model was trained on it
_PIXELS, _PICTURES, _RATE = 256, 24, 12  # large, smooth and long enough to be looked at; the model takes what it needs


def write_examples(folder: Path) -> list[Path]:
    """Writes a video of each of :data:`EXAMPLE_MOTIONS`, and returns their paths in that order."""
    return [_write_example(folder, motion) for motion in EXAMPLE_MOTIONS]


def _write_example(folder: Path, motion: str) -> Path:
    for index in count():
        clips, labels = motion_clips([index], seed=_SEED, num_frames=_PICTURES, img_size=_PIXELS)
        if MOTION_CLASSES[int(labels[0])] == motion:
            break
    path = folder / f"{motion.replace(' ', '_')}.mp4"
    path.write_bytes(encode_clip(clips[0], _RATE))
    return path
