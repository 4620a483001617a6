"""Training clips: files decoded on the fly, or clips made on the fly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data import VideoError, load_video
from ..data.annotations import LabelledVideos
from ..data.motion import motion_clips
from ..data.shards import ShardedVideos
from .augment import ClipAugmentation
from .batches import ClipKey, seed_of

_logger = logging.getLogger(__name__)

# A broken video is replaced by another one. So many in a row mean that something else is wrong.
_MOST_REPLACEMENTS = 20


class Clip(NamedTuple):
    """What a worker gives: uint8 frames [T, 3, S, S], the label, the seed of what is still to be done, what broke."""

    frames: Tensor
    label: int
    seed: int
    broken: tuple[str, ...] = ()


class VideoClips(Dataset[Clip]):
    """Clips of videos: one frame at random of each of T segments, augmented."""

    def __init__(
        self, videos: LabelledVideos | ShardedVideos, *, frames_in: Callable[[int], int], augmentation: ClipAugmentation
    ) -> None:
        """Takes the videos, the frames of a clip in an epoch, and what is done to them."""
        self._videos = videos
        self._frames_in, self._augmentation = frames_in, augmentation
        self._given_up: dict[int, str] = {}

    def __len__(self) -> int:
        """How many videos."""
        return len(self._videos)

    def __getitem__(self, key: ClipKey) -> Clip:
        """Decodes a clip. A video that cannot be used is told and replaced by the next that the key's seed names.

        Raises:
            VideoError: Many in a row cannot be used.
        """
        *_, clip = self.tries(key)
        assert isinstance(clip, Clip), "it is what ends the tries"
        return clip

    def give_up(self, index: int, reason: str) -> None:
        """Has a video count as broken, without touching it any more."""
        self._given_up[index] = reason

    def tries(self, key: ClipKey) -> Iterator[int | Clip]:
        """The number of each video right before it is decoded for a clip, and in the end the clip.

        Raises:
            VideoError: Many in a row cannot be used.
        """
        index, broken = key.sample, []
        while True:
            yield index
            try:
                if index in self._given_up:
                    raise VideoError(self._given_up[index])
                frames = load_video(
                    self._videos.source(index),
                    num_frames=self._frames_in(key.epoch),
                    sampling="random_in_segments",
                    generator=torch.Generator().manual_seed(key.seed),
                )
            except (OSError, VideoError) as error:
                broken.append(f"{self._videos.name(index)}: {error}")
                if len(broken) >= _MOST_REPLACEMENTS:
                    raise VideoError(
                        f"{len(broken)} videos in a row cannot be used, the last one {broken[-1]}"
                    ) from error
                index = seed_of(key.seed, len(broken)) % len(self)
                continue
            frames = self._augmentation(frames, seed=key.seed)
            yield Clip(frames, self._videos.labels[index], seed_of(key.seed), tuple(broken))
            return


class MotionClips(Dataset[Clip]):
    """Clips of :mod:`ila_models.data.motion`, other ones in every epoch, augmented."""

    def __init__(
        self,
        clips: int,
        *,
        seed: int,
        easy_epochs: int,
        frames_in: Callable[[int], int],
        img_size: int,
        augmentation: ClipAugmentation,
    ) -> None:
        """Takes the size of an epoch, how many of them begin with easier clips, and what the clips of an epoch are."""
        self._clips, self._seed, self._easy_epochs = clips, seed, easy_epochs
        self._frames_in, self._img_size, self._augmentation = frames_in, img_size, augmentation

    def __len__(self) -> int:
        """Clips of an epoch."""
        return self._clips

    def __getitems__(self, keys: list[ClipKey]) -> list[Clip]:
        """Makes the clips of a batch together."""
        indices = [key.epoch * self._clips + key.sample for key in keys]
        epoch = keys[0].epoch  # a batch is of one
        frames, labels = motion_clips(
            indices,
            seed=self._seed,
            num_frames=self._frames_in(epoch),
            img_size=self._img_size,
            difficulty=epoch / self._easy_epochs if epoch < self._easy_epochs else 1.0,
        )
        return [
            Clip(self._augmentation(clip, seed=key.seed), label, seed_of(key.seed))
            for key, clip, label in zip(keys, frames, labels.tolist(), strict=True)
        ]

    def __getitem__(self, key: ClipKey) -> Clip:
        """Makes one clip."""
        return self.__getitems__([key])[0]


class Batch(NamedTuple):
    """Clips of a step: uint8 frames [B, T, 3, S, S], labels [B], seeds, and what broke on the way."""

    frames: Tensor
    labels: Tensor
    seeds: list[int]
    broken: list[str]


def collate(clips: list[Clip]) -> Batch:
    """Puts clips together."""
    return Batch(
        torch.stack([clip.frames for clip in clips]),
        torch.tensor([clip.label for clip in clips]),
        [clip.seed for clip in clips],
        [message for clip in clips for message in clip.broken],
    )
