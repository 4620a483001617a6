"""What a run learns from and is measured on, before and after it knows the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import Dataset

from ..data import create_transform
from ..data.annotations import LabelledVideos, read_annotations, read_class_names
from ..data.motion import MOTION_CLASSES, VALIDATION_SEED
from ..data.shards import ShardedVideos, read_shards
from .augment import ClipAugmentation
from .clips import Clip, MotionClips, VideoClips
from .config import DataSection, TrainingConfig
from .described import describe_data
from .errors import TrainingError
from .validation import MeasuredMotion, MeasuredVideos

# Motion clips are made as large as the model wants them, and their edges count.
_WHOLE_FRAMES = {"resize_ratio": 1.0, "views": [1, 1]}


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the data need to know of the model and of the run.

    Attributes:
        num_frames: Frames of a clip that is measured on.
        frames_in: Frames of a clip that is learned from, in an epoch.
        img_size: Pixels, (height, width).
        contract: The model's input contract.
        augmentation: What is done to clips that are learned from.
    """

    num_frames: int
    frames_in: Callable[[int], int]
    img_size: tuple[int, int]
    contract: Mapping[str, Any]
    augmentation: ClipAugmentation


@dataclass(frozen=True, kw_only=True)
class Source:
    """The data of a run: the names of the classes, and two data sets that are made once the model is known.

    Attributes:
        class_names: By number.
        described: What the training data are, for a run that goes on; see
            :func:`~ila_models.training.described.describe_data`.
        train: Makes what is learned from.
        validation: Makes what accuracy is measured on, if anything.
        contract: What these data change in the model's input contract.
        in_order: Whether the samples of an epoch are taken as they stand.
    """

    class_names: tuple[str, ...]
    described: dict[str, Any]
    train: Callable[[Needs], Dataset[Clip]]
    validation: Callable[[Needs], MeasuredMotion | MeasuredVideos] | None
    contract: Mapping[str, Any] = field(default_factory=dict)
    in_order: bool = False


def make_source(config: TrainingConfig) -> Source:
    """Finds the data of a configuration.

    Raises:
        FileNotFoundError: A folder, a file or a video is not there.
        ValueError: Annotations are wrong, or the two parts have other classes.
    """
    return _motion(config) if config.data.kind == "motion" else _videos(config.data)


def _motion(config: TrainingConfig) -> Source:
    data, seed = config.data, config.run.seed
    if seed == VALIDATION_SEED:
        raise TrainingError(f"run.seed={seed} is the seed of the validation clips: take another one")
    assert data.train_clips is not None, "checked with the configuration"
    clips = data.train_clips

    def train(needs: Needs) -> Dataset[Clip]:
        return MotionClips(
            clips,
            seed=seed,
            easy_epochs=data.easy_epochs,
            frames_in=needs.frames_in,
            img_size=needs.img_size[0],
            augmentation=needs.augmentation,
        )

    def validation(needs: Needs) -> MeasuredMotion | MeasuredVideos:
        transform = create_transform({**needs.contract, "img_size": needs.img_size})
        return MeasuredMotion(data.validation_clips, needs.num_frames, needs.img_size[0], transform)

    # Motion clips come in a random order already, and every ten of them hold each class once. Batches that hold as many
    # of a motion as of its reverse teach the difference much sooner than batches that do not.
    return Source(
        class_names=MOTION_CLASSES,
        described=describe_data(MOTION_CLASSES, clips),
        train=train,
        validation=validation,
        contract=_WHOLE_FRAMES,
        in_order=True,
    )


def _videos(data: DataSection) -> Source:
    assert data.train is not None, "checked with the configuration"
    names = None if data.class_names is None else read_class_names(data.class_names)
    videos = _find_videos(data.train, data.train_annotations, names)
    class_names = videos.class_names or tuple(str(label) for label in range(videos.num_classes))
    validation = None
    if data.validation is not None:
        measured = _find_videos(data.validation, data.validation_annotations, class_names)

        def validation(needs: Needs) -> MeasuredMotion | MeasuredVideos:
            transform = create_transform({**needs.contract, "img_size": needs.img_size})
            return MeasuredVideos(measured, needs.num_frames, transform)

    def train(needs: Needs) -> Dataset[Clip]:
        return VideoClips(videos, frames_in=needs.frames_in, augmentation=needs.augmentation)

    return Source(
        class_names=class_names,
        described=describe_data(class_names, len(videos), videos),
        train=train,
        validation=validation,
    )


def _find_videos(
    where: str, annotations: str | None, class_names: tuple[str, ...] | None
) -> LabelledVideos | ShardedVideos:
    if not where.endswith(".tar"):
        return read_annotations(where, annotations, class_names=class_names)
    if annotations is not None:
        raise TrainingError(f"{where} are shards, which hold their labels: leave out the annotations {annotations}")
    return read_shards(where, class_names=class_names)
