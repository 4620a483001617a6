"""The motion clips as a dataset repository of the Hugging Face Hub, written into a folder.

::

    README.md                            the dataset card
    train/moving_left/000007.mp4         a video; validation/ and test/ are alike
    train/metadata.csv                   a row per video, which the Hub's viewer shows beside it
    train/annotations.txt, classes.txt   the same for `ila-models train` and `evaluate`
    train/settings.json                  of what the videos were made
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from pathlib import Path

from ..data.motion import MOTION_CLASSES, TEST_SEED, TRAIN_SEED, VALIDATION_SEED, twin, write_motion_videos
from ..whole_files import write_atomically
from .bundle import CARD_NAME
from .motion_card import MotionSplit, motion_card
from .owned_folder import require_own_folder

MOTION_COUNT = 2000
"""Training videos, unless another number is asked for."""
_HELD_OUT = 4  # training videos for each one of validation, and for each one of the test
_CLASSES_EACH = _HELD_OUT * len(MOTION_CLASSES)


def write_motion_dataset(
    folder: str | os.PathLike[str], *, count: int = MOTION_COUNT, seed: int = 0, img_size: int = 64
) -> Path:
    """Writes generated videos of ten motions as a dataset that is ready for the Hub.

    The same arguments give the same bytes, with the same version of PyAV, which encodes the videos. Stopped at any
    point, the same call goes on; the card is written last, and without it nothing is published.

    Args:
        folder: Where to; made if need be. Its name is the dataset's. A larger ``count`` adds to what stands there.
        count: Training videos, a multiple of 40, so that every split holds each class equally often; a quarter as many
            are for validation, and another quarter for the test.
        seed: In [0, 1000000): of training; validation and test have seeds of their own, that much higher.
        img_size: Side of the videos in pixels, even, 32 to 256.

    Returns:
        The folder.

    Raises:
        ValueError: An argument is out of its range, or the folder holds videos made of others.
        FileExistsError: The folder holds files, and none of this dataset.
        OSError: The folder cannot be written to.
    """
    folder = Path(folder)
    splits = motion_splits(count, seed)
    require_own_folder(folder, sign="train/settings.json", what="a motion dataset")
    for split in splits:
        _require_no_more(folder / split.name, split.count)
    (folder / CARD_NAME).unlink(missing_ok=True)  # until all is there that it tells of
    for split in splits:
        annotations = write_motion_videos(folder / split.name, count=split.count, seed=split.seed, img_size=img_size)
        videos = _videos(annotations)
        write_atomically(folder / split.name / "metadata.csv", _metadata(videos).encode())
    example = f"{splits[-1].name}/{videos[0][0]}"
    card = motion_card(folder.resolve().name, splits, seed=seed, img_size=img_size, example=example)
    write_atomically(folder / CARD_NAME, str(card).encode())
    return folder


def motion_splits(count: int, seed: int) -> tuple[MotionSplit, ...]:
    """Training, validation and test.

    Raises:
        ValueError: An argument is out of its range.
    """
    if operator.index(count) < _CLASSES_EACH or count % _CLASSES_EACH:
        raise ValueError(
            f"count={count} is no multiple of {_CLASSES_EACH}: give one, such as {MOTION_COUNT}, so that training, and"
            f" validation and test with a quarter as many videos each, hold every class equally often"
        )
    if not TRAIN_SEED <= operator.index(seed) < VALIDATION_SEED:
        raise ValueError(
            f"seed={seed} is out of range: give 0 to {VALIDATION_SEED - 1}; higher ones are for validation and test"
        )
    held_out = count // _HELD_OUT
    return (
        MotionSplit(name="train", count=count, seed=TRAIN_SEED + seed),
        MotionSplit(name="validation", count=held_out, seed=VALIDATION_SEED + seed),
        MotionSplit(name="test", count=held_out, seed=TEST_SEED + seed),
    )


def _require_no_more(folder: Path, count: int) -> None:
    """Refuses a folder with videos that would be published and stand in no list."""
    if more := sum(int(path.stem) >= count for path in folder.glob("*/*.mp4")):
        raise ValueError(
            f"{folder} holds {more} videos more than the {count} that are asked for: give a larger count, or choose"
            f" another folder"
        )


def _videos(annotations: Path) -> list[tuple[str, int]]:
    """Paths and labels of a split's videos."""
    lines = (line.rpartition(" ") for line in annotations.read_text(encoding="utf-8").splitlines())
    return [(name, int(label)) for name, _, label in lines]


def _metadata(videos: Sequence[tuple[str, int]]) -> str:
    """A table with a row per video, by the column names that the Hub knows."""
    rows = [f"{name},{MOTION_CLASSES[label]},{label},{MOTION_CLASSES[twin(label)]}" for name, label in videos]
    return "\n".join(["file_name,label,label_id,twin", *rows]) + "\n"
